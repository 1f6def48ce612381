"""Which certificate is asked about, and the request that asks (RFC 6960 §4.1; OCPP 2.0.1 OCSPRequestDataType)."""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from asn1crypto import ocsp as asn1
from asn1crypto import x509 as asn1_x509

from bfcerts.pki.certificates import CertificateError, ParsedCertificate, normalise_serial
from bfcerts.pki.hostile import READ_ERRORS
from bfcerts.pki.keys import SubjectPublicKeyInfo

REQUEST_TYPE: Final = "application/ocsp-request"
RESPONSE_TYPE: Final = "application/ocsp-response"
LARGEST_REQUEST: Final = 16384
MOST_REQUESTED: Final = 20
LONGEST_NONCE: Final = 128
"""Octets (RFC 9654 §2.1)."""
LONGEST_SERIAL: Final = 80
"""Characters in hexadecimal: twice the 20 octets of RFC 5280 §4.1.2.2."""

_DIGESTS: Final = MappingProxyType(
    # SHA-1 is what RFC 6960 clients use to name issuers; nothing is proved by it.
    {"SHA1": hashlib.sha1, "SHA256": hashlib.sha256, "SHA384": hashlib.sha384, "SHA512": hashlib.sha512}
)
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]*")


class OcspError(ValueError):
    """A request or an answer that cannot be used.

    :ivar code: too_large, malformed, too_many, unsupported_hash, bad_serial, refused, try_later, wrong_certificate,
        wrong_responder, bad_signature, weak_signature, nonce, not_understood, not_yet_valid, stale or unreachable.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class CertificateId:
    """A certificate, named by hashes of its issuer and its serial number.

    :ivar hash_algorithm: SHA1, SHA256, SHA384 or SHA512.
    :ivar issuer_name_hash: lower-case hex; `issuer_key_hash` likewise.
    :ivar serial_hex: as `certificates.normalise_serial` gives it.
    """

    hash_algorithm: str
    issuer_name_hash: str
    issuer_key_hash: str
    serial_hex: str

    @classmethod
    def of(cls, serial_hex: str, issuer: ParsedCertificate, algorithm: str = "SHA256") -> "CertificateId":
        """The certificate of that number which `issuer` issued.

        :raises OcspError: unsupported_hash.
        """
        digest = _digest(algorithm)
        info = SubjectPublicKeyInfo.load(asn1_x509.Certificate.load(issuer.der).public_key.dump())
        return cls(
            hash_algorithm=algorithm,
            issuer_name_hash=digest(issuer.subject_der).hexdigest(),
            issuer_key_hash=digest(bytes(info["public_key"])).hexdigest(),
            serial_hex=serial_hex,
        )

    @classmethod
    def from_hash_data(cls, stated: Mapping[str, object]) -> "CertificateId":
        """What a station asks about, tolerantly: hex of any case and padding, or base64 with a decimal serial.

        :raises OcspError: unsupported_hash, malformed or bad_serial.
        """
        algorithm = str(stated.get("hashAlgorithm", "")).upper().replace("-", "")
        size = _digest(algorithm)().digest_size
        name_hash, name_encoded = _hash(str(stated.get("issuerNameHash", "")), size)
        key_hash, key_encoded = _hash(str(stated.get("issuerKeyHash", "")), size)
        serial = str(stated.get("serialNumber", "")).strip()
        if name_encoded and key_encoded and serial.isascii() and serial.isdigit():
            # One stack of the field writes hashes in base64 and then the serial number in decimal.
            serial = f"{int(serial[:LONGEST_SERIAL]):x}"
        return cls(algorithm, name_hash, key_hash, _serial(serial))

    def issued_by(self, issuer: ParsedCertificate) -> bool:
        """Whether the hashes are those of this issuer."""
        return self == CertificateId.of(self.serial_hex, issuer, self.hash_algorithm)

    def encoded(self) -> dict[str, Any]:
        """As asn1crypto's CertId takes it."""
        return {
            "hash_algorithm": {"algorithm": self.hash_algorithm.lower()},
            "issuer_name_hash": bytes.fromhex(self.issuer_name_hash),
            "issuer_key_hash": bytes.fromhex(self.issuer_key_hash),
            "serial_number": int(self.serial_hex, 16),
        }


@dataclass(frozen=True)
class Requested:
    """What a client asks a responder.

    :ivar nonce: to be repeated in the answer; None where none was sent.
    """

    certificates: tuple[CertificateId, ...]
    nonce: bytes | None


