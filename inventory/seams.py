"""What the floors above hear of, and what they are asked first; filled by the apps at start-up, never imported upward.

Every listener runs in the transaction that stores what it hears of, under the lock of the identity where one is named,
so its effects happen exactly once or not at all. It decides nothing slow and calls nobody outside. One that raises
undoes the whole, except where a job ended: that is true whoever fails to take it in, so what such a listener did is
undone alone, and it is told again until it succeeds (`inventory.services.untold`).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from django.db import transaction

from bfcerts.conflicts import is_conflict
from bfcerts.ocpp.canonical import CommandOutcome
from bfcerts.ocpp.models import OutboxCommand
from bfcerts.rows import update_all
from inventory.actors import Actor
from inventory.choices import SecurityCategory, SecuritySource, Severity
from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity, UntoldJobEnd
from inventory.services.security_events import record_security_event

logger = logging.getLogger(__name__)

FIRST_AGAIN = timedelta(seconds=10)
"""How soon a listener that failed is told again, for the first time."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A charger came in, and that was news: with another credential than before, or while somebody watches for it."""

    identity: ManagedIdentity
    session_id: str
    security_profile: int
    fingerprint: str
    """Of the client certificate; empty below Profile 3."""
    authorization_key_id: int | None
    """Which key opened the door for Profile 2."""
    at: datetime
    renewal_only: bool = False
    """It came in with an expired certificate, only to renew it: it shows nothing of the charger's ordinary ways in."""


@dataclass(frozen=True, slots=True)
class Boot:
    """A BootNotification, after the identity took its firmware version from it."""

    identity: ManagedIdentity
    session_id: str
    vendor: str
    model: str
    serial_number: str
    firmware_version: str
    at: datetime


@dataclass(frozen=True, slots=True)
class CommandAnswer:
    """How a command ended that a floor above has sent, in the canonical vocabulary."""

    command: OutboxCommand
    reference: str
    """What follows the kind and its colon in the command's reference."""
    outcome: CommandOutcome
    detail: str
    """The station's own words, in one line."""
    answer: Mapping[str, Any] = field(repr=False)
    session_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class StationReport:
    """A SecurityEventNotification, classified."""

    identity: ManagedIdentity
    kind: str
    technical_detail: str
    session_id: str
    at: datetime


class Gated(StrEnum):
    """What a floor above may hold back."""

    FIRST_ENROLMENT = "first_enrolment"
    CUT_OVER = "cut_over"
    SERVER_CERTIFICATE = "server_certificate"
    """A certificate for a listener of ours."""


ConnectionListener = Callable[[Connection], None]
BootListener = Callable[[Boot], None]
AnswerHandler = Callable[[CommandAnswer], None]
ReportListener = Callable[[StationReport], None]
JobListener = Callable[[CertificateJob, datetime], None]
JobInterest = Callable[[CertificateJob], bool]
"""Whether a listener wants to hear of the end of a job: decided from the job alone, without a query."""
RecordListener = Callable[[Sequence[CertificateRecord], datetime], None]
Gate = Callable[[Gated, Sequence[ManagedIdentity], datetime], Mapping[int, str]]
"""Why identities may not do this now, in a sentence for the operator, by their keys; where nothing is in the way, there
is no entry. Asked about many at once, its queries do not grow with them."""

ActivationCheck = Callable[[CertificateRecord, datetime], str | None]
"""Why this certificate may not come into use now, in a sentence for the operator; None where nothing is in the way."""

WayBack = Callable[[ManagedIdentity, str, datetime], bool]
"""Whether this identity's way back to a lower profile stays open, although it was seen with the certificate of this
fingerprint at that time."""


class LockOutForecast(Protocol):
    """Foresees whether a charger could come back after its cut-over, and who may cut it over all the same."""

    permission: str
    """Of those who may override it."""

    def evidence_against(self, identity: ManagedIdentity, now: datetime) -> str:
        """Why this charger could not come back, and on what evidence; empty where nothing is against it."""

    def require_safe(
        self, identity: ManagedIdentity, *, actor: Actor, override: bool, reason: str, now: datetime
    ) -> str:
        """Refuse the cut-over of a charger that could not come back.

        :returns: the evidence that was overridden; empty where nothing was against it.
        :raises InventoryError: without `override`, without the permission, or without a reason.
        """


_connections: list[ConnectionListener] = []
_boots: list[BootListener] = []
_reports: list[ReportListener] = []
_ended_jobs: dict[str, tuple[JobListener, JobInterest]] = {}
_moved_records: list[RecordListener] = []
_gates: list[Gate] = []
_activation_checks: list[ActivationCheck] = []
_ways_back: list[WayBack] = []
_forecasts: list[LockOutForecast] = []
_answers: dict[str, AnswerHandler] = {}


def on_connection(listener: ConnectionListener) -> None:
    """Hear of connections. `watch_connections` makes those news that would not be."""
    _add(_connections, listener)


def on_boot(listener: BootListener) -> None:
    _add(_boots, listener)


def on_station_report(listener: ReportListener) -> None:
    _add(_reports, listener)


def on_job_ended(name: str, listener: JobListener, *, concerns: JobInterest) -> None:
    """Hear of jobs that ended, however; the job is locked.

    :param name: for ever this listener's own: under it is kept what it has still to be told.
    :param concerns: which jobs it hears of; those that concern nobody cost nothing.
    """
    if name in _ended_jobs and _ended_jobs[name][0] is not listener:
        raise ValueError(f"the ends of jobs already have a listener {name!r}: {_ended_jobs[name][0]}")
    _ended_jobs[name] = (listener, concerns)


