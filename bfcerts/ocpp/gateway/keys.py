"""Keys of the gateway: the two that come from the configuration, and the private keys of its own listeners."""

import os
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)
from cryptography.x509.oid import NameOID

from bfcerts.configuration import Configuration, ConfigurationError
from bfcerts.ocpp.gateway.tls import ServerKey
from bfcerts.stored_secrets import stored_secret

NONCE_BYTES: Final = 12
LONGEST_COMMON_NAME: Final = 64
_PURPOSE: Final = b"bfcerts listener private key v1"


class ListenerKeyError(Exception):
    """A listener's private key cannot be read: it was encrypted under another gateway key, or it was changed."""


def gateway_key(configuration: Configuration) -> bytes:
    """What encrypts the listeners' private keys.

    :raises ConfigurationError: when a production installation lacks it.
    """
    if configuration.gateway_key:
        return configuration.gateway_key.get_secret_value().encode()
    if not configuration.embedded_database:
        raise ConfigurationError(
            "the gateway needs BFCERTS_GATEWAY_KEY with DATABASE_URL; set it to 50 random characters, the same on all "
            "gateway nodes"
        )
    return stored_secret(configuration.var_directory, "gateway_key").encode()


def make_key(key_type: str) -> ServerKey:
    """A new key pair: P-256 for `ecdsa`, RSA-2048 for `rsa` (A00.FR.501-506)."""
    if key_type == "ecdsa":
        return ec.generate_private_key(ec.SECP256R1())
    if key_type == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    raise ValueError(f"a listener key is ecdsa or rsa, not {key_type}")


def make_request(key: ServerKey, host: str) -> str:
    """The certificate signing request: the host is SAN, and CN as far as it fits there (A00.FR.510)."""
    common_name = [x509.NameAttribute(NameOID.COMMON_NAME, host)] if len(host) <= LONGEST_COMMON_NAME else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(common_name))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def public_key_sha256(holder: ServerKey | x509.Certificate) -> str:
    """SHA-256 over the SubjectPublicKeyInfo of a key or a certificate, lower-case hex."""
    public_key = holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha256(public_key).hexdigest()


def _cipher(secret: bytes) -> AESGCM:
    return AESGCM(HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=_PURPOSE).derive(secret))


def _bound_to(host: str, key_type: str, reference: str) -> bytes:
    return "\n".join((host, key_type, reference)).encode()


def encrypt(key: ServerKey, secret: bytes, *, host: str, key_type: str, reference: str) -> bytes:
    """The private key as the database may hold it, bound to the row that it is for."""
    nonce = os.urandom(NONCE_BYTES)
    plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return nonce + _cipher(secret).encrypt(nonce, plain, _bound_to(host, key_type, reference))


def decrypt(encrypted: bytes, secret: bytes, *, host: str, key_type: str, reference: str) -> ServerKey:
    """
    :raises ListenerKeyError: under another key, for another row, or when a bit was changed.
    """
    try:
        plain = _cipher(secret).decrypt(
            encrypted[:NONCE_BYTES], encrypted[NONCE_BYTES:], _bound_to(host, key_type, reference)
        )
    except (InvalidTag, ValueError):
        raise ListenerKeyError(
            f"the {key_type} key of {host} cannot be decrypted; check that all gateway nodes share BFCERTS_GATEWAY_KEY"
        ) from None
    key = load_der_private_key(plain, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ListenerKeyError(f"the {key_type} key of {host} is of a kind that no listener uses")
    return key
