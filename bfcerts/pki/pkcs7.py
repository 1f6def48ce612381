"""Certificates in PKCS #7: the certs-only messages of EST and of the pools (RFC 5652 §5, RFC 8951 §2).

Servers send DER, base64 in lines of any length or in one, PEM under several labels, or certificates in PEM instead of
a container, and sometimes base64 of PEM. Inside they stand in any order, which means nothing: `chains` links them by
verified signatures. What a container says of its signers is not read; trust comes from the chain alone.
"""

import binascii
from collections.abc import Iterable, Iterator, Sequence

from asn1crypto import cms
from asn1crypto import x509 as asn1

from bfcerts.pki import pem
from bfcerts.pki.certificates import LABEL as CERTIFICATE_LABEL
from bfcerts.pki.certificates import CertificateError, ParsedCertificate, parse_certificate
from bfcerts.pki.hostile import READ_ERRORS

LABEL = "PKCS7"
_LABELS = (LABEL, "CMS", "PKCS #7 SIGNED DATA")
LARGEST = 262144
"""Octets read of one message; the largest answer of a real pool has a twentieth of it."""
MOST_CERTIFICATES = 40
_SIGNED_DATA = "1.2.840.113549.1.7.2"
_SEQUENCE = 0x30
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Base64 of PEM has been seen; base64 of that has not.
_DEEPEST_WRAPPING = 2


class Pkcs7Error(ValueError):
    """A message that holds no certificates that can be used.

    :ivar code: too_large, not_pkcs7, malformed, empty or too_many.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def read_certificates(content: bytes) -> tuple[ParsedCertificate, ...]:
    """Every certificate of a message, each once, in the order of the bytes, which means nothing.

    One that cannot be read at all is left out: no chain could be built with it, and the others are still of use.

    :raises Pkcs7Error: and nothing else, whatever the bytes.
    """
    if len(content) > LARGEST:
        raise Pkcs7Error("too_large", f"The message has {len(content)} octets; at most {LARGEST} are read.")
    encoded = _unwrapped(content, _DEEPEST_WRAPPING)
    if len(encoded) > MOST_CERTIFICATES:
        raise Pkcs7Error(
            "too_many", f"The message holds {len(encoded)} certificates; at most {MOST_CERTIFICATES} are read."
        )
    if not encoded:
        raise Pkcs7Error("empty", "The message holds no certificate.")
    found = tuple(dict.fromkeys(_readable(encoded)))
    if not found:
        raise Pkcs7Error("malformed", "The message holds no certificate that can be read.")
    return found


def encode_certificates(certificates: Iterable[ParsedCertificate]) -> bytes:
    """A certs-only message in DER: certificates without content and without signers (RFC 5652 §5.1)."""
    chosen = [
        cms.CertificateChoices(name="certificate", value=asn1.Certificate.load(one.der))
        for one in dict.fromkeys(certificates)
    ]
    signed = cms.SignedData(
        {
            "version": "v1",
            "digest_algorithms": [],
            "encap_content_info": {"content_type": "data"},
            "certificates": chosen,
            "signer_infos": [],
        }
    )
    encoded: bytes = cms.ContentInfo({"content_type": "signed_data", "content": signed}).dump()
    return encoded


def _unwrapped(content: bytes, depth: int) -> list[bytes]:
    """The DER of every certificate in the message, whatever it is wrapped in."""
    content = content.removeprefix(_BYTE_ORDER_MARK).lstrip()
    # Base64 of a SEQUENCE begins with "M" and armour with "-", so "0" as first byte is DER itself.
    if content[:1] == bytes([_SEQUENCE]):
        return _signed_data(content)
    try:
        text = content.decode("ascii")
    except UnicodeDecodeError:
        raise Pkcs7Error("not_pkcs7", "The message is neither PKCS #7 nor text.") from None
    try:
        if "-----BEGIN " in text:
            certificates = pem.decode_all(text, CERTIFICATE_LABEL)
            return certificates or _signed_data(pem.decode(text, _LABELS))
        inner = _base64(text)
    except pem.ArmourError as error:
        raise Pkcs7Error("not_pkcs7", f"The message holds no PKCS #7: {error}.") from None
    if depth == 0:
        raise Pkcs7Error("not_pkcs7", "The message is wrapped in base64 too often.")
    return _unwrapped(inner, depth - 1)


def _base64(text: str) -> bytes:
    body = "".join(text.split())
    if not body:
        raise Pkcs7Error("not_pkcs7", "The message is empty.")
    try:
        return binascii.a2b_base64(body + "=" * (-len(body) % 4), strict_mode=True)
    except binascii.Error:
        raise Pkcs7Error("not_pkcs7", "The message is neither PKCS #7 nor base64.") from None


def _signed_data(der: bytes) -> list[bytes]:
    try:
        info = cms.ContentInfo.load(der)
        if info["content_type"].dotted != _SIGNED_DATA:
            raise Pkcs7Error("not_pkcs7", "The message is no PKCS #7 with certificates.")
        return [choice.chosen.dump() for choice in _bounded(info["content"]["certificates"])]
    except READ_ERRORS as error:
        if isinstance(error, Pkcs7Error):
            raise
        raise Pkcs7Error("malformed", "The message is not a PKCS #7 that can be read.") from None


def _bounded(certificates: cms.CertificateSet) -> Sequence[cms.CertificateChoices]:
    if len(certificates) > MOST_CERTIFICATES:
        raise Pkcs7Error(
            "too_many", f"The message holds {len(certificates)} certificates; at most {MOST_CERTIFICATES} are read."
        )
    # Attribute certificates may stand among them and are of no use here.
    return [choice for choice in certificates if choice.name == "certificate"]


def _readable(encoded: Iterable[bytes]) -> Iterator[ParsedCertificate]:
    for der in encoded:
        try:
            yield parse_certificate(der)
        except CertificateError:
            continue