def on_records_moved(listener: RecordListener) -> None:
    """Hear of certificates that became installed, active, inactive, retired or revoked; they are locked.

    Those that were moved together, by a revocation of many, are told together: ask about them together too.
    """
    _add(_moved_records, listener)


def on_answer(kind: str, handler: AnswerHandler) -> None:
    """Name who gets the answers to commands whose reference begins with this kind and a colon."""
    if _answers.get(kind, handler) is not handler:
        raise ValueError(f"answers to {kind!r} already have a handler: {_answers[kind]}")
    _answers[kind] = handler


def add_gate(gate: Gate) -> None:
    """Be asked before a first enrolment or a cut-over. Routine renewals are never held back."""
    _add(_gates, gate)


def add_activation_check(check: ActivationCheck) -> None:
    """Be asked before a certificate comes into use, under its lock; decide without a query where it is not yours."""
    _add(_activation_checks, check)


def lend_forecast(forecast: LockOutForecast) -> None:
    """Be asked before every cut-over of a single charger, whoever gives it."""
    _add(_forecasts, forecast)


def forecasts() -> list[LockOutForecast]:
    """Whoever has been lent."""
    return list(_forecasts)


def add_way_back(keeps_open: WayBack) -> None:
    """Be asked before a charger that was seen on Profile 3 loses its way back to a lower one."""
    _add(_ways_back, keeps_open)


def _add(listeners: list[Any], listener: Any) -> None:
    if listener not in listeners:
        listeners.append(listener)


def tell_connection(connection: Connection) -> None:
    for listener in _connections:
        listener(connection)


def tell_boot(boot: Boot) -> None:
    for listener in _boots:
        listener(boot)


def tell_station_report(report: StationReport) -> None:
    for listener in _reports:
        listener(report)


def tell_job_ended(job: CertificateJob, now: datetime) -> None:
    """Tell whom it concerns. Whoever fails to take it in is told again later; the job has ended all the same."""
    for name, (listener, concerns) in _ended_jobs.items():
        if not concerns(job):
            continue
        try:
            with transaction.atomic():
                listener(job, now)
        except Exception as error:  # whatever is wrong above, a job that ended has ended
            if is_conflict(error):
                raise
            logger.exception("job %s: its end could not be told to %s", job.pk, name)
            _tell_later(name, job, error, now)


def _tell_later(name: str, job: CertificateJob, error: Exception, now: datetime) -> None:
    UntoldJobEnd.objects.create(
        listener=name,
        job=job,
        failed_at=now,
        next_run_at=now + FIRST_AGAIN,
        last_error=f"{type(error).__name__}: {error}"[:1000],
    )
    record_security_event(
        "JobEndUntold",
        category=SecurityCategory.OTHER,
        severity=Severity.WARNING,
        source=SecuritySource.CONTROL_PLANE,
        message=f"Job {job.pk} has ended, and what follows from that in “{name}” failed ({type(error).__name__}). It "
        "is tried again until it succeeds; if more of these come, report them with the worker's log.",
        now=now,
        job=job,
        dedupe_key=f"job-end-untold:{name}:{now:%Y%m%d%H}",
    )


def job_listeners() -> dict[str, JobListener]:
    """Who hears of ended jobs in this process, by name."""
    return {name: listener for name, (listener, _) in _ended_jobs.items()}


def tell_records_moved(records: Sequence[CertificateRecord], now: datetime) -> None:
    for listener in _moved_records:
        listener(records, now)


def tell_answer(kind: str, answer: CommandAnswer) -> None:
    handler = _answers.get(kind)
    if handler is not None:
        handler(answer)


def what_holds_back(action: Gated, identity: ManagedIdentity, now: datetime) -> str | None:
    """As `what_holds_each_back`, of one; None where nothing is in the way."""
    return what_holds_each_back(action, [identity], now).get(identity.pk)


def what_holds_each_back(action: Gated, identities: Sequence[ManagedIdentity], now: datetime) -> dict[int, str]:
    """The first reason of a gate for each identity that one is closed for, by its key."""
    held: dict[int, str] = {}
    for gate in _gates:
        free = [identity for identity in identities if identity.pk not in held]
        if free:
            held |= gate(action, free, now)
    return held


def what_holds_activation(record: CertificateRecord, now: datetime) -> str | None:
    """The first reason why a certificate may not come into use; None where nothing is in the way."""
    for check in _activation_checks:
        why = check(record, now)
        if why is not None:
            return why
    return None


def keeps_way_back(identity: ManagedIdentity, fingerprint: str, at: datetime) -> bool:
    """Whether a floor above keeps the way back to a lower profile open."""
    return any(keeps_open(identity, fingerprint, at) for keeps_open in _ways_back)


def watch_connections(identity: ManagedIdentity, until: datetime) -> None:
    """Make every connection of a charger news until then: the caller waits for one. The identity must be locked.

    The doors read this with the identity, so it costs no query; a later end is never shortened.
    """
    watch_connections_of_each({identity: until})


def watch_connections_of_each(until: Mapping[ManagedIdentity, datetime]) -> None:
    """As `watch_connections`, of several, each until its own time, by one statement."""
    watched = []
    for identity, moment in until.items():
        if identity.connections_watched_until is None or identity.connections_watched_until < moment:
            identity.connections_watched_until = moment
            watched.append(identity)
    # No change of meaning that the audit would have to show: what is waited for is in the waiting row.
    update_all(watched, ("connections_watched_until",))
