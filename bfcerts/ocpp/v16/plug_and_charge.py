"""Plug and Charge over OCPP 1.6: messages of 2.0.1 in DataTransfer, as JSON in a string, and so their answers.

Two dialects are spoken. The Open Charge Alliance's (“Using ISO 15118 Plug & Charge with OCPP 1.6”) has the very
payloads of 2.0.1. An older one, which has-to-be published in 2019, differs in some names, in its bounds, and in
certificates that are hexadecimal digits of DER instead of PEM. A station's message tells its dialect by its vendor id;
which one a station is spoken to in, its charger family says. Names are compared without regard to case (CiString of
1.6).
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from textwrap import wrap
from typing import Any, Final, Protocol

import orjson

from bfcerts.ocpp import plug_and_charge as messages
from bfcerts.ocpp import schemas
from bfcerts.ocpp.canonical import V2G_CERTIFICATE, CommandOutcome, Payload
from bfcerts.ocpp.frames import ErrorCode, nested_too_deeply
from bfcerts.ocpp.protocol import Answer, Reaction, Request, UnsendableCommandError
from bfcerts.ocpp.schemas import SchemaError

PLUG_AND_CHARGE: Final = "org.openchargealliance.iso15118pnc"
HAS_TO_BE: Final = "iso15118"
LONGEST_HAS_TO_BE_EXI_REQUEST: Final = 5_500
LONGEST_HAS_TO_BE_EXI_RESPONSE: Final = 5_600
LONGEST_HAS_TO_BE_CERTIFICATE: Final = 800
LONGEST_HAS_TO_BE_CHAIN: Final = 10_000
_PEM: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.+?)-----END \1-----", re.DOTALL)
_TRIGGERS: Final = {V2G_CERTIFICATE: "SignV2GCertificate"}
_NO_TAG: Final = {"idTokenInfo": {"status": "Unknown"}}


class PlugAndChargeDialect(Protocol):
    """How one dialect says the messages of 2.0.1. What is said here satisfies the schemas of 2.0.1."""

    vendor_id: str

    def heard(self, action: str, payload: Payload) -> Payload:
        """A station's request in the words of 2.0.1.

        :raises SchemaError: where it is none of this dialect.
        """

    def longest_exi_response(self) -> int: ...

    def said(self, action: str, payload: Payload) -> Payload:
        """Our request in the words of this dialect.

        :raises UnsendableCommandError: where this dialect cannot carry it.
        """

    def answered(self, action: str, payload: Payload, asked: Payload) -> Payload:
        """A station's answer in the words of 2.0.1; `asked` is our request as this dialect said it."""


class OpenChargeAlliance:
    """The dialect that has the payloads of 2.0.1."""

    vendor_id = PLUG_AND_CHARGE

    def heard(self, action: str, payload: Payload) -> Payload:
        return payload

    def longest_exi_response(self) -> int:
        return messages.LONGEST_EXI_RESPONSE

    def said(self, action: str, payload: Payload) -> Payload:
        return payload

    def answered(self, action: str, payload: Payload, asked: Payload) -> Payload:
        return payload


