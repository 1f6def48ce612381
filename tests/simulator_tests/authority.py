"""A small certificate authority for the simulator's own tests: a root, an issuing CA, and what they sign."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


def common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def pem(*certificates: x509.Certificate) -> str:
    return "".join(each.public_bytes(serialization.Encoding.PEM).decode() for each in certificates)


@dataclass
class Authority:
    """Root and issuing CA. `sign` returns a leaf; `chain` is what CertificateSigned carries."""

    name: str
    root_key: ec.EllipticCurvePrivateKey = field(init=False)
    root: x509.Certificate = field(init=False)
    issuing_key: ec.EllipticCurvePrivateKey = field(init=False)
    issuing: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        self.root_key = ec.generate_private_key(ec.SECP256R1())
        self.issuing_key = ec.generate_private_key(ec.SECP256R1())
        root_name = common_name(f"{self.name} root")
        self.root = self._certificate(
            root_name, self.root_key.public_key(), root_name, self.root_key, ca=True, days=3650
        )
        self.issuing = self._certificate(
            common_name(f"{self.name} issuing"),
            self.issuing_key.public_key(),
            root_name,
            self.root_key,
            ca=True,
            days=1000,
        )

    def sign(
        self,
        public_key: PublicKey,
        name: x509.Name,
        *,
        days: float = 180,
        host: str = "",
    ) -> x509.Certificate:
        return self._certificate(
            name, public_key, self.issuing.subject, self.issuing_key, ca=False, days=days, host=host
        )

    def sign_csr(self, csr_pem: str, *, days: float = 180) -> x509.Certificate:
        request = x509.load_pem_x509_csr(csr_pem.encode())
        key = request.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
        return self.sign(key, request.subject, days=days)

    def chain(self, leaf: x509.Certificate, *, with_root: bool = False) -> str:
        return pem(leaf, self.issuing, *([self.root] if with_root else []))

    def server_files(self, folder: Path, host: str = "localhost") -> tuple[Path, Path]:
        """Chain and key of a server certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self.sign(key.public_key(), common_name(host), days=30, host=host)
        chain_file, key_file = folder / f"{self.name}-server.pem", folder / f"{self.name}-server.key"
        chain_file.write_text(self.chain(leaf))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return chain_file, key_file

    def _certificate(
        self,
        name: x509.Name,
        public_key: PublicKey,
        issuer: x509.Name,
        issuer_key: ec.EllipticCurvePrivateKey,
        *,
        ca: bool,
        days: float,
        host: str = "",
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        )
        if host:
            names = x509.SubjectAlternativeName([x509.DNSName(host)])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(issuer_key, hashes.SHA256())
