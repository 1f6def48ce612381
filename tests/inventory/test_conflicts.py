"""Transactions that stand in each other's way: the one that the database undoes is repeated at once."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction

from bfcerts.conflicts import REPETITIONS, is_conflict, repeated_on_conflict
from bfcerts.ocpp import inbox
from bfcerts.ocpp.canonical import Evidence
from bfcerts.ocpp.inbox import Observation
from bfcerts.ocpp.models import InboxMessage
from bfcerts.ocpp.registry import InboxEntry
from inventory.choices import JobQueue, JobState
from inventory.errors import InvalidInputError
from inventory.jobs import engine, periodic
from inventory.jobs.engine import Result, Succeed
from inventory.models import CertificateJob, ManagedIdentity, PeriodicTask
from inventory.services import identities
from inventory.services.locking import lock_identity
from tests.support import (
    OPERATOR,
    Clock,
    charger,
    in_threads,
    job_for,
    somebody_waits_for_a_lock,
    wait_until,
)

pytestmark = pytest.mark.django_db(transaction=True)

LEASE = timedelta(seconds=60)
runs: list[int] = []
conflicts_wanted: list[str] = []
"""What the duty of this module meets next; nothing where other tests run it."""


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    runs.clear()


def raising(sqlstate: str) -> None:
    """Have PostgreSQL itself raise an error of this kind, in a transaction of its own."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION 'as asked' USING ERRCODE = '{sqlstate}'; END $$")


@engine.local_step("test_meets_conflicts")
def meets_conflicts(job: CertificateJob, now: datetime) -> Result:
    runs.append(job.pk)
    if len(runs) <= job.parameters["conflicts"]:
        raising(job.parameters["sqlstate"])
    return Succeed("Done.")


@engine.external_step("test_asks_and_meets_a_deadlock")
def asks_and_meets_a_deadlock(job: CertificateJob, now: datetime) -> engine.Recorder:
    runs.append(job.pk)
    if len(runs) == 1:
        raising("40P01")
    return lambda _job, _now: Succeed("Done.")


def run(clock: Clock) -> None:
    engine.run_due(queue=JobQueue.GENERAL, clock=clock, limit=1, lease=LEASE)


@pytest.mark.parametrize("sqlstate", ["40P01", "40001"])
def test_a_step_that_met_a_conflict_is_repeated_at_once_and_not_counted(db: None, clock: Clock, sqlstate: str) -> None:
    parameters = {"conflicts": 2, "sqlstate": sqlstate}
    job = job_for(charger(), "test_meets_conflicts", now=clock(), parameters=parameters)

    run(clock)

    job.refresh_from_db()
    assert (job.state, job.unexpected_ends, job.attempts) == (JobState.SUCCEEDED, 0, 1)
    assert runs == [job.pk] * 3


def test_an_external_step_is_repeated_likewise(db: None, clock: Clock) -> None:
    job = job_for(charger(), "test_asks_and_meets_a_deadlock", now=clock())

    run(clock)

    job.refresh_from_db()
    assert (job.state, job.unexpected_ends) == (JobState.SUCCEEDED, 0)


def test_conflicts_without_end_are_an_unexpected_error(db: None, clock: Clock) -> None:
    parameters = {"conflicts": 1000, "sqlstate": "40P01"}
    job = job_for(charger(), "test_meets_conflicts", now=clock(), parameters=parameters)

    run(clock)

    job.refresh_from_db()
    assert (job.state, job.unexpected_ends) == (JobState.WAITING, 1)
    assert len(runs) == REPETITIONS + 1


def test_another_error_of_the_database_is_no_conflict(db: None, clock: Clock) -> None:
    parameters = {"conflicts": 1000, "sqlstate": "57P03"}  # cannot_connect_now
    job = job_for(charger(), "test_meets_conflicts", now=clock(), parameters=parameters)

    run(clock)

    job.refresh_from_db()
    assert (job.state, job.unexpected_ends, len(runs)) == (JobState.WAITING, 1, 1)


