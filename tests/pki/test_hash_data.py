"""OCPP's way to name an installed certificate, judged by openssl and by an independent OCSP request."""

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp

from bfcerts.pki.certificates import CertificateError, parse_certificate
from bfcerts.pki.hash_data import LONGEST_SERIAL, certificate_hash_data, same_hash_data, spellings
from tests.pki.material import Issuer
from tests.pki.openssl import openssl


@pytest.mark.parametrize(
    ("algorithm", "digest"), [("SHA256", hashes.SHA256()), ("SHA384", hashes.SHA384()), ("SHA512", hashes.SHA512())]
)
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_hash_data_is_what_ocsp_asks_with(
    algorithm: str, digest: hashes.SHA256 | hashes.SHA384 | hashes.SHA512, kind: str
) -> None:
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP384R1())
    root = Issuer("Root", key=key)
    leaf = root.issue(serial=0x0ABC)
    assert leaf.certificate is not None
    assert root.certificate.certificate is not None
    asked = ocsp.OCSPRequestBuilder().add_certificate(leaf.certificate, root.certificate.certificate, digest).build()

    assert certificate_hash_data(leaf, root.certificate, algorithm) == {
        "hashAlgorithm": algorithm,
        "issuerNameHash": asked.issuer_name_hash.hex(),
        "issuerKeyHash": asked.issuer_key_hash.hex(),
        "serialNumber": "abc",
    }


def test_hash_data_of_a_root_names_itself() -> None:
    root = Issuer("Root").certificate
    data = certificate_hash_data(root, root, "SHA256")
    assert data["issuerNameHash"] == hashlib.sha256(root.subject_der).hexdigest()


def test_only_the_hashes_of_ocpp() -> None:
    root = Issuer("Root").certificate
    with pytest.raises(CertificateError, match="SHA256, SHA384, SHA512"):
        certificate_hash_data(root, root, "MD5")


def test_hash_data_is_compared_as_stations_report_it() -> None:
    root = Issuer("Root")
    ours = certificate_hash_data(root.issue(serial=0x0ABC), root.certificate, "SHA256")
    reported = {**ours, "issuerNameHash": ours["issuerNameHash"].upper(), "serialNumber": "0ABC"}
    assert same_hash_data(ours, reported)
    assert not same_hash_data(ours, {**ours, "serialNumber": "abd"})
    assert not same_hash_data(ours, {**ours, "issuerKeyHash": "00" * 32})
    assert not same_hash_data(ours, {**ours, "hashAlgorithm": "SHA384"})
    assert not same_hash_data(ours, {**ours, "serialNumber": "not hexadecimal"})
    assert not same_hash_data(ours, {})


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA384", "SHA512"])
def test_openssl_computes_the_same_hashes(tmp_path: Path, algorithm: str) -> None:
    root = Issuer("Root").certificate
    file = tmp_path / "root.pem"
    file.write_text(root.pem)
    request = tmp_path / "request.der"

    openssl("ocsp", f"-{algorithm.lower()}", "-issuer", str(file), "-cert", str(file), "-reqout", str(request))
    asked = ocsp.load_der_ocsp_request(request.read_bytes())

    ours = certificate_hash_data(root, root, algorithm)
    assert ours["issuerNameHash"] == asked.issuer_name_hash.hex()
    assert ours["issuerKeyHash"] == asked.issuer_key_hash.hex()
    assert int(ours["serialNumber"], 16) == asked.serial_number


KNOWN_ROOT = """-----BEGIN CERTIFICATE-----
MIIBtjCCAVugAwIBAgITBmyf1XSXNmY/Owua2eiedgPySjAKBggqhkjOPQQDAjA5
MQswCQYDVQQGEwJVUzEPMA0GA1UEChMGQW1hem9uMRkwFwYDVQQDExBBbWF6b24g
Um9vdCBDQSAzMB4XDTE1MDUyNjAwMDAwMFoXDTQwMDUyNjAwMDAwMFowOTELMAkG
A1UEBhMCVVMxDzANBgNVBAoTBkFtYXpvbjEZMBcGA1UEAxMQQW1hem9uIFJvb3Qg
Q0EgMzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABCmXp8ZBf8ANm+gBG1bG8lKl
ui2yEujSLtf6ycXYqm0fc4E7O5hrOXwzpcVOho6AF2hiRVd9RFgdszflZwjrZt6j
QjBAMA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgGGMB0GA1UdDgQWBBSr
ttvXBp43rDCGB5Fwx5zEGbF4wDAKBggqhkjOPQQDAgNJADBGAiEA4IWSoxe3jfkr
BqWTrBqYaGFy+uGh0PsceGCmQ5nFuMQCIQCcAu/xlJyzlvnrxir4tiz+OpAUFteM
YyRIHN8wfdVoOw==
-----END CERTIFICATE-----
"""


def test_hash_data_of_a_known_root() -> None:
    """Its subject key identifier is the SHA-1 over the same octets that issuerKeyHash is over (RFC 5280 §4.2.1.2)."""
    root = parse_certificate(KNOWN_ROOT)
    assert root.certificate is not None
    point = root.certificate.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    assert hashlib.sha1(point, usedforsecurity=False).hexdigest() == "abb6dbd7069e37ac3086079170c79cc419b178c0"
    assert certificate_hash_data(root, root, "SHA256") == {
        "hashAlgorithm": "SHA256",
        "issuerNameHash": hashlib.sha256(root.subject_der).hexdigest(),
        "issuerKeyHash": hashlib.sha256(point).hexdigest(),
        "serialNumber": "66c9fd5749736663f3b0b9ad9e89e7603f24a",
    }


def test_a_certificate_is_deleted_by_the_very_words_of_the_station_first() -> None:
    """Conformance 8: one finds nothing when asked with the bare serial, another nothing with padding."""
    reported = {"hashAlgorithm": "SHA384", "issuerNameHash": "AB", "issuerKeyHash": "cd", "serialNumber": "ABC"}

    tried = list(spellings(reported))

    assert tried[0] == reported
    assert [one["serialNumber"] for one in tried] == ["ABC", "0abc", "0ABC", "abc"]
    assert all({**one, "serialNumber": ""} == {**reported, "serialNumber": ""} for one in tried)


def test_a_serial_whose_first_bit_is_set_is_also_asked_for_with_its_leading_octet() -> None:
    reported = {"hashAlgorithm": "SHA256", "issuerNameHash": "ab", "issuerKeyHash": "cd", "serialNumber": "9f01"}

    assert "009f01" in [one["serialNumber"] for one in spellings(reported)]


def test_no_spelling_is_longer_than_the_protocol_allows() -> None:
    serial = "f" * LONGEST_SERIAL
    reported = {"hashAlgorithm": "SHA256", "issuerNameHash": "ab", "issuerKeyHash": "cd", "serialNumber": serial}

    assert [one["serialNumber"] for one in spellings(reported)] == [serial, serial.upper()]
