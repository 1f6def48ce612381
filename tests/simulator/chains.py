"""How a station judges a chain (CertificateSigned, OCPP 2.0.1 A02.FR.06) and a root (InstallCertificate)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from tests.simulator.quirks import Quirks


class CertificateRefusedError(Exception):
    """The station will not take this certificate. `reason` fits statusInfo.reasonCode (20 characters)."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class AcceptedChain:
    """A leaf for one of our keys and what leads from it to a root of ours: leaf first, no root."""

    key_name: str
    certificates: tuple[x509.Certificate, ...]

    @property
    def leaf(self) -> x509.Certificate:
        return self.certificates[0]

    def pem(self) -> str:
        return "".join(pem_text(certificate) for certificate in self.certificates)


def pem_text(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the DER, lower-case hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def is_self_signed(certificate: x509.Certificate) -> bool:
    if certificate.issuer != certificate.subject:
        return False
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def check_chain(
    chain_pem: str,
    keys: Mapping[bytes, str],
    roots: Sequence[x509.Certificate],
    now: datetime,
    quirks: Quirks,
) -> AcceptedChain:
    """Find the leaf by our keys (public DER → key name) and a path from it to one of our CSMS roots.

    :raises CertificateRefusedError: says what is wrong, as free text for statusInfo.
    """
    try:
        presented = x509.load_pem_x509_certificates(chain_pem.encode())
    except ValueError as error:
        raise CertificateRefusedError("InvalidCertificate", f"the chain cannot be read: {error}") from None
    leaves = [(keys[spki], each) for each in presented if (spki := _public_der(each)) in keys]
    if not leaves:
        raise CertificateRefusedError("KeyMismatch", "the chain has no certificate for a key of this station")
    key_name, leaf = leaves[0]
    enclosed_roots = [each for each in presented if is_self_signed(each)]
    if enclosed_roots and quirks.rejects_root_in_chain:
        raise CertificateRefusedError("RootInChain", "the chain must not contain a root")
    if not enclosed_roots and quirks.needs_root_in_chain:
        raise CertificateRefusedError("RootMissing", "the chain must contain its root")
    if not roots:
        raise CertificateRefusedError("NoCsmsRoot", "no CSMS root certificate is installed")
    intermediates = [each for each in presented if each is not leaf and each not in enclosed_roots]
    path = _path(leaf, intermediates, roots, now)
    return AcceptedChain(key_name, tuple(each for each in path if each not in roots))


def check_root(certificate_pem: str, now: datetime) -> x509.Certificate:
    """A root as stations take it: one self-signed CA certificate that is valid now.

    :raises CertificateRefusedError: says what is wrong.
    """
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    except ValueError as error:
        raise CertificateRefusedError("InvalidCertificate", f"the certificate cannot be read: {error}") from None
    if not is_self_signed(certificate):
        raise CertificateRefusedError("InvalidCertificate", "the certificate is not self-signed")
    constraints = _basic_constraints(certificate)
    if constraints is None or not constraints.ca:
        raise CertificateRefusedError("InvalidCertificate", "the certificate is not a CA certificate")
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise CertificateRefusedError("InvalidCertificate", "the certificate is not valid now")
    return certificate


def _path(
    leaf: x509.Certificate,
    intermediates: list[x509.Certificate],
    roots: Sequence[x509.Certificate],
    now: datetime,
) -> Sequence[x509.Certificate]:
    authority = ExtensionPolicy.permit_all().require_present(
        x509.BasicConstraints, Criticality.AGNOSTIC, _require_authority
    )
    verifier = (
        PolicyBuilder()
        .store(Store(list(roots)))
        .time(now)
        .extension_policies(ca_policy=authority, ee_policy=ExtensionPolicy.permit_all())
        .build_client_verifier()
    )
    try:
        return verifier.verify(leaf, intermediates).chain
    except VerificationError as error:
        raise CertificateRefusedError(
            "InvalidCertificate", f"the chain does not verify against the installed CSMS roots: {error}"
        ) from None


def _require_authority(policy: Policy, certificate: x509.Certificate, extension: x509.BasicConstraints) -> None:
    if not extension.ca:
        raise ValueError("an issuer in the chain is not a CA certificate")


def _basic_constraints(certificate: x509.Certificate) -> x509.BasicConstraints | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return None


def _public_der(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
