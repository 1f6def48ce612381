"""Several workers and operators at once, on connections of their own: each job once, one lock order, one outcome."""

import threading
from datetime import datetime, timedelta

import pytest
from django.db import transaction

from bfcerts.ocpp.canonical import RefusalReason
from bfcerts.ocpp.registry import Admission, Refusal
from inventory.audit import save_without_history
from inventory.choices import JobQueue, JobState, RecordState
from inventory.errors import CsrRejectedError
from inventory.jobs import engine
from inventory.jobs.engine import Result, Succeed
from inventory.models import CertificateJob, CertificateRecord, PublicKeyOwner
from inventory.services import delivery, lifecycle, sweeps
from inventory.services.csr_policy import claim_public_key
from inventory.services.door import CertificateDoor
from inventory.services.locking import lock_record
from tests.inventory.attempts import certificate_attempt
from tests.support import (
    OPERATOR,
    PATIENCE_SECONDS,
    Clock,
    ControlPlane,
    charger,
    in_threads,
    job_for,
    request_for,
    somebody_waits_for_a_lock,
    wait_until,
)

pytestmark = pytest.mark.django_db(transaction=True)

LEASE = timedelta(seconds=60)
ran: list[int] = []
entered = threading.Event()


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()
    entered.clear()


@engine.local_step("test_notes")
def notes(job: CertificateJob, now: datetime) -> Result:
    ran.append(job.pk)
    return Succeed("Done.")


@engine.local_step("test_works_while_somebody_waits")
def works_on_the_record_while_somebody_waits(job: CertificateJob, now: datetime) -> Result:
    entered.set()
    wait_until(somebody_waits_for_a_lock, "the operator's command to meet the worker's lock")
    delivery.locked_record(job)
    return Succeed("Done.")


def test_two_workers_run_each_job_once(clock: Clock) -> None:
    identity = charger()
    expected = {job_for(identity, "test_notes", now=clock()).pk for _ in range(40)}
    start = threading.Barrier(2)

    def work() -> int:
        start.wait(PATIENCE_SECONDS)
        taken = 0
        while batch := engine.run_due(queue=JobQueue.GENERAL, clock=clock, limit=3, lease=LEASE):
            taken += batch
        return taken

    assert sum(in_threads(work, work)) == 40
    assert sorted(ran) == sorted(expected)
    assert CertificateJob.objects.filter(state=JobState.SUCCEEDED, attempts=1).count() == 40


def test_a_claim_passes_over_a_job_that_somebody_has_locked_and_does_not_wait(clock: Clock) -> None:
    identity = charger()
    locked = job_for(identity, "test_notes", now=clock() - timedelta(seconds=1))
    free = job_for(identity, "test_notes", now=clock())

    with transaction.atomic():
        CertificateJob.objects.select_for_update().get(pk=locked.pk)
        (claimed,) = in_threads(lambda: engine.claim(queue=JobQueue.GENERAL, now=clock(), limit=5, lease=LEASE))

    assert claimed == [free.pk]


def test_a_worker_and_an_operator_meet_at_one_record_without_a_deadlock(control_plane: ControlPlane) -> None:
    clock = control_plane.clock
    record = control_plane.enrol(charger("CS-1"))
    job_for(record.identity, "test_works_while_somebody_waits", now=clock(), record=record)

    def operator() -> CertificateRecord:
        assert entered.wait(PATIENCE_SECONDS)
        return lifecycle.revoke(record=record, actor=OPERATOR, reason="stolen", now=clock())

    def worker() -> int:
        return engine.run_due(queue=JobQueue.GENERAL, clock=clock, limit=5, lease=LEASE)

    revoked, taken = in_threads(operator, worker)

    assert taken == 1
    assert isinstance(revoked, CertificateRecord)
    assert revoked.state == RecordState.REVOKED


def test_the_same_command_given_at_the_same_time_is_one_job(control_plane: ControlPlane) -> None:
    identity = charger("CS-1")
    start = threading.Barrier(4)

    def issue() -> int:
        start.wait(PATIENCE_SECONDS)
        return lifecycle.issue(identity=identity, purpose="charger_identity", actor=OPERATOR, reason="test").pk

    assert len(set(in_threads(*[issue] * 4))) == 1
    assert CertificateJob.objects.count() == 1


