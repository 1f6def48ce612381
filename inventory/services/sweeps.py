"""What happens because time passes: renewals, expiry, thresholds, unconfirmed certificates, vanished workers."""

import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models import Exists, F, Max, OuterRef, Q, QuerySet

from bfcerts.ocpp.models import StationSession
from bfcerts.ocpp.outbox import expire_overdue
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import (
    ISSUING_ACTIONS,
    EventType,
    JobQueue,
    JobState,
    RecordState,
    RevocationReason,
    SecurityCategory,
    SecuritySource,
    Severity,
    SubjectKind,
)
from inventory.errors import InventoryError
from inventory.jobs import setbacks
from inventory.jobs.periodic import duty
from inventory.models import CertificateJob, CertificateRecord, LifecyclePolicy, ManagedIdentity, QueueBeat
from inventory.services import lifecycle, policies, transitions
from inventory.services.events import record_event
from inventory.services.identities import close_sessions
from inventory.services.locking import lock_identity, lock_record
from inventory.services.policies import NoPolicyError
from inventory.services.security_events import record_security_event
from inventory.words import agreeing, counted

logger = logging.getLogger(__name__)

BATCH = 500
RENEWAL_PAUSE = timedelta(hours=1)
"""After the start of a renewal that failed, the next is started no sooner than this.

Counted from its start: one that waited for days for a station that was away is followed by the next at once, so that
there is always something waiting for the station when it comes back.
"""
QUEUE_PATIENCE = timedelta(minutes=2)
"""A job that has been due for longer, with nobody taking it, means that its queue has stopped."""

RENEWAL = Actor.system("renewal")
EXPIRY = Actor.system("expiry")


def _in_batches(records: QuerySet[CertificateRecord]) -> Iterator[CertificateRecord]:
    """Records by ascending id, a batch at a time, however many there are."""
    last = 0
    while True:
        batch = list(records.filter(pk__gt=last).order_by("pk")[:BATCH])
        yield from batch
        if len(batch) < BATCH:
            return
        last = batch[-1].pk


def _apart(work: str, record: CertificateRecord, now: datetime, step: Callable[[], int]) -> int:
    """What goes wrong with one certificate keeps no other waiting; how many were done."""
    return setbacks.apart(work, record.pk, now, step, identity_id=record.identity_id) or 0


def _horizons() -> list[tuple[str, timedelta]]:
    """For each purpose the longest time before expiry at which any of its policies starts a renewal."""
    starting = LifecyclePolicy.objects.filter(enabled=True, renewal_threshold__isnull=False).order_by()
    return list(starting.values_list("purpose").annotate(longest=Max(F("renewal_threshold") + F("renewal_lead"))))


@duty("renewal", timedelta(minutes=1))
def start_due_renewals(now: datetime) -> int:
    """Start the renewals whose time has come, spread over the lead before the threshold (T-30 by default).

    :returns: how many were started.
    """
    started = 0
    busy = CertificateJob.objects.filter(
        identity=OuterRef("identity"),
        purpose=OuterRef("purpose"),
        slot=OuterRef("slot"),
        action__in=ISSUING_ACTIONS,
    ).filter(
        Q(state__in=[JobState.QUEUED, JobState.RUNNING, JobState.WAITING])
        | Q(state=JobState.FAILED, created_at__gt=now - RENEWAL_PAUSE)
    )
    for purpose_key, horizon in _horizons():
        candidates = (
            CertificateRecord.objects.filter(
                purpose=purpose_key, state=RecordState.ACTIVE, not_after__lte=now + horizon, not_after__gt=now
            )
            .filter(~Exists(busy), identity__enabled=True, mode="managed")
            .select_related("identity__family")
        )
        candidates = setbacks.without(candidates, "renewal", now)
        for record in _in_batches(candidates):
            started += _apart("renewal", record, now, partial(_renew_if_due, record, now))
    return started


