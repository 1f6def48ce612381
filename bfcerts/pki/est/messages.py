"""What stands in EST requests and answers, whoever sends them (RFC 7030 §4.1, §4.2; RFC 8951).

Bodies are base64 whatever Content-Transfer-Encoding says, and its value is ignored (RFC 8951 §2.1). What we send is
what the pickiest implementations take: requests in lines of 64, because libest refuses a long line, and answers in one
line, because strongSwan cannot read any other.
"""

import base64
import email.utils
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from bfcerts.pki import pkcs7
from bfcerts.pki.certificates import ParsedCertificate
from bfcerts.pki.csr import CsrError, ParsedCsr, parse_csr

WELL_KNOWN = "/.well-known/est"
REQUEST_TYPE = "application/pkcs10"
CERTIFICATES_TYPE = "application/pkcs7-mime"
CERTIFICATES_TYPE_SENT = f"{CERTIFICATES_TYPE}; smime-type=certs-only"
LARGEST_REQUEST = 65536
"""Octets of a request's body; a CSR with a key of 8192 bits has a twentieth of it."""

LONGEST_PATIENCE = timedelta(hours=24)
"""No server is left alone longer than that, whatever it asks for."""
USUAL_PATIENCE = timedelta(seconds=60)
"""Where a server asks for patience and does not say how much."""
_SHORTEST_PATIENCE = timedelta(seconds=1)

# What servers of the field put over certificates: RFC 7030, OPCP, and whoever configured nothing.
_CERTIFICATE_TYPES = frozenset(
    {
        CERTIFICATES_TYPE,
        "application/pkcs7",
        "application/pkcs10",
        "application/x-pkcs7-mime",
        "application/x-pkcs7-certificates",
        "application/octet-stream",
        "application/pem-certificate-chain",
        "application/x-pem-file",
        "text/plain",
        "",
    }
)


class Operation(StrEnum):
    """What may be asked of an EST server; the values are its path segments (RFC 7030 §3.2.2)."""

    CA_CERTIFICATES = "cacerts"
    ENROL = "simpleenroll"
    RENEW = "simplereenroll"


class MessageError(ValueError):
    """A body that is not what it has to be.

    :ivar code: wrong_type, or a code of `pkcs7.Pkcs7Error` or `csr.CsrError`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Paths:
    """Where a server has its operations, below its base address; schemes differ, so each is a setting.

    RFC 7030 §3.2.2 by default. OPCP: `/.well-known/est/cpo/simpleenroll/ISO15118-2` and
    `/cpo/cacerts/ISO15118-2/secp256r1/`.

    :ivar renew: None where the server knows no renewal, and a new enrolment takes its place, as in OPCP.
    """

    ca_certificates: str = f"{WELL_KNOWN}/{Operation.CA_CERTIFICATES.value}"
    enrol: str = f"{WELL_KNOWN}/{Operation.ENROL.value}"
    renew: str | None = f"{WELL_KNOWN}/{Operation.RENEW.value}"

    @classmethod
    def labelled(cls, label: str) -> "Paths":
        """The paths of one CA of several, which a label names (RFC 7030 §3.2.2)."""
        return cls(*(f"{WELL_KNOWN}/{label}/{one.value}" for one in Operation))


def encode_request(csr_der: bytes) -> bytes:
    """The body of an enrolment request."""
    body = base64.b64encode(csr_der)
    return b"".join(body[start : start + 64] + b"\r\n" for start in range(0, len(body), 64))


def decode_request(body: bytes) -> ParsedCsr:
    """The request that a client sent: base64 of any wrapping, PEM or DER; its proof of possession is verified.

    :raises MessageError: and nothing else, whatever the bytes.
    """
    try:
        return parse_csr(body, max_characters=LARGEST_REQUEST)
    except CsrError as error:
        raise MessageError(error.code, error.message) from None


def encode_certificates(certificates: Iterable[ParsedCertificate]) -> bytes:
    """The body of an answer with certificates."""
    return base64.b64encode(pkcs7.encode_certificates(certificates))


def decode_certificates(body: bytes, content_type: str) -> tuple[ParsedCertificate, ...]:
    """The certificates of an answer, in no order that means anything.

    :param content_type: the header as it came; empty where there was none.
    :raises MessageError: and nothing else, whatever the bytes.
    """
    kind = media_type(content_type)
    if kind not in _CERTIFICATE_TYPES:
        raise MessageError("wrong_type", f"It is {kind[:80]!r} and not {CERTIFICATES_TYPE}.")
    try:
        return pkcs7.read_certificates(body)
    except pkcs7.Pkcs7Error as error:
        raise MessageError(error.code, error.message) from None


def media_type(content_type: str) -> str:
    """The type of a Content-Type header without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def retry_after(value: str | None, now: datetime) -> timedelta:
    """How long a server asks to be left alone: seconds or an HTTP date (RFC 9110 §10.2.3), within our bounds."""
    wanted = USUAL_PATIENCE
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        wanted = timedelta(seconds=int(text)) if len(text) <= 9 else LONGEST_PATIENCE
    elif text:
        try:
            moment = email.utils.parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            moment = None
        if moment is not None:
            wanted = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
    return min(max(wanted, _SHORTEST_PATIENCE), LONGEST_PATIENCE)
