"""What a station says of a certificate whose status it wants to know, in one form (OCPP 2.0.1, OCSPRequestDataType).

Most stations write hashes and serial number in hexadecimal, in either case, with or without leading zeros. One stack
writes the hashes in url-safe base64, which the length tells, and then the serial number in decimal.
"""

import binascii
import re
from base64 import urlsafe_b64decode
from typing import Any, Final

from bfcerts.ocpp.canonical import Payload

HASH_BYTES: Final = {"SHA256": 32, "SHA384": 48, "SHA512": 64}
LARGEST_SERIAL: Final = 1 << 160
"""RFC 5280 §4.1.2.2: no serial number has more than 20 octets."""
_DECIMAL: Final = re.compile(r"[0-9]+")
_HEXADECIMAL: Final = re.compile(r"(?:0[xX])?([0-9A-Fa-f]+)")


def canonical_ocsp_data(data: Payload) -> Payload | None:
    """The payload of a `QuestionKind.CERTIFICATE_STATUS`; None where nobody could be asked with such values.

    :param data: satisfies the schema of its message.
    """
    octets = HASH_BYTES[data["hashAlgorithm"]]
    name, name_is_base64 = _hash(data["issuerNameHash"], octets)
    key, key_is_base64 = _hash(data["issuerKeyHash"], octets)
    serial = _serial(data["serialNumber"].strip(), decimal=name_is_base64 and key_is_base64)
    if not name or not key or serial is None:
        return None
    return {
        "hash_algorithm": data["hashAlgorithm"],
        "issuer_name_hash": name,
        "issuer_key_hash": key,
        "serial_number": serial,
        "responder_url": data.get("responderURL", ""),
    }


def _hash(text: Any, octets: int) -> tuple[str, bool]:
    """The hash in lower-case hexadecimal, and whether it came in base64; empty where it is neither."""
    text = text.strip()
    if len(text) == 2 * octets and _HEXADECIMAL.fullmatch(text):
        return text.lower(), False
    unpadded = text.rstrip("=").replace("+", "-").replace("/", "_")
    try:
        value = urlsafe_b64decode(unpadded + "=" * (-len(unpadded) % 4))
    except (binascii.Error, ValueError):
        return "", False
    return (value.hex(), True) if len(value) == octets else ("", False)


def _serial(text: str, *, decimal: bool) -> str | None:
    if decimal and _DECIMAL.fullmatch(text):
        number = int(text)
    elif match := _HEXADECIMAL.fullmatch(text):
        number = int(match[1], 16)
    else:
        return None
    return f"{number:x}" if number < LARGEST_SERIAL else None
