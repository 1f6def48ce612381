"""The job engine: claims due jobs from the table, runs one step of each, stores what comes next.

A step may run twice, on two workers, after a crash between any two statements; the outcome is as if it ran once.
The attempt is counted before the work, back-off is stored and survives restarts, a lease that ran out lets another
worker take over, and a step's result is stored only while the lease is still ours (domain.md, Jobs; NFR-001).

Two kinds of steps:

* a *local* step changes our own tables, in one transaction with the job row locked, and returns what comes next;
* an *external* step calls a CA without holding a transaction, and returns a recorder, which then runs under the lock
  and returns what comes next.
"""

import logging
import os
import socket
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from bfcerts.conflicts import repeated_on_conflict
from bfcerts.ocpp import outbox
from bfcerts.ocpp.notify import Channel, notify
from bfcerts.rows import row_of
from inventory import seams
from inventory.actors import Actor
from inventory.audit import attributed, save_without_history
from inventory.choices import JobQueue, JobState, RecordState
from inventory.errors import InventoryError
from inventory.models import CertificateJob, CertificateRecord
from inventory.services import policies, transitions
from inventory.services.locking import lock_identity, lock_job_of
from inventory.words import counted

logger = logging.getLogger(__name__)

UNEXPECTED_ENDS = 12
"""Unexpected errors and vanished workers in a row before a job fails for good; policy decides the expected retries."""
ANSWERED_WITHIN = timedelta(hours=25)
"""How long a CA that was asked has for its answer, whatever the job's deadline.

An hour more than its step waits for a person to find out what became of a lost one: that step's sentence says more.
"""


@dataclass(frozen=True, slots=True)
class Proceed:
    """Go on with another step at once."""

    step: str
    queue: str = JobQueue.GENERAL


@dataclass(frozen=True, slots=True)
class Wait:
    """Run `step` when the time has come, unless something observed moves the job earlier."""

    waiting_for: str
    until: datetime
    step: str
    queue: str = JobQueue.GENERAL


@dataclass(frozen=True, slots=True)
class Retry:
    """Run the same step again after the policy's back-off; counts against its attempts."""

    why: str


@dataclass(frozen=True, slots=True)
class Succeed:
    """The job is done."""

    outcome: str


@dataclass(frozen=True, slots=True)
class Fail:
    """The job ends without having reached its end, for the reason given."""

    outcome: str


Result = Proceed | Wait | Retry | Succeed | Fail
LocalStep = Callable[[CertificateJob, datetime], Result]
Recorder = Callable[[CertificateJob, datetime], Result]
ExternalStep = Callable[[CertificateJob, datetime], Recorder]
Clock = Callable[[], datetime]

_local_steps: dict[str, LocalStep] = {}
_external_steps: dict[str, ExternalStep] = {}


def local_step(name: str) -> Callable[[LocalStep], LocalStep]:
    """Register a step that changes only our own tables."""

    def register(function: LocalStep) -> LocalStep:
        _local_steps[name] = function
        return function

    return register


def external_step(name: str) -> Callable[[ExternalStep], ExternalStep]:
    """Register a step that calls the outside world."""

    def register(function: ExternalStep) -> ExternalStep:
        _external_steps[name] = function
        return function

    return register


def known_local_steps() -> list[str]:
    """The local steps that this process can run."""
    return list(_local_steps)


def known_external_steps() -> list[str]:
    """The external steps that this process can run; none where the modules that ask a CA are not loaded."""
    return list(_external_steps)


class LeaseLostError(Exception):
    """Somebody else moved the job on meanwhile; our result is void, theirs stands."""


def worker_name() -> str:
    """This process, as leases name it."""
    return f"{socket.gethostname()}:{os.getpid()}"


# A job that is claimed while it still says "running" lost its worker: a step that kills its worker ends somewhere too.
_CLAIM = """
UPDATE inventory_certificatejob SET
    unexpected_ends = unexpected_ends + CASE WHEN state = 'running' THEN 1 ELSE 0 END,
    state = 'running', lease_owner = %(owner)s, lease_until = %(lease_until)s, attempts = attempts + 1,
    waiting_for = '', waiting_until = NULL, started_at = coalesce(started_at, %(now)s)
WHERE id IN (
    SELECT id FROM inventory_certificatejob
    WHERE state IN ('queued', 'running', 'waiting') AND queue = %(queue)s AND next_run_at <= %(now)s
        AND (lease_until IS NULL OR lease_until <= %(now)s)
    ORDER BY next_run_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED)
RETURNING id
"""


