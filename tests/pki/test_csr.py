"""CSRs as stations send them, with openssl as the second reader."""

import base64
import hashlib
import ipaddress
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bfcerts.pki.csr import CsrError, parse_csr
from bfcerts.pki.keys import public_key_sha256
from tests.pki.material import (
    PrivateKey,
    attribute,
    common_name_der,
    csr_pem,
    key_usage,
    name,
    new_key,
    raw_csr,
    spki,
    tlv,
)
from tests.pki.openssl import openssl

STATION = x509.Name(
    [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Fleet, Ltd."),
        x509.NameAttribute(NameOID.DOMAIN_COMPONENT, "CPO"),
        x509.NameAttribute(NameOID.COMMON_NAME, "SN-0042"),
    ]
)


def refused(text: str | bytes) -> str:
    with pytest.raises(CsrError) as caught:
        parse_csr(text)
    assert caught.value.message.startswith("The CSR")
    return caught.value.code


def test_everything_that_policy_looks_at_is_read() -> None:
    key = new_key()
    pem = csr_pem(
        key,
        STATION,
        [
            (x509.SubjectAlternativeName([x509.DNSName("cp.example"), x509.RFC822Name("a@b.example")]), False),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        ],
    )

    csr = parse_csr(pem)

    assert csr.pem == pem
    assert csr.sha256 == hashlib.sha256(csr.der).hexdigest()
    assert csr.version == 1
    assert csr.subject == (("C", "DE"), ("O", "Fleet, Ltd."), ("DC", "CPO"), ("CN", "SN-0042"))
    assert csr.common_names == ("SN-0042",)
    assert csr.subject_text == r"CN=SN-0042,DC=CPO,O=Fleet\, Ltd.,C=DE"
    assert csr.public_key_der == spki(key)
    assert csr.public_key_sha256 == public_key_sha256(spki(key)) == hashlib.sha256(spki(key)).hexdigest()
    assert csr.key_algorithm == "EC-P256"
    assert csr.subject_alternative_names == ("DNS:cp.example", "EMAIL:a@b.example")
    assert csr.requested_extended_key_usages == ("1.3.6.1.5.5.7.3.1",)
    assert not csr.requests_ca
    assert not csr.weak_signature


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "EC-P256"),
        (ec.generate_private_key(ec.SECP384R1()), "EC-P384"),
        (ec.generate_private_key(ec.SECP521R1()), "EC-P521"),
        (ec.generate_private_key(ec.BrainpoolP256R1()), "EC-brainpoolP256r1"),
        (rsa.generate_private_key(65537, 2048), "RSA-2048"),
    ],
)
def test_the_kinds_of_keys(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, algorithm: str) -> None:
    assert parse_csr(csr_pem(key, STATION)).key_algorithm == algorithm


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ed25519.Ed25519PrivateKey.generate(), "ED25519"),
        (ed448.Ed448PrivateKey.generate(), "ED448"),
        (mldsa.MLDSA44PrivateKey.generate(), "ML-DSA-44"),
        (mldsa.MLDSA65PrivateKey.generate(), "ML-DSA-65"),
        (mldsa.MLDSA87PrivateKey.generate(), "ML-DSA-87"),
    ],
)
def test_the_kinds_of_keys_with_one_signature_of_their_own(key: PrivateKey, algorithm: str) -> None:
    csr = parse_csr(csr_pem(key, STATION, digest=None), max_characters=16000)
    assert csr.key_algorithm == algorithm


def test_a_version_2_request_that_openssl_verifies_is_read(tmp_path: Path) -> None:
    der = raw_csr(new_key(), version=b"\x01")
    (tmp_path / "version2.der").write_bytes(der)
    with pytest.raises(x509.InvalidVersion):
        x509.load_der_x509_csr(der)
    judged = openssl("req", "-inform", "DER", "-in", tmp_path / "version2.der", "-noout", "-verify", "-subject")
    assert "verify OK" in judged
    assert "CN = CP-1" in judged

    csr = parse_csr(der)

    assert csr.version == 2
    assert csr.common_names == ("CP-1",)


