"""Certificates of the field."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from bfcerts.pki import pem
from bfcerts.pki.certificates import (
    CertificateError,
    normalise_serial,
    parse_certificate,
    split_chain,
)
from tests.pki.material import NOW, Issuer, certificate, name, new_key, spki, tlv, with_default_spelt_out
from tests.pki.openssl import openssl

POOL = Path(__file__).parents[3] / "shared" / "data" / "opcp-certificates"


def test_everything_that_the_inventory_records_is_read() -> None:
    root = Issuer("Root")
    key = new_key()
    leaf = root.issue("CP-1", key=key, extensions=[(x509.SubjectAlternativeName([x509.DNSName("cp.example")]), False)])

    assert leaf.certificate is not None
    assert leaf.fingerprint_sha256 == leaf.certificate.fingerprint(hashes.SHA256()).hex()
    assert leaf.serial_hex == f"{leaf.certificate.serial_number:x}"
    assert leaf.subject_text == "CN=CP-1"
    assert leaf.issuer_text == "CN=Root"
    assert leaf.issuer_sha256 == hashlib.sha256(root.name.public_bytes()).hexdigest()
    assert leaf.common_names == ("CP-1",)
    assert (leaf.not_before, leaf.not_after) == (
        leaf.certificate.not_valid_before_utc,
        leaf.certificate.not_valid_after_utc,
    )
    assert leaf.not_after.tzinfo is UTC
    assert leaf.public_key_sha256 == hashlib.sha256(spki(key)).hexdigest()
    assert leaf.key_algorithm == "EC-P256"
    assert leaf.extended_key_usages == ("1.3.6.1.5.5.7.3.2",)
    assert leaf.subject_alternative_names == ("DNS:cp.example",)
    assert not leaf.is_ca
    assert not leaf.self_issued
    assert root.certificate.is_ca
    assert root.certificate.self_issued
    assert root.certificate.path_length is None
    assert root.certificate.key_usages == frozenset({"key_cert_sign", "crl_sign"})


def test_pem_and_der_are_the_same_certificate() -> None:
    leaf = Issuer("Root").issue()
    assert parse_certificate(leaf.pem) == parse_certificate(leaf.der) == leaf
    assert parse_certificate(f"subject=CN = CP-1\n{leaf.pem}") == leaf
    printed = openssl("x509", "-noout", "-serial", stdin=leaf.pem.encode()).strip().removeprefix("serial=")
    assert leaf.serial_hex == normalise_serial(printed)


def test_an_explicitly_encoded_default_is_read_though_cryptography_refuses_it() -> None:
    """As in the CPS leaves of a real pool: basic constraints that spell out cA FALSE."""
    leaf = Issuer("Root").issue(extensions=[(x509.BasicConstraints(ca=False, path_length=None), False)])
    der = with_default_spelt_out(leaf.der)
    with pytest.raises(ValueError, match="EncodedDefault"):
        x509.load_der_x509_certificate(der).extensions  # noqa: B018  # reading it is what raises

    read = parse_certificate(der)

    assert read.certificate is None
    assert not read.is_ca
    assert read.common_names == ("CP-1",)


def test_the_certificates_of_a_real_pool_are_read() -> None:
    if not POOL.is_dir():
        return
    found = {path.stem: parse_certificate(path.read_text()) for path in POOL.glob("*.pem")}

    root = found["PnC-OEM-RootCA-2021"]
    assert root.serial_hex == "3"
    assert root.not_before == datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
    assert root.not_after == datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    assert found["CPS_2022.2_QA"].certificate is None
    assert found["CPS_2022.2_QA"].subject_text == "DC=CPS,CN=CPS 2022.2 QA,O=Hubject GmbH,C=EU"
    assert all(one.key_algorithm == "EC-P256" for one in found.values())


def test_a_chain_is_split_and_normalised() -> None:
    root = Issuer("Root")
    leaf = root.issue()
    stacked = f"subject=leaf\n{leaf.pem}\r\nissuer=root\r\n{root.certificate.pem.replace(chr(10), chr(13) + chr(10))}"
    assert split_chain(stacked) == [leaf.pem, root.certificate.pem]


@pytest.mark.parametrize("text", ["", "nothing here", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----"])
def test_what_is_no_chain(text: str) -> None:
    with pytest.raises(CertificateError) as caught:
        split_chain(text)
    assert caught.value.code == "not_pem"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("A" * 70_000, "too_large"),
        ("not a certificate!", "not_pem"),
        (pem.encode(tlv(0x30, tlv(0x02, b"\x01")), "CERTIFICATE"), "malformed"),
        (b"\x30\x80" * 3000, "malformed"),
    ],
)
def test_what_is_no_certificate(text: str | bytes, code: str) -> None:
    with pytest.raises(CertificateError) as caught:
        parse_certificate(text)
    assert caught.value.code == code


def test_a_key_of_unknown_kind_is_shown_and_not_refused() -> None:
    leaf = Issuer("Root").issue()
    unknown = leaf.der.replace(bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d027f"))
    assert parse_certificate(unknown).key_algorithm == "UNKNOWN-1.2.840.10045.2.127"


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        (0, "0"),
        (255, "ff"),
        (-1, "ff"),
        (-128, "80"),
        (-129, "ff7f"),
        ("0x00FF", "ff"),
        ("0X1a", "1a"),
        ("00:AB:cd", "abcd"),
        (" 0A BC ", "abc"),
        ("000", "0"),
        ("7F" * 20, "7f" * 20),
    ],
)
def test_serials_have_one_form(value: int | str, normal: str) -> None:
    assert normalise_serial(value) == normal


@pytest.mark.parametrize("value", ["", "0x", "xyz", "12 g", "-5"])
def test_what_is_no_serial(value: str) -> None:
    with pytest.raises(CertificateError) as caught:
        normalise_serial(value)
    assert caught.value.code == "bad_serial"


def test_a_certificate_is_signed_by_the_key_and_not_by_the_name() -> None:
    root, impostor = Issuer("Root"), Issuer("Root")
    leaf = root.issue()
    assert leaf.signed_by(root.certificate)
    assert not leaf.signed_by(impostor.certificate)
    renamed = certificate(root.key, name("Other"), name("Other"), root.key, not_after=NOW, extensions=[])
    assert not leaf.signed_by(renamed)