def claim(*, queue: str, now: datetime, limit: int, lease: timedelta) -> list[int]:
    """Take up to `limit` due jobs of a queue under a lease; the attempt is counted now, before any work."""
    values: dict[str, Any] = {
        "owner": worker_name(),
        "lease_until": now + lease,
        "now": now,
        "queue": queue,
        "limit": limit,
    }
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, values)
        return sorted(row[0] for row in cursor.fetchall())


def run_due(*, queue: str, clock: Clock, limit: int, lease: timedelta) -> int:
    """Run one step of each due job of a queue.

    :returns: how many jobs were taken; less than `limit` means that nothing more was due.
    """
    identifiers = claim(queue=queue, now=clock(), limit=limit, lease=lease)
    for identifier in identifiers:
        _run_step(identifier, queue, clock)
    return len(identifiers)


def _attribution(job: CertificateJob) -> tuple[Actor, str, str]:
    return Actor(name=job.actor), job.reason, job.correlation_id


def _run_step(identifier: int, queue: str, clock: Clock) -> None:
    job = row_of(CertificateJob, identifier)
    if not _is_ours(job) or job.queue != queue:
        logger.info("job %s was moved on by somebody else before its step", identifier)
        return
    actor, reason, correlation_id = _attribution(job)
    with attributed(actor, reason, correlation_id):
        try:
            try:
                repeated_on_conflict(lambda: _record(job, _recorder(job, clock()), clock()))
            except InventoryError as error:
                message = str(error)
                repeated_on_conflict(lambda: _record(job, lambda _job, _now: Fail(message), clock()))
            except LeaseLostError:
                raise
            except Exception:  # a defect or an outage: the job must outlive both
                logger.exception("job %s: step %s ended unexpectedly", identifier, job.step)
                repeated_on_conflict(lambda: _record(job, _after_unexpected_error, clock()))
        except LeaseLostError:
            logger.info("job %s was moved on by somebody else during step %s", identifier, job.step)


def _is_ours(job: CertificateJob) -> bool:
    return job.state == JobState.RUNNING and job.lease_owner == worker_name()


def _recorder(job: CertificateJob, now: datetime) -> Recorder:
    """What is to be stored for the job's present step; an external step does its work here."""
    if job.unexpected_ends >= UNEXPECTED_ENDS:
        return _ended_unexpectedly_too_often
    if job.deadline is not None and job.deadline <= now and _end(job, job.deadline) <= now:
        return _past_its_deadline
    if job.step in _external_steps:
        return _external_steps[job.step](job, now)
    if job.step in _local_steps:
        return _local_steps[job.step]
    raise InventoryError(f"No step {job.step!r} is known for {job.get_action_display().lower()} jobs.")


def _end(job: CertificateJob, deadline: datetime) -> datetime:
    """When a job ends as a whole: while a CA that was asked has not answered, it has its own time for that."""
    asked = job.intents.filter(record_id=job.record_id, submitted_at__isnull=False, collected_at__isnull=True).first()
    if asked is None or asked.submitted_at is None:
        return deadline
    return max(deadline, asked.submitted_at + ANSWERED_WITHIN)


def _past_its_deadline(job: CertificateJob, now: datetime) -> Result:
    last = f" What went wrong last: {job.outcome}" if job.outcome else ""
    return Fail(
        f"Not done by {job.deadline:%Y-%m-%d %H:%M} UTC, the end of the time that it had as a whole; it had come as "
        f"far as the step {job.step}.{last} What was in use before stays so; mend the cause, then start it again."
    )


def _after_unexpected_error(job: CertificateJob, now: datetime) -> Result:
    job.unexpected_ends += 1
    if job.unexpected_ends >= UNEXPECTED_ENDS:
        return _ended_unexpectedly_too_often(job, now)
    return Wait(
        "another try after an unexpected error (see the worker's log)",
        now + min(timedelta(seconds=2**job.unexpected_ends), timedelta(minutes=10)),
        job.step,
        job.queue,
    )


def _ended_unexpectedly_too_often(job: CertificateJob, now: datetime) -> Result:
    return Fail(f"Step {job.step} ended unexpectedly {job.unexpected_ends} times in a row; see the worker's log.")


def _record(claimed: CertificateJob, recorder: Recorder, now: datetime) -> None:
    with transaction.atomic():
        job = lock_job_of(lock_identity(claimed.identity_id), claimed.pk)
        if not _is_ours(job) or job.step != claimed.step:
            raise LeaseLostError
        result = recorder(job, now)
        if recorder is not _after_unexpected_error:
            job.unexpected_ends = 0
        if isinstance(result, Proceed) and result.step in _local_steps:
            job, result = _go_on(job, result, now)
        apply_result(job, result, now)


