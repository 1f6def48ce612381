"""What an OCPP 1.6 station may ask of us, what it means, and what it is answered.

The answers are those of a control plane for certificates that runs no charging sessions and says so: no identification
tag is known (`Invalid`), no vendor's DataTransfer is spoken (`UnknownVendorId`) but that of Plug and Charge. Only what
carries evidence about credentials, and what only somebody outside can answer, goes to the database.
"""

from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from typing import Final

import orjson

from bfcerts.ocpp.canonical import Evidence, Payload
from bfcerts.ocpp.protocol import Reaction
from bfcerts.ocpp.schemas import HAS_ZONE
from bfcerts.ocpp.v16 import plug_and_charge

Handler = Callable[[Payload, datetime, int], Reaction]

NO_SUCH_TAG: Final = {"status": "Invalid"}


def timestamp(now: datetime) -> str:
    """A dateTime as OCPP 1.6 §3.13 advises it."""
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def _with_zone(moment: str) -> str:
    """OCPP 1.6 §3.13 does not demand a time zone; without one it is UTC."""
    return moment if HAS_ZONE.search(moment) else f"{moment}Z"


def _boot_notification(payload: Payload, now: datetime, interval: int) -> Reaction:
    """1.6 gives no reason; older stations name their serial number in the field that newer ones deprecate."""
    evidence = {
        "reason": "",
        "vendor": payload["chargePointVendor"],
        "model": payload["chargePointModel"],
        "serial_number": payload.get("chargePointSerialNumber") or payload.get("chargeBoxSerialNumber", ""),
        "firmware_version": payload.get("firmwareVersion", ""),
    }
    answer = {"currentTime": timestamp(now), "interval": interval, "status": "Accepted"}
    return Reaction(answer, Evidence.BOOTED, evidence, booted=True)


def _heartbeat(payload: Payload, now: datetime, interval: int) -> Reaction:
    return Reaction({"currentTime": timestamp(now)})


def _security_event_notification(payload: Payload, now: datetime, interval: int) -> Reaction:
    evidence = {
        "type": payload["type"],
        "timestamp": _with_zone(payload["timestamp"]),
        "tech_info": payload.get("techInfo", ""),
    }
    return Reaction({}, Evidence.SECURITY_EVENT, evidence)


def _sign_certificate(payload: Payload, now: datetime, interval: int) -> Reaction:
    """Whitepaper A02: answered at once. The message knows one kind of certificate: the charge point's own."""
    evidence = {"csr": payload["csr"], "certificate_type": "ChargingStationCertificate", "request_id": None}
    return Reaction({"status": "Accepted"}, Evidence.CSR_RECEIVED, evidence)


def _log_status_notification(payload: Payload, now: datetime, interval: int) -> Reaction:
    evidence = {"status": payload["status"], "request_id": payload.get("requestId")}
    return Reaction({}, Evidence.LOG_STATUS, evidence)


def _start_transaction(payload: Payload, now: datetime, interval: int) -> Reaction:
    """The answer must bring a transaction id (OCPP 1.6 §5.14), though the tag is refused.

    It is the beginning of the SHA-256 of the request, as a positive number of 31 bits. So nothing has to be remembered:
    a request that the station repeats, because its answer was lost, gets the same id from any gateway node, and two
    different transactions of one station get different ones, as they differ in connector, time or meter.
    """
    digest = sha256(orjson.dumps(payload, option=orjson.OPT_SORT_KEYS)).digest()
    return Reaction({"transactionId": int.from_bytes(digest[:4]) >> 1 or 1, "idTagInfo": dict(NO_SUCH_TAG)})


def _stop_transaction(payload: Payload, now: datetime, interval: int) -> Reaction:
    return Reaction({"idTagInfo": dict(NO_SUCH_TAG)} if "idTag" in payload else {})


def _data_transfer(payload: Payload, now: datetime, interval: int) -> Reaction:
    return plug_and_charge.react(payload)


def _always(answer: Payload) -> Handler:
    return lambda payload, now, interval: Reaction(dict(answer))


HANDLERS: Final[dict[str, Handler]] = {
    "BootNotification": _boot_notification,
    "Heartbeat": _heartbeat,
    "SecurityEventNotification": _security_event_notification,
    "SignCertificate": _sign_certificate,
    "LogStatusNotification": _log_status_notification,
    "StartTransaction": _start_transaction,
    "StopTransaction": _stop_transaction,
    "Authorize": _always({"idTagInfo": NO_SUCH_TAG}),
    "DataTransfer": _data_transfer,
    "DiagnosticsStatusNotification": _always({}),
    "FirmwareStatusNotification": _always({}),
    "MeterValues": _always({}),
    "SignedFirmwareStatusNotification": _always({}),
    "StatusNotification": _always({}),
}
