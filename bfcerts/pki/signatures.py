"""Verification of a signature over raw bytes, by the algorithm identifier that stands beside it.

Used where the signed structure must not be read by a stricter parser first: version 2 CSRs, and certificates
that cryptography refuses. RFC 4055, RFC 5758, RFC 8410, RFC 9881.
"""

from types import MappingProxyType

from asn1crypto import algos
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from bfcerts.pki.keys import SigningPublicKey, key_algorithm_name

_RSA_PSS = "1.2.840.113549.1.1.10"
_RSA = MappingProxyType(
    {
        "1.2.840.113549.1.1.4": hashes.MD5(),  # noqa: S303  # only to verify what devices send; see is_weak
        "1.2.840.113549.1.1.5": hashes.SHA1(),  # noqa: S303  # only to verify what devices send; see is_weak
        "1.2.840.113549.1.1.14": hashes.SHA224(),
        "1.2.840.113549.1.1.11": hashes.SHA256(),
        "1.2.840.113549.1.1.12": hashes.SHA384(),
        "1.2.840.113549.1.1.13": hashes.SHA512(),
    }
)
_ECDSA = MappingProxyType(
    {
        "1.2.840.10045.4.1": hashes.SHA1(),  # noqa: S303  # only to verify what devices send; see is_weak
        "1.2.840.10045.4.3.1": hashes.SHA224(),
        "1.2.840.10045.4.3.2": hashes.SHA256(),
        "1.2.840.10045.4.3.3": hashes.SHA384(),
        "1.2.840.10045.4.3.4": hashes.SHA512(),
    }
)
_PSS_HASHES = MappingProxyType(
    {
        "sha1": hashes.SHA1(),  # noqa: S303  # only to verify what devices send; see is_weak
        "sha224": hashes.SHA224(),
        "sha256": hashes.SHA256(),
        "sha384": hashes.SHA384(),
        "sha512": hashes.SHA512(),
    }
)
# Kinds of keys with one algorithm of signature, which bears the name of the key.
_PURE = MappingProxyType(
    {
        "ED25519": "1.3.101.112",
        "ED448": "1.3.101.113",
        "ML-DSA-44": "2.16.840.1.101.3.4.3.17",
        "ML-DSA-65": "2.16.840.1.101.3.4.3.18",
        "ML-DSA-87": "2.16.840.1.101.3.4.3.19",
    }
)
# No salt is longer than the largest RSA key that is read.
_LONGEST_SALT = 1024


def is_valid(key: SigningPublicKey, algorithm: algos.SignedDigestAlgorithm, signature: bytes, data: bytes) -> bool:
    """Whether `signature` over `data` was made by `key` with `algorithm`; False too where they do not fit."""
    try:
        if isinstance(key, rsa.RSAPublicKey):
            return _verify_rsa(key, algorithm, signature, data)
        if isinstance(key, ec.EllipticCurvePublicKey):
            digest = _ECDSA.get(str(algorithm["algorithm"].dotted))
            if digest is None:
                return False
            key.verify(signature, data, ec.ECDSA(digest))
            return True
        if str(algorithm["algorithm"].dotted) != _PURE[key_algorithm_name(key)]:
            return False
        key.verify(signature, data)
    except (InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def is_weak(algorithm: algos.SignedDigestAlgorithm) -> bool:
    """Whether the signature rests on MD5 or SHA-1, whose collisions can be bought."""
    dotted = str(algorithm["algorithm"].dotted)
    if dotted == _RSA_PSS:
        return str(algorithm["parameters"]["hash_algorithm"]["algorithm"].native) == "sha1"
    digest = _RSA.get(dotted) or _ECDSA.get(dotted)
    return isinstance(digest, hashes.MD5 | hashes.SHA1)


def _verify_rsa(key: rsa.RSAPublicKey, algorithm: algos.SignedDigestAlgorithm, signature: bytes, data: bytes) -> bool:
    dotted = str(algorithm["algorithm"].dotted)
    if dotted == _RSA_PSS:
        parameters = algorithm["parameters"]
        digest = _PSS_HASHES.get(str(parameters["hash_algorithm"]["algorithm"].native))
        mask = parameters["mask_gen_algorithm"]
        mask_digest = _PSS_HASHES.get(str(mask["parameters"]["algorithm"].native))
        salt = int(parameters["salt_length"].native)
        if digest is None or mask_digest is None or not 0 <= salt <= _LONGEST_SALT:
            return False
        key.verify(signature, data, padding.PSS(padding.MGF1(mask_digest), salt), digest)
        return True
    digest = _RSA.get(dotted)
    if digest is None:
        return False
    key.verify(signature, data, padding.PKCS1v15(), digest)
    return True