def _go_on(job: CertificateJob, following: Proceed, now: datetime) -> tuple[CertificateJob, Result]:
    """Run the local step that follows in the same transaction, which spares a worker's next round.

    Where it cannot be run, what came before it still counts: it is left to a worker, which tells why.
    """
    ahead = copy(job)
    ahead.step, ahead.queue, ahead.attempts = following.step, following.queue, 1
    try:
        with transaction.atomic():
            return ahead, _local_steps[following.step](ahead, now)
    except Exception:  # what came before still counts; alone the step is judged by itself
        logger.warning("job %s: step %s is tried again on its own", job.pk, following.step, exc_info=True)
        return job, following


def apply_result(job: CertificateJob, result: Result, now: datetime) -> None:
    """Store what comes next on a locked job."""
    job.lease_owner, job.lease_until = "", None
    match result:
        case Proceed(step, queue):
            _move(job, JobState.QUEUED, step, queue, now)
        case Wait(waiting_for, until, step, queue):
            # The same step again keeps its count, so that endless polling ends somewhere.
            _move(job, JobState.WAITING, step, queue, until, keep_attempts=step == job.step)
            job.waiting_for, job.waiting_until = waiting_for, until
        case Retry(why):
            _retry(job, why, now)
        case Succeed(outcome):
            finish(job, JobState.SUCCEEDED, outcome, now)
            return
        case Fail(outcome):
            finish(job, JobState.FAILED, outcome, now)
            return
    if job.deadline is not None and job.next_run_at > job.deadline:
        job.next_run_at = min(job.next_run_at, max(now, _end(job, job.deadline)))
    save_without_history(job)
    if job.next_run_at <= now and job.is_open:
        wake(job.queue)


def _move(
    job: CertificateJob, state: str, step: str, queue: str, run_at: datetime, *, keep_attempts: bool = False
) -> None:
    job.state, job.step, job.queue, job.next_run_at = state, step, queue, run_at
    job.waiting_for, job.waiting_until = "", None
    if not keep_attempts:
        job.attempts = 0


def _retry(job: CertificateJob, why: str, now: datetime) -> None:
    policy = policies.resolve(job.identity, job.purpose).policy
    if job.attempts >= policy.retry_attempts:
        finish(job, JobState.FAILED, f"{why} Given up after {counted(job.attempts, 'try', 'tries')}.", now)
        return
    until = now + policies.retry_delay(policy, job.attempts)
    job.state, job.next_run_at = JobState.WAITING, until
    job.waiting_for, job.waiting_until = f"the next try, after: {why}"[:200], until
    job.outcome = why


def finish(job: CertificateJob, state: str, outcome: str, now: datetime) -> None:
    """End a locked job, with a history row. What it still asked of the station or of a CA is withdrawn with it."""
    outbox.cancel([f"job:{job.pk}:{step}" for step in _local_steps], now=now)
    give_up_request(job, outcome, now)
    job.state, job.outcome, job.finished_at = state, outcome, now
    job.lease_owner, job.lease_until = "", None
    job.waiting_for, job.waiting_until = "", None
    job.save()
    seams.tell_job_ended(job, now)


def give_up_request(job: CertificateJob, outcome: str, now: datetime) -> None:
    """requested → deleted with the job that worked on it, so that no request waits for nobody."""
    if job.record_id is None:
        return
    record = CertificateRecord.objects.select_for_update().get(pk=job.record_id)
    if record.state != RecordState.REQUESTED:
        return
    asked = job.intents.filter(record=record, submitted_at__isnull=False).first()
    at_the_ca = ""
    if asked and asked.reference:
        at_the_ca = f" The CA was asked for it under {asked.reference}; revoke it there."
    elif asked:
        at_the_ca = (
            f" The CA was asked for it and never answered: if its audit report has a certificate valid from "
            f"{asked.not_before:%Y-%m-%d %H:%M:%S} to {asked.not_after:%Y-%m-%d %H:%M:%S} UTC, revoke it there."
        )
    transitions.failed(record, f"{outcome}{at_the_ca}", now=now, job=job)


def advance(job: CertificateJob, result: Result, now: datetime) -> None:
    """Move a locked job on because of something observed, whoever holds its lease. What has ended stays ended."""
    if not job.is_open:
        return
    job.unexpected_ends = 0
    apply_result(job, result, now)


def wake(queue: str) -> None:
    """Tell the workers of a queue, when the transaction commits, that there is work."""
    notify(Channel.PKI_WORK if queue == JobQueue.PKI else Channel.WORK)
