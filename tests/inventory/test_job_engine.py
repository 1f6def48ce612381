"""The job engine: claims, leases, attempts, back-off, unexpected ends; with steps of the tests' own."""

from datetime import timedelta

import pytest

from bfcerts.ocpp import canonical, outbox
from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.models import OutboxCommand
from inventory.choices import EventType, JobQueue, JobState, RecordState
from inventory.jobs import engine
from inventory.jobs.engine import Fail, Proceed, Result, Retry, Succeed, Wait
from inventory.models import CertificateJob, CertificateRecord, DomainEvent
from inventory.services import lifecycle
from inventory.services.delivery import reference
from tests.inventory.engine_steps import LEASE, move_on, ran, run
from tests.support import OPERATOR, Clock, ControlPlane, charger, job_for, request_for

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


# -- one step after the other ----------------------------------------------------------------------------------------


def test_a_local_step_that_follows_runs_at_once(db: None, clock: Clock) -> None:
    next_step = {"next": "test_waits"}
    job = job_for(charger(), "test_asks_and_goes_on", queue=JobQueue.PKI, parameters=next_step, now=clock())

    assert run(clock, JobQueue.PKI) == 1

    job.refresh_from_db()
    assert ran == [("test_asks_and_goes_on", job.pk), ("test_waits", job.pk)]
    assert (job.state, job.step, job.outcome) == (JobState.WAITING, "test_succeeds", "Answered.")


def test_a_following_step_that_breaks_takes_nothing_along_and_runs_again_on_its_own(db: None, clock: Clock) -> None:
    next_step = {"next": "test_breaks"}
    job = job_for(charger(), "test_asks_and_goes_on", queue=JobQueue.PKI, parameters=next_step, now=clock())

    run(clock, JobQueue.PKI)

    job.refresh_from_db()
    assert (job.state, job.step, job.queue, job.outcome) == (
        JobState.QUEUED,
        "test_breaks",
        JobQueue.GENERAL,
        "Answered.",
    )
    assert job.unexpected_ends == 0
    run(clock)
    job.refresh_from_db()
    assert (job.state, job.unexpected_ends) == (JobState.WAITING, 1)


def test_a_following_step_that_retries_waits_its_own_back_off(db: None, clock: Clock) -> None:
    next_step = {"next": "test_retries"}
    job = job_for(charger(), "test_asks_and_goes_on", queue=JobQueue.PKI, parameters=next_step, now=clock())

    run(clock, JobQueue.PKI)

    job.refresh_from_db()
    assert (job.state, job.step, job.queue, job.attempts) == (JobState.WAITING, "test_retries", JobQueue.GENERAL, 1)
    assert job.next_run_at == clock() + timedelta(seconds=30)


# -- claims and leases -----------------------------------------------------------------------------------------------


def test_a_job_runs_when_its_hour_has_come_and_not_before(db: None, clock: Clock) -> None:
    job = job_for(charger(), "test_succeeds", now=clock() + timedelta(seconds=10))

    assert run(clock) == 0
    clock.advance(seconds=10)
    assert run(clock) == 1

    job.refresh_from_db()
    assert (job.state, job.outcome) == (JobState.SUCCEEDED, "Done.")
    assert job.finished_at == clock()
    assert run(clock) == 0


def test_a_claim_counts_the_attempt_before_the_work_and_names_its_worker(db: None, clock: Clock) -> None:
    job = job_for(charger(), "test_succeeds", now=clock())

    assert engine.claim(queue=JobQueue.GENERAL, now=clock(), limit=10, lease=LEASE) == [job.pk]

    job.refresh_from_db()
    assert (job.state, job.attempts) == (JobState.RUNNING, 1)
    assert (job.lease_owner, job.lease_until) == (engine.worker_name(), clock() + LEASE)


def test_a_leased_job_is_left_alone_until_its_lease_ends_and_then_taken_over(db: None, clock: Clock) -> None:
    job = job_for(charger(), "test_succeeds", now=clock())
    engine.claim(queue=JobQueue.GENERAL, now=clock(), limit=10, lease=LEASE)

    clock.advance(seconds=59)
    assert run(clock) == 0
    clock.advance(seconds=1)
    assert run(clock) == 1

    job.refresh_from_db()
    assert (job.state, ran) == (JobState.SUCCEEDED, [("test_succeeds", job.pk)])


