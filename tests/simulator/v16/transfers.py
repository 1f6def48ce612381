"""DataTransfer for Plug and Charge: the messages of OCPP 2.0.1 as JSON in a string, in one of two dialects."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.simulator.chains import pem_text
from tests.simulator.frames import Payload
from tests.simulator.link import Answer
from tests.simulator.quirks import PlugAndCharge
from tests.simulator.v201 import certificates, control

if TYPE_CHECKING:
    from tests.simulator.station import SimulatedStation

Handler = Callable[["SimulatedStation", Payload], Answer]
HANDLERS: dict[str, Handler] = {
    "CertificateSigned": certificates.certificate_signed,
    "DeleteCertificate": certificates.delete_certificate,
    "GetInstalledCertificateIds": certificates.get_installed_certificate_ids,
    "InstallCertificate": certificates.install_certificate,
    "TriggerMessage": control.trigger_message,
}
LONGEST_ROOT = 800
"""Hexadecimal digits that a station of the older dialect takes."""


def request(station: "SimulatedStation", action: str, payload: Payload) -> Payload:
    """What the station asks, in its dialect."""
    vendor = station.quirks.plug_and_charge or PlugAndCharge.OPEN_CHARGE_ALLIANCE
    said = _older_request(action, payload) if vendor is PlugAndCharge.HAS_TO_BE else payload
    return {"vendorId": vendor.value, "messageId": action, "data": json.dumps(said)}


def answer(payload: Payload) -> Payload:
    """What a CSMS answers: on the inner level, or, where the outer one refuses, its status."""
    if payload["status"] != "Accepted":
        return {"status": payload["status"]}
    inner: Payload = json.loads(payload["data"])
    return inner


def data_transfer(station: "SimulatedStation", payload: Payload) -> Answer:
    """What a CSMS asks: accepted on the outer level is that the message is known."""
    if not station.quirks.plug_and_charge or payload["vendorId"] != station.quirks.plug_and_charge:
        return Answer({"status": "UnknownVendorId"})
    handler = HANDLERS.get(payload.get("messageId", ""))
    if handler is None:
        return Answer({"status": "UnknownMessageId"})
    asked = json.loads(payload["data"])
    older = station.quirks.plug_and_charge is PlugAndCharge.HAS_TO_BE
    try:
        inner = handler(station, _newer_request(payload["messageId"], asked) if older else asked)
    except ValueError:
        return Answer({"status": "Rejected"})
    told = _older_answer(inner.payload) if older else inner.payload
    return replace(inner, payload={"status": "Accepted", "data": json.dumps(told)})


def _older_request(action: str, payload: Payload) -> Payload:
    match action:
        case "SignCertificate":
            request = x509.load_pem_x509_csr(payload["csr"].encode())
            digits = request.public_bytes(Encoding.DER).hex()
            return {"csr": digits, "typeOfCertificate": payload["certificateType"]}
        case "Get15118EVCertificate":
            return {"15118SchemaVersion": payload["iso15118SchemaVersion"], "exiRequest": payload["exiRequest"]}
    return payload


def _newer_request(action: str, payload: Payload) -> Payload:
    """
    :raises ValueError: what is none, or too long.
    """
    match action:
        case "CertificateSigned":
            chain = "".join(pem_text(one) for one in _certificates(payload["cert"]))
            return {"certificateChain": chain, "certificateType": payload["typeOfCertificate"]}
        case "InstallCertificate":
            if len(payload["certificate"]) > LONGEST_ROOT:
                raise ValueError("the certificate is too long")
            (root,) = _certificates(payload["certificate"])
            return {"certificateType": payload["certificateType"], "certificate": pem_text(root)}
        case "GetInstalledCertificateIds":
            return {"certificateType": payload["typeOfCertificate"]} if "typeOfCertificate" in payload else {}
    return payload


def _older_answer(payload: Payload) -> Payload:
    """Without reasons, and with lists that name no uses."""
    told: dict[str, Any] = {"status": payload["status"]}
    if "certificateHashDataChain" in payload:
        told["certificateHashDataChain"] = [one["certificateHashData"] for one in payload["certificateHashDataChain"]]
    return told


def _certificates(digits: str) -> list[x509.Certificate]:
    """DER after DER."""
    octets = bytes.fromhex(digits)
    found = []
    while octets:
        length = 4 + int.from_bytes(octets[2:4])
        found.append(x509.load_der_x509_certificate(octets[:length]))
        octets = octets[length:]
    return found