def _renew_if_due(record: CertificateRecord, now: datetime) -> bool:
    try:
        policy = policies.resolve(record.identity, record.purpose).policy
        start = policies.renewal_start(record, policy)
        if start is None or start > now:
            return False
        lifecycle.renew(
            record=record,
            actor=RENEWAL,
            reason=f"Expires on {record.not_after:%Y-%m-%d}; “{policy.name}” starts its renewal now",
            now=now,
        )
    except InventoryError as error:
        logger.info("certificate %s is not renewed now: %s", record.pk, error)
        return False
    return True


def _expired(now: datetime) -> Iterator[CertificateRecord]:
    """One state after the other: each has an index of its own, all together have none."""
    for state in (RecordState.ACTIVE, RecordState.INACTIVE, RecordState.INSTALLED_PENDING_ACTIVATION):
        expired = CertificateRecord.objects.filter(state=state, not_after__lte=now)
        yield from _in_batches(setbacks.without(expired, "expiry", now))


@duty("expiry", timedelta(minutes=1))
def retire_expired(now: datetime) -> int:
    """Retire what has expired; it opens no door from its end on, whether or not this has run."""
    return sum(_apart("expiry", candidate, now, partial(_retire, candidate.pk, now)) for candidate in _expired(now))


def _retire(record_id: int, now: datetime) -> bool:
    with transaction.atomic():
        record = lock_record(record_id)
        if record.state not in (
            RecordState.ACTIVE,
            RecordState.INACTIVE,
            RecordState.INSTALLED_PENDING_ACTIVATION,
        ):
            return False
        retire_locked(record, now)
    return True


def retire_locked(record: CertificateRecord, now: datetime) -> None:
    """Retire one certificate that has expired, of a record that is locked."""
    with attributed(EXPIRY, "The certificate has expired"):
        transitions.retired(record, "expired", now=now, keep_as_fallback=False)
    transitions.block_at_gateways(record)
    record_security_event(
        "CertificateExpired",
        category=SecurityCategory.TLS_AND_CERTIFICATE,
        severity=Severity.CRITICAL,
        source=SecuritySource.CONTROL_PLANE,
        message=f"Certificate {record.pk} of {record.identity.authoritative_identifier} expired unrenewed.",
        now=now,
        record=record,
        dedupe_key=f"expired:{record.pk}",
    )


@duty("unconfirmed", timedelta(minutes=5))
def revoke_unconfirmed(now: datetime) -> int:
    """Revoke what was issued and never confirmed by the end of its rollback window, rather than forget it.

    The same goes for what was issued and is not on its way to anybody: its job ended before the delivery began.
    """
    working = CertificateJob.objects.open().filter(record=OuterRef("pk"))
    undelivered = Q(state=RecordState.ISSUED, confirm_by__isnull=True, registered_externally=False) & ~Exists(working)
    unconfirmed = CertificateRecord.objects.filter(
        Q(state__in=[RecordState.ISSUED, RecordState.INSTALLED_PENDING_ACTIVATION], confirm_by__lte=now) | undelivered
    )
    reason = "Never confirmed in use by the end of its rollback window"

    def revoke(record_id: int) -> bool:
        with attributed(Actor.system("lifecycle"), reason), transaction.atomic():
            record = lock_record(record_id)
            if not unconfirmed.filter(pk=record.pk).exists():
                return False
            lifecycle.revoke_locked([record], RevocationReason.SUPERSEDED, detail=reason, now=now)
        return True

    waiting = setbacks.without(unconfirmed, "unconfirmed", now)
    return sum(
        _apart("unconfirmed", candidate, now, partial(revoke, candidate.pk)) for candidate in _in_batches(waiting)
    )


@duty("thresholds", timedelta(minutes=5))
def raise_thresholds(now: datetime) -> int:
    """EscalationRaised at T-14 and IncidentRaised at T-7, once for each certificate that is not renewed by then."""
    raised = 0
    longest = LifecyclePolicy.objects.filter(enabled=True).aggregate(
        escalation=Max("escalation_threshold"), incident=Max("incident_threshold")
    )
    limits = [limit for limit in longest.values() if limit is not None]
    if not limits:
        return 0
    nearing = CertificateRecord.objects.filter(
        state=RecordState.ACTIVE, incident_at__isnull=True, not_after__lte=now + max(limits)
    ).select_related("identity__family")
    for candidate in _in_batches(setbacks.without(nearing, "thresholds", now)):
        try:
            policy = policies.resolve(candidate.identity, candidate.purpose).policy
        except NoPolicyError as error:
            logger.warning("certificate %s has no thresholds: %s", candidate.pk, error)
            continue
        left = candidate.not_after - now if candidate.not_after else timedelta.max
        incident = policy.incident_threshold is not None and left <= policy.incident_threshold
        escalate = policy.escalation_threshold is not None and left <= policy.escalation_threshold
        if incident or (escalate and candidate.escalated_at is None):
            raised += _apart("thresholds", candidate, now, partial(_raise, candidate, incident, policy, now))
    return raised


