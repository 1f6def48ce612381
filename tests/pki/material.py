"""Keys, requests and certificates for the tests, among them ones that no builder makes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bfcerts.pki.certificates import ParsedCertificate, parse_certificate
from bfcerts.pki.csr import ParsedCsr, parse_csr

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)

PrivateKey = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
)
Extension = tuple[x509.ExtensionType, bool]

ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
NO_ATTRIBUTES = b"\xa0\x00"


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def csr_pem(
    key: PrivateKey,
    subject: x509.Name,
    extensions: Sequence[Extension] = (),
    digest: hashes.SHA256 | None = hashes.SHA256(),  # noqa: B008  # it holds no state
) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, digest).public_bytes(Encoding.PEM).decode()


def parsed_csr(common_name: str, extensions: Sequence[Extension] = ()) -> ParsedCsr:
    return parse_csr(csr_pem(new_key(), name(common_name), extensions))


def tlv(tag: int, *contents: bytes) -> bytes:
    """One DER value."""
    content = b"".join(contents)
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def attribute(oid_hex: str, tag: int, value: bytes) -> bytes:
    """One relative distinguished name with one attribute, in whatever string type."""
    return tlv(0x31, tlv(0x30, tlv(0x06, bytes.fromhex(oid_hex)), tlv(tag, value)))


def common_name_der(value: bytes, tag: int = 0x0C) -> bytes:
    return tlv(0x30, attribute("550403", tag, value))


def raw_csr(
    key: ec.EllipticCurvePrivateKey,
    *,
    version: bytes = b"\x00",
    subject: bytes | None = None,
    public_key: bytes | None = None,
    attributes: bytes = NO_ATTRIBUTES,
) -> bytes:
    """A request that is signed as it should be over whatever stands in it."""
    info = tlv(
        0x30,
        tlv(0x02, version),
        common_name_der(b"CP-1") if subject is None else subject,
        public_key or spki(key),
        attributes,
    )
    signature = key.sign(info, ec.ECDSA(hashes.SHA256()))
    return tlv(0x30, info, ECDSA_SHA256, tlv(0x03, b"\x00" + signature))


def spki(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class Issuer:
    """A CA made by hand, for chains that our own CA would never make."""

    def __init__(
        self,
        common_name: str,
        parent: "Issuer | None" = None,
        *,
        key: PrivateKey | None = None,
        ca: bool = True,
        path_length: int | None = None,
        not_after: datetime = NOW + timedelta(days=3650),
        key_cert_sign: bool = True,
        extensions: Sequence[Extension] = (),
    ) -> None:
        self.key = key or new_key()
        self.name = name(common_name)
        signer = parent or self
        self.certificate = certificate(
            self.key,
            self.name,
            signer.name,
            signer.key,
            not_after=not_after,
            extensions=[
                (x509.BasicConstraints(ca, path_length if ca else None), True),
                (key_usage(key_cert_sign=key_cert_sign, digital_signature=not key_cert_sign), True),
                *extensions,
            ],
        )

    def issue(
        self,
        common_name: str = "CP-1",
        *,
        key: PrivateKey | None = None,
        not_before: datetime = NOW - timedelta(hours=1),
        not_after: datetime = NOW + timedelta(days=180),
        usages: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.CLIENT_AUTH,),
        extensions: Sequence[Extension] = (),
        serial: int | None = None,
    ) -> ParsedCertificate:
        wanted = [*extensions, (x509.ExtendedKeyUsage(list(usages)), False)] if usages else list(extensions)
        return certificate(
            key or new_key(),
            name(common_name),
            self.name,
            self.key,
            not_before=not_before,
            not_after=not_after,
            extensions=wanted,
            serial=serial,
        )


def certificate(
    key: PrivateKey,
    subject: x509.Name,
    issuer: x509.Name,
    signing_key: PrivateKey,
    *,
    not_before: datetime = NOW - timedelta(days=1),
    not_after: datetime,
    extensions: Sequence[Extension],
    serial: int | None = None,
) -> ParsedCertificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number() if serial is None else serial)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    edwards = isinstance(signing_key, ed448.Ed448PrivateKey | ed25519.Ed25519PrivateKey)
    signed = builder.sign(signing_key, None if edwards else hashes.SHA256())
    return parse_certificate(signed.public_bytes(Encoding.DER))


def key_usage(*, key_cert_sign: bool = False, digital_signature: bool = True) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        encipher_only=False,
        decipher_only=False,
    )


def with_default_spelt_out(der: bytes) -> bytes:
    """A certificate with basic constraints that spell out cA FALSE, which cryptography refuses to read."""
    spelt = der.replace(bytes.fromhex("0603551d1304023000"), bytes.fromhex("0603551d1304053003010100"))
    assert spelt != der
    return _with_fixed_lengths(der, spelt)


def _with_fixed_lengths(original: bytes, changed: bytes) -> bytes:
    """Lengthen the SEQUENCEs around basic constraints by the three octets that spell out the default."""
    content = bytearray(changed)
    place = bytes(content).index(bytes.fromhex("0603551d130405"))
    start, added = 0, len(changed) - len(original)
    while start < place:
        tag, first = content[start], content[start + 1]
        octets = first & 0x7F if first & 0x80 else 0
        header = 2 + octets
        length = int.from_bytes(content[start + 2 : start + header], "big") if octets else first
        if start + header + length + added < place:
            start += header + length
            continue
        if tag & 0x20 or tag == 0x04:
            length += added
            if octets:
                content[start + 2 : start + header] = length.to_bytes(octets, "big")
            else:
                content[start + 1] = length
        start += header
    return bytes(content)
