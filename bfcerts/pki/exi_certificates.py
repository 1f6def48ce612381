"""The certificates inside an EXI document of ISO 15118, found without a codec.

EXI writes the content of a certificate element as its octets, one after the other, beginning at any bit. So the stream
is looked through once at each of the eight bit offsets for what begins like an X.509 version 3 certificate and reads as
one. That is no proof of anything: whoever uses a certificate verifies it.
"""

import re
from typing import Final

from bfcerts.pki.certificates import CertificateError, ParsedCertificate, parse_certificate

LONGEST: Final = 16_384
"""Octets of a document that is looked through: more than any OCPP version carries (17,000 characters of base64)."""
MOST_READ: Final = 64
"""Beginnings that are read; a document of certificates has about ten, and one made to waste time any number."""

# SEQUENCE of two octets of length, in it TBSCertificate of one or two, in it [0] INTEGER 2 and the tag of the serial
# number.
_BEGINNING: Final = re.compile(rb"(?=\x30\x82(..)\x30(?:\x81(.)|\x82(..))\xa0\x03\x02\x01\x02\x02)", re.DOTALL)


def embedded_certificates(exi: bytes) -> list[ParsedCertificate]:
    """What is found, each once, in the order of the document.

    :raises CertificateError: too_large.
    """
    if len(exi) > LONGEST:
        raise CertificateError("too_large", f"The EXI document has {len(exi)} octets; at most {LONGEST} are read.")
    beginnings = sorted(
        (8 * position + offset, der) for offset in range(8) for position, der in _candidates(_shifted(exi, offset))
    )
    found: dict[str, ParsedCertificate] = {}
    end = 0
    for place, der in beginnings[:MOST_READ]:
        if place < end:
            continue  # inside of one that was found
        try:
            certificate = parse_certificate(der)
        except CertificateError:
            continue
        found.setdefault(certificate.fingerprint_sha256, certificate)
        end = place + 8 * len(der)
    return list(found.values())


def _shifted(exi: bytes, offset: int) -> bytes:
    """The octets that begin at this bit; the last one is filled with zeros."""
    bits = int.from_bytes(exi) << offset
    return (bits & ((1 << 8 * len(exi)) - 1)).to_bytes(len(exi))


def _candidates(octets: bytes) -> list[tuple[int, bytes]]:
    """Where something begins that may be a certificate and ends within the document."""
    found = []
    for match in _BEGINNING.finditer(octets):
        length, inner = int.from_bytes(match[1]), int.from_bytes(match[2] or match[3])
        end = match.start() + 4 + length
        if inner < length and end <= len(octets):
            found.append((match.start(), octets[match.start() : end]))
            if len(found) >= MOST_READ:
                break
    return found