def test_two_devices_that_claim_one_key_at_the_same_time_do_not_both_get_it(clock: Clock) -> None:
    identities = [charger("CS-1"), charger("CS-2")]
    start = threading.Barrier(2)

    def claim(number: int) -> bool:
        start.wait(PATIENCE_SECONDS)
        try:
            with transaction.atomic():
                claim_public_key("ab" * 32, identities[number])
        except CsrRejectedError:
            return False
        return True

    assert sorted(in_threads(lambda: claim(0), lambda: claim(1))) == [False, True]
    assert PublicKeyOwner.objects.count() == 1


def test_a_newer_request_and_the_ca_at_work_on_the_first_end_with_the_newest_certificate_alone(
    control_plane: ControlPlane,
) -> None:
    clock = control_plane.clock
    identity = charger("CS-1")
    control_plane.send_csr(identity, request_for("CS-1"))
    control_plane.read_inbox()
    job = CertificateJob.objects.get()
    assert (job.step, job.queue) == ("issue", JobQueue.PKI)
    newer = request_for("CS-1")

    # The PKI worker has the job, and the newer request arrives before its answer is stored.
    calls = 0

    def overtaken_clock() -> datetime:
        nonlocal calls
        calls += 1
        if calls == 3:  # the claim, the step, and now its result
            control_plane.send_csr(identity, newer)
            in_threads(control_plane.read_inbox)
        return clock()

    engine.run_due(queue=JobQueue.PKI, clock=overtaken_clock, limit=5, lease=LEASE)
    control_plane.work()

    job.refresh_from_db()
    assert job.record is not None
    states = dict(CertificateRecord.objects.values_list("pk", "state"))
    assert states.pop(job.record.pk) == RecordState.ISSUED
    assert list(states.values()) == [RecordState.REVOKED]
    assert job.step == "await_install"
    assert CertificateRecord.objects.get(state=RecordState.REVOKED).revocation_propagated_at is not None


def test_a_door_decision_waits_for_a_revocation_that_is_being_committed(control_plane: ControlPlane) -> None:
    record = control_plane.enrol(charger("CS-1"))
    locked, decided = threading.Event(), threading.Event()

    def revoke() -> Admission | Refusal | None:
        with transaction.atomic():
            lock_record(record.pk)
            lifecycle.revoke(record=record, actor=OPERATOR, reason="stolen", now=control_plane.clock())
            locked.set()
            wait_until(somebody_waits_for_a_lock, "the door to meet the revocation")
            assert not decided.is_set()
        return None

    def connect() -> Admission | Refusal | None:
        assert locked.wait(PATIENCE_SECONDS)
        (decision,) = CertificateDoor().decide([certificate_attempt(record, control_plane.clock())])
        decided.set()
        return decision

    _, decision = in_threads(revoke, connect)
    assert isinstance(decision, Refusal)
    assert decision.reason == RefusalReason.CERTIFICATE_REVOKED


def test_a_sweep_does_not_take_back_what_is_being_delivered_again(control_plane: ControlPlane) -> None:
    clock = control_plane.clock
    control_plane.send_csr(charger("CS-1"), request_for("CS-1"))
    control_plane.work()
    record = CertificateRecord.objects.get()
    assert record.confirm_by is not None
    clock.now = record.confirm_by
    locked = threading.Event()

    def deliver_again() -> int:
        with transaction.atomic():
            again = lock_record(record.pk)
            again.confirm_by = clock() + timedelta(days=10)
            save_without_history(again)
            locked.set()
            wait_until(somebody_waits_for_a_lock, "the sweep to meet the delivery")
        return 0

    def sweep() -> int:
        assert locked.wait(PATIENCE_SECONDS)
        return int(str(sweeps.revoke_unconfirmed(clock())))

    assert in_threads(deliver_again, sweep) == [0, 0]
    record.refresh_from_db()
    assert record.state == RecordState.ISSUED
