"""Values of a command that only the gateway may read: encrypted in the outbox, merged in just before sending."""

import json
import os
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bfcerts.ocpp.canonical import Payload

NONCE_BYTES = 12
_PURPOSE = b"bfcerts outbox secret payload v1"


class SecretPayloadError(Exception):
    """A secret payload cannot be read: it was sealed under another key, or it was changed."""


def _cipher(key: bytes) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(key))


def seal(payload: Mapping[str, Any], key: bytes) -> bytes:
    """Encrypt a canonical payload for `OutboxCommand.secret_payload`.

    :param payload: what `canonical.set_authorization_key` returns, or `canonical.set_variables` with the secret triples
        only.
    :param key: the credential key of the configuration, as bytes; the cipher's key is derived from it.
    """
    nonce = os.urandom(NONCE_BYTES)
    return nonce + _cipher(key).encrypt(nonce, json.dumps(payload).encode(), _PURPOSE)


def open(sealed: bytes, key: bytes) -> Payload:
    """Decrypt what `seal` returned.

    :raises SecretPayloadError: under another key, or when a bit was changed.
    """
    try:
        text = _cipher(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _PURPOSE)
    except (InvalidTag, ValueError):
        raise SecretPayloadError(
            "the secret payload of a command cannot be decrypted; check that all processes share BFCERTS_CREDENTIAL_KEY"
        ) from None
    payload: Payload = json.loads(text)
    return payload


def merge(payload: Mapping[str, Any], secret: Mapping[str, Any]) -> Payload:
    """The payload with the secret values in it.

    A secret variable replaces the triple of the same component and variable, so that the readable payload can name
    what is set and leave the value empty; one that the payload does not name is added. Other keys are replaced.
    """
    merged: Payload = dict(payload)
    for name, value in secret.items():
        if name == "variables":
            replaced = {(component, variable) for component, variable, _ in value}
            kept = [triple for triple in merged.get(name, []) if (triple[0], triple[1]) not in replaced]
            merged[name] = [*kept, *value]
        else:
            merged[name] = value
    return merged


def values(secret: Mapping[str, Any]) -> frozenset[str]:
    """The secret strings themselves, so that an answer that echoes one can be redacted: in every form that goes out.

    An address to upload to is secret for what its path ends with; a station may quote it with or without the rest.
    """
    found = {str(triple[2]) for triple in secret.get("variables", [])}
    for name, value in secret.items():
        if name != "variables":
            found.add(str(value))
    address = str(secret.get("remote_location", ""))
    found |= {address.rstrip("/").rpartition("/")[2]} if "/" in address else set()
    key = str(secret.get("authorization_key", ""))
    digits = key.encode().hex()
    return frozenset(found | {digits, digits.upper()}) - {""}
