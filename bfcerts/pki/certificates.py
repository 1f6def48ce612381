"""Certificates as the inventory records them, read tolerantly.

The pools and stations of the field hold certificates that a strict parser refuses (an explicitly encoded
default, a root valid from 1970 to 9999). asn1crypto reads the fields; cryptography's object is carried along
where it exists.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning

from bfcerts.pki import extensions, names, pem, signatures
from bfcerts.pki.hostile import READ_ERRORS
from bfcerts.pki.keys import (
    SigningPublicKey,
    SubjectPublicKeyInfo,
    UnsupportedKeyError,
    encode_public_key,
    key_algorithm_name,
    load_public_key,
    public_key_sha256,
)

LABEL = "CERTIFICATE"
_LABELS = (LABEL, "X509 CERTIFICATE", "TRUSTED CERTIFICATE")
LONGEST_TEXT = 65536


class CertificateError(ValueError):
    """A certificate, a serial number or a hash that cannot be used.

    :ivar code: too_large, not_pem, malformed, bad_serial or unsupported_hash (`bfcerts.pki.hash_data`).
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class ParsedCertificate:
    """One certificate; two are equal when their DER is.

    :ivar fingerprint_sha256: lower-case hex SHA-256 of the DER.
    :ivar serial_hex: lower-case hex without leading zeros or sign, as `normalise_serial` gives it.
    :ivar subject: (short name or dotted OID, value) in encoded order.
    :ivar issuer_sha256: lower-case hex SHA-256 of the issuer's name in DER; with the serial it names a
        certificate.
    :ivar not_before: aware, UTC; `not_after` likewise.
    :ivar path_length: how many CAs may stand below this one; None without a limit.
    :ivar key_algorithm: see `keys.key_algorithm_name`; "UNKNOWN-…" for a key that nothing here verifies with.
    :ivar self_issued: subject and issuer are the same name; whether it is self-signed, `self_signed` tells.
    :ivar key_usages: names as asn1crypto spells them; None where the extension is absent.
    :ivar not_understood: critical extensions that our checks do not take into account.
    :ivar certificate: cryptography's object, None where cryptography refuses the bytes.
    """

    der: bytes
    pem: str = field(compare=False)
    fingerprint_sha256: str = field(compare=False)
    serial_hex: str = field(compare=False)
    subject_text: str = field(compare=False)
    subject: tuple[tuple[str, str], ...] = field(compare=False, repr=False)
    subject_der: bytes = field(compare=False, repr=False)
    issuer_text: str = field(compare=False)
    issuer_der: bytes = field(compare=False, repr=False)
    issuer_sha256: str = field(compare=False)
    common_names: tuple[str, ...] = field(compare=False)
    not_before: datetime = field(compare=False)
    not_after: datetime = field(compare=False)
    public_key_sha256: str = field(compare=False)
    key_algorithm: str = field(compare=False)
    is_ca: bool = field(compare=False)
    path_length: int | None = field(compare=False)
    self_issued: bool = field(compare=False)
    key_usages: frozenset[str] | None = field(compare=False)
    extended_key_usages: tuple[str, ...] = field(compare=False)
    subject_alternative_names: tuple[str, ...] = field(compare=False)
    not_understood: tuple[str, ...] = field(compare=False)
    certificate: x509.Certificate | None = field(compare=False, repr=False)

    def signed_by(self, issuer: "ParsedCertificate") -> bool:
        """Whether the issuer's name stands in this certificate and the issuer's key made its signature."""
        return self.issuer_der == issuer.subject_der and _is_signed_by(self, issuer)

    @property
    def public_key(self) -> SigningPublicKey | None:
        """The key that it certifies; None where nothing here can verify with it."""
        try:
            return load_public_key(asn1.Certificate.load(self.der).public_key.dump())
        except READ_ERRORS:
            return None

    @property
    def self_signed(self) -> bool:
        """Whether this is a root: it names itself as its issuer, and its own key made its signature."""
        return self.self_issued and self.signed_by(self)

    def _verifies_under(self, public_key_der: bytes) -> bool:
        encoded = asn1.Certificate.load(self.der)
        body, key = encoded["tbs_certificate"], load_public_key(public_key_der)
        return signatures.is_valid(key, encoded["signature_algorithm"], bytes(encoded["signature_value"]), body.dump())


@lru_cache(maxsize=64)
def _is_signed_by(certificate: ParsedCertificate, issuer: ParsedCertificate) -> bool:
    """Remembered: the same few CAs are above every certificate, and each has an issuer too."""
    try:
        return certificate._verifies_under(asn1.Certificate.load(issuer.der).public_key.dump())
    except READ_ERRORS:
        return False


