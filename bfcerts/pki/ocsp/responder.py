"""The answers of an OCSP responder of ours (RFC 6960 §4.2; RFC 5019), built as pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from asn1crypto import core
from asn1crypto import ocsp as asn1
from asn1crypto import x509 as asn1_x509

from bfcerts.pki.certificates import ParsedCertificate
from bfcerts.pki.ocsp.answers import CertificateStatus, key_hash
from bfcerts.pki.ocsp.requests import CertificateId
from bfcerts.pki.revocation import ENCODED_REASONS, UNSPECIFIED, Revocation
from bfcerts.pki.signers import Signer


class Refusal(StrEnum):
    """Why a responder gives no answer; these are not signed (RFC 6960 §4.2.1)."""

    MALFORMED_REQUEST = "malformed_request"
    INTERNAL_ERROR = "internal_error"
    TRY_LATER = "try_later"
    UNAUTHORIZED = "unauthorized"
    """Nothing is known here of the CA that the request names (RFC 5019 §2.2.3)."""


@dataclass(frozen=True)
class StatusOf:
    """What is said of one certificate: revoked where there is a revocation.

    :ivar known: whether its CA issued it; what it did not is "unknown", never "good".
    :ivar this_update: since when it is known to be so; `next_update` until when the answer holds. Aware.
    """

    certificate: CertificateId
    known: bool
    revocation: Revocation | None
    this_update: datetime
    next_update: datetime

    @property
    def status(self) -> CertificateStatus:
        if self.revocation is not None:
            return CertificateStatus.REVOKED
        return CertificateStatus.GOOD if self.known else CertificateStatus.UNKNOWN


@dataclass(frozen=True)
class AppointedSigner:
    """Who signs for a CA: the CA itself, or one with a certificate for OCSP signing that this CA issued.

    :ivar certificate: goes into the answer, unless it is the CA's own.
    :ivar signer: has its private key.
    """

    certificate: ParsedCertificate
    signer: Signer


def build_answer(
    statuses: Sequence[StatusOf], *, by: AppointedSigner, produced_at: datetime, nonce: bytes | None = None
) -> bytes:
    """A signed answer in DER.

    :param produced_at: now, aware.
    :param nonce: the one of the request.
    """
    body: dict[str, Any] = {
        "responder_id": asn1.ResponderId(name="by_key", value=key_hash(by.certificate)),
        "produced_at": _time(produced_at),
        "responses": [_single(one) for one in statuses],
    }
    if nonce is not None:
        body["response_extensions"] = [{"extn_id": "nonce", "critical": False, "extn_value": nonce}]
    signed = asn1.ResponseData(body)
    basic = asn1.BasicOCSPResponse(
        {
            "tbs_response_data": signed,
            "signature_algorithm": {"algorithm": by.signer.algorithm},
            "signature": by.signer.sign(signed.dump()),
            "certs": None if by.certificate.is_ca else [asn1_x509.Certificate.load(by.certificate.der)],
        }
    )
    return _dumped({"response_status": "successful", "response_bytes": _typed(basic)})


def build_refusal(why: Refusal) -> bytes:
    """An answer in DER that answers nothing."""
    return _dumped({"response_status": why.value})


def _single(one: StatusOf) -> dict[str, Any]:
    return {
        "cert_id": one.certificate.encoded(),
        "cert_status": _status(one),
        "this_update": _time(one.this_update),
        "next_update": _time(one.next_update),
    }


def _status(one: StatusOf) -> asn1.CertStatus:
    if one.revocation is None:
        kind = asn1.StatusGood if one.known else asn1.StatusUnknown
        return asn1.CertStatus(name=one.status.value, value=kind())
    info: dict[str, Any] = {"revocation_time": _time(one.revocation.moment)}
    if one.revocation.reason != UNSPECIFIED:
        info["revocation_reason"] = ENCODED_REASONS[one.revocation.reason]
    return asn1.CertStatus(name="revoked", value=asn1.RevokedInfo(info))


def _typed(basic: asn1.BasicOCSPResponse) -> dict[str, Any]:
    return {"response_type": "basic_ocsp_response", "response": basic}


def _time(moment: datetime) -> core.GeneralizedTime:
    return core.GeneralizedTime(moment.astimezone(UTC).replace(microsecond=0))


def _dumped(values: dict[str, Any]) -> bytes:
    encoded: bytes = asn1.OCSPResponse(values).dump()
    return encoded
