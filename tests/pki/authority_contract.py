"""What every certificate authority has to do, whichever is behind the Protocol; `openssl` judges its chains.

A module that tests one adapter derives a class from `AuthorityContract` and supplies the fixture `authority`.
"""

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from bfcerts.pki.authorities.base import (
    Candidates,
    CertificateAuthority,
    RequestRefused,
    RevocationReason,
    SignedCertificate,
    SignRequest,
    StillLooking,
)
from bfcerts.pki.certificates import ParsedCertificate, parse_certificate, split_chain
from bfcerts.pki.chains import verify_issued
from bfcerts.pki.csr import ParsedCsr, parse_csr
from bfcerts.pki.profiles import profile
from tests.pki.material import key_usage, new_key, parsed_csr, raw_csr
from tests.pki.openssl import verifies

TRUST_DOMAIN = "charger_identity"


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def request(csr: ParsedCsr | None = None, **changed: Any) -> SignRequest:
    asked = SignRequest(
        token="3f1c9a52-7a0e-4c55-9d3e-0d8f5a1b2c3d",
        csr=csr or parsed_csr("CP-1"),
        profile=profile("charger_client"),
        subject=None,
        dns_names=(),
        not_before=now() - timedelta(hours=1),
        not_after=now() + timedelta(days=180),
    )
    return dataclasses.replace(asked, **changed)


def collected(authority: CertificateAuthority, reference: str) -> SignedCertificate:
    """The certificate, asked for until it is there; an authority in progress is not asked for ever."""
    for _ in range(50):
        signed = authority.collect(reference)
        if signed is not None:
            return signed
    raise AssertionError(f"{reference} stayed in progress")


def candidates(authority: CertificateAuthority, asked: SignRequest) -> tuple[str, ...]:
    """What may be the certificate of a request whose answer was lost an hour ago; looked for until it is known."""
    at = now()
    for _ in range(50):
        recovery = authority.recover(asked, since=now() - timedelta(hours=1), asked_at=at - timedelta(hours=1), now=at)
        if isinstance(recovery, Candidates):
            return recovery.references
        assert isinstance(recovery, StillLooking)
        assert recovery.waiting_for.startswith("the CA")
        assert recovery.until > at
        at = recovery.until
    raise AssertionError("the authority is still looking")


def leaf_of(authority: CertificateAuthority, asked: SignRequest) -> ParsedCertificate:
    return parse_certificate(collected(authority, authority.submit(asked)).certificate_pem)


def dns(*names: str) -> tuple[x509.ExtensionType, bool]:
    return x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), False


