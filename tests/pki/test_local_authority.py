"""The local development CA: deterministic, encrypted at rest, whole after any crash."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bfcerts.pki.authorities.base import (
    AuthorityMisconfigured,
    CertificateAuthority,
    RequestRefused,
    RevocationReason,
)
from bfcerts.pki.authorities.local import LocalAuthority, ensure_local_allowed
from bfcerts.pki.certificates import parse_certificate, split_chain
from bfcerts.pki.csr import ParsedCsr, parse_csr
from bfcerts.pki.profiles import profile
from tests.pki.authority_contract import TRUST_DOMAIN, AuthorityContract, collected, leaf_of, now, request
from tests.pki.ca_process import SECRET
from tests.pki.material import PrivateKey, csr_pem, name, new_key, parsed_csr
from tests.pki.openssl import verifies

PROJECT = Path(__file__).parents[2]


def local(folder: Path, trust_domain: str = TRUST_DOMAIN, *, key: str = SECRET) -> LocalAuthority:
    return LocalAuthority(folder, trust_domain, key, clock=lambda: datetime.now(UTC))


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return local(tmp_path / "ca")


class TestLocalAuthority(AuthorityContract):
    """The contract."""


def test_the_same_request_is_byte_identical_for_every_process_that_ever_signs_it(tmp_path: Path) -> None:
    asked = request()
    first = collected(local(tmp_path), local(tmp_path).submit(asked))
    (issued,) = (tmp_path / TRUST_DOMAIN / "issued").rglob("*.pem")
    issued.unlink()

    again = collected(local(tmp_path), local(tmp_path).submit(asked))

    assert again == first


@pytest.mark.parametrize(
    "changed",
    [
        {"token": "another"},
        {"csr": parsed_csr("CP-1")},
        {"profile": profile("vehicle_client")},
        {"subject": (("CN", "CP-2"),)},
        {"not_before": now() - timedelta(hours=2)},
        {"not_after": now() + timedelta(days=90)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_no_two_certificates_share_a_serial(tmp_path: Path, changed: dict[str, Any]) -> None:
    authority, csr = local(tmp_path), parsed_csr("CP-1")
    original = leaf_of(authority, request(csr))
    other = leaf_of(authority, request(**{"csr": csr, **changed}))
    assert other.serial_hex != original.serial_hex


def test_the_subject_is_given_or_that_of_the_csr(tmp_path: Path) -> None:
    given = (("C", "DE"), ("DC", "CPO"), ("CN", "CP-1"), ("2.5.4.97", "NTRDE-1"))
    leaf = leaf_of(local(tmp_path), request(parsed_csr("whoever"), subject=given))
    assert leaf.subject_text == "2.5.4.97=NTRDE-1,CN=CP-1,DC=CPO,C=DE"


@pytest.mark.parametrize("subject", [(("C", "Germany"),), (("CN", "x" * 65),), (("XX", "y"),), (("CN", ""),)])
def test_a_subject_that_x509_does_not_allow_is_refused(tmp_path: Path, subject: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(RequestRefused) as caught:
        local(tmp_path).submit(request(subject=subject))
    assert caught.value.code == "subject"


def test_a_host_name_that_x509_does_not_allow_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestRefused) as caught:
        local(tmp_path).submit(request(profile=profile("server"), dns_names=("bücher.example",)))
    assert caught.value.code == "alternative_names"


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP521R1()),
        ed25519.Ed25519PrivateKey.generate(),
        ed448.Ed448PrivateKey.generate(),
    ],
    ids=["RSA", "EC-P521", "ED25519", "ED448"],
)
@pytest.mark.parametrize(("profile_name", "purpose"), [("charger_client", "sslclient"), ("ocsp_responder", "any")])
def test_every_kind_of_key_is_certified(tmp_path: Path, key: PrivateKey, profile_name: str, purpose: str) -> None:
    authority = local(tmp_path)
    edwards = isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    csr = parse_csr(csr_pem(key, name("CP-1"), digest=None if edwards else hashes.SHA256()))
    signed = collected(authority, authority.submit(request(csr, profile=profile(profile_name))))
    assert verifies(
        signed.certificate_pem,
        root_pem=authority.describe().root_pem,
        between=split_chain(signed.chain_pem),
        purpose=purpose,
        folder=tmp_path,
    )


def test_key_usages_fit_the_key(tmp_path: Path) -> None:
    rsa_csr = parse_csr(csr_pem(rsa.generate_private_key(65537, 2048), name("gateway.example")))
    ec_csr = parse_csr(csr_pem(new_key(), name("gateway.example")))
    authority, names = local(tmp_path), ("gateway.example",)

    def usages(csr: ParsedCsr, profile_name: str) -> frozenset[str] | None:
        wanted = names if profile_name == "server" else ()
        asked = request(csr, profile=profile(profile_name), dns_names=wanted)
        return leaf_of(authority, asked).key_usages

    assert usages(rsa_csr, "server") == frozenset({"digital_signature", "key_encipherment"})
    assert usages(ec_csr, "server") == frozenset({"digital_signature"})
    assert usages(rsa_csr, "evse_leaf") == frozenset({"digital_signature"})
    assert usages(ec_csr, "evse_leaf") == frozenset({"digital_signature", "key_agreement"})


def test_each_trust_domain_has_a_root_of_its_own(tmp_path: Path) -> None:
    charger, vehicle = local(tmp_path, "charger_identity"), local(tmp_path, "vehicle_vas_identity")
    signed = collected(charger, charger.submit(request()))
    assert parse_certificate(charger.describe().certificate_pem).subject_text == (
        "CN=Charger identity issuing CA G1,O=Development"
    )
    assert charger.describe().root_pem != vehicle.describe().root_pem
    assert not verifies(
        signed.certificate_pem,
        root_pem=vehicle.describe().root_pem,
        between=split_chain(signed.chain_pem),
        purpose="sslclient",
        folder=tmp_path,
    )
    with pytest.raises(RequestRefused, match="not a reference of the local CA of vehicle_vas_identity"):
        vehicle.collect(charger.submit(request()))


def test_the_cas_last_as_long_as_they_should(tmp_path: Path) -> None:
    description = local(tmp_path).describe()
    issuing, root = parse_certificate(description.certificate_pem), parse_certificate(description.root_pem)
    assert round((root.not_after - now()) / timedelta(days=365.25)) == 20
    assert round((issuing.not_after - now()) / timedelta(days=365.25)) == 5
    assert (issuing.path_length, root.path_length) == (0, 1)
    assert issuing.serial_hex[0] in "4567"


def test_public_files_are_readable_and_private_ones_encrypted(tmp_path: Path) -> None:
    description = local(tmp_path).describe()
    folder = tmp_path / TRUST_DOMAIN
    assert (folder / "root.pem").read_text() == description.root_pem
    assert (folder / "issuing.pem").read_text() == description.certificate_pem
    for key in (folder / "root.key", folder / "issuing.key"):
        assert key.stat().st_mode & 0o077 == 0
        with pytest.raises(TypeError, match="Password was not given"):
            load_pem_private_key(key.read_bytes(), None)
        assert SECRET.encode() not in key.read_bytes()


def test_a_wrong_secret_says_so_in_one_sentence(tmp_path: Path) -> None:
    local(tmp_path).describe()
    with pytest.raises(AuthorityMisconfigured, match="BFCERTS_LOCAL_CA_KEY does not open") as caught:
        local(tmp_path, key=SECRET + "!").describe()
    assert SECRET not in caught.value.message
    with pytest.raises(AuthorityMisconfigured, match="at least 16"):
        local(tmp_path, key="short").describe()


def test_a_key_of_another_certificate_is_noticed(tmp_path: Path) -> None:
    local(tmp_path).describe()
    (tmp_path / TRUST_DOMAIN / "issuing.pem").write_bytes((tmp_path / TRUST_DOMAIN / "root.pem").read_bytes())
    with pytest.raises(AuthorityMisconfigured, match="restore both"):
        local(tmp_path).describe()


@pytest.mark.parametrize("trust_domain", ["../escape", "Charger", "", "a/b", ".hidden"])
def test_a_trust_domain_cannot_lead_out_of_the_folder(tmp_path: Path, trust_domain: str) -> None:
    with pytest.raises(AuthorityMisconfigured, match="name of a trust domain"):
        local(tmp_path, trust_domain).describe()


def test_a_folder_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AuthorityMisconfigured, match="cannot be used"):
        local(tmp_path / "file").describe()


def test_an_expired_ca_says_that_it_is(tmp_path: Path) -> None:
    local(tmp_path).describe()
    later = LocalAuthority(tmp_path, TRUST_DOMAIN, SECRET, clock=lambda: now() + timedelta(days=6 * 365))
    assert not later.describe().usable
    assert later.describe().status == "EXPIRED"


def test_a_revocation_stays(tmp_path: Path) -> None:
    serial = leaf_of(local(tmp_path), request()).serial_hex
    local(tmp_path).revoke(serial, RevocationReason.KEY_COMPROMISE)
    local(tmp_path).revoke(serial, RevocationReason.SUPERSEDED)
    (entry,) = (tmp_path / TRUST_DOMAIN / "revoked").iterdir()
    assert json.loads(entry.read_text())["reason"] == "keyCompromise"


@pytest.mark.parametrize(("debug", "allowed"), [(True, False), (False, True), (True, True)])
def test_where_it_may_run(debug: bool, allowed: bool) -> None:
    ensure_local_allowed(debug, allowed)


def test_where_it_may_not_run() -> None:
    with pytest.raises(AuthorityMisconfigured, match="does not run with DEBUG off: set BFCERTS_AUTHORITY"):
        ensure_local_allowed(debug=False, allowed=False)


# -- processes that race and processes that die ------------------------------------------------------------------


@contextmanager
def child(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.pki.ca_process", *arguments],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def start(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def entries(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except FileNotFoundError:
        return set()


def until(condition: Callable[[], bool]) -> None:
    """Look as often as possible, because what is looked for may be there for microseconds only."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline


