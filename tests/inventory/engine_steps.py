"""Steps of the tests' own for the job engine, and what ran."""

from datetime import datetime, timedelta

from inventory.audit import attributed
from inventory.choices import JobQueue
from inventory.errors import InvalidInputError
from inventory.jobs import engine
from inventory.jobs.engine import Fail, Proceed, Recorder, Result, Retry, Succeed, Wait
from inventory.models import CertificateJob
from inventory.services import jobs
from tests.support import OPERATOR, Clock

LEASE = timedelta(seconds=60)
ran: list[tuple[str, int]] = []
"""Which step ran for which job, in order."""


def run(clock: Clock, queue: str = JobQueue.GENERAL, limit: int = 50) -> int:
    return engine.run_due(queue=queue, clock=clock, limit=limit, lease=LEASE)


def noted(job: CertificateJob, result: Result) -> Result:
    ran.append((job.step, job.pk))
    return result


@engine.local_step("test_succeeds")
def succeeds(job: CertificateJob, now: datetime) -> Result:
    return noted(job, Succeed("Done."))


@engine.local_step("test_retries")
def retries(job: CertificateJob, now: datetime) -> Result:
    return noted(job, Retry("The other side is busy."))


@engine.local_step("test_breaks")
def breaks(job: CertificateJob, now: datetime) -> Result:
    noted(job, Succeed(""))
    raise RuntimeError("a defect")


@engine.local_step("test_refuses")
def refuses(job: CertificateJob, now: datetime) -> Result:
    raise InvalidInputError("This cannot be: a value is missing. Enter it.")


@engine.local_step("test_waits")
def waits(job: CertificateJob, now: datetime) -> Result:
    return noted(job, Wait("the other side", now + timedelta(minutes=5), "test_succeeds"))


@engine.local_step("test_polls")
def polls(job: CertificateJob, now: datetime) -> Result:
    return noted(job, Wait("the other side", now + timedelta(seconds=1), "test_polls"))


@engine.external_step("test_asks_and_goes_on")
def asks_and_goes_on(job: CertificateJob, now: datetime) -> Recorder:
    ran.append((job.step, job.pk))

    def record_it(locked: CertificateJob, now: datetime) -> Result:
        locked.outcome = "Answered."
        return Proceed(str(locked.parameter("next")))

    return record_it


@engine.external_step("test_asks")
def asks(job: CertificateJob, now: datetime) -> Recorder:
    ran.append((job.step, job.pk))
    return lambda _job, _now: Succeed("Answered.")


def move_on(job_id: int, result: Result, now: datetime) -> None:
    """What evidence does: move a job on, whoever holds its lease."""
    with attributed(OPERATOR, "evidence"):
        engine.advance(jobs.lock(job_id), result, now)


@engine.external_step("test_is_overtaken")
def is_overtaken(job: CertificateJob, now: datetime) -> Recorder:
    ran.append((job.step, job.pk))
    move_on(job.pk, Wait("evidence", now + timedelta(hours=1), "test_succeeds"), now)
    return lambda _job, _now: Fail("This must never be stored.")


@engine.external_step("test_is_overtaken_and_refuses")
def is_overtaken_and_refuses(job: CertificateJob, now: datetime) -> Recorder:
    is_overtaken(job, now)
    raise InvalidInputError("Too late.")


@engine.external_step("test_is_overtaken_and_breaks")
def is_overtaken_and_breaks(job: CertificateJob, now: datetime) -> Recorder:
    is_overtaken(job, now)
    raise RuntimeError("Too late.")


@engine.local_step("test_sends_the_next_job_to_the_ca")
def sends_the_next_job_to_the_ca(job: CertificateJob, now: datetime) -> Result:
    move_on(job.pk + 1, Proceed("test_asks", JobQueue.PKI), now)
    return noted(job, Succeed("Done."))