class HasToBe:
    """The older dialect: version 1.3 of October 2019."""

    vendor_id = HAS_TO_BE

    def heard(self, action: str, payload: Payload) -> Payload:
        payload = dict(payload)
        if action == "SignCertificate":
            if "typeOfCertificate" in payload:
                payload["certificateType"] = payload.pop("typeOfCertificate")
            if isinstance(payload.get("csr"), str):
                payload["csr"] = _pem_of_digits(payload["csr"], "CERTIFICATE REQUEST")
        elif action == "Get15118EVCertificate":
            # Its own schema demands the one name and describes the other.
            if "15118SchemaVersion" in payload:
                payload["iso15118SchemaVersion"] = payload.pop("15118SchemaVersion")
            payload.setdefault("action", "Install")
            if len(str(payload.get("exiRequest", ""))) > LONGEST_HAS_TO_BE_EXI_REQUEST:
                raise SchemaError(ErrorCode.PROPERTY_CONSTRAINT_VIOLATION, "exiRequest is too long")
        elif action == "GetCertificateStatus" and isinstance(payload.get("ocspRequestData"), dict):
            payload["ocspRequestData"] = {"responderURL": "", **payload["ocspRequestData"]}
        return payload

    def longest_exi_response(self) -> int:
        return LONGEST_HAS_TO_BE_EXI_RESPONSE

    def said(self, action: str, payload: Payload) -> Payload:
        if action == "CertificateSigned":
            digits = _bounded(_digits_of_pem(payload["certificateChain"]), LONGEST_HAS_TO_BE_CHAIN)
            return {"cert": digits, "typeOfCertificate": payload["certificateType"]}
        if action == "InstallCertificate":
            digits = _bounded(_digits_of_pem(payload["certificate"]), LONGEST_HAS_TO_BE_CERTIFICATE)
            return {"certificateType": payload["certificateType"], "certificate": digits}
        if action == "GetInstalledCertificateIds":
            return {"typeOfCertificate": payload["certificateType"]}
        return payload

    def answered(self, action: str, payload: Payload, asked: Payload) -> Payload:
        """Its list names no uses; the request that it answers asked for one."""
        listed = payload.get("certificateHashDataChain")
        if action != "GetInstalledCertificateIds" or not isinstance(listed, list):
            return payload
        (use,) = asked["typeOfCertificate"]
        entries = [{"certificateType": use, "certificateHashData": hash_data} for hash_data in listed]
        return {**payload, "certificateHashDataChain": entries}


OPEN_CHARGE_ALLIANCE: Final = OpenChargeAlliance()
HAS_TO_BE_DIALECT: Final = HasToBe()
_DIALECTS: Final[Mapping[str, PlugAndChargeDialect]] = {
    dialect.vendor_id: dialect for dialect in (OPEN_CHARGE_ALLIANCE, HAS_TO_BE_DIALECT)
}


# -- what stations ask -----------------------------------------------------------------------------------------------


def react(payload: Payload) -> Reaction:
    """What a station's DataTransfer means, and how it is answered on both levels.

    A request that breaks its schema is rejected on the outer level, which has no words for why.
    """
    dialect = _DIALECTS.get(_folded(payload["vendorId"]))
    if dialect is None:
        return Reaction({"status": "UnknownVendorId"})
    name = _NAMES.get(_folded(payload.get("messageId", "")))
    if name is None:
        return Reaction({"status": "UnknownMessageId"})
    try:
        inner = dialect.heard(name, _inner(payload.get("data")))
        schemas.load("ocpp.v201").check_request(name, inner)
    except SchemaError:
        return Reaction({"status": "Rejected"})
    return _wrapped(_MEANINGS[name](dialect, inner))


def _wrapped(reaction: Reaction) -> Reaction:
    """The same with its answers in DataTransfer: accepted is that we know the message, the rest says its own status."""
    asking = reaction.asking
    if asking is not None:
        say = asking.say
        asking = replace(asking, say=lambda told: _carried(say(told)))
    return replace(reaction, answer=_carried(reaction.answer), asking=asking)


def _carried(answer: Payload) -> Payload:
    return {"status": "Accepted", "data": orjson.dumps(answer).decode()}


_MEANINGS: Final[Mapping[str, Callable[[PlugAndChargeDialect, Payload], Reaction]]] = {
    "Authorize": lambda dialect, payload: Reaction(dict(_NO_TAG)),
    "Get15118EVCertificate": lambda dialect, payload: messages.get_ev_certificate(
        payload, dialect.longest_exi_response()
    ),
    "GetCertificateStatus": lambda dialect, payload: messages.get_certificate_status(payload),
    # The station's own certificate has a message of its own in 1.6, so this is for its EVSEs.
    "SignCertificate": lambda dialect, payload: messages.sign_certificate(payload, V2G_CERTIFICATE),
}
_NAMES: Final = {name.casefold(): name for name in _MEANINGS}


