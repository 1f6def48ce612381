"""Keys and certificate signing requests, right and wrong ones (OCPP 2.0.1 A02, RFC 2986)."""

from asn1crypto import core, pem
from asn1crypto import csr as asn1_csr
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.simulator.identity import Identity, KeyType
from tests.simulator.quirks import Quirks, SubjectRule, WrongCsr

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def make_key(key_type: KeyType, *, wrong: WrongCsr | None = None) -> PrivateKey:
    """A fresh key; `WrongCsr.RSA_1024` makes one that must be refused."""
    if wrong is WrongCsr.RSA_1024:
        return rsa.generate_private_key(65537, 1024)  # noqa: S505  # too short on purpose
    if key_type is KeyType.RSA2048:
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_key(pem_bytes: bytes) -> PrivateKey:
    # The station made the key itself; checking an RSA key again takes longer than using it.
    key = serialization.load_pem_private_key(pem_bytes, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise TypeError(f"a station's key is an EC or an RSA key, not {type(key).__name__}")
    return key


def public_der(key: PrivateKey) -> bytes:
    """SubjectPublicKeyInfo, by which a certificate is matched to a key."""
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def subject(identity: Identity, organization: str, quirks: Quirks) -> x509.Name:
    """The name in the CSR, as the station's kind writes it."""
    if quirks.subject_rule is SubjectRule.SERIAL_NUMBER:
        parts = [
            (NameOID.COUNTRY_NAME, "DE"),
            (NameOID.ORGANIZATION_NAME, organization),
            (NameOID.DOMAIN_COMPONENT, "CPO"),
        ]
        common_name = identity.serial_number
    else:
        parts = [(NameOID.ORGANIZATION_NAME, organization)]
        common_name = identity.station_id
    if quirks.subject_extras:
        parts += [
            (NameOID.STATE_OR_PROVINCE_NAME, "Berlin"),
            (NameOID.LOCALITY_NAME, "Berlin"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "Charging"),
            (NameOID.EMAIL_ADDRESS, "operations@example.com"),
        ]
    if quirks.wrong_csr is WrongCsr.FOREIGN_NAME:
        common_name = quirks.wrong_csr_name
    parts.append((NameOID.COMMON_NAME, common_name))
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


def make_csr(key: PrivateKey, name: x509.Name, *, wrong: WrongCsr | None = None) -> str:
    """A CSR as PEM."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    if wrong is WrongCsr.CA_AND_FOREIGN_USES:
        builder = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.EMAIL_PROTECTION]),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("csms.example.com")]), critical=False)
        )
    request = builder.sign(key, hashes.SHA256())
    if wrong is WrongCsr.BAD_SIGNATURE:
        other = make_key(KeyType.RSA2048 if isinstance(key, rsa.RSAPrivateKey) else KeyType.P256)
        return _assemble(request, request.tbs_certrequest_bytes, other)
    if wrong is WrongCsr.VERSION_2:
        return _assemble(request, _with_version_2(request.tbs_certrequest_bytes), key)
    return request.public_bytes(serialization.Encoding.PEM).decode()


def _with_version_2(information: bytes) -> bytes:
    """CertificationRequestInfo with INTEGER 1 (version 2) where it held INTEGER 0."""
    marker = information.index(b"\x02\x01\x00")
    return information[:marker] + b"\x02\x01\x01" + information[marker + 3 :]


def _assemble(request: x509.CertificateSigningRequest, information: bytes, signer: PrivateKey) -> str:
    """Put a CertificationRequest together by hand, which the library would refuse to build."""
    if isinstance(signer, ec.EllipticCurvePrivateKey):
        signature = signer.sign(information, ec.ECDSA(hashes.SHA256()))
    else:
        signature = signer.sign(information, padding.PKCS1v15(), hashes.SHA256())
    original = asn1_csr.CertificationRequest.load(request.public_bytes(serialization.Encoding.DER))
    body = information + original["signature_algorithm"].dump() + core.OctetBitString(signature).dump()
    armoured: bytes = pem.armor("CERTIFICATE REQUEST", core.Sequence(contents=body).dump())
    return armoured.decode("ascii")
