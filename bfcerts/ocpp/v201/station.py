"""What an OCPP 2.0.1 station may ask of us, what it means, and what it is answered.

The answers are those of a control plane for certificates that runs no charging sessions and says so: it knows no
identification token (Authorize and TransactionEvent: `Unknown`), computes no charging schedule, and speaks no vendor's
DataTransfer. Only what carries evidence about credentials, and what only somebody outside can answer, goes to the
database.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from bfcerts.ocpp import plug_and_charge
from bfcerts.ocpp.canonical import Evidence, Payload
from bfcerts.ocpp.protocol import Reaction

Handler = Callable[[Payload, datetime, int], Reaction]


def timestamp(now: datetime) -> str:
    """A dateTime as OCPP 2.0.1 part 2 §2.1.3 wants it."""
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def _boot_notification(payload: Payload, now: datetime, interval: int) -> Reaction:
    station = payload["chargingStation"]
    evidence = {
        "reason": payload["reason"],
        "vendor": station["vendorName"],
        "model": station["model"],
        "serial_number": station.get("serialNumber", ""),
        "firmware_version": station.get("firmwareVersion", ""),
    }
    answer = {"currentTime": timestamp(now), "interval": interval, "status": "Accepted"}
    return Reaction(answer, Evidence.BOOTED, evidence, booted=True)


def _heartbeat(payload: Payload, now: datetime, interval: int) -> Reaction:
    return Reaction({"currentTime": timestamp(now)})


def _security_event_notification(payload: Payload, now: datetime, interval: int) -> Reaction:
    evidence = {
        "type": payload["type"],
        "timestamp": payload["timestamp"],
        "tech_info": payload.get("techInfo", ""),
    }
    return Reaction({}, Evidence.SECURITY_EVENT, evidence)


def _sign_certificate(payload: Payload, now: datetime, interval: int) -> Reaction:
    return plug_and_charge.sign_certificate(payload, None)


def _get_ev_certificate(payload: Payload, now: datetime, interval: int) -> Reaction:
    return plug_and_charge.get_ev_certificate(payload)


def _get_certificate_status(payload: Payload, now: datetime, interval: int) -> Reaction:
    return plug_and_charge.get_certificate_status(payload)


def _log_status_notification(payload: Payload, now: datetime, interval: int) -> Reaction:
    evidence = {"status": payload["status"], "request_id": payload.get("requestId")}
    return Reaction({}, Evidence.LOG_STATUS, evidence)


def _transaction_event(payload: Payload, now: datetime, interval: int) -> Reaction:
    if "idToken" in payload:
        return Reaction({"idTokenInfo": {"status": "Unknown"}})
    return Reaction({})


def _always(answer: Payload) -> Handler:
    return lambda payload, now, interval: Reaction(dict(answer))


HANDLERS: Final[dict[str, Handler]] = {
    "BootNotification": _boot_notification,
    "Heartbeat": _heartbeat,
    "SecurityEventNotification": _security_event_notification,
    "SignCertificate": _sign_certificate,
    "LogStatusNotification": _log_status_notification,
    "TransactionEvent": _transaction_event,
    "Authorize": _always({"idTokenInfo": {"status": "Unknown"}}),
    "ClearedChargingLimit": _always({}),
    "DataTransfer": _always({"status": "UnknownVendorId"}),
    "FirmwareStatusNotification": _always({}),
    "Get15118EVCertificate": _get_ev_certificate,
    "GetCertificateStatus": _get_certificate_status,
    "MeterValues": _always({}),
    "NotifyChargingLimit": _always({}),
    "NotifyCustomerInformation": _always({}),
    "NotifyDisplayMessages": _always({}),
    "NotifyEVChargingNeeds": _always({"status": "Rejected"}),
    "NotifyEVChargingSchedule": _always({"status": "Accepted"}),
    "NotifyEvent": _always({}),
    "NotifyMonitoringReport": _always({}),
    "NotifyReport": _always({}),
    "PublishFirmwareStatusNotification": _always({}),
    "ReportChargingProfiles": _always({}),
    "ReservationStatusUpdate": _always({}),
    "StatusNotification": _always({}),
}
