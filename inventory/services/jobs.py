"""Opening, joining, cancelling and hastening jobs. What a job does is in `inventory.jobs`."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from bfcerts.rows import row, row_of, rows
from inventory.actors import Actor
from inventory.audit import add_all, attributed, current_attribution
from inventory.choices import ISSUING_ACTIONS, JobAction, JobQueue, JobState
from inventory.errors import ConflictingJobError, InvalidInputError, TransitionRefusedError
from inventory.jobs import engine
from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity
from inventory.services import holding
from inventory.services.locking import lock_identity, lock_job_of, lock_record


def open_job(
    *,
    action: str,
    identity: ManagedIdentity,
    purpose: str,
    slot: str = "",
    step: str,
    now: datetime,
    queue: str = JobQueue.GENERAL,
    record: CertificateRecord | None = None,
    target: str = "",
    parameters: dict[str, Any] | None = None,
    idempotency_key: str | None = None,
    deadline: datetime | None = None,
    others: Sequence[CertificateJob] | None = None,
) -> tuple[CertificateJob, bool]:
    """Open a job under the current attribution, or return the one that is the same.

    The same idempotency key is the same job, whatever became of it; without a key, an open job of the same identity,
    purpose, slot and action is joined. The identity must be locked by the caller, which makes both checks safe.

    :param others: the identity's open jobs for the purpose and slot, where the caller has read them under its lock.
    :returns: the job, and whether it is new.
    :raises ConflictingJobError: when an issue meets an open renewal or the other way round.
    """
    if idempotency_key:
        known = row(CertificateJob, "idempotency_key = %s", idempotency_key)
        if known:
            if (known.identity_id, known.purpose, known.slot, known.action) != (
                identity.pk,
                purpose,
                slot,
                action,
            ):
                raise ConflictingJobError(
                    f"This idempotency key was used for another request (job {known.pk}); use a new key."
                )
            return known, False
    for other in open_jobs(identity, purpose, slot) if others is None else others:
        if (other.action, other.target) == (action, target):
            return other, False
        if action in ISSUING_ACTIONS and other.action in ISSUING_ACTIONS:
            raise ConflictingJobError(f"{other} (job {other.pk}) is already open; wait for it or cancel it first.")
    job = _new_job(
        action=action,
        identity=identity,
        purpose=purpose,
        slot=slot,
        record=record,
        target=target,
        queue=queue,
        step=step,
        idempotency_key=idempotency_key or uuid.uuid4().hex,
        parameters=parameters or {},
        next_run_at=now,
        deadline=deadline,
        created_at=now,
    )
    add_all([job])
    engine.wake(queue)
    return job, True


def open_revocations(records: Sequence[CertificateRecord], *, now: datetime) -> None:
    """Open the job of each record that tells its CA of the revocation; however many, it takes the same statements.

    The records and their identities are locked. A record is revoked once, so none of them can have such a job yet.
    """
    if not records:
        return
    add_all(
        [
            _new_job(
                action=JobAction.REVOKE,
                identity=record.identity,
                purpose=record.purpose,
                slot=record.slot,
                record=record,
                target=f"record:{record.pk}",
                queue=JobQueue.PKI,
                step="revoke_at_authority",
                idempotency_key=f"revoke:{record.pk}",
                next_run_at=now,
                created_at=now,
            )
            for record in records
        ]
    )
    engine.wake(JobQueue.PKI)


def _new_job(**fields: Any) -> CertificateJob:
    """A queued job under the current attribution, not stored yet."""
    attribution = current_attribution()
    return CertificateJob(
        state=JobState.QUEUED,
        actor=attribution.actor.name,
        reason=attribution.reason,
        correlation_id=attribution.correlation_id,
        **fields,
    )


def open_jobs(identity: ManagedIdentity, purpose: str, slot: str = "") -> list[CertificateJob]:
    """The open jobs of an identity for a purpose and slot, the oldest first."""
    found = rows(
        CertificateJob,
        "identity_id = %s AND purpose = %s AND slot = %s AND state IN ('queued', 'running', 'waiting') ORDER BY id",
        identity.pk,
        purpose,
        slot,
    )
    for job in found:
        job.identity = identity
    return found


def lock(job_id: int) -> CertificateJob:
    """The job, locked until the end of the transaction, after its identity."""
    identity = lock_identity(row_of(CertificateJob, job_id).identity_id)
    return lock_job_of(identity, job_id)


def _needed(reason: str) -> str:
    if not reason.strip():
        raise InvalidInputError("A reason is needed: say why, for the audit trail.")
    return reason.strip()


def cancel(*, job: CertificateJob, actor: Actor, reason: str, now: datetime | None = None) -> CertificateJob:
    """End an open job. Refused while the CA works on it: its certificate must not be forgotten.

    :raises TransitionRefusedError: when the job has ended, or works at the CA for a revocation.
    """
    from inventory.services.lifecycle import check_may_be_abandoned, give_up_undelivered

    actor.require("cancel_certificatejob")
    now = now or timezone.now()
    with transaction.atomic(), attributed(actor, _needed(reason)):
        locked = lock(job.pk)
        if not locked.is_open:
            raise TransitionRefusedError(
                f"Job {locked.pk} has ended ({locked.get_state_display().lower()}); there is nothing to cancel."
            )
        if locked.action == JobAction.REVOKE:
            raise TransitionRefusedError("A revocation is not taken back: the CA has to learn of it.")
        check_may_be_abandoned(locked)
        engine.finish(locked, JobState.CANCELLED, f"Cancelled by {actor.name}: {reason}", now)
        if locked.record_id is not None:
            give_up_undelivered(lock_record(locked.record_id), f"Its delivery was cancelled: {reason}", now)
    return locked


def run_now(
    *,
    job: CertificateJob,
    actor: Actor,
    reason: str,
    override_forecast: bool = False,
    now: datetime | None = None,
) -> CertificateJob:
    """Let a job that waits for its next try run now.

    :param override_forecast: a server certificate is made although chargers could not reconnect, which needs a
        permission of its own.
    :raises TransitionRefusedError: when it has ended, runs already, or waits for what only the other side can do.
    """
    actor.require("retry_certificatejob")
    if override_forecast:
        actor.require(holding.OVERRIDE)
    now = now or timezone.now()
    with transaction.atomic(), attributed(actor, _needed(reason)):
        locked = lock(job.pk)
        if not locked.is_open:
            raise TransitionRefusedError(f"Job {locked.pk} has ended; start a new one instead.")
        if locked.state == JobState.RUNNING:
            raise TransitionRefusedError(f"Job {locked.pk} is running right now; look again in a moment.")
        if locked.state == JobState.WAITING and not locked.waiting_for.startswith(
            ("the next try", "another try", "a free place", "the CA", "the chargers that could not")
        ):
            raise TransitionRefusedError(
                f"Job {locked.pk} waits for {locked.waiting_for}; running it now would only end that wait."
            )
        if override_forecast:
            locked.parameters = {**locked.parameters, holding.FORECAST_OVERRIDDEN: True}
        locked.next_run_at = now
        locked.state, locked.waiting_for, locked.waiting_until = JobState.QUEUED, "", None
        locked.save()
        engine.wake(locked.queue)
    return locked
