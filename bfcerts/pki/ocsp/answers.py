"""Reading and verifying what an OCSP responder answers (RFC 6960 §3.2, §4.2)."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from asn1crypto import ocsp as asn1
from asn1crypto import x509 as asn1_x509

from bfcerts.pki import signatures
from bfcerts.pki.certificates import CertificateError, ParsedCertificate, parse_certificate
from bfcerts.pki.hostile import READ_ERRORS
from bfcerts.pki.keys import SubjectPublicKeyInfo
from bfcerts.pki.ocsp.requests import CertificateId, OcspError, read_certificate_id, read_nonce
from bfcerts.pki.profiles import OCSP_SIGNING
from bfcerts.pki.revocation import REASONS_BY_ENCODED, UNSPECIFIED, Revocation

LARGEST_ANSWER: Final = 65536
MOST_STATUSES: Final = 100
MOST_SIGNERS: Final = 8
CLOCK_DIFFERENCE: Final = timedelta(minutes=5)
"""How far a responder's clock and ours may be apart."""
FRESH_FOR: Final = timedelta(hours=24)
"""How old an answer may be that does not say until when it holds."""


class CertificateStatus(StrEnum):
    """What a responder knows of a certificate."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class VerifiedAnswer:
    """An answer that its CA, or a signer that this CA appointed, gave about exactly this certificate.

    :ivar revocation: where `status` is revoked.
    :ivar this_update: since when it is known to be so; `next_update` until when, None where the responder says newer
        information is always there. Aware, UTC.
    :ivar usable_until: when it has to be asked again.
    :ivar repeats_nonce: whether the nonce of the request stands in it; False for answers signed in advance.
    """

    certificate: CertificateId
    status: CertificateStatus
    revocation: Revocation | None
    this_update: datetime
    next_update: datetime | None
    produced_at: datetime
    responder: str
    repeats_nonce: bool
    der: bytes = field(repr=False)

    @property
    def usable_until(self) -> datetime:
        return self.next_update or self.this_update + FRESH_FOR


def verify_answer(
    der: bytes, *, wanted: CertificateId, issuer: ParsedCertificate, now: datetime, nonce: bytes | None = None
) -> VerifiedAnswer:
    """Believe an answer only when it is signed for this CA, about this certificate, and holds now.

    The signer is the issuer itself, or has a certificate that the issuer issued for OCSP signing (RFC 6960 §4.2.2.2).

    :param issuer: the CA that issued the certificate.
    :param nonce: the one that was sent. Another one in the answer is refused; none is taken, because responders that
        sign in advance repeat none (RFC 9654 §2.1), and the dates bound its age.
    :raises OcspError: and nothing else, whatever the bytes.
    """
    if len(der) > LARGEST_ANSWER:
        raise OcspError("too_large", f"The answer has {len(der)} octets; at most {LARGEST_ANSWER} are read.")
    if not wanted.issued_by(issuer):
        raise OcspError("wrong_certificate", f"{issuer.subject_text} is not the CA of the certificate asked about.")
    try:
        return _verified(der, wanted, issuer, now, nonce)
    except READ_ERRORS as error:
        if isinstance(error, OcspError):
            raise
        raise OcspError("malformed", "This is not an OCSP answer that can be read.") from None


def _verified(
    der: bytes, wanted: CertificateId, issuer: ParsedCertificate, now: datetime, nonce: bytes | None
) -> VerifiedAnswer:
    answer = asn1.OCSPResponse.load(der, strict=True)
    state = str(answer["response_status"].native)
    if state == "try_later":
        raise OcspError("try_later", "The responder asks to be asked later.")
    if state != "successful":
        raise OcspError("refused", f"The responder does not answer: {state.replace('_', ' ')}.")
    if answer["response_bytes"]["response_type"].native != "basic_ocsp_response":
        raise OcspError("malformed", "The answer is of a kind that nothing here reads.")
    basic = answer["response_bytes"]["response"].parsed
    body = basic["tbs_response_data"]
    signer = _check_signature(basic, body, issuer, now)
    said_nonce = read_nonce(body["response_extensions"])
    if nonce is not None and said_nonce is not None and said_nonce != nonce:
        raise OcspError("nonce", "The answer repeats another nonce than was sent; it is an answer to somebody else.")
    single = _about(wanted, body["responses"])
    status, revocation = _status(single["cert_status"])
    this_update, next_update = _moment(single["this_update"]), _moment_or_none(single["next_update"])
    _check_times(this_update, next_update, now)
    return VerifiedAnswer(
        certificate=wanted,
        status=status,
        revocation=revocation,
        this_update=this_update,
        next_update=next_update,
        produced_at=_moment(body["produced_at"]),
        responder=signer.subject_text,
        repeats_nonce=nonce is not None and said_nonce == nonce,
        der=der,
    )


def _check_signature(basic: Any, body: Any, issuer: ParsedCertificate, now: datetime) -> ParsedCertificate:
    algorithm, signature, signed = basic["signature_algorithm"], bytes(basic["signature"]), body.dump()
    fault = OcspError(
        "wrong_responder",
        f"The answer is signed neither by {issuer.subject_text} nor by one whom that CA lets sign for it.",
    )
    for signer in _possible_signers(basic["certs"], issuer):
        if not _is_named(body["responder_id"], signer):
            continue
        if signer != issuer:
            refusal = _why_not_delegated(signer, issuer, now)
            if refusal is not None:
                fault = OcspError("wrong_responder", refusal)
                continue
        key = signer.public_key
        if key is None or not signatures.is_valid(key, algorithm, signature, signed):
            fault = OcspError("bad_signature", f"The signature of the answer was not made by {signer.subject_text}.")
        elif signatures.is_weak(algorithm):
            raise OcspError("weak_signature", "The answer is signed with MD5 or SHA-1, which can be forged.")
        else:
            return signer
    raise fault


def _possible_signers(encoded: Any, issuer: ParsedCertificate) -> Iterator[ParsedCertificate]:
    yield issuer
    for number, one in enumerate(encoded):
        if number == MOST_SIGNERS:
            return
        try:
            candidate = parse_certificate(one.dump())
        except CertificateError:
            continue
        if candidate != issuer:
            yield candidate


def _is_named(responder_id: Any, signer: ParsedCertificate) -> bool:
    """Whether the answer says that this one gave it (RFC 6960 §4.2.2.3)."""
    if responder_id.name == "by_name":
        return bool(responder_id.chosen == asn1_x509.Name.load(signer.subject_der))
    return bytes(responder_id.chosen) == key_hash(signer)


def key_hash(certificate: ParsedCertificate) -> bytes:
    """SHA-1 over the key, by which an answer names its signer (RFC 6960 §4.2.1, KeyHash)."""
    info = SubjectPublicKeyInfo.load(asn1_x509.Certificate.load(certificate.der).public_key.dump())
    return hashlib.sha1(bytes(info["public_key"])).digest()  # noqa: S324  # a name of the key, and no proof


def _why_not_delegated(signer: ParsedCertificate, issuer: ParsedCertificate, now: datetime) -> str | None:
    name = signer.subject_text
    if not signer.signed_by(issuer):
        return f"{name} signed the answer, but {issuer.subject_text} did not issue its certificate."
    if OCSP_SIGNING not in signer.extended_key_usages:
        return f"{name} signed the answer, but its certificate is not for OCSP signing."
    if signer.key_usages is not None and "digital_signature" not in signer.key_usages:
        return f"{name} signed the answer, but its key may not be used for signatures."
    if signer.not_understood:
        return f"The certificate of {name} has critical extensions that nothing here knows."
    if not signer.not_before - CLOCK_DIFFERENCE <= now <= signer.not_after + CLOCK_DIFFERENCE:
        return f"The certificate of {name}, which signed the answer, is not valid now."
    return None


def _about(wanted: CertificateId, responses: Sequence[Any]) -> Any:
    if len(responses) > MOST_STATUSES:
        raise OcspError(
            "too_many", f"The answer is about {len(responses)} certificates; at most {MOST_STATUSES} are read."
        )
    found = []
    for single in responses:
        try:
            about = read_certificate_id(single["cert_id"])
        except OcspError:
            continue
        if about == wanted:
            found.append(single)
    if not found:
        raise OcspError("wrong_certificate", "The answer is not about the certificate that was asked about.")
    for single in found:
        for extension in single["single_extensions"]:
            if extension["critical"].native:
                raise OcspError(
                    "not_understood",
                    f"It has a critical extension that nothing here knows: {extension['extn_id'].dotted}.",
                )
    # Should it say two things of one certificate, the worse one counts.
    return next((one for one in found if one["cert_status"].name == "revoked"), found[0])


def _status(encoded: Any) -> tuple[CertificateStatus, Revocation | None]:
    if encoded.name != "revoked":
        return CertificateStatus(encoded.name), None
    info = encoded.chosen
    reason = REASONS_BY_ENCODED.get(str(info["revocation_reason"].native), UNSPECIFIED)
    return CertificateStatus.REVOKED, Revocation(_moment(info["revocation_time"]), reason)


def _check_times(this_update: datetime, next_update: datetime | None, now: datetime) -> None:
    if this_update > now + CLOCK_DIFFERENCE:
        raise OcspError("not_yet_valid", f"The answer holds only from {this_update:%Y-%m-%d %H:%M:%S} UTC on.")
    ends = next_update or this_update + FRESH_FOR
    if ends < now - CLOCK_DIFFERENCE:
        raise OcspError("stale", f"The answer held until {ends:%Y-%m-%d %H:%M:%S} UTC; it is old.")


def _moment(encoded: Any) -> datetime:
    moment = encoded.native
    if not isinstance(moment, datetime):
        raise OcspError("malformed", "A time in the answer lies outside the years 1 to 9999.")
    return moment.astimezone(UTC)


def _moment_or_none(encoded: Any) -> datetime | None:
    return None if encoded.native is None else _moment(encoded)
