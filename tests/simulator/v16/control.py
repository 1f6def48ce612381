"""Triggers, Reset, GetLog (OCPP 1.6 §5.14, §5.17, whitepaper F06, N01)."""

from typing import TYPE_CHECKING

from tests.simulator.dialect import BootReason
from tests.simulator.events import EventKind
from tests.simulator.frames import Payload
from tests.simulator.link import Answer, CallRejection, Departure
from tests.simulator.v201 import control

if TYPE_CHECKING:
    from tests.simulator.station import SimulatedStation

CERTIFICATE = "SignChargePointCertificate"


def extended_trigger_message(station: "SimulatedStation", payload: Payload) -> Answer:
    """The certificate's trigger, and those that 2.0.1 has too."""
    if station.quirks.no_extended_trigger:
        raise CallRejection("NotImplemented", "this station knows no ExtendedTriggerMessage")
    return _trigger(station, payload["requestedMessage"])


def trigger_message(station: "SimulatedStation", payload: Payload) -> Answer:
    """The old one; some stations understand the new words in it."""
    return _trigger(station, payload["requestedMessage"])


def _trigger(station: "SimulatedStation", message: str) -> Answer:
    newer = "SignChargingStationCertificate" if message == CERTIFICATE else message
    return control.trigger_message(station, {"requestedMessage": newer})


def reset(station: "SimulatedStation", payload: Payload) -> Answer:
    """Hard or soft, the whole station restarts at once."""
    station.record(EventKind.RESETTING, kind=payload["type"])
    station.life.boot_again(BootReason.REMOTE_RESET)
    return Answer({"status": "Accepted"}, departure=Departure.RESET)
