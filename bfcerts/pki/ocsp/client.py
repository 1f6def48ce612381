"""Asking an OCSP responder over HTTP (RFC 6960 appendix A), and believing only what verifies."""

import secrets
from datetime import datetime

from bfcerts.bounded_http import BoundedHttp, HttpError
from bfcerts.pki.certificates import ParsedCertificate
from bfcerts.pki.ocsp.answers import VerifiedAnswer, verify_answer
from bfcerts.pki.ocsp.requests import REQUEST_TYPE, RESPONSE_TYPE, CertificateId, OcspError, build_request

_NONCE_OCTETS = 32


def ask(
    responder: BoundedHttp, path: str, *, wanted: CertificateId, issuer: ParsedCertificate, now: datetime
) -> VerifiedAnswer:
    """What the responder says of a certificate, verified.

    :param responder: plain HTTP will do: the answer is signed.
    :param path: below the responder's address; "/" where it has none.
    :raises OcspError: as `verify_answer`; unreachable when there is no answer at all.
    """
    nonce = secrets.token_bytes(_NONCE_OCTETS)
    headers = {"Content-Type": REQUEST_TYPE, "Accept": RESPONSE_TYPE}
    try:
        answer = responder.call("POST", path, headers=headers, body=build_request([wanted], nonce=nonce))
    except HttpError as error:
        raise OcspError("unreachable", error.message) from None
    if answer.status != 200:
        raise OcspError("unreachable", f"{responder.server} answered {answer.status}.")
    return verify_answer(answer.body, wanted=wanted, issuer=issuer, now=now, nonce=nonce)