def test_each_queue_runs_its_own_jobs_only(db: None, clock: Clock) -> None:
    job = job_for(charger(), "test_asks", now=clock(), queue=JobQueue.PKI)

    assert run(clock, JobQueue.GENERAL) == 0
    assert run(clock, JobQueue.PKI) == 1

    job.refresh_from_db()
    assert job.state == JobState.SUCCEEDED


def test_a_claim_takes_no_more_than_asked_and_the_longest_due_first(db: None, clock: Clock) -> None:
    identity = charger()
    late = job_for(identity, "test_succeeds", now=clock())
    early = job_for(identity, "test_succeeds", now=clock() - timedelta(minutes=1))

    assert engine.claim(queue=JobQueue.GENERAL, now=clock(), limit=1, lease=LEASE) == [early.pk]
    assert engine.claim(queue=JobQueue.GENERAL, now=clock(), limit=1, lease=LEASE) == [late.pk]


@pytest.mark.parametrize("step", ["test_is_overtaken", "test_is_overtaken_and_refuses", "test_is_overtaken_and_breaks"])
def test_a_result_is_void_when_the_job_was_moved_on_meanwhile_and_the_batch_goes_on(
    db: None, clock: Clock, step: str
) -> None:
    overtaken = job_for(charger(), step, now=clock())
    next_one = job_for(charger(), "test_succeeds", now=clock())

    run(clock)

    overtaken.refresh_from_db()
    next_one.refresh_from_db()
    assert (overtaken.state, overtaken.waiting_for, overtaken.step) == (JobState.WAITING, "evidence", "test_succeeds")
    assert next_one.state == JobState.SUCCEEDED


def test_a_job_that_was_moved_to_the_ca_after_its_claim_is_not_run_by_the_general_worker(
    db: None, clock: Clock
) -> None:
    first = job_for(charger(), "test_sends_the_next_job_to_the_ca", now=clock())
    second = job_for(charger(), "test_succeeds", now=clock())
    assert second.pk == first.pk + 1

    run(clock)

    assert ran == [("test_sends_the_next_job_to_the_ca", first.pk)]
    second.refresh_from_db()
    assert (second.state, second.queue, second.step) == (JobState.QUEUED, JobQueue.PKI, "test_asks")


# -- the end of a job ------------------------------------------------------------------------------------------------


def test_a_job_that_fails_withdraws_what_it_had_asked_of_the_station_and_not_sent(db: None, clock: Clock) -> None:
    job = job_for(charger("CS-1"), "test_refuses", now=clock())
    command = outbox.enqueue(
        station_id="CS-1",
        action=Action.RESET,
        payload=canonical.reset(),
        dedupe_key="test",
        now=clock(),
        expires_after=timedelta(hours=1),
        reference=reference(job, "send_reset"),
    )

    run(clock)

    command.refresh_from_db()
    assert command.state == OutboxCommand.State.CANCELLED


@pytest.mark.parametrize("end", [Fail("Given up."), Succeed("Over.")])
def test_a_request_does_not_outlive_the_job_that_worked_on_it(plane: ControlPlane, end: Result) -> None:
    identity = charger("CS-1")
    job = lifecycle.issue(
        identity=identity,
        purpose="charger_identity",
        csr_pem=request_for("CS-1"),
        actor=OPERATOR,
        reason="test",
        now=plane.clock(),
    )

    move_on(job.pk, end, plane.clock())

    record = CertificateRecord.objects.get()
    assert record.state == RecordState.DELETED
    assert record.failure_reason in ("Given up.", "Over.")
    assert DomainEvent.objects.filter(type=EventType.CERTIFICATE_DELETED, record=record).count() == 1


def test_what_has_ended_stays_ended_whatever_is_observed_later(db: None, clock: Clock) -> None:
    job = job_for(charger(), "test_succeeds", now=clock())
    run(clock)

    for result in (Retry("late"), Wait("late", clock(), "test_waits"), Proceed("test_waits"), Fail("late")):
        move_on(job.pk, result, clock())

    job.refresh_from_db()
    assert (job.state, job.outcome) == (JobState.SUCCEEDED, "Done.")


def test_ended_jobs_keep_a_history_row_with_actor_and_reason(db: None, clock: Clock) -> None:
    job = job_for(charger(), "test_succeeds", now=clock())

    run(clock)

    rows = list(CertificateJob.history.filter(id=job.pk).values_list("state", "actor", "history_change_reason"))
    assert rows == [("succeeded", OPERATOR.name, "test"), ("queued", OPERATOR.name, "test")]
