"""Names and digests of public keys, and the bounds within which a foreign one is touched at all."""

import hashlib
from types import MappingProxyType
from typing import Any

from asn1crypto import core
from asn1crypto.keys import RSAPublicKey as RsaNumbers
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

SigningPublicKey = (
    ec.EllipticCurvePublicKey
    | rsa.RSAPublicKey
    | ed25519.Ed25519PublicKey
    | ed448.Ed448PublicKey
    | mldsa.MLDSA44PublicKey
    | mldsa.MLDSA65PublicKey
    | mldsa.MLDSA87PublicKey
)

# RSA beyond this costs milliseconds for each request of a stranger, and no device in the field uses it.
LARGEST_RSA_BITS = 8192
LARGEST_RSA_EXPONENT_BITS = 32
SMALLEST_RSA_EXPONENT = 65537
"""NIST SP 800-56B §6.2 for keys that are new; certificates of the field with smaller ones are read all the same."""

_CURVES = MappingProxyType({"secp224r1": "P224", "secp256r1": "P256", "secp384r1": "P384", "secp521r1": "P521"})


_RSA = frozenset({"1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10"})


class _Algorithm(core.Sequence):
    _fields = [("algorithm", core.ObjectIdentifier), ("parameters", core.Any, {"optional": True})]


class SubjectPublicKeyInfo(core.Sequence):
    """RFC 5280 §4.1.2.7 for a key of any kind; asn1crypto's own reads no kind that it does not know."""

    _fields = [("algorithm", _Algorithm), ("public_key", core.OctetBitString)]


class UnsupportedKeyError(ValueError):
    """A public key of a kind or size that nothing here verifies with; the message names it."""


def load_public_key(der: bytes) -> SigningPublicKey:
    """A public key from its SubjectPublicKeyInfo, its size bounded before any arithmetic is done with it.

    :raises UnsupportedKeyError: for keys that cannot sign, of unknown kind, or out of bounds.
    """
    info = SubjectPublicKeyInfo.load(der, strict=True)
    if info["algorithm"]["algorithm"].dotted in _RSA:
        numbers = RsaNumbers.load(bytes(info["public_key"]), strict=True)
        bits = int(numbers["modulus"].native).bit_length()
        exponent_bits = int(numbers["public_exponent"].native).bit_length()
        if bits > LARGEST_RSA_BITS:
            raise UnsupportedKeyError(f"RSA with {bits} bits; at most {LARGEST_RSA_BITS} are read")
        if exponent_bits > LARGEST_RSA_EXPONENT_BITS:
            raise UnsupportedKeyError(f"RSA with a public exponent of {exponent_bits} bits")
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        raise UnsupportedKeyError("a public key that cannot be read") from None
    if not isinstance(key, SigningPublicKey):
        raise UnsupportedKeyError(f"a public key that cannot sign ({type(key).__name__})")
    return key


def encode_public_key(public_key: Any) -> bytes:
    """The SubjectPublicKeyInfo in DER, in one encoding whatever form the key came in."""
    encoded: bytes = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def key_algorithm_name(public_key: object) -> str:
    """The inventory's name of a key's kind: "EC-P256", "RSA-2048", "ED25519", "ED448", "ML-DSA-44", …"""
    match public_key:
        case ec.EllipticCurvePublicKey():
            return f"EC-{_CURVES.get(public_key.curve.name, public_key.curve.name)}"
        case rsa.RSAPublicKey():
            return f"RSA-{public_key.key_size}"
        case ed25519.Ed25519PublicKey():
            return "ED25519"
        case ed448.Ed448PublicKey():
            return "ED448"
        case mldsa.MLDSA44PublicKey():
            return "ML-DSA-44"
        case mldsa.MLDSA65PublicKey():
            return "ML-DSA-65"
        case mldsa.MLDSA87PublicKey():
            return "ML-DSA-87"
        case _:
            return f"UNKNOWN-{type(public_key).__name__}"


def weak_rsa_exponent(public_key: object) -> int | None:
    """The public exponent of an RSA key that no new key should have: even, or below 65537; None where it is sound."""
    if not isinstance(public_key, rsa.RSAPublicKey):
        return None
    exponent = public_key.public_numbers().e
    return exponent if exponent < SMALLEST_RSA_EXPONENT or exponent % 2 == 0 else None


def public_key_sha256(public_key_der: bytes) -> str:
    """Lower-case hex SHA-256 of a SubjectPublicKeyInfo in DER: how the inventory tells keys apart."""
    return hashlib.sha256(public_key_der).hexdigest()
