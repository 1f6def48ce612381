"""EXI as the pools meet it: known by its header, and searched for the certificates in it. None is decoded here."""

from typing import Final

from bfcerts.pki.certificates import CertificateError, ParsedCertificate
from bfcerts.pki.exi_certificates import LONGEST, embedded_certificates

LARGEST: Final = LONGEST
"""Octets of a stream that is searched."""
_COOKIE: Final = b"$EXI"


def looks_like_exi(stream: bytes) -> bool:
    """Whether a stream can be EXI of ISO 15118 at all: it begins with an EXI header (EXI 1.0 §5)."""
    body = stream.removeprefix(_COOKIE)
    # Distinguishing bits 10, no options, final version 1: all that ISO 15118 uses.
    return len(body) > 1 and body[0] == 0x80


def certificates_in(stream: bytes) -> list[ParsedCertificate]:
    """The certificates of a stream, in their order, each once; none of a stream that is too large to be searched."""
    try:
        return embedded_certificates(stream)
    except CertificateError:
        return []
