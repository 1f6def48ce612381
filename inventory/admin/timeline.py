"""One time line of an identity: transitions, security events, sessions and commands, newest first."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse

from bfcerts.console.presentation import protocol_words, short, spoken
from bfcerts.ocpp.canonical import CommandOutcome
from bfcerts.ocpp.models import OutboxCommand, StationSession
from inventory.choices import SEVERITY_COLOURS, EventType
from inventory.models import DomainEvent, SecurityEvent
from inventory.words import actor_words, command_words, event_words, in_words

_FAILED = {EventType.CSR_REJECTED, EventType.INSTALL_FAILED, EventType.ACTIVATION_FAILED}
_EVENT_TONES = {
    EventType.CERTIFICATE_ACTIVATED: "success",
    EventType.CERTIFICATE_ISSUED: "info",
    EventType.CERTIFICATE_INSTALLED: "info",
    EventType.CERTIFICATE_REVOKED: "danger",
    EventType.CSR_REJECTED: "danger",
    EventType.INSTALL_FAILED: "danger",
    EventType.ACTIVATION_FAILED: "danger",
    EventType.ESCALATION_RAISED: "warning",
    EventType.INCIDENT_RAISED: "danger",
    EventType.TRUST_ANCHOR_MISMATCH_DETECTED: "warning",
    EventType.MIGRATION_QUARANTINED: "danger",
    EventType.AUTHORIZATION_KEY_FAILED: "danger",
    EventType.IDENTITY_DISABLED: "danger",
    EventType.LOCK_OUT_FORECAST_OVERRIDDEN: "danger",
    EventType.IDENTITY_ENABLED: "success",
}
_COMMAND_TONES = {
    OutboxCommand.State.QUEUED: "info",
    OutboxCommand.State.SENT: "info",
    OutboxCommand.State.FAILED: "danger",
    OutboxCommand.State.EXPIRED: "warning",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened."""

    at: datetime
    kind: str
    icon: str
    tone: str
    title: str
    text: str
    url: str
    actor: str = ""


def _why(event: DomainEvent) -> str:
    """What went wrong, where something did: the reason is why the work was begun."""
    return str((event.type in _FAILED and event.payload.get("detail")) or event.reason)


def of_events(events: Iterable[DomainEvent]) -> list[Moment]:
    return [
        Moment(
            at=event.occurred_at,
            kind="Transition",
            icon="swap_calls",
            tone=_EVENT_TONES.get(EventType(event.type), "default"),
            title=event_words(event.type),
            text=in_words(_why(event)),
            url=reverse("admin:inventory_domainevent_change", args=[event.pk]),
            actor=actor_words(event.actor),
        )
        for event in events
    ]


def of_security_events(events: Iterable[SecurityEvent]) -> list[Moment]:
    return [
        Moment(
            at=event.occurred_at,
            kind="Security event",
            icon="shield",
            tone=SEVERITY_COLOURS[event.severity],
            title=event_words(event.type),
            text=in_words(event.message),
            url=reverse("admin:inventory_securityevent_change", args=[event.pk]),
        )
        for event in events
    ]


def of_sessions(sessions: Iterable[StationSession]) -> list[Moment]:
    moments = []
    for session in sessions:
        url = reverse("admin:ocpp_stationsession_change", args=[session.pk])
        with_what = (
            f"certificate {short(session.certificate_fingerprint)}"
            if session.certificate_fingerprint
            else "its AuthorizationKey"
        )
        moments.append(
            Moment(
                at=session.connected_at,
                kind="Session",
                icon="link",
                tone="success" if session.closed_at is None else "default",
                title=f"Connected on Profile {session.security_profile}",
                text=f"From {session.address} with {with_what}, {protocol_words(session.protocol)}",
                url=url,
            )
        )
        if session.closed_at is not None:
            moments.append(
                Moment(
                    at=session.closed_at,
                    kind="Session",
                    icon="link_off",
                    tone="default",
                    title="Disconnected",
                    text=session.close_reason,
                    url=url,
                )
            )
    return moments


def of_commands(commands: Iterable[OutboxCommand]) -> list[Moment]:
    moments = []
    for command in commands:
        refused = command.state == OutboxCommand.State.ANSWERED and command.outcome != CommandOutcome.ACCEPTED
        tone = "danger" if refused else _COMMAND_TONES.get(OutboxCommand.State(command.state), "default")
        moments.append(
            Moment(
                at=command.finished_at or command.sent_at or command.created_at,
                kind="Command",
                icon="outbox",
                tone=tone,
                title=command_words(command.action),
                text=_command_state(command),
                url=reverse("admin:ocpp_outboxcommand_change", args=[command.pk]),
            )
        )
    return moments


def _command_state(command: OutboxCommand) -> str:
    state = OutboxCommand.State(command.state)
    if state is OutboxCommand.State.QUEUED:
        return f"Waits for the station, until {command.deadline:%Y-%m-%d %H:%M} UTC"
    if state is OutboxCommand.State.ANSWERED:
        detail = command.error_description or command.error_code
        return f"The station answered: {spoken(command.outcome).lower()}{f' ({detail})' if detail else ''}"
    return f"{state.label}{f': {command.error_description}' if command.error_description else ''}"


def merged(*parts: list[Moment], limit: int) -> list[Moment]:
    """The newest moments of all parts, in order."""
    everything = [moment for part in parts for moment in part]
    return sorted(everything, key=lambda moment: moment.at, reverse=True)[:limit]