def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


def test_processes_that_race_for_the_first_use_get_the_same_ca(tmp_path: Path) -> None:
    with (
        child("create", str(tmp_path), TRUST_DOMAIN) as first,
        child("create", str(tmp_path), TRUST_DOMAIN) as second,
        child("create", str(tmp_path), TRUST_DOMAIN) as third,
    ):
        racers = (first, second, third)
        for racer in racers:
            start(racer)
        roots = {lines(racer, 1)[0] for racer in racers}
    assert roots == {local(tmp_path).describe().root_pem.replace("\n", "")}


@pytest.mark.parametrize("made", [0, 1, 3])
def test_a_process_that_dies_while_making_a_ca_leaves_nothing_half(tmp_path: Path, made: int) -> None:
    domains = [f"domain_{number}" for number in range(10)]
    with child("create", str(tmp_path), *domains) as creator:
        start(creator)
        printed = lines(creator, made)
        creator.kill()
    roots = [local(tmp_path, domain).describe().root_pem.replace("\n", "") for domain in domains]
    assert roots[:made] == printed
    assert not list(tmp_path.glob(".unfinished-*"))


@pytest.mark.parametrize("written", [1, 2, 3, 4, 5])
def test_a_process_that_dies_between_two_files_of_a_ca_leaves_nothing_half(tmp_path: Path, written: int) -> None:
    """Killed once so many of the five files are there, however many more it got done meanwhile."""
    unfinished = tmp_path / f".unfinished-{TRUST_DOMAIN}"
    with child("create", str(tmp_path), TRUST_DOMAIN) as creator:
        start(creator)
        until(lambda: len(entries(unfinished)) >= written or (tmp_path / TRUST_DOMAIN).exists())
        creator.kill()
    assert local(tmp_path).describe().usable
    assert not unfinished.exists()


