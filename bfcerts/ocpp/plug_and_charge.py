"""What stations ask for Plug and Charge, in the words of OCPP 2.0.1, which the extension of 1.6 borrows.

What a vehicle and its contract pool say to each other is EXI (ISO 15118): opaque here, and only bounded in its length.
"""

from typing import Final

from bfcerts.ocpp.canonical import Evidence, Payload, QuestionKind
from bfcerts.ocpp.ocsp_data import canonical_ocsp_data
from bfcerts.ocpp.protocol import Asking, Reaction, Told

LONGEST_EXI_RESPONSE: Final = 7_500
LONGEST_OCSP_RESULT: Final = 5_500


def get_ev_certificate(payload: Payload, longest: int = LONGEST_EXI_RESPONSE) -> Reaction:
    """M01, M02: an answer that is no success is passed on with its EXI, which is for the vehicle."""
    question = {
        "schema_version": payload["iso15118SchemaVersion"],
        "action": payload["action"],
        "exi": payload["exiRequest"],
    }
    asking = Asking(QuestionKind.EV_CERTIFICATE, question, longest, _ev_certificate)
    return Reaction(_ev_certificate(Told(False)), asking=asking)


def get_certificate_status(payload: Payload) -> Reaction:
    """M06: Accepted means that there is an answer of a responder, also one that says revoked."""
    failed = _certificate_status(Told(False))
    question = canonical_ocsp_data(payload["ocspRequestData"])
    if question is None:
        return Reaction(failed)
    return Reaction(
        failed, asking=Asking(QuestionKind.CERTIFICATE_STATUS, question, LONGEST_OCSP_RESULT, _certificate_status)
    )


def sign_certificate(payload: Payload, default_type: str | None) -> Reaction:
    """A02.FR.02, FR.11: answered at once; whether the request is granted is decided and told later.

    :param default_type: what a request without a type is for; None where that is left open.
    """
    evidence = {
        "csr": payload["csr"],
        "certificate_type": payload.get("certificateType", default_type),
        "request_id": None,
    }
    return Reaction({"status": "Accepted"}, Evidence.CSR_RECEIVED, evidence)


def _ev_certificate(told: Told) -> Payload:
    return {"status": "Accepted" if told.accepted else "Failed", "exiResponse": told.content}


def _certificate_status(told: Told) -> Payload:
    """The result may only be missing, and only is, where the status is not Accepted."""
    if told.accepted and told.content:
        return {"status": "Accepted", "ocspResult": told.content}
    return {"status": "Failed"}
