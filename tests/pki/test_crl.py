"""Revocation lists of ours, before openssl and a strict parser."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from bfcerts.pki.crl import build_crl
from bfcerts.pki.revocation import ENCODED_REASONS, Revocation
from bfcerts.pki.signers import KeySigner
from tests.pki.material import Issuer

NOW = datetime.now(UTC).replace(microsecond=0)
ROOT = Issuer("Root")
CA = Issuer("Issuing", ROOT, path_length=0)


def crl(revoked: dict[str, Revocation], number: int = 1, issuer: Issuer = CA) -> bytes:
    assert isinstance(issuer.key, ec.EllipticCurvePrivateKey)
    return build_crl(
        issuer=issuer.certificate,
        signer=KeySigner(issuer.key),
        revoked=revoked,
        number=number,
        this_update=NOW,
        next_update=NOW + timedelta(days=7),
    )


def test_a_list_is_what_a_strict_parser_makes_of_it() -> None:
    since = NOW - timedelta(days=3)
    revoked = {f"{4096 + place:x}": Revocation(since, reason) for place, reason in enumerate(ENCODED_REASONS)}
    der = crl(revoked, number=77)

    read = x509.load_der_x509_crl(der)

    assert read.issuer == CA.name
    assert (read.last_update_utc, read.next_update_utc) == (NOW, NOW + timedelta(days=7))
    assert read.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 77
    assert read.is_signature_valid(CA.key.public_key())
    assert {f"{entry.serial_number:x}" for entry in read} == set(revoked)
    for entry in read:
        reason = revoked[f"{entry.serial_number:x}"].reason
        assert entry.revocation_date_utc == since
        if reason == "unspecified":
            assert len(entry.extensions) == 0
        else:
            assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value == reason


def test_openssl_refuses_what_is_on_the_list_and_nothing_else(tmp_path: Path) -> None:
    good, bad = (CA.issue(name, not_after=NOW + timedelta(days=30)) for name in ("good", "bad"))
    files = {"root": ROOT.certificate, "ca": CA.certificate, "good": good, "bad": bad}
    for name, certificate in files.items():
        (tmp_path / f"{name}.pem").write_text(certificate.pem)
    (tmp_path / "ca.crl").write_bytes(crl({bad.serial_hex: Revocation(NOW - timedelta(hours=1), "superseded")}))

    assert "good.pem: OK" in _verified_with_list("good", tmp_path)
    assert "certificate revoked" in _verified_with_list("bad", tmp_path)


def test_nothing_revoked_is_a_list_too() -> None:
    read = x509.load_der_x509_crl(crl({}))
    assert len(read) == 0
    assert read.issuer == CA.name


def test_a_time_after_2049_is_told() -> None:
    assert isinstance(CA.key, ec.EllipticCurvePrivateKey)
    der = build_crl(
        issuer=CA.certificate,
        signer=KeySigner(CA.key),
        revoked={},
        number=1,
        this_update=NOW,
        next_update=datetime(2051, 1, 1, tzinfo=UTC),
    )
    assert x509.load_der_x509_crl(der).next_update_utc == datetime(2051, 1, 1, tzinfo=UTC)


def test_a_reason_that_nobody_knows_and_a_time_of_nowhere_are_refused() -> None:
    with pytest.raises(ValueError, match="no reason of RFC 5280"):
        Revocation(NOW, "boredom")
    with pytest.raises(ValueError, match="aware time"):
        Revocation(datetime(2026, 1, 1))  # noqa: DTZ001  # what is refused


def _verified_with_list(name: str, folder: Path) -> str:
    done = subprocess.run(
        [  # noqa: S607  # the one on the path is the judge
            "openssl", "verify", "-crl_check", "-CAfile", folder / "root.pem", "-untrusted", folder / "ca.pem",
            "-CRLfile", folder / "ca.crl", folder / f"{name}.pem",
        ],
        capture_output=True,
        check=False,
    )  # fmt: skip
    return done.stdout.decode() + done.stderr.decode()
