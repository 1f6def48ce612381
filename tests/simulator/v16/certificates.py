"""CertificateSigned; roots installed, listed and deleted: as in 2.0.1, with the types of 1.6 and without reasons."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.simulator.frames import Payload
from tests.simulator.link import Answer
from tests.simulator.store import CSMS_ROOT
from tests.simulator.v201 import certificates

if TYPE_CHECKING:
    from tests.simulator.station import SimulatedStation

USES = {"CentralSystemRootCertificate": CSMS_ROOT, "ManufacturerRootCertificate": "ManufacturerRootCertificate"}
"""Type of 1.6 → the use that the store knows."""


def certificate_signed(station: "SimulatedStation", payload: Payload) -> Answer:
    return _status_only(certificates.certificate_signed, station, payload)


def install_certificate(station: "SimulatedStation", payload: Payload) -> Answer:
    message = {**payload, "certificateType": USES[payload["certificateType"]]}
    return _status_only(certificates.install_certificate, station, message)


def get_installed_certificate_ids(station: "SimulatedStation", payload: Payload) -> Answer:
    asked = {"certificateType": [USES[payload["certificateType"]]]}
    answer = certificates.get_installed_certificate_ids(station, asked).payload
    chain = answer.get("certificateHashDataChain", [])
    listed = {"certificateHashData": [entry["certificateHashData"] for entry in chain]} if chain else {}
    return Answer({"status": answer["status"], **listed})


def delete_certificate(station: "SimulatedStation", payload: Payload) -> Answer:
    return _status_only(certificates.delete_certificate, station, payload)


def _status_only(
    handler: Callable[["SimulatedStation", Payload], Answer], station: "SimulatedStation", payload: Payload
) -> Answer:
    answer = handler(station, payload)
    return replace(answer, payload={"status": answer.payload["status"]})
