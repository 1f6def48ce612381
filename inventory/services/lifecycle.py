"""The lifecycle commands: issue, install, activate, deactivate, reactivate, renew, revoke, delete, register_external.

One function each, called alike by the admin, the API, the command line, tasks and policies (FR-003). Each checks its
own permission, locks the identity, and writes transition, event, history row and job in one transaction; workers and
gateways are woken by notifications that PostgreSQL delivers after the commit. Those that start work are in
`requesting`, the one that takes in what others issued in `registration`, those that revoke in `revoking`; all of them
are called by their names here.
"""

from datetime import datetime

from django.utils import timezone

from inventory.actors import Actor
from inventory.choices import (
    EventType,
    JobAction,
    JobState,
    RecordState,
    RevocationReason,
)
from inventory.errors import LastCredentialError, TransitionRefusedError
from inventory.jobs import engine
from inventory.models import CertificateJob, CertificateRecord, Evidence
from inventory.services import operating_modes, transitions
from inventory.services.command import command
from inventory.services.events import record_event
from inventory.services.locking import lock_record
from inventory.services.operating_modes import Verb
from inventory.services.registration import register_external
from inventory.services.requesting import install, issue, issue_each, renew
from inventory.services.revoking import revoke, revoke_locked, revoke_many

__all__ = [
    "activate",
    "check_may_be_abandoned",
    "deactivate",
    "delete",
    "finish_jobs_of",
    "give_up_undelivered",
    "install",
    "issue",
    "issue_each",
    "reactivate",
    "register_external",
    "renew",
    "revoke",
    "revoke_locked",
    "revoke_many",
]


def activate(
    *, record: CertificateRecord, evidence: Evidence, actor: Actor, reason: str, now: datetime | None = None
) -> CertificateRecord:
    """Make a certificate active on evidence; the previous one of the slot is retired in the same transaction.

    :raises TransitionRefusedError: when the evidence is not what the purpose asks for (FR-002a).
    """
    now = now or timezone.now()
    with command(actor, "activate_certificaterecord", reason):
        locked = lock_record(record.pk)
        transitions.activated(locked, evidence, now=now, job=None)
        finish_jobs_of(locked, f"Certificate {locked.pk} is active.", now)
    return locked


def finish_jobs_of(record: CertificateRecord, outcome: str, now: datetime) -> None:
    """End the open jobs whose aim was to bring this certificate into use."""
    open_jobs = CertificateJob.objects.open().select_for_update(of=("self",)).filter(record=record)
    for job in open_jobs.filter(action__in=[JobAction.ISSUE, JobAction.RENEW, JobAction.INSTALL]):
        engine.advance(job, engine.Succeed(outcome), now)


def deactivate(
    *, record: CertificateRecord, actor: Actor, reason: str, force: bool = False, now: datetime | None = None
) -> CertificateRecord:
    """Take an active certificate out of service on purpose; it can come back on fresh evidence.

    :raises LastCredentialError: when it is the identity's last working credential and `force` is not given.
    """
    now = now or timezone.now()
    with command(actor, "deactivate_certificaterecord", reason):
        locked = lock_record(record.pk)
        operating_modes.check_record(Verb.DEACTIVATE, locked)
        transitions.check_source(locked, "deactivated", RecordState.ACTIVE)
        _check_no_door(locked)
        _guard_last_credential(locked, actor, force, now, "Deactivating")
        transitions.deactivated(locked, now=now, forced=force)
    return locked


def reactivate(
    *, record: CertificateRecord, actor: Actor, reason: str, now: datetime | None = None
) -> CertificateRecord:
    """Let an inactive certificate open the door again; it becomes active on fresh evidence, like any other.

    :raises TransitionRefusedError: when it is not inactive, or has expired.
    """
    now = now or timezone.now()
    with command(actor, "reactivate_certificaterecord", reason):
        locked = lock_record(record.pk)
        operating_modes.check_record(Verb.REACTIVATE, locked)
        transitions.check_source(locked, "reactivated", RecordState.INACTIVE)
        if locked.not_after is None or locked.not_after <= now:
            raise TransitionRefusedError(f"Certificate {locked.pk} has expired; issue a new one instead.")
        transitions.reactivated(locked, now=now)
    return locked


def delete(
    *, record: CertificateRecord, actor: Actor, reason: str, force: bool = False, now: datetime | None = None
) -> CertificateRecord:
    """Take a certificate out of the living inventory; its row, events and history stay.

    :raises LastCredentialError: when it is the identity's last working credential and `force` is not given.
    """
    now = now or timezone.now()
    with command(actor, "delete_certificaterecord", reason):
        locked = lock_record(record.pk)
        transitions.check_source(
            locked,
            "deleted",
            RecordState.REQUESTED,
            RecordState.INACTIVE,
            RecordState.RETIRED,
            RecordState.REVOKED,
        )
        _check_no_door(locked)
        working = CertificateJob.objects.open().filter(record=locked).first()
        if working:
            raise TransitionRefusedError(
                f"Job {working.pk} ({working.get_action_display().lower()}) still works on certificate {locked.pk}; "
                "wait for it or cancel it first."
            )
        _guard_last_credential(locked, actor, force, now, "Deleting")
        locked.deleted_at = now
        locked.delete_record()
        locked.save()
        record_event(EventType.CERTIFICATE_DELETED, now=now, record=locked, payload={"forced": force})
        transitions.block_at_gateways(locked)
    return locked


def _check_no_door(record: CertificateRecord) -> None:
    if record.renewal_only_until is not None:
        raise TransitionRefusedError(
            f"A narrow door of {record.identity.authoritative_identifier} rests on certificate {record.pk}; close the "
            "door first."
        )


def _guard_last_credential(record: CertificateRecord, actor: Actor, force: bool, now: datetime, doing: str) -> None:
    """The guard of the IoT hub pattern: an identity is not left without a working credential by accident."""
    working = CertificateRecord.objects.of(record.identity_id, record.purpose, record.slot).usable_at(now)
    if not working.filter(pk=record.pk).exists() or working.exclude(pk=record.pk).exists():
        return
    if not force:
        raise LastCredentialError(
            f"{doing} certificate {record.pk} would leave {record.identity.authoritative_identifier} without a "
            "working certificate. Renew it first, or force it if you mean to."
        )
    actor.require("forcedelete_certificaterecord")


def check_may_be_abandoned(job: CertificateJob) -> None:
    """Refuse to give up a job while the CA works on its request: its certificate must not be forgotten.

    :raises TransitionRefusedError: while the CA does.
    """
    record = job.record
    if record is None or record.state != RecordState.REQUESTED:
        return
    if job.state == JobState.RUNNING or job.intents.filter(record=record, submitted_at__isnull=False).exists():
        raise TransitionRefusedError(
            f"The CA is working on job {job.pk} right now; try again in a moment, when its certificate is here."
        )


def give_up_undelivered(record: CertificateRecord, why: str, now: datetime) -> None:
    """Revoke a locked certificate that was issued and whose delivery will not begin any more."""
    if record.state == RecordState.ISSUED and record.confirm_by is None:
        revoke_locked([record], RevocationReason.SUPERSEDED, detail=why, now=now)
