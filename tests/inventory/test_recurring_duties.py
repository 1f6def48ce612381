"""Workers and their recurring duties: each at its times, by one, taken up after a death, never by a wrong clock."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from inventory.choices import JobQueue
from inventory.jobs import engine, periodic, pulse
from inventory.models import (
    PeriodicTask,
    QueueBeat,
    SecurityEvent,
)
from inventory.services import sweeps
from tests.support import Clock, charger, job_for

pytestmark = pytest.mark.django_db


# -- the workers themselves ------------------------------------------------------------------------------------------


def stopped() -> list[str]:
    return list(SecurityEvent.objects.filter(type="QueueStopped").order_by("id").values_list("message", flat=True))


def test_a_stopped_queue_is_reported_once_an_hour(db: None, clock: Clock) -> None:
    clock.now = clock.now.replace(minute=5)
    job_for(charger(), "test", now=clock(), queue=JobQueue.PKI)

    clock.advance(minutes=1)
    sweeps.report_stopped_queues(clock())
    assert stopped() == []
    for _ in range(10):
        clock.advance(minutes=2)
        sweeps.report_stopped_queues(clock())
    assert stopped() == ["No PKI worker has run ever, and 1 job waits. Start or restart it."]
    clock.advance(hours=1)
    sweeps.report_stopped_queues(clock())
    sweeps.report_stopped_queues(clock())

    assert len(stopped()) == 2


def test_a_queue_that_beats_is_busy_and_not_stopped(db: None, clock: Clock) -> None:
    job_for(charger(), "test", now=clock())
    clock.advance(minutes=3)
    pulse.beat(JobQueue.GENERAL, clock())

    sweeps.report_stopped_queues(clock())
    assert stopped() == []

    clock.advance(minutes=3)
    sweeps.report_stopped_queues(clock())
    assert len(stopped()) == 1
    assert "No General worker has run since" in stopped()[0]


def test_a_job_whose_worker_vanished_counts_as_waiting_once_its_lease_is_over(db: None, clock: Clock) -> None:
    job_for(charger(), "test", now=clock())
    engine.claim(queue=JobQueue.GENERAL, now=clock(), limit=1, lease=timedelta(minutes=10))

    clock.advance(minutes=5)
    sweeps.report_stopped_queues(clock())
    assert stopped() == []
    clock.advance(minutes=8)
    sweeps.report_stopped_queues(clock())
    assert len(stopped()) == 1


def test_the_canary_is_one_row_for_a_cluster_that_keeps_its_start(db: None, clock: Clock) -> None:
    started = clock()
    pulse.beat(JobQueue.GENERAL, clock())
    pulse.beat(JobQueue.GENERAL, clock.advance(seconds=5))

    beat = QueueBeat.objects.get()
    assert (beat.cluster, beat.queue) == (pulse.cluster_name(), JobQueue.GENERAL)
    assert (beat.started_at, beat.beat_at) == (started, clock())


# -- recurring duties ------------------------------------------------------------------------------------------------

runs: list[str] = []
defects: list[str] = []


@periodic.duty("test-duty", timedelta(minutes=1))
def a_duty(now: object) -> None:
    """Does nothing but count, and fails while there are defects."""
    runs.append("ran")
    if defects:
        raise RuntimeError(defects[0])


@pytest.fixture
def _one_duty(db: None, clock: Clock) -> Iterator[None]:
    runs.clear()
    periodic.ensure_rows(clock())
    PeriodicTask.objects.exclude(name="test-duty").delete()
    yield
    defects.clear()


@pytest.mark.usefixtures("_one_duty")
def test_a_duty_runs_at_its_times_and_says_when_it_last_succeeded(clock: Clock) -> None:
    periodic.run_due(clock)
    periodic.run_due(clock)
    assert runs == ["ran"]
    clock.advance(minutes=1)
    periodic.run_due(clock)

    assert runs == ["ran", "ran"]
    row = PeriodicTask.objects.get()
    assert (row.last_succeeded_at, row.next_run_at) == (clock(), clock() + timedelta(minutes=1))
    assert (row.lease_until, row.last_error) == (None, "")


@pytest.mark.usefixtures("_one_duty")
def test_a_duty_whose_worker_vanished_is_taken_up_when_its_lease_is_over(clock: Clock) -> None:
    PeriodicTask.objects.update(lease_until=clock() + periodic.LEASE)

    periodic.run_due(clock)
    assert runs == []
    clock.advance(minutes=5)
    periodic.run_due(clock)
    assert runs == ["ran"]


@pytest.mark.parametrize(
    ("name", "seconds"), [("migration", 30), ("authorization-key-turns", 30), ("renewal", 300), ("retention", 300)]
)
def test_what_drives_a_rollout_is_taken_up_soon_after_its_worker_died(
    db: None, clock: Clock, name: str, seconds: int
) -> None:
    PeriodicTask.objects.create(name=name, next_run_at=clock())

    (claimed,) = [item for item in periodic.known_duties() if item.name == name]
    assert periodic._claim([claimed], clock()) == name
    assert PeriodicTask.objects.get().lease_until == clock() + timedelta(seconds=seconds)
    assert periodic._claim([claimed], clock.advance(seconds=seconds - 1)) is None
    assert periodic._claim([claimed], clock.advance(seconds=1)) == name


@pytest.mark.usefixtures("_one_duty")
@pytest.mark.parametrize("died", [False, True])
def test_a_worker_whose_clock_was_ahead_does_not_stop_a_duty(clock: Clock, died: bool) -> None:
    ahead = clock() + timedelta(hours=10)
    periodic.run_due(lambda: ahead)
    if died:
        PeriodicTask.objects.update(next_run_at=clock(), lease_until=ahead + periodic.LEASE)

    periodic.run_due(clock)
    periodic.run_due(clock)

    assert runs == ["ran", "ran"]
    assert PeriodicTask.objects.get().next_run_at == clock() + timedelta(minutes=1)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("hours", "said"), [(10, "10:00:00 ahead of"), (-2, "2:00:00 behind")])
def test_nobody_works_by_a_wrong_clock(hours: int, said: str, caplog: pytest.LogCaptureFixture) -> None:
    pulse.pulse(JobQueue.GENERAL, clock=lambda: datetime.now(UTC) + timedelta(hours=hours))

    assert f"The clock of this machine is {said} the database's." in caplog.text
    assert "Set it (NTP)" in caplog.text
    assert not QueueBeat.objects.exists()


@pytest.mark.usefixtures("_one_duty")
def test_new_duties_get_their_row_and_known_ones_keep_theirs(clock: Clock) -> None:
    periodic.run_due(clock)
    periodic.ensure_rows(clock.advance(seconds=1))

    assert PeriodicTask.objects.get(name="test-duty").last_succeeded_at is not None
    names = set(PeriodicTask.objects.values_list("name", flat=True))
    assert names == {duty.name for duty in periodic.known_duties()}
    assert {"renewal", "expiry", "unconfirmed", "thresholds", "outbox-expiry", "vanished-workers"} <= names


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_one_duty")
def test_a_duty_that_fails_says_so_and_is_tried_again(clock: Clock) -> None:
    defects.append("a defect")

    periodic.run_due(clock)
    row = PeriodicTask.objects.get()
    assert row.last_error == "RuntimeError: a defect"
    assert (row.last_succeeded_at, row.lease_until) == (None, None)
    clock.advance(minutes=1)
    defects.clear()
    periodic.run_due(clock)

    row.refresh_from_db()
    assert runs == ["ran", "ran"]
    assert (row.last_error, row.last_succeeded_at) == ("", clock())
