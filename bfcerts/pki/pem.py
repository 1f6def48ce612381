"""The armour around DER: what devices really send is read, what we send is RFC 7468.

Stations send PEM with any line ending, under old labels, as one line, as bare base64 or as raw DER.
"""

import base64
import binascii
import re
from collections.abc import Collection

_ARMOUR = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----([^-]*)-----END \1-----")
_DER_SEQUENCE = 0x30


class ArmourError(ValueError):
    """The text holds no armoured object of the kind asked for; the message says what was found."""


def decode(text: str | bytes, labels: Collection[str]) -> bytes:
    """The DER of the first object under one of `labels`, of bare base64, or of raw DER.

    :raises ArmourError: when the text is none of these.
    """
    if isinstance(text, bytes):
        # Base64 of a SEQUENCE begins with "M" and armour with "-", so "0" as first byte is DER itself.
        if text[:1] == bytes([_DER_SEQUENCE]):
            return text
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError:
            raise ArmourError("it is neither text nor DER") from None
    found = [(label, body) for label, body in _ARMOUR.findall(text)]
    if found:
        for label, body in found:
            if label in labels:
                return _base64(body)
        raise ArmourError(f"it holds {found[0][0]!r} where {_listed(labels)} is expected")
    if "-----" in text:
        raise ArmourError("its BEGIN and END lines do not match")
    return _base64(text)


def decode_all(text: str, label: str) -> list[bytes]:
    """The DER of every object under `label`, in the order of the text.

    :raises ArmourError: when one of them is not base64.
    """
    return [_base64(body) for found, body in _ARMOUR.findall(text) if found == label]


def encode(der: bytes, label: str) -> str:
    """PEM with 64 columns and a final line feed (RFC 7468 §2)."""
    body = base64.b64encode(der).decode("ascii")
    lines = [body[start : start + 64] for start in range(0, len(body), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


def _base64(body: str) -> bytes:
    try:
        der = base64.b64decode("".join(body.split()).encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise ArmourError("it is not base64") from None
    if not der:
        raise ArmourError("it is empty")
    return der


def _listed(labels: Collection[str]) -> str:
    return " or ".join(repr(label) for label in labels)