def parse_certificate(text: str | bytes) -> ParsedCertificate:
    """Read one certificate from PEM, bare base64 or DER; of several in the text, the first.

    :raises CertificateError: and nothing else, whatever the bytes.
    """
    if len(text) > LONGEST_TEXT:
        raise CertificateError(
            "too_large", f"The certificate has {len(text)} characters; at most {LONGEST_TEXT} are read."
        )
    try:
        der = pem.decode(text, _LABELS)
    except pem.ArmourError as error:
        raise CertificateError("not_pem", f"The certificate is not PEM: {error}.") from None
    try:
        return _read(der)
    except READ_ERRORS as error:
        if isinstance(error, CertificateError):
            raise
        raise CertificateError("malformed", "This is not an X.509 certificate that can be read.") from None


@lru_cache(maxsize=64)
def parse_ca_certificate(text: str) -> ParsedCertificate:
    """As `parse_certificate`, and remembered: the same few CAs stand above every certificate."""
    return parse_certificate(text)


def split_chain(text: str) -> list[str]:
    """Every certificate of a PEM stack, each in normal PEM, in the order of the text.

    :raises CertificateError: not_pem, when there is none or one is not base64.
    """
    try:
        found = pem.decode_all(text, LABEL)
    except pem.ArmourError as error:
        raise CertificateError("not_pem", f"The chain is not PEM: {error}.") from None
    if not found:
        raise CertificateError("not_pem", "The chain holds no certificate in PEM.")
    return [pem.encode(der, LABEL) for der in found]


def normalise_serial(value: int | str) -> str:
    """A serial number as lower-case hex without "0x", separators, padding or sign.

    A negative number, which some CAs make by leaving out the leading zero octet, is shown as its octets.

    :raises CertificateError: bad_serial.
    """
    if isinstance(value, int):
        if value < 0:
            octets = (~value).bit_length() // 8 + 1
            value += 1 << (8 * octets)
        return f"{value:x}"
    bare = value.strip().lower().removeprefix("0x").replace(":", "").replace(" ", "")
    if not bare or any(character not in "0123456789abcdef" for character in bare):
        raise CertificateError("bad_serial", f"{value[:80]!r} is not a serial number in hexadecimal.")
    return bare.lstrip("0") or "0"


@lru_cache(maxsize=64)
def _read(der: bytes) -> ParsedCertificate:
    """Remembered for a while: who has verified a certificate stores, stacks and sends it right afterwards."""
    body = asn1.Certificate.load(der, strict=True)["tbs_certificate"]
    subject, issuer = body["subject"], body["issuer"]
    subject_names = names.relative_names(subject)
    subject_der, issuer_der = subject.dump(), issuer.dump()
    found = extensions.read(body["extensions"])
    key_der, key_algorithm = _public_key(body["subject_public_key_info"])
    return ParsedCertificate(
        der=der,
        pem=pem.encode(der, LABEL),
        fingerprint_sha256=hashlib.sha256(der).hexdigest(),
        serial_hex=normalise_serial(int(body["serial_number"])),
        subject_text=names.text(subject_names),
        subject=names.attributes(subject_names),
        subject_der=subject_der,
        issuer_text=names.text(names.relative_names(issuer)),
        issuer_der=issuer_der,
        issuer_sha256=hashlib.sha256(issuer_der).hexdigest(),
        common_names=names.common_names(names.attributes(subject_names)),
        not_before=_moment(body["validity"]["not_before"]),
        not_after=_moment(body["validity"]["not_after"]),
        public_key_sha256=public_key_sha256(key_der),
        key_algorithm=key_algorithm,
        is_ca=found.is_ca,
        path_length=found.path_length,
        self_issued=subject_der == issuer_der,
        key_usages=found.key_usages,
        extended_key_usages=found.extended_key_usages,
        subject_alternative_names=found.subject_alternative_names,
        not_understood=found.not_understood,
        certificate=_strict(der),
    )


def _moment(encoded: Any) -> datetime:
    moment = encoded.native
    if not isinstance(moment, datetime):
        raise CertificateError("malformed", "The certificate's validity lies outside the years 1 to 9999.")
    return moment.astimezone(UTC)


def _public_key(info: Any) -> tuple[bytes, str]:
    der = info.dump()
    try:
        key = load_public_key(der)
    except UnsupportedKeyError:
        return der, f"UNKNOWN-{SubjectPublicKeyInfo.load(der)['algorithm']['algorithm'].dotted}"
    return encode_public_key(key), key_algorithm_name(key)


def _strict(der: bytes) -> x509.Certificate | None:
    try:
        certificate = x509.load_der_x509_certificate(der)
        certificate.extensions  # noqa: B018  # read now, so that whoever uses the object meets no late surprise
    except (ValueError, x509.InvalidVersion, x509.UnsupportedGeneralNameType, CryptographyDeprecationWarning):
        return None
    return certificate