class AuthorityContract:
    """The suite; each test is given the adapter under test as `authority`."""

    def test_it_certifies_exactly_what_was_asked(self, authority: CertificateAuthority, tmp_path: Path) -> None:
        asked = request()
        description = authority.describe()

        signed = collected(authority, authority.submit(asked))

        leaf = parse_certificate(signed.certificate_pem)
        path = verify_issued(
            leaf=leaf,
            chain=[parse_certificate(one) for one in split_chain(signed.chain_pem)],
            anchors=[parse_certificate(description.root_pem)],
            now=now(),
            public_key_sha256=asked.csr.public_key_sha256,
            extended_key_usages=asked.profile.extended_key_usages,
            not_after_limit=asked.not_after,
        )
        assert (leaf.not_before, leaf.not_after) == (asked.not_before, asked.not_after)
        assert leaf.subject_text == asked.csr.subject_text
        assert leaf.key_usages == frozenset({"digital_signature"})
        assert split_chain(description.chain_pem) == [one.pem for one in path[1:]]
        assert verifies(
            leaf.pem,
            root_pem=description.root_pem,
            between=split_chain(signed.chain_pem),
            purpose="sslclient",
            folder=tmp_path,
        )
        assert not verifies(
            leaf.pem,
            root_pem=description.root_pem,
            between=split_chain(signed.chain_pem),
            purpose="sslserver",
            folder=tmp_path,
        )

    def test_the_same_request_is_one_certificate(self, authority: CertificateAuthority) -> None:
        asked = request()
        first = authority.submit(asked)
        assert authority.submit(asked) == first
        assert collected(authority, first) == collected(authority, first)

    def test_requests_that_differ_are_different_certificates(self, authority: CertificateAuthority) -> None:
        csr = parsed_csr("CP-1")
        one, other = request(csr, token="first"), request(csr, token="second")
        assert leaf_of(authority, one).serial_hex != leaf_of(authority, other).serial_hex

    def test_references_fit_into_the_database(self, authority: CertificateAuthority) -> None:
        assert len(authority.submit(request())) <= 255

    def test_serials_survive_padding(self, authority: CertificateAuthority) -> None:
        """No serial begins with a zero digit or needs a sign octet, which stations add, drop and trip over."""
        for number in range(8):
            serial = leaf_of(authority, request(token=f"token-{number}")).serial_hex
            assert serial[0] in "4567"
            assert len(serial) == 32

    def test_extensions_come_from_the_profile_and_not_from_the_csr(self, authority: CertificateAuthority) -> None:
        greedy = parsed_csr(
            "CP-1",
            [
                (x509.BasicConstraints(ca=True, path_length=None), True),
                (key_usage(key_cert_sign=True), True),
                (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CODE_SIGNING]), False),
            ],
        )

        leaf = leaf_of(authority, request(greedy))

        assert not leaf.is_ca
        assert leaf.key_usages == frozenset({"digital_signature"})
        assert leaf.extended_key_usages == profile("charger_client").extended_key_usages

    def test_alternative_names_of_a_csr_never_get_into_a_client_certificate(
        self, authority: CertificateAuthority
    ) -> None:
        asked = request(parsed_csr("CP-1", [dns("gateway.example")]))
        try:
            leaf = leaf_of(authority, asked)
        except RequestRefused as refusal:
            assert refusal.code == "alternative_names"  # noqa: PT017  # refusing is as good as leaving them out
        else:
            assert leaf.subject_alternative_names == ()

    def test_a_server_gets_the_host_names_of_the_request(self, authority: CertificateAuthority, tmp_path: Path) -> None:
        names = ("gateway.example", "ocpp.example")
        asked = request(parsed_csr("gateway.example", [dns(*names)]), profile=profile("server"), dns_names=names)

        signed = collected(authority, authority.submit(asked))

        leaf = parse_certificate(signed.certificate_pem)
        assert set(leaf.subject_alternative_names) == {"DNS:gateway.example", "DNS:ocpp.example"}
        assert leaf.extended_key_usages == profile("server").extended_key_usages
        assert verifies(
            leaf.pem,
            root_pem=authority.describe().root_pem,
            between=split_chain(signed.chain_pem),
            purpose="sslserver",
            folder=tmp_path,
        )

    def test_a_server_without_a_host_name_is_refused(self, authority: CertificateAuthority) -> None:
        self.refuses(authority, request(profile=profile("server")), "alternative_names")

    def test_a_client_with_a_host_name_is_refused(self, authority: CertificateAuthority) -> None:
        self.refuses(authority, request(dns_names=("gateway.example",)), "alternative_names")

    def test_a_version_2_csr_is_certified(self, authority: CertificateAuthority) -> None:
        asked = request(parse_csr(raw_csr(new_key(), version=b"\x01")))
        assert leaf_of(authority, asked).public_key_sha256 == asked.csr.public_key_sha256

    def test_an_empty_subject_is_refused(self, authority: CertificateAuthority) -> None:
        self.refuses(authority, request(parse_csr(raw_csr(new_key(), subject=b"\x30\x00"))), "empty_subject")

    def test_the_subject_asked_for_may_be_the_one_of_the_csr(self, authority: CertificateAuthority) -> None:
        assert leaf_of(authority, request(subject=(("CN", "CP-1"),))).subject_text == "CN=CP-1"

    def test_a_certificate_never_outlives_its_issuer(self, authority: CertificateAuthority) -> None:
        asked = request(not_after=now() + timedelta(days=6 * 365))
        with pytest.raises(RequestRefused):
            authority.submit(asked)

    def test_what_it_made_of_a_request_is_found_again(self, authority: CertificateAuthority) -> None:
        csr = parsed_csr("CP-1")
        asked, other, never = (request(csr, token=token) for token in ("asked", "other", "never"))
        never = dataclasses.replace(never, not_after=never.not_after + timedelta(days=1))
        reference = authority.submit(asked)
        authority.submit(other)

        assert reference in candidates(authority, asked)
        assert candidates(authority, asked) == candidates(authority, asked)
        assert candidates(authority, never) == ()

    def test_a_reference_of_nobody_is_refused(self, authority: CertificateAuthority) -> None:
        known = authority.submit(request())
        for unknown in (f"{known[:-2]}{'00' if known[-2:] != '00' else '11'}", "local:other:00", "nonsense", ""):
            with pytest.raises(RequestRefused) as caught:
                authority.collect(unknown)
            assert caught.value.code == "unknown_reference"

    @pytest.mark.parametrize("reason", list(RevocationReason))
    def test_revoking_is_done_once_and_repeated_gladly(
        self, authority: CertificateAuthority, reason: RevocationReason
    ) -> None:
        leaf = leaf_of(authority, request())
        authority.revoke(leaf.serial_hex, reason)
        authority.revoke(leaf.serial_hex, reason)
        authority.revoke(leaf.serial_hex, RevocationReason.UNSPECIFIED)

    @pytest.mark.parametrize("serial", ["4" + "0" * 31, "1", "not hexadecimal", ""])
    def test_revoking_what_was_never_issued_is_refused(self, authority: CertificateAuthority, serial: str) -> None:
        with pytest.raises(RequestRefused) as caught:
            authority.revoke(serial, RevocationReason.SUPERSEDED)
        assert caught.value.code == "unknown_serial"

    def test_it_describes_itself(self, authority: CertificateAuthority) -> None:
        description = authority.describe()
        issuing, root = (parse_certificate(one) for one in split_chain(description.chain_pem))
        assert authority.trust_domain == TRUST_DOMAIN
        assert issuing == parse_certificate(description.certificate_pem)
        assert root == parse_certificate(description.root_pem)
        assert issuing.is_ca
        assert issuing.signed_by(root)
        assert root.signed_by(root)
        assert description.usable
        assert description.status == "ACTIVE"
        assert authority.describe() == description

    def refuses(self, authority: CertificateAuthority, asked: SignRequest, code: str) -> None:
        with pytest.raises(RequestRefused) as caught:
            authority.submit(asked)
        assert caught.value.code == code
        assert caught.value.message.endswith(".")
