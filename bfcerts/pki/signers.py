"""Who signs OCSP answers and CRLs: a private key in memory, or one that stays where it is, as in a PKCS #11 token."""

from types import MappingProxyType
from typing import Final, Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

_OF_CURVE: Final = MappingProxyType(
    {
        "secp256r1": ("sha256_ecdsa", hashes.SHA256()),
        "secp384r1": ("sha384_ecdsa", hashes.SHA384()),
        "secp521r1": ("sha512_ecdsa", hashes.SHA512()),
    }
)


class Signer(Protocol):
    """A private key that is asked for signatures and never shown."""

    @property
    def algorithm(self) -> str:
        """What its signatures are made with, in asn1crypto's words: "sha256_ecdsa", "sha256_rsa", "ed448"."""

    def sign(self, data: bytes) -> bytes:
        """The signature over `data`, encoded as X.509 has it (RFC 3279, RFC 8410)."""


class KeySigner:
    """A `Signer` with its key in memory.

    :raises ValueError: for a key on a curve that no PKI of the domain uses.
    """

    def __init__(self, key: SigningKey) -> None:
        if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name not in _OF_CURVE:
            raise ValueError(f"nothing here signs with a key on {key.curve.name}")
        self._key = key

    @property
    def algorithm(self) -> str:
        match self._key:
            case ec.EllipticCurvePrivateKey():
                return _OF_CURVE[self._key.curve.name][0]
            case rsa.RSAPrivateKey():
                return "sha256_rsa"
            case ed25519.Ed25519PrivateKey():
                return "ed25519"
            case _:
                return "ed448"

    def sign(self, data: bytes) -> bytes:
        match self._key:
            case ec.EllipticCurvePrivateKey():
                return self._key.sign(data, ec.ECDSA(_OF_CURVE[self._key.curve.name][1]))
            case rsa.RSAPrivateKey():
                return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())
            case _:
                return self._key.sign(data)
