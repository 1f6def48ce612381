"""The dialect of OCPP 2.0.1: the station's own CALLs, and who answers those of the CSMS."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.simulator.dialect import BootOutcome, BootReason, SecurityLogEntry
from tests.simulator.events import EventKind
from tests.simulator.frames import Call, Payload
from tests.simulator.link import Answer, CallRejection
from tests.simulator.schemas import SchemaBook
from tests.simulator.v201 import certificates, control, reports

if TYPE_CHECKING:
    from tests.simulator.station import SimulatedStation

Handler = Callable[["SimulatedStation", Payload], Answer]

HANDLERS: dict[str, Handler] = {
    "CertificateSigned": certificates.certificate_signed,
    "DeleteCertificate": certificates.delete_certificate,
    "GetInstalledCertificateIds": certificates.get_installed_certificate_ids,
    "InstallCertificate": certificates.install_certificate,
    "GetLog": control.get_log,
    "Reset": control.reset,
    "SetNetworkProfile": control.set_network_profile,
    "TriggerMessage": control.trigger_message,
    "GetBaseReport": reports.get_base_report,
    "GetReport": reports.get_report,
    "GetVariables": reports.get_variables,
    "SetVariables": reports.set_variables,
}

_RULE_CODES = {
    "type": "TypeConstraintViolation",
    "required": "OccurrenceConstraintViolation",
    "minItems": "OccurrenceConstraintViolation",
    "maxItems": "OccurrenceConstraintViolation",
}


class Ocpp201:
    """Stateless; one object may serve a whole fleet."""

    subprotocol = "ocpp2.0.1"

    def __init__(self) -> None:
        self._schemas = SchemaBook("ocpp.v201")

    def request_problem(self, action: str, payload: Payload) -> str:
        if not self._schemas.knows(action):
            return f"OCPP 2.0.1 has no {action}"
        problem = self._schemas.request_problem(action, payload)
        return problem.detail if problem else ""

    def response_problem(self, action: str, payload: Payload) -> str:
        if not self._schemas.knows(action):
            return ""
        problem = self._schemas.response_problem(action, payload)
        return problem.detail if problem else ""

    async def boot(self, station: "SimulatedStation", reason: BootReason) -> BootOutcome:
        state = station.store.state
        answer = await station.call(
            "BootNotification",
            {
                "reason": reason.value,
                "chargingStation": {
                    "model": state.model,
                    "vendorName": state.vendor,
                    "serialNumber": state.serial_number[:25],
                    "firmwareVersion": state.firmware,
                },
            },
        )
        status = str(answer.get("status", ""))
        return BootOutcome(
            status=status,
            registered=status in {"Accepted", "Pending"},
            accepted=status == "Accepted",
            interval=int(answer.get("interval", 0)),
        )

    async def announce_status(self, station: "SimulatedStation") -> None:
        await station.call(
            "StatusNotification",
            {"timestamp": _now(station), "connectorStatus": "Available", "evseId": 1, "connectorId": 1},
        )

    async def heartbeat(self, station: "SimulatedStation") -> datetime:
        answer = await station.call("Heartbeat", {})
        return datetime.fromisoformat(str(answer["currentTime"]))

    async def sign_certificate(self, station: "SimulatedStation", csr_pem: str, certificate_type: str | None) -> str:
        payload = {"csr": csr_pem}
        if certificate_type:
            payload["certificateType"] = certificate_type
        return str((await station.call("SignCertificate", payload)).get("status", ""))

    async def plug_and_charge(self, station: "SimulatedStation", action: str, payload: Payload) -> Payload:
        return await station.call(action, payload)

    def carried(self, action: str, payload: Payload, station: "SimulatedStation") -> tuple[str, Payload]:
        return action, payload

    async def security_event(self, station: "SimulatedStation", entry: SecurityLogEntry) -> None:
        payload = {"type": entry.type, "timestamp": _timestamp(entry.at)}
        if entry.tech_info:
            payload["techInfo"] = entry.tech_info
        await station.call("SecurityEventNotification", payload)

    async def log_status(self, station: "SimulatedStation", request_id: int, status: str) -> None:
        payload: Payload = {"status": status}
        if status != "Idle":
            payload["requestId"] = request_id
        await station.call("LogStatusNotification", payload)

    def answer(self, station: "SimulatedStation", call: Call) -> Answer:
        if not self._schemas.knows(call.action):
            raise CallRejection("NotImplemented", f"OCPP 2.0.1 has no {call.action}")
        if not station.registered:
            # B01: nothing is answered before the CSMS has answered BootNotification.
            raise CallRejection("SecurityError", "the station has not been accepted yet")
        if problem := self._schemas.request_problem(call.action, call.payload):
            station.record(EventKind.PROTOCOL_VIOLATION, detail=f"{call.action}: {problem.detail}")
            raise CallRejection(_RULE_CODES.get(problem.rule, "PropertyConstraintViolation"), problem.detail)
        handler = HANDLERS.get(call.action)
        if handler is None:
            raise CallRejection("NotSupported", f"this station does not support {call.action}")
        answer = handler(station, call.payload)
        if detail := self.response_problem(call.action, answer.payload):
            raise AssertionError(f"the station's own answer to {call.action} breaks the schema: {detail}")
        return answer


def _now(station: "SimulatedStation") -> str:
    return _timestamp(station.clock.now())


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