def build_request(wanted: Sequence[CertificateId], *, nonce: bytes | None = None) -> bytes:
    """A request in DER, not signed.

    :param nonce: 1 to `LONGEST_NONCE` octets; responders that sign in advance ignore it.
    """
    body: dict[str, Any] = {"request_list": [{"req_cert": one.encoded()} for one in wanted]}
    if nonce is not None:
        body["request_extensions"] = [{"extn_id": "nonce", "critical": False, "extn_value": nonce}]
    encoded: bytes = asn1.OCSPRequest({"tbs_request": body}).dump()
    return encoded


def read_request(der: bytes) -> Requested:
    """What is asked; a signature of the client is not looked at, for who asks makes no difference.

    :raises OcspError: too_large, malformed, too_many or unsupported_hash, and nothing else, whatever the bytes.
    """
    if len(der) > LARGEST_REQUEST:
        raise OcspError("too_large", f"The request has {len(der)} octets; at most {LARGEST_REQUEST} are read.")
    try:
        body = asn1.OCSPRequest.load(der, strict=True)["tbs_request"]
        requests = body["request_list"]
        if not 0 < len(requests) <= MOST_REQUESTED:
            raise OcspError(
                "too_many", f"The request asks about {len(requests)} certificates, not 1 to {MOST_REQUESTED}."
            )
        certificates = tuple(read_certificate_id(one["req_cert"]) for one in requests)
        return Requested(certificates, read_nonce(body["request_extensions"]))
    except READ_ERRORS as error:
        if isinstance(error, OcspError):
            raise
        raise OcspError("malformed", "This is not an OCSP request that can be read.") from None


def read_certificate_id(encoded: Any) -> CertificateId:
    """A CertID as it is encoded.

    :raises OcspError: unsupported_hash or bad_serial (and, for hostile bytes, whatever asn1crypto raises).
    """
    algorithm = str(encoded["hash_algorithm"]["algorithm"].native).upper()
    _digest(algorithm)
    return CertificateId(
        hash_algorithm=algorithm,
        issuer_name_hash=bytes(encoded["issuer_name_hash"]).hex(),
        issuer_key_hash=bytes(encoded["issuer_key_hash"]).hex(),
        serial_hex=_serial(normalise_serial(int(encoded["serial_number"]))),
    )


def read_nonce(extensions: Any) -> bytes | None:
    """The nonce among extensions of a request or an answer.

    :raises OcspError: malformed or not_understood.
    """
    found: bytes | None = None
    for extension in extensions:
        if extension["extn_id"].native == "nonce":
            content = bytes(extension["extn_value"])
            try:
                found = bytes(extension["extn_value"].parsed.native)
            except READ_ERRORS:
                # Before RFC 8954 it was not settled that the nonce is an OCTET STRING inside the extension's own.
                found = content
            if not 0 < len(found) <= LONGEST_NONCE:
                raise OcspError("malformed", f"A nonce has 1 to {LONGEST_NONCE} octets, not {len(found)}.")
        elif extension["critical"].native:
            raise OcspError(
                "not_understood",
                f"It has a critical extension that nothing here knows: {extension['extn_id'].dotted}.",
            )
    return found


def _digest(algorithm: str) -> Any:
    try:
        return _DIGESTS[algorithm]
    except KeyError:
        raise OcspError(
            "unsupported_hash", f"{algorithm[:40]!r} is none of {', '.join(_DIGESTS)}, the hashes that are used here."
        ) from None


def _hash(text: str, octets: int) -> tuple[str, bool]:
    """A hash in lower-case hex, and whether it came in base64."""
    bare = text.strip()
    if len(bare) == 2 * octets and _HEXADECIMAL.fullmatch(bare):
        return bare.lower(), False
    try:
        content = base64.urlsafe_b64decode(bare.replace("+", "-").replace("/", "_") + "=" * (-len(bare) % 4))
    except (ValueError, binascii.Error):
        content = b""
    if len(content) != octets:
        raise OcspError("malformed", f"{text[:80]!r} is no hash of {octets} octets.")
    return content.hex(), True


def _serial(text: str) -> str:
    try:
        serial = normalise_serial(text)
    except CertificateError as error:
        raise OcspError("bad_serial", error.message) from None
    if len(serial) > LONGEST_SERIAL:
        raise OcspError("bad_serial", f"A serial number has at most {LONGEST_SERIAL} digits, not {len(serial)}.")
    return serial