# -- what stations are asked -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Transfer:
    """One of our messages of 2.0.1 on its way into DataTransfer."""

    action: str
    payload: Payload

    def request(self, dialect: PlugAndChargeDialect) -> Request:
        """
        :raises SchemaError: where the message breaks its schema.
        :raises UnsendableCommandError: where this dialect cannot carry it.
        """
        schemas.load("ocpp.v201").check_request(self.action, self.payload)
        return Request(
            "DataTransfer",
            {
                "vendorId": dialect.vendor_id,
                "messageId": self.action,
                # What the message holds is escaped once here, and the whole once more in its frame.
                "data": orjson.dumps(dialect.said(self.action, self.payload)).decode(),
            },
        )


def trigger(certificate_type: str) -> Transfer:
    return Transfer("TriggerMessage", {"requestedMessage": _TRIGGERS[certificate_type]})


def judge(request: Request, answer: Payload) -> Answer:
    """How a command ended, by both levels: a station that knows the message may still refuse what it asks.

    :raises SchemaError: where the inner answer is none to this message.
    """
    status = answer["status"]
    if status != "Accepted":
        return Answer(CommandOutcome.REJECTED, status, None, {"status": status})
    dialect, name = _DIALECTS[request.payload["vendorId"]], request.payload["messageId"]
    asked = orjson.loads(request.payload["data"])
    inner = dialect.answered(name, _inner(answer.get("data")), asked)
    schemas.load("ocpp.v201").check_response(name, inner)
    status = inner["status"]
    accepted = status == "Accepted" or (name == "GetInstalledCertificateIds" and status == "NotFound")
    content: Payload = {"status": status}
    if name == "GetInstalledCertificateIds":
        content["uses"] = asked.get("certificateType") or asked.get("typeOfCertificate")
        content["certificates"] = [
            {
                "use": entry["certificateType"],
                "hash_data": entry["certificateHashData"],
                "children": entry.get("childCertificateHashData", []),
            }
            for entry in inner.get("certificateHashDataChain", [])
        ]
    outcome = CommandOutcome.ACCEPTED if accepted else CommandOutcome.REJECTED
    return Answer(outcome, status, inner.get("statusInfo"), content)


# -- both ------------------------------------------------------------------------------------------------------------


def _inner(data: Any) -> Payload:
    """
    :raises SchemaError: where the string holds no JSON object.
    """
    raw = data.encode(errors="replace") if isinstance(data, str) else b""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise SchemaError(ErrorCode.FORMAT_VIOLATION, "data is not JSON") from None
    if not isinstance(value, dict) or nested_too_deeply(raw, value):
        raise SchemaError(ErrorCode.FORMAT_VIOLATION, "data holds no JSON object of a usable depth")
    return value


def _folded(name: str) -> str:
    return name.strip().casefold()


def _digits_of_pem(text: str) -> str:
    """Hexadecimal digits of the DER of each certificate, one after the other."""
    blocks = _PEM.findall(text)
    if not blocks:
        raise UnsendableCommandError("the certificate is no PEM, so it has no DER to be sent")
    try:
        return "".join(base64.b64decode("".join(content.split()), validate=True).hex() for _, content in blocks)
    except binascii.Error:
        raise UnsendableCommandError("the certificate is no PEM: what it holds is not base64") from None


def _pem_of_digits(text: str, label: str) -> str:
    """PEM of what came in hexadecimal digits; what is none of that is kept as it came, for the policy to refuse."""
    try:
        der = bytes.fromhex(text)
    except ValueError:
        return text
    lines = "\n".join(wrap(base64.b64encode(der).decode(), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n"


def _bounded(digits: str, longest: int) -> str:
    if len(digits) > longest:
        raise UnsendableCommandError(
            f"the dialect of this charger family carries no more than {longest} hexadecimal digits, and this has "
            f"{len(digits)}"
        )
    return digits
