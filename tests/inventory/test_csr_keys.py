"""Keys and signatures of certificate signing requests: which are allowed, and whose a key is."""

from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from bfcerts.pki.keys import weak_rsa_exponent
from bfcerts.pki.pem import encode
from inventory.errors import CsrRejectedError
from inventory.models import (
    LifecyclePolicy,
    PublicKeyOwner,
)
from inventory.purposes import purpose
from inventory.services.csr_policy import check_csr, claim_public_key
from tests.inventory.csr_checks import check, rule_of
from tests.pki.material import attribute, raw_csr, tlv
from tests.pki.openssl import openssl
from tests.support import charger, new_key, request_for

pytestmark = pytest.mark.django_db


# -- keys and signatures ---------------------------------------------------------------------------------------------


def csr_with(key: Any, digest: Any) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CS-1")])
    )
    return builder.sign(key, digest).public_bytes(serialization.Encoding.PEM).decode()


def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@pytest.mark.parametrize(
    ("key", "digest", "named"),
    [
        (rsa_key(1024), hashes.SHA256(), "RSA-1024"),
        (ec.generate_private_key(ec.SECP224R1()), hashes.SHA256(), "EC-P224"),
        (ec.generate_private_key(ec.SECP521R1()), hashes.SHA256(), "EC-P521"),
        (ec.generate_private_key(ec.SECP256K1()), hashes.SHA256(), "EC-secp256k1"),
        (ed25519.Ed25519PrivateKey.generate(), None, "ED25519"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_keys_that_the_policy_does_not_allow(key: Any, digest: hashes.HashAlgorithm | None, named: str) -> None:
    with pytest.raises(
        CsrRejectedError, match=f"key is {named}; the policy “Charger identity, default” allows"
    ) as error:
        check(csr_with(key, digest), charger("CS-1"))
    assert error.value.reason_code == "key_not_allowed"


@pytest.mark.parametrize(
    "key",
    [new_key(), ec.generate_private_key(ec.SECP384R1()), rsa_key(2048), rsa_key(3072)],
    ids=["P-256", "P-384", "RSA-2048", "RSA-3072"],
)
def test_keys_that_the_policy_allows(key: Any) -> None:
    assert check(csr_with(key, hashes.SHA256()), charger("CS-1")).bound_by == "charge point id"


def test_the_policy_decides_which_keys_are_allowed() -> None:
    narrow = LifecyclePolicy(name="Curves only", purpose="charger_identity", allowed_key_algorithms=["EC-P256"])

    with pytest.raises(CsrRejectedError, match="RSA-2048; the policy “Curves only” allows EC-P256"):
        check_csr(
            csr_with(rsa_key(2048), hashes.SHA256()),
            identity=charger("CS-1"),
            purpose=purpose("charger_identity"),
            policy=narrow,
        )


def test_a_small_public_exponent_is_refused_with_its_reason() -> None:
    key = rsa.generate_private_key(public_exponent=3, key_size=2048)

    with pytest.raises(CsrRejectedError) as refusal:
        check(request_for("CS-1", key), charger("CS-1"))

    assert (refusal.value.reason_code, str(refusal.value)) == (
        "weak_exponent",
        "The request's RSA key has the public exponent 3; make a key with 65537.",
    )


@pytest.mark.parametrize(("exponent", "weak"), [(3, True), (65535, True), (65537, False), (65539, False)])
def test_public_exponents_begin_at_65537(exponent: int, weak: bool) -> None:
    modulus = rsa_key(2048).public_key().public_numbers().n
    key = rsa.RSAPublicNumbers(exponent, modulus).public_key()

    assert weak_rsa_exponent(key) == (exponent if weak else None)
    assert weak_rsa_exponent(new_key().public_key()) is None


def test_a_broken_digest_is_refused(tmp_path: Path) -> None:
    key, csr = tmp_path / "key.pem", tmp_path / "csr.pem"
    openssl("genpkey", "-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key)
    openssl("req", "-new", "-key", key, "-subj", "/CN=CS-1", "-sha1", "-out", csr)

    assert rule_of(csr.read_text(), charger("CS-1")) == "weak_signature"


def test_a_request_that_does_not_prove_possession_is_refused() -> None:
    der = bytearray(raw_csr(new_key(), subject=tlv(0x30, attribute("550403", 0x0C, b"CS-1"))))
    der[-1] ^= 1

    assert rule_of(encode(bytes(der), "CERTIFICATE REQUEST"), charger("CS-1")) in ("bad_signature", "malformed")


def test_a_version_2_request_that_openssl_reads_is_accepted() -> None:
    der = raw_csr(new_key(), version=b"\x01", subject=tlv(0x30, attribute("550403", 0x0C, b"CS-1")))

    assert check(encode(der, "CERTIFICATE REQUEST"), charger("CS-1")).csr.version == 2


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "not_pem"),
        ("hello", "not_pem"),
        ("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "malformed"),
        ("-----BEGIN CERTIFICATE REQUEST-----\n" + "A" * 5500, "too_large"),
        ("\x00" * 100, "not_pem"),
    ],
)
def test_what_is_no_request_at_all(text: str, rule: str) -> None:
    assert rule_of(text, charger("CS-1")) == rule


def test_a_good_request_of_more_than_5500_characters_is_refused() -> None:
    assert rule_of(request_for("CS-1") + "\n" * 5500, charger("CS-1")) == "too_large"


# -- whose key it is -------------------------------------------------------------------------------------------------


def test_a_key_belongs_to_the_first_that_used_it_for_ever() -> None:
    first, second = charger("CS-1"), charger("CS-2")
    claim_public_key("ab" * 32, first)
    claim_public_key("ab" * 32, first)

    with pytest.raises(CsrRejectedError, match="used by another identity \\(CS-1\\)") as refusal:
        claim_public_key("ab" * 32, second)
    assert refusal.value.reason_code == "key_of_another_identity"
    assert PublicKeyOwner.objects.get().identity == first