def test_our_normal_pem_is_one_that_openssl_reads() -> None:
    csr = parse_csr(raw_csr(new_key(), version=b"\x01"))
    assert "verify OK" in openssl("req", "-noout", "-verify", stdin=csr.pem.encode())


@pytest.mark.parametrize("subject", ["/CN=CP-1", "/C=DE/O=Fleet/CN=CP-1/emailAddress=a@b.example", "/CN=a+OU=b"])
@pytest.mark.parametrize("algorithm", [("ec", "ec_paramgen_curve:P-256"), ("rsa", "rsa_keygen_bits:2048")])
def test_requests_made_by_openssl(tmp_path: Path, subject: str, algorithm: tuple[str, str]) -> None:
    openssl("genpkey", "-algorithm", algorithm[0], "-pkeyopt", algorithm[1], "-out", tmp_path / "key.pem")
    openssl("req", "-new", "-key", tmp_path / "key.pem", "-subj", subject, "-out", tmp_path / "csr.pem")
    said = openssl("req", "-in", tmp_path / "csr.pem", "-noout", "-subject", "-nameopt", "RFC2253")

    csr = parse_csr((tmp_path / "csr.pem").read_text())

    assert said.strip() == f"subject={csr.subject_text}"


@pytest.mark.parametrize(
    "dressed",
    [
        lambda pem: pem.replace("\n", "\r\n"),
        lambda pem: pem.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"),
        lambda pem: f"\n\t  {pem}\r\n \n",
        lambda pem: f"Certificate Request:\n    Data:\n{pem}trailing words\n",
        lambda pem: pem.replace("\n", ""),
        lambda pem: "".join(pem.splitlines()[1:-1]),
        lambda pem: "\n".join(pem.splitlines()[1:-1]),
        lambda pem: pem.encode(),
        lambda pem: b"\xef\xbb\xbf" + pem.encode(),
        lambda pem: base64.b64decode("".join(pem.splitlines()[1:-1])),
    ],
    ids=["crlf", "new", "spaces", "text", "one-line", "base64", "wrapped-base64", "bytes", "mark", "der"],
)
def test_every_armour_of_the_field_gives_the_same_request(dressed: Callable[[str], str | bytes]) -> None:
    pem = csr_pem(new_key(), STATION)
    assert parse_csr(dressed(pem)) == parse_csr(pem)


def test_a_request_without_attributes_is_read() -> None:
    assert parse_csr(raw_csr(new_key(), attributes=b"")).subject_alternative_names == ()


def test_asking_to_be_a_ca_is_seen() -> None:
    constraints = (x509.BasicConstraints(ca=True, path_length=None), True)
    signs = (key_usage(key_cert_sign=True), True)
    assert parse_csr(csr_pem(new_key(), STATION, [constraints])).requests_ca
    assert parse_csr(csr_pem(new_key(), STATION, [signs])).requests_ca


def test_a_second_asking_does_not_hide_behind_the_first() -> None:
    """Two extensionRequest attributes, the second for cA TRUE; a reader of the first only would not see it."""
    client_auth = tlv(0x30, tlv(0x06, bytes.fromhex("2b06010505070302")))
    harmless = tlv(0x30, tlv(0x06, bytes.fromhex("551d25")), tlv(0x04, client_auth))
    dangerous = tlv(0x30, tlv(0x06, bytes.fromhex("551d13")), tlv(0x04, tlv(0x30, b"\x01\x01\xff")))
    asking = [
        tlv(0x30, tlv(0x06, bytes.fromhex("2a864886f70d01090e")), tlv(0x31, tlv(0x30, extension)))
        for extension in (harmless, dangerous)
    ]

    csr = parse_csr(raw_csr(new_key(), attributes=tlv(0xA0, *asking)))

    assert csr.requests_ca
    assert csr.requested_extended_key_usages == ("1.3.6.1.5.5.7.3.2",)


