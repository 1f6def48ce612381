"""A small certificate authority of a test: roots, issuing CAs, server and station certificates, good and bad."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


@dataclass
class Leaf:
    """A certificate with its key, as a station or a server holds it."""

    certificate: x509.Certificate
    key: Key = field(repr=False)
    issuer: Authority

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def fingerprint(self) -> str:
        return sha256(self.der).hexdigest()

    @property
    def chain_pem(self) -> str:
        return pem(self.certificate) + pem(self.issuer.certificate)

    def write(self, folder: Path) -> Path:
        """Key and chain in one PEM file, as ssl wants them."""
        path = folder / f"{self.fingerprint}.pem"
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        path.write_text(key + self.chain_pem)
        return path


class Authority:
    """An issuing CA under a root of its own, or the root itself."""

    def __init__(self, common_name: str, root: Authority | None = None) -> None:
        self.root = root or self
        self.key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        signer = self.root
        self.certificate: x509.Certificate = (
            x509.CertificateBuilder()
            .subject_name(name(common_name))
            .issuer_name(signer.certificate.subject if root else name(common_name))
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=400))
            .not_valid_after(now + timedelta(days=4000))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .sign(signer.key, hashes.SHA256())
        )

    @property
    def root_pem(self) -> str:
        return pem(self.root.certificate)

    @property
    def anchors(self) -> list[str]:
        return [pem(self.root.certificate), pem(self.certificate)]

    def issue(
        self,
        common_name: str,
        *,
        not_before: timedelta = timedelta(hours=-1),
        not_after: timedelta = timedelta(days=180),
        key: Key | None = None,
    ) -> Leaf:
        """A station's certificate, with the key that belongs to it."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        return Leaf(self._sign(name(common_name), key.public_key(), not_before, not_after), key, self)

    def sign_station_request(self, csr_pem: str, *, uses: bool = True) -> x509.Certificate:
        """A station's certificate for its own request; for an EVSE without `uses` that it is limited to."""
        request = x509.load_pem_x509_csr(csr_pem.encode())
        assert request.is_signature_valid
        key = request.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
        return self._sign(request.subject, key, timedelta(hours=-1), timedelta(days=180), uses=uses)

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
        not_before: timedelta,
        not_after: timedelta,
        *,
        uses: bool = True,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + not_before)
            .not_valid_after(now + not_after)
        )
        if uses:
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def sign_server_request(self, csr_pem: str) -> x509.Certificate:
        """A server certificate for a request, with the names that it asks for."""
        request = x509.load_pem_x509_csr(csr_pem.encode())
        assert request.is_signature_valid
        now = datetime.now(UTC)
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(self.certificate.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=90))
            .add_extension(names.value, critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .sign(self.key, hashes.SHA256())
        )


def client_context(server_anchor: str, leaf: Leaf | None = None, folder: Path | None = None) -> ssl.SSLContext:
    """How a station trusts us, and what it presents."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=server_anchor)
    if leaf is not None:
        assert folder is not None
        context.load_cert_chain(leaf.write(folder))
    return context
