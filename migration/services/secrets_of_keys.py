"""The secrets themselves: how they are made, which of their forms are the same, and how they are stored."""

import binascii
import contextlib
import hashlib
import hmac
import secrets
import string
from typing import Final

from django.conf import settings

from inventory.errors import InvalidInputError

SHORTEST, LONGEST = 16, 40
"""Characters of a BasicAuthPassword (OCPP 2.0.1 A00.FR.205); 1.6 has 16 to 20 bytes, as hex up to 40 digits."""
LENGTH: Final = 20
"""Of a generated key: the most that OCPP 1.6 takes, and enough for every other version: 119 bits."""
ALPHABET: Final = string.ascii_letters + string.digits
"""Printable, the same in every encoding, and nothing that HTTP Basic or a configuration file gives a meaning to."""


def generate() -> str:
    """A new key that every station reads alike: 20 letters and digits, some of them no hexadecimal digits.

    A station that decodes hexadecimal only where all bytes are printable and one that always takes the raw bytes both
    end up with a form of it that the door knows (conformance 9).
    """
    while True:
        key = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
        if not set(key) <= set(string.hexdigits):
            return key


def digest(secret: bytes) -> str:
    """The stored form of a secret."""
    return hmac.new(settings.CONFIGURATION.credential_secret(), secret, hashlib.sha256).hexdigest()


def accepted_forms(password: bytes) -> list[bytes]:
    """What a station may mean: the bytes as sent, or the bytes whose hex it was given (conformance 9)."""
    forms = [password, password.hex().encode(), password.hex().upper().encode()]
    with contextlib.suppress(binascii.Error, ValueError):
        forms.append(binascii.unhexlify(password))
    return forms


def checked(secret: str) -> str:
    """A secret that was given, as it can be used.

    :raises InvalidInputError: without the secret in it.
    """
    if not SHORTEST <= len(secret) <= LONGEST or not secret.isascii() or not secret.isprintable():
        raise InvalidInputError(f"An AuthorizationKey has {SHORTEST} to {LONGEST} printable ASCII characters.")
    return secret


def digest_of(secret: str) -> str:
    """The digest under which a given secret is stored, the same for a key and for the hexadecimal form of its bytes.

    So a key that two chargers share is found also where one of them was recorded in the other form.
    """
    with contextlib.suppress(ValueError, UnicodeDecodeError):
        plain = bytes.fromhex(secret).decode("ascii") if " " not in secret else ""
        if len(plain) >= SHORTEST and plain.isprintable():
            return digest(plain.encode())
    return digest(secret.encode())
