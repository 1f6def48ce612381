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
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from bfcerts.ocpp.notify import Channel, notify
from inventory.actors import Actor
from inventory.audit import attributed, save_without_history
from inventory.choices import JobQueue, JobState
from inventory.errors import InventoryError
from inventory.models import CertificateJob
from inventory.services import policies

logger = logging.getLogger(__name__)

FAILED_STEP_ATTEMPTS = 12
"""Unexpected errors of one step before its job fails for good; policy decides the retries that are expected."""


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


class LeaseLostError(Exception):
    """Somebody else moved the job on meanwhile; our result is void, theirs stands."""


def worker_name() -> str:
    """This process, as leases name it."""
    return f"{socket.gethostname()}:{os.getpid()}"


_CLAIM = """
UPDATE inventory_certificatejob SET
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
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_CLAIM, values)
        return [row[0] for row in cursor.fetchall()]


def run_due(*, queue: str, clock: Clock, limit: int, lease: timedelta) -> int:
    """Run one step of each due job of a queue.

    :returns: how many jobs were taken; less than `limit` means that nothing more was due.
    """
    identifiers = claim(queue=queue, now=clock(), limit=limit, lease=lease)
    for identifier in identifiers:
        _run_step(identifier, clock)
    return len(identifiers)


def _attribution(job: CertificateJob) -> tuple[Actor, str, str]:
    return Actor(name=job.actor), job.reason, job.correlation_id


def _run_step(identifier: int, clock: Clock) -> None:
    job = CertificateJob.objects.select_related("identity__family").get(pk=identifier)
    step = job.step
    actor, reason, correlation_id = _attribution(job)
    with attributed(actor, reason, correlation_id):
        try:
            if step in _external_steps:
                recorder: Recorder = _external_steps[step](job, clock())
            elif step in _local_steps:
                recorder = _local_steps[step]
            else:
                raise InventoryError(f"No step {step!r} is known for {job.get_action_display().lower()} jobs.")
            _record(identifier, step, recorder, clock())
        except LeaseLostError:
            logger.info("job %s was moved on by somebody else during step %s", identifier, step)
        except InventoryError as error:
            message = str(error)
            _record(identifier, step, lambda _job, _now: Fail(message), clock())
        except Exception:  # a defect or an outage: the job must outlive both
            logger.exception("job %s: step %s ended unexpectedly", identifier, step)
            _record(identifier, step, _after_unexpected_error, clock())


def _after_unexpected_error(job: CertificateJob, now: datetime) -> Result:
    if job.attempts >= FAILED_STEP_ATTEMPTS:
        return Fail(f"Step {job.step} ended unexpectedly {job.attempts} times; see the worker's log.")
    return Wait(
        "another try after an unexpected error (see the worker's log)",
        now + min(timedelta(seconds=2**job.attempts), timedelta(minutes=10)),
        job.step,
        job.queue,
    )


def _record(identifier: int, step: str, recorder: Recorder, now: datetime) -> None:
    with transaction.atomic():
        job = (
            CertificateJob.objects.select_for_update(of=("self",)).select_related("identity__family").get(pk=identifier)
        )
        if job.state != JobState.RUNNING or job.step != step or job.lease_owner != worker_name():
            raise LeaseLostError
        apply_result(job, recorder(job, now), now)


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
        finish(job, JobState.FAILED, f"{why} Given up after {job.attempts} tries.", now)
        return
    until = now + policies.retry_delay(policy, job.attempts)
    job.state, job.next_run_at = JobState.WAITING, until
    job.waiting_for, job.waiting_until = f"the next try, after: {why}"[:200], until
    job.outcome = why


def finish(job: CertificateJob, state: str, outcome: str, now: datetime) -> None:
    """End a locked job, with a history row."""
    job.state, job.outcome, job.finished_at = state, outcome, now
    job.lease_owner, job.lease_until = "", None
    job.waiting_for, job.waiting_until = "", None
    job.save()


def advance(job: CertificateJob, result: Result, now: datetime) -> None:
    """Move a locked job on because of something observed, whoever holds its lease."""
    apply_result(job, result, now)


def wake(queue: str) -> None:
    """Tell the workers of a queue, when the transaction commits, that there is work."""
    notify(Channel.PKI_WORK if queue == JobQueue.PKI else Channel.WORK)
