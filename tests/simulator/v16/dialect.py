"""The dialect of OCPP 1.6J: the station's own CALLs, and who answers those of the Central System."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.simulator.dialect import BootOutcome, BootReason, SecurityLogEntry
from tests.simulator.events import EventKind
from tests.simulator.evse import V2G_CERTIFICATE
from tests.simulator.frames import Call, Payload
from tests.simulator.link import Answer, CallRejection
from tests.simulator.schemas import SchemaBook
from tests.simulator.v16 import certificates, configuration, control, transfers
from tests.simulator.v201.control import get_log

if TYPE_CHECKING:
    from tests.simulator.station import SimulatedStation

Handler = Callable[["SimulatedStation", Payload], Answer]

HANDLERS: dict[str, Handler] = {
    "CertificateSigned": certificates.certificate_signed,
    "ChangeConfiguration": configuration.change_configuration,
    "DataTransfer": transfers.data_transfer,
    "DeleteCertificate": certificates.delete_certificate,
    "ExtendedTriggerMessage": control.extended_trigger_message,
    "GetConfiguration": configuration.get_configuration,
    "GetInstalledCertificateIds": certificates.get_installed_certificate_ids,
    "GetLog": get_log,
    "InstallCertificate": certificates.install_certificate,
    "Reset": control.reset,
    "TriggerMessage": control.trigger_message,
}

EVENTS = {
    "InvalidCsmsCertificate": "InvalidCentralSystemCertificate",
    "InvalidChargingStationCertificate": "InvalidChargePointCertificate",
}
"""Security events that 1.6 has under another name."""
LOG_STATUSES = {"AcceptedCanceled": "UploadFailure"}
"""1.6 cannot say that an upload was cancelled."""

_RULE_CODES = {
    "type": "TypeConstraintViolation",
    "required": "OccurenceConstraintViolation",
    "minItems": "OccurenceConstraintViolation",
    "maxItems": "OccurenceConstraintViolation",
    "additionalProperties": "FormationViolation",
}


class Ocpp16:
    """Stateless; one object may serve a whole fleet."""

    subprotocol = "ocpp1.6"

    def __init__(self) -> None:
        self._schemas = SchemaBook("ocpp.v16", request_suffix="")

    def request_problem(self, action: str, payload: Payload) -> str:
        if not self._schemas.knows(action):
            return f"OCPP 1.6 has no {action}"
        problem = self._schemas.request_problem(action, payload)
        return problem.detail if problem else ""

    def response_problem(self, action: str, payload: Payload) -> str:
        if not self._schemas.knows(action):
            return ""
        problem = self._schemas.response_problem(action, payload)
        return problem.detail if problem else ""

    async def boot(self, station: "SimulatedStation", reason: BootReason) -> BootOutcome:
        """1.6 does not say why a station starts."""
        state = station.store.state
        answer = await station.call(
            "BootNotification",
            {
                "chargePointVendor": state.vendor[:20],
                "chargePointModel": state.model[:20],
                "chargePointSerialNumber": state.serial_number[:25],
                "firmwareVersion": state.firmware,
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
        await station.call("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Available"})

    async def heartbeat(self, station: "SimulatedStation") -> datetime:
        answer = await station.call("Heartbeat", {})
        return datetime.fromisoformat(str(answer["currentTime"]))

    async def sign_certificate(self, station: "SimulatedStation", csr_pem: str, certificate_type: str | None) -> str:
        """The message knows no type: it is for the station's own certificate. That of an EVSE goes in DataTransfer."""
        if certificate_type == V2G_CERTIFICATE:
            payload = {"csr": csr_pem, "certificateType": certificate_type}
            return str((await self.plug_and_charge(station, "SignCertificate", payload)).get("status", ""))
        return str((await station.call("SignCertificate", {"csr": csr_pem})).get("status", ""))

    async def plug_and_charge(self, station: "SimulatedStation", action: str, payload: Payload) -> Payload:
        answer = await station.call("DataTransfer", transfers.request(station, action, payload))
        return transfers.answer(answer)

    def carried(self, action: str, payload: Payload, station: "SimulatedStation") -> tuple[str, Payload]:
        return "DataTransfer", transfers.request(station, action, payload)

    async def security_event(self, station: "SimulatedStation", entry: SecurityLogEntry) -> None:
        payload = {"type": EVENTS.get(entry.type, entry.type), "timestamp": _timestamp(entry.at)}
        if entry.tech_info:
            payload["techInfo"] = entry.tech_info
        await station.call("SecurityEventNotification", payload)

    async def log_status(self, station: "SimulatedStation", request_id: int, status: str) -> None:
        payload: Payload = {"status": LOG_STATUSES.get(status, status)}
        if status != "Idle":
            payload["requestId"] = request_id
        await station.call("LogStatusNotification", payload)

    def answer(self, station: "SimulatedStation", call: Call) -> Answer:
        if not self._schemas.knows(call.action) or call.action.endswith("Response"):
            raise CallRejection("NotImplemented", f"OCPP 1.6 has no {call.action}")
        if not station.registered:
            raise CallRejection("SecurityError", "the station has not been accepted yet")
        schema = "ExtendedTriggerMessage" if self._understands_new_triggers(station, call) else call.action
        if problem := self._schemas.request_problem(schema, call.payload):
            station.record(EventKind.PROTOCOL_VIOLATION, detail=f"{call.action}: {problem.detail}")
            raise CallRejection(_RULE_CODES.get(problem.rule, "PropertyConstraintViolation"), problem.detail)
        handler = HANDLERS.get(call.action)
        if handler is None:
            raise CallRejection("NotSupported", f"this station does not support {call.action}")
        answer = handler(station, call.payload)
        if detail := self.response_problem(call.action, answer.payload):
            raise AssertionError(f"the station's own answer to {call.action} breaks the schema: {detail}")
        return answer

    @staticmethod
    def _understands_new_triggers(station: "SimulatedStation", call: Call) -> bool:
        return call.action == "TriggerMessage" and station.quirks.no_extended_trigger


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
