"""Opening, joining, cancelling and hastening jobs. What a job does is in `inventory.jobs`."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from bfcerts.rows import row, row_of, rows
from inventory.actors import Actor
from inventory.audit import add_all, attributed, current_attribution
from inventory.choices import ISSUING_ACTIONS, JobAction, JobQueue, JobState
from inventory.errors import ConflictingJobError, InvalidInputError, InventoryError, TransitionRefusedError
from inventory.jobs import engine
from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity
from inventory.services import holding
from inventory.services.locking import lock_identity, lock_job_of, lock_record

EMPTY: Final[Mapping[int, Any]] = MappingProxyType({})


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
            raise _conflict(other)
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


@dataclass(frozen=True, slots=True)
class Opened:
    """What became of the jobs that were asked for several identities, by the identity's key."""

    jobs: dict[int, CertificateJob] = field(default_factory=dict)
    """Its own: a new one, or the open one that is the same."""
    new: set[int] = field(default_factory=set)
    refused: dict[int, InventoryError] = field(default_factory=dict)


def open_each(
    identities: Sequence[ManagedIdentity],
    *,
    action: str,
    purpose: str,
    step: str,
    now: datetime,
    parameters: Mapping[int, dict[str, Any]] = EMPTY,
    correlation_ids: Mapping[int, str] = EMPTY,
) -> Opened:
    """As `open_job`, of several locked identities, by the same statements however many they are.

    :param parameters: by the identity's key.
    :param correlation_ids: by the identity's key, where each job is a chain of work of its own.
    """
    opened = Opened()
    present = _open_jobs_of_each(identities, purpose)
    made = []
    for identity in identities:
        others = present.get(identity.pk, [])
        same = next((other for other in others if (other.action, other.target) == (action, "")), None)
        against = next(
            (other for other in others if action in ISSUING_ACTIONS and other.action in ISSUING_ACTIONS), None
        )
        if same is not None:
            opened.jobs[identity.pk] = same
        elif against is not None:
            opened.refused[identity.pk] = _conflict(against)
        else:
            job = _new_job(
                action=action,
                identity=identity,
                purpose=purpose,
                queue=JobQueue.GENERAL,
                step=step,
                idempotency_key=uuid.uuid4().hex,
                parameters=parameters.get(identity.pk, {}),
                next_run_at=now,
                created_at=now,
            )
            job.correlation_id = correlation_ids.get(identity.pk, job.correlation_id)
            opened.jobs[identity.pk] = job
            opened.new.add(identity.pk)
            made.append(job)
    if made:
        add_all(made, correlation_ids=[job.correlation_id for job in made])
        engine.wake(JobQueue.GENERAL)
    return opened


def _open_jobs_of_each(identities: Sequence[ManagedIdentity], purpose: str) -> dict[int, list[CertificateJob]]:
    by_key = {identity.pk: identity for identity in identities}
    found = rows(
        CertificateJob,
        "identity_id = ANY(%s) AND purpose = %s AND slot = '' "
        "AND state IN ('queued', 'running', 'waiting') ORDER BY id",
        list(by_key),
        purpose,
    )
    present: dict[int, list[CertificateJob]] = {}
    for job in found:
        job.identity = by_key[job.identity_id]
        present.setdefault(job.identity_id, []).append(job)
    return present


def _conflict(other: CertificateJob) -> ConflictingJobError:
    return ConflictingJobError(f"{other} (job {other.pk}) is already open; wait for it or cancel it first.")


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