def test_a_ca_is_seen_whole_or_not_at_all(tmp_path: Path) -> None:
    domains = [f"domain_{number}" for number in range(20)]
    with child("create", str(tmp_path), *domains) as creator:
        start(creator)
        for domain in domains:
            until((tmp_path / domain).exists)
            assert entries(tmp_path / domain) == {"salt", "root.key", "root.pem", "issuing.key", "issuing.pem"}


@pytest.mark.parametrize("signed", [0, 1, 7, 40])
def test_a_process_that_dies_while_signing_leaves_nothing_half(tmp_path: Path, signed: int) -> None:
    csr, begin = tmp_path / "csr.pem", now() - timedelta(hours=1)
    csr.write_text(csr_pem(new_key(), name("CP-1")))
    local(tmp_path).describe()
    arguments = (str(tmp_path), str(csr), str(int(begin.timestamp())))
    with child("sign", *arguments) as signer:
        start(signer)
        printed = lines(signer, signed)
        signer.kill()
    with child("sign", *arguments) as successor:
        start(successor)
        repeated = lines(successor, signed + 2)

    assert repeated[:signed] == printed
    authority = local(tmp_path)
    for reference in repeated:
        serial = parse_certificate(collected(authority, reference).certificate_pem).serial_hex
        assert json.loads((tmp_path / TRUST_DOMAIN / "revoked" / f"{serial}.json").read_text())["serial"] == serial
    for path in (tmp_path / TRUST_DOMAIN / "issued").rglob("*.pem"):
        assert parse_certificate(path.read_text()).serial_hex == path.stem
