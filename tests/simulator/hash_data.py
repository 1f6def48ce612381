"""certificateHashData as OCPP defines it, in the spellings that stations use (OCPP 2.0.1 M03, M04)."""

import hashlib
from typing import Any

from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.simulator.quirks import SerialStyle

ALGORITHMS = ("SHA256", "SHA384", "SHA512")


def hash_data(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    *,
    algorithm: str = "SHA256",
    serial_style: SerialStyle = SerialStyle.BARE,
) -> dict[str, Any]:
    """issuerNameHash: over the DER of the name; issuerKeyHash: over the content of the BIT STRING."""
    key = asn1_x509.Certificate.load(issuer.public_bytes(Encoding.DER)).public_key
    return {
        "hashAlgorithm": algorithm,
        "issuerNameHash": _digest(algorithm, certificate.issuer.public_bytes()),
        "issuerKeyHash": _digest(algorithm, key["public_key"].contents[1:]),
        "serialNumber": serial_text(certificate.serial_number, serial_style),
    }


def serial_text(serial: int, style: SerialStyle) -> str:
    """A serial number as hexadecimal text without 0x."""
    bare = f"{serial:x}"
    match style:
        case SerialStyle.BARE:
            return bare
        case SerialStyle.UPPER_CASE:
            return bare.upper()
        case SerialStyle.PADDED:
            return bare.upper().zfill(len(bare) + len(bare) % 2)


def _digest(algorithm: str, content: bytes) -> str:
    return hashlib.new(algorithm.lower(), content).hexdigest()