def _raise(candidate: CertificateRecord, incident: bool, policy: LifecyclePolicy, now: datetime) -> int:
    with attributed(Actor.system("lifecycle"), f"Threshold of “{policy.name}” reached"), transaction.atomic():
        record = lock_record(candidate.pk)
        if record.state != RecordState.ACTIVE:
            return 0
        record.escalated_at = record.escalated_at or now
        record.incident_at = now if incident else None
        record.save()
        days = (record.not_after - now).days if record.not_after else 0
        record_event(
            EventType.INCIDENT_RAISED if incident else EventType.ESCALATION_RAISED,
            now=now,
            record=record,
            payload={"daysLeft": days, "policy": policy.name},
            dedupe_key=f"{'incident' if incident else 'escalation'}:{record.pk}",
        )
    return 1


@duty("ended-fallbacks", timedelta(minutes=1))
def end_fallbacks(now: datetime) -> int:
    """Close what came in below a charger's profile while its migration allowed that, when the time for it is over.

    :returns: how many chargers lost such a session.
    """
    below = StationSession.objects.filter(
        station_id=OuterRef("authoritative_identifier"),
        closed_at__isnull=True,
        security_profile__lt=OuterRef("security_profile"),
    )
    over = ManagedIdentity.objects.filter(Exists(below), kind=SubjectKind.CHARGER, fallback_until__lte=now)
    reason = "The time in which its migration allowed a lower profile is over"

    def end(identity_id: int) -> bool:
        with attributed(Actor.system("lifecycle"), reason), transaction.atomic():
            identity = lock_identity(identity_id)
            if not over.filter(pk=identity_id).exists():
                return False
            why = f"a lower profile is no longer allowed on the way to Profile {identity.security_profile}"
            close_sessions(identity, why, now, highest_profile=identity.security_profile - 1)
        return True

    waiting = setbacks.without(over, "ended-fallbacks", now).order_by("pk")
    return sum(
        setbacks.apart("ended-fallbacks", pk, now, partial(end, pk), identity_id=pk) or False
        for pk in list(waiting.values_list("pk", flat=True))
    )


@duty("outbox-expiry", timedelta(seconds=10))
def expire_commands(now: datetime) -> None:
    """Give up commands whose deadline passed; the jobs that asked for them learn of it as evidence."""
    expire_overdue(now)


@duty("vanished-workers", timedelta(seconds=30))
def report_stopped_queues(now: datetime) -> None:
    """Find jobs that nobody takes: their worker vanished, or their queue has stopped."""
    for queue in JobQueue:
        stale = CertificateJob.objects.due(now - QUEUE_PATIENCE, queue).count()
        if not stale:
            continue
        last = QueueBeat.objects.filter(queue=queue).order_by("-beat_at").first()
        if last and now - last.beat_at < QUEUE_PATIENCE:
            logger.warning("%s jobs of the %s have been due for a while; it is busy", stale, queue.label)
            continue
        since = f"since {last.beat_at:%Y-%m-%d %H:%M:%S} UTC" if last else "ever"
        record_security_event(
            "QueueStopped",
            category=SecurityCategory.OTHER,
            severity=Severity.CRITICAL,
            source=SecuritySource.CONTROL_PLANE,
            message=f"No {queue.label} has run {since}, and {counted(stale, 'job')} "
            f"{agreeing(stale, 'waits', 'wait')}. Start or restart it.",
            now=now,
            dedupe_key=f"queue-stopped:{queue}:{now:%Y%m%d%H}",
        )
