"""The door for evidence from the wire: each kind of inbox entry goes to one service. No rule lives here.

A handler runs in the transaction that marks its inbox row as done, so its effects happen exactly once.
"""

from bfcerts.ocpp import registry
from bfcerts.ocpp.canonical import CommandOutcome, Evidence
from bfcerts.ocpp.registry import InboxEntry
from bfcerts.rows import row
from inventory.choices import SubjectKind
from inventory.models import ManagedIdentity
from inventory.purposes import CHARGER_IDENTITY, ISO15118_EVSE_LEAF
from inventory.services import (
    activation,
    capability_evidence,
    enrolment,
    observations,
    station_commands,
    station_logs,
    upstreams,
)


def _station(entry: InboxEntry) -> ManagedIdentity | None:
    return row(
        ManagedIdentity, "kind = %s AND authoritative_identifier = %s", SubjectKind.CHARGER.value, entry.station_id
    )


def csr_received(entry: InboxEntry) -> None:
    """SignCertificate. Without a type it asks for one certificate for both uses; ours is for charger identity."""
    identity = _station(entry)
    if identity is None:
        return
    certificate_type = entry.payload.get("certificate_type")
    purpose_key = (
        ISO15118_EVSE_LEAF.key if certificate_type == ISO15118_EVSE_LEAF.ocpp_certificate_type else CHARGER_IDENTITY.key
    )
    enrolment.device_request(
        identity,
        purpose_key,
        str(entry.payload.get("csr", "")),
        certificate_type=certificate_type,
        key=f"inbox:{entry.id}",
        now=entry.received_at,
    )
    if purpose_key == CHARGER_IDENTITY.key:
        capability_evidence.take_in(identity, capability_evidence.CERTIFICATE_REQUESTED, entry.received_at)


def connected(entry: InboxEntry) -> None:
    """A handshake that was news to the lifecycle. One that is only for a renewal moves no certificate."""
    if entry.payload.get("fingerprint") and not entry.payload.get("renewal_only"):
        activation.connected_with_certificate(
            entry.payload["fingerprint"],
            session=entry.session_id,
            address=str(entry.payload.get("address", "")),
            now=entry.received_at,
        )
    identity = _station(entry)
    observations.connected(identity, entry)
    if entry.payload.get("fingerprint"):
        capability_evidence.take_in(identity, capability_evidence.CONNECTED_BY_MUTUAL_TLS, entry.received_at)


def booted(entry: InboxEntry) -> None:
    """BootNotification: what the station says of itself, and where a cut-over left it."""
    identity = _station(entry)
    if identity is None:
        return
    observations.booted(identity, entry)
    station_commands.booted(identity, entry.session_id, entry.received_at)
    observations.tell_boot(identity, entry)


def command_answered(entry: InboxEntry) -> None:
    """A station answered a command, or never did."""
    station_commands.answered(
        command_id=str(entry.payload.get("command_id", "")),
        outcome=CommandOutcome(entry.payload["outcome"]),
        detail=observations.answer_detail(entry.payload),
        answer=entry.payload.get("answer") or {},
        session=entry.session_id,
        now=entry.received_at,
    )
    shown = capability_evidence.shown_by_answer(entry.payload)
    if shown is not None:
        capability_evidence.take_in(_station(entry), shown, entry.received_at)


def security_event(entry: InboxEntry) -> None:
    """SecurityEventNotification."""
    identity = _station(entry)
    observations.station_security_event(identity, entry)
    capability_evidence.take_in(identity, capability_evidence.SECURITY_EVENT_REPORTED, entry.received_at)


def log_status(entry: InboxEntry) -> None:
    """LogStatusNotification: of which request, and how far it is."""
    identity = _station(entry)
    observations.log_status(identity, entry)
    capability_evidence.take_in(identity, capability_evidence.LOG_STATUS_REPORTED, entry.received_at)
    if identity is not None:
        station_logs.status_reported(
            identity, entry.payload.get("request_id"), str(entry.payload.get("status", "")), entry.received_at
        )


def connect() -> None:
    """Called once, when the app is ready."""
    registry.register_handler(Evidence.CSR_RECEIVED, csr_received)
    registry.register_handler(Evidence.CONNECTED, connected)
    registry.register_handler(Evidence.COMMAND_ANSWERED, command_answered)
    registry.register_handler(Evidence.BOOTED, booted)
    registry.register_handler(Evidence.SECURITY_EVENT, security_event)
    registry.register_handler(
        Evidence.CONNECTION_REFUSED, lambda entry: observations.connection_refused(_station(entry), entry)
    )
    registry.register_handler(
        Evidence.PROTOCOL_VIOLATION, lambda entry: observations.protocol_violation(_station(entry), entry)
    )
    registry.register_handler(Evidence.LOG_STATUS, log_status)
    registry.register_handler(Evidence.UPSTREAM, lambda entry: upstreams.happened(_station(entry), entry))