@pytest.mark.parametrize(
    ("general_name", "read"),
    [
        (x509.DNSName("xn--bcher-kva.example"), "DNS:xn--bcher-kva.example"),
        (x509.IPAddress(ipaddress.ip_address("2001:db8::1")), "IP:2001:db8::1"),
        (x509.UniformResourceIdentifier("https://cp.example/a"), "URI:https://cp.example/a"),
        (x509.DirectoryName(name("Somebody")), "DIRNAME:CN=Somebody"),
        (x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x0c\x01x"), "OTHER:1.2.3"),
        (x509.RegisteredID(x509.ObjectIdentifier("1.2.3")), "RID:1.2.3"),
    ],
)
def test_alternative_names_are_read_as_they_are_encoded(general_name: x509.GeneralName, read: str) -> None:
    pem = csr_pem(new_key(), STATION, [(x509.SubjectAlternativeName([general_name]), False)])
    assert parse_csr(pem).subject_alternative_names == (read,)


def test_every_common_name_is_read() -> None:
    subject = tlv(0x30, attribute("550403", 0x0C, b"CP-1"), attribute("550403", 0x13, b"CP-2"))
    assert parse_csr(raw_csr(new_key(), subject=subject)).common_names == ("CP-1", "CP-2")


@pytest.mark.parametrize(
    ("tag", "value"),
    [(0x0C, "ÜB-1".encode()), (0x1E, "ÜB-1".encode("utf-16-be")), (0x14, "ÜB-1".encode("latin-1"))],
    ids=["UTF8String", "BMPString", "T61String"],
)
def test_string_types_do_not_matter_to_a_name(tag: int, value: bytes) -> None:
    assert parse_csr(raw_csr(new_key(), subject=common_name_der(value, tag))).common_names == ("ÜB-1",)


def test_an_empty_subject_is_read_as_one() -> None:
    csr = parse_csr(raw_csr(new_key(), subject=tlv(0x30)))
    assert csr.subject == ()
    assert csr.subject_text == ""


def test_a_weak_signature_is_said_to_be_one(tmp_path: Path) -> None:
    openssl("genpkey", "-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048", "-out", tmp_path / "key.pem")
    for arguments, weak in (
        (("-sha1",), True),
        (("-sha256",), False),
        (("-sha256", "-sigopt", "rsa_padding_mode:pss"), False),
        (("-sha1", "-sigopt", "rsa_padding_mode:pss"), True),
    ):
        openssl("req", "-new", "-key", tmp_path / "key.pem", "-subj", "/CN=a", *arguments, "-out", tmp_path / "csr")
        assert parse_csr((tmp_path / "csr").read_text()).weak_signature is weak


def test_one_key_has_one_digest_in_every_encoding() -> None:
    """A compressed point is the same key: it must not pass the check that no other identity uses it."""
    key = new_key()
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    algorithm = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
    compressed = tlv(0x30, algorithm, tlv(0x03, b"\x00" + point))

    assert parse_csr(raw_csr(key, public_key=compressed)).public_key_sha256 == public_key_sha256(spki(key))


def test_possession_has_to_be_proved() -> None:
    honest, other = new_key(), new_key()
    assert refused(raw_csr(honest, public_key=spki(other))) == "bad_signature"
    changed = bytearray(raw_csr(honest))
    changed[changed.index(b"CP-1") + 3] ^= 0x01
    assert refused(bytes(changed)) == "bad_signature"


def test_sizes_are_bounded() -> None:
    assert refused("A" * 5501) == "too_large"
    assert refused("A" * 5500) != "too_large"
    pem = csr_pem(new_key(), STATION)
    with pytest.raises(CsrError, match=f"{len(pem)} characters; at most {len(pem) - 1}"):
        parse_csr(pem, max_characters=len(pem) - 1)


@pytest.mark.parametrize(
    "text",
    ["", "   ", "hello", b"\xff\xfe", "-----BEGIN CERTIFICATE REQUEST-----", "\x00\x00", "ÄÖÜ", b"\x00" * 40],
)
def test_what_is_not_armour(text: str | bytes) -> None:
    assert refused(text) in {"not_pem", "malformed"}


def test_a_certificate_or_key_is_not_a_request() -> None:
    pem = csr_pem(new_key(), STATION)
    with pytest.raises(CsrError, match="'CERTIFICATE' where 'CERTIFICATE REQUEST'"):
        parse_csr(pem.replace("CERTIFICATE REQUEST", "CERTIFICATE"))


@pytest.mark.parametrize(
    "der",
    [
        raw_csr(new_key())[:-1],
        raw_csr(new_key()) + b"\x00",
        raw_csr(new_key(), version=b"\xff"),
        raw_csr(new_key(), version=b"\x7f" * 500),
        raw_csr(new_key(), subject=common_name_der(b"CP-1\x00.other")),
        raw_csr(new_key(), subject=common_name_der(b"CP-1\ninjected")),
        raw_csr(new_key(), subject=common_name_der(b"\xff\xfe")),
        raw_csr(new_key(), subject=common_name_der(b"\xd8\x00", 0x1E)),
        raw_csr(new_key(), attributes=tlv(0xA0, b"\x30\x80" * 400)),
        b"\x30\x80" * 2000,
        b"\x30\x84\xff\xff\xff\xff",
        tlv(0x30),
        tlv(0x30, tlv(0x30), tlv(0x30), tlv(0x03)),
    ],
    ids=[
        "truncated",
        "trailing",
        "negative-version",
        "huge-version",
        "null-in-name",
        "newline-in-name",
        "bad-utf8",
        "lone-surrogate",
        "nested-attributes",
        "deep",
        "long-length",
        "empty",
        "hollow",
    ],
)
def test_malformed_requests(der: bytes) -> None:
    assert refused(der) == "malformed"


def test_a_repeated_extension_is_malformed() -> None:
    constraints = tlv(0x30, tlv(0x06, bytes.fromhex("551d13")), tlv(0x04, tlv(0x30)))
    asking = tlv(0x30, tlv(0x06, bytes.fromhex("2a864886f70d01090e")), tlv(0x31, tlv(0x30, constraints, constraints)))
    assert refused(raw_csr(new_key(), attributes=tlv(0xA0, asking))) == "malformed"


def rsa_spki(modulus_octets: int, exponent: bytes) -> bytes:
    numbers = tlv(0x30, tlv(0x02, b"\x00" + b"\xff" * modulus_octets), tlv(0x02, exponent))
    return tlv(0x30, bytes.fromhex("300d06092a864886f70d0101010500"), tlv(0x03, b"\x00" + numbers))


@pytest.mark.parametrize(
    ("public_key", "because"),
    [
        (rsa_spki(16384 // 8, b"\x01\x00\x01"), "RSA with 16384 bits"),
        (rsa_spki(256, b"\x00" + b"\xff" * 256), "a public exponent of 2048 bits"),
        (tlv(0x30, tlv(0x30, bytes.fromhex("06032b656e")), tlv(0x03, b"\x00" + b"\x07" * 32)), "cannot sign"),
        (tlv(0x30, tlv(0x30, bytes.fromhex("06032a0304")), tlv(0x03, b"\x00\x01")), "cannot be read"),
    ],
    ids=["RSA-16384", "huge-exponent", "X25519", "unknown"],
)
def test_keys_that_nobody_verifies_with(public_key: bytes, because: str) -> None:
    with pytest.raises(CsrError, match=because) as caught:
        parse_csr(raw_csr(new_key(), public_key=public_key))
    assert caught.value.code == "unsupported_key"