def test_evidence_whose_handler_met_a_conflict_is_handled_at_once_and_exactly_once(db: None, clock: Clock) -> None:
    def handler(entry: InboxEntry) -> None:
        runs.append(entry.id)
        InboxMessage.objects.filter(pk=entry.id).update(payload={"runs": len(runs)})
        if len(runs) < 3:
            raising("40P01")

    observation = Observation("CS-1", None, Evidence.SECURITY_EVENT, {}, clock())
    inbox.store([observation])

    assert inbox.process_due(now=clock(), limit=5, handlers=lambda kind: handler) == 1

    message = InboxMessage.objects.get()
    assert (message.state, message.attempts, message.error) == (InboxMessage.State.DONE, 1, "")
    assert message.payload == {"runs": 3}


@periodic.duty("test-duty-with-conflicts", timedelta(minutes=1))
def duty_with_conflicts(now: datetime) -> None:
    if conflicts_wanted:
        raising(conflicts_wanted.pop())


def test_a_duty_that_met_a_conflict_is_done_all_the_same(db: None, clock: Clock) -> None:
    PeriodicTask.objects.create(name="test-duty-with-conflicts", next_run_at=clock())
    conflicts_wanted.append("40001")

    periodic.run_due(clock)

    assert not conflicts_wanted
    task = PeriodicTask.objects.get()
    assert (task.last_error, task.last_succeeded_at) == ("", clock())


def test_inside_a_transaction_of_the_caller_nothing_is_repeated(db: None) -> None:
    def conflict() -> None:
        runs.append(1)
        raising("40001")

    with pytest.raises(OperationalError) as refusal, transaction.atomic():
        repeated_on_conflict(conflict)

    assert is_conflict(refusal.value)
    assert runs == [1]


def test_a_real_deadlock_ends_with_both_done(db: None) -> None:
    first, second = charger("CS-1"), charger("CS-2")

    def locking(mine: ManagedIdentity, other: ManagedIdentity) -> Callable[[], int]:
        tries = 0

        def work() -> int:
            nonlocal tries
            tries += 1
            with transaction.atomic():
                lock_identity(mine.pk)
                if tries == 1:
                    entered.append(mine.pk)
                    wait_until(lambda: len(entered) == 2, "the other one to hold its lock")
                lock_identity(other.pk)
            return tries

        return lambda: repeated_on_conflict(work)

    entered: list[int] = []
    tries = in_threads(locking(first, second), locking(second, first))

    assert sorted(tries) == [1, 2]


def test_of_two_who_add_the_same_identity_at_once_the_second_gets_the_ordinary_refusal(db: None) -> None:
    def add() -> ManagedIdentity:
        return identities.create(
            kind="charger", authoritative_identifier="CS-1", actor=OPERATOR, reason="at the same time"
        )

    def add_and_wait() -> str:
        with transaction.atomic():
            add()
            entered.append(1)
            wait_until(somebody_waits_for_a_lock, "the second one to meet the first")
        return ""

    def add_second() -> str:
        wait_until(lambda: bool(entered), "the first one to have added it")
        with pytest.raises(InvalidInputError) as refusal:
            add()
        return str(refusal.value)

    entered: list[int] = []
    _, sentence = in_threads(add_and_wait, add_second)

    with pytest.raises(InvalidInputError) as ordinary:
        add()
    assert sentence == str(ordinary.value)
    assert ManagedIdentity.objects.count() == 1


def test_another_broken_constraint_of_an_identity_stays_an_error(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE inventory_managedidentity ADD CONSTRAINT test_never CHECK (site <> 'never') NOT VALID"
        )
    try:
        with pytest.raises(IntegrityError):
            charger("CS-1", site="never")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE inventory_managedidentity DROP CONSTRAINT test_never")
