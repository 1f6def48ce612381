"""Jobs that are tried again, wait, or end because nothing else is left; with steps of the tests' own."""

from datetime import timedelta

import pytest

from inventory.choices import JobQueue, JobState
from inventory.jobs import engine
from inventory.models import CertificateJob, LifecyclePolicy
from tests.inventory.engine_steps import LEASE, ran, run
from tests.support import Clock, ControlPlane, charger, job_for

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


def test_back_off_is_stored_and_doubles_up_to_the_policys_limit(plane: ControlPlane) -> None:
    LifecyclePolicy.objects.filter(purpose="charger_identity").update(
        retry_attempts=5, retry_delay=timedelta(seconds=30), retry_delay_limit=timedelta(minutes=2)
    )
    clock = plane.clock
    job = job_for(charger(), "test_retries", now=clock())

    for seconds in (30, 60, 120, 120):
        assert run(clock) == 1
        job.refresh_from_db()
        assert (job.state, job.next_run_at) == (JobState.WAITING, clock() + timedelta(seconds=seconds))
        assert job.waiting_for == "the next try, after: The other side is busy."
        assert job.waiting_until == job.next_run_at
        clock.advance(seconds=seconds - 1)
        assert run(clock) == 0  # only the table says when: a restart of the workers releases no herd
        clock.advance(seconds=1)

    assert run(clock) == 1
    job.refresh_from_db()
    assert (job.state, job.outcome) == (JobState.FAILED, "The other side is busy. Given up after 5 tries.")


def test_unexpected_errors_end_the_job_after_the_limit_and_not_before(
    db: None, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    job = job_for(charger(), "test_breaks", now=clock())

    for number in range(1, engine.UNEXPECTED_ENDS):
        assert run(clock) == 1
        job.refresh_from_db()
        assert (job.state, job.unexpected_ends) == (JobState.WAITING, number)
        clock.advance(minutes=10)
    assert run(clock) == 1

    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert job.outcome == "Step test_breaks ended unexpectedly 12 times in a row; see the worker's log."
    assert len(ran) == engine.UNEXPECTED_ENDS
    assert "a defect" in caplog.text
    assert "a defect" not in job.outcome


def test_a_step_that_kills_its_worker_every_time_ends_as_failed_without_being_run_again(db: None, clock: Clock) -> None:
    job = job_for(charger(), "test_succeeds", now=clock())

    for _ in range(engine.UNEXPECTED_ENDS):
        assert engine.claim(queue=JobQueue.GENERAL, now=clock(), limit=1, lease=LEASE) == [job.pk]
        clock.advance(seconds=60)
    run(clock)

    job.refresh_from_db()
    assert (job.state, ran) == (JobState.FAILED, [])
    assert "ended unexpectedly 12 times in a row" in job.outcome


def test_polling_for_long_does_not_use_up_the_patience_with_unexpected_errors(db: None, clock: Clock) -> None:
    job = job_for(charger(), "test_polls", now=clock())
    for _ in range(3 * engine.UNEXPECTED_ENDS):
        run(clock)
        clock.advance(seconds=1)
    CertificateJob.objects.filter(pk=job.pk).update(step="test_breaks")

    run(clock)

    job.refresh_from_db()
    assert (job.state, job.unexpected_ends) == (JobState.WAITING, 1)


def test_a_refusal_by_the_domain_ends_the_job_with_its_own_sentence(db: None, clock: Clock) -> None:
    job = job_for(charger(), "test_refuses", now=clock())

    run(clock)

    job.refresh_from_db()
    assert (job.state, job.outcome) == (JobState.FAILED, "This cannot be: a value is missing. Enter it.")


def test_an_unknown_step_ends_the_job_and_names_it(db: None, clock: Clock) -> None:
    job = job_for(charger(), "test_of_another_version", now=clock())

    run(clock)

    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "No step 'test_of_another_version' is known" in job.outcome


def test_a_wait_names_its_end_and_the_step_runs_then(db: None, clock: Clock) -> None:
    job = job_for(charger(), "test_waits", now=clock())

    run(clock)
    job.refresh_from_db()
    assert (job.state, job.waiting_for) == (JobState.WAITING, "the other side")
    assert job.waiting_until == job.next_run_at == clock() + timedelta(minutes=5)
    assert job.attempts == 0

    clock.advance(minutes=5)
    run(clock)
    job.refresh_from_db()
    assert (job.state, job.waiting_for) == (JobState.SUCCEEDED, "")
    assert job.waiting_until is None


def test_a_job_does_not_outlive_its_deadline(db: None, clock: Clock) -> None:
    job = job_for(charger(), "test_waits", now=clock(), deadline=clock() + timedelta(minutes=2))
    run(clock)

    clock.advance(minutes=2)
    assert run(clock) == 1

    job.refresh_from_db()
    assert (job.state, job.outcome) == (
        JobState.FAILED,
        f"Not done by {clock():%Y-%m-%d %H:%M} UTC, the end of the time that it had as a whole; it had come as far as "
        "the step test_succeeds. What was in use before stays so; mend the cause, then start it again.",
    )
    assert ran == [("test_waits", job.pk)]
