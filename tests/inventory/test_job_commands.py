"""Opening, joining, cancelling and hastening jobs."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.models import OutboxCommand
from inventory.audit import attributed
from inventory.choices import JobAction, JobQueue, JobState, RecordState
from inventory.errors import ConflictingJobError, InvalidInputError, TransitionRefusedError
from inventory.jobs import engine
from inventory.models import CertificateJob, CertificateRecord, IssuanceIntent, ManagedIdentity
from inventory.services import jobs, lifecycle, sweeps
from tests.support import OPERATOR, ControlPlane, charger, job_for, request_for, undeliverable_charger

pytestmark = pytest.mark.django_db


def issue(
    plane: ControlPlane, identity: ManagedIdentity, key: str | None = None, csr: str | None = None
) -> CertificateJob:
    return lifecycle.issue(
        identity=identity,
        purpose="charger_identity",
        csr_pem=csr,
        idempotency_key=key,
        actor=OPERATOR,
        reason="test",
        now=plane.clock(),
    )


# -- opening and joining ---------------------------------------------------------------------------------------------


def test_the_same_idempotency_key_is_the_same_job_even_after_it_has_ended(plane: ControlPlane) -> None:
    identity = charger()
    first = issue(plane, identity, "key-1")
    jobs.cancel(job=first, actor=OPERATOR, reason="changed our mind", now=plane.clock())

    again = issue(plane, identity, "key-1", request_for(identity.authoritative_identifier))

    assert again.pk == first.pk
    assert again.state == JobState.CANCELLED
    assert not CertificateRecord.objects.exists()
    assert issue(plane, identity, "key-2").pk != first.pk


def test_an_idempotency_key_of_another_request_is_refused(plane: ControlPlane) -> None:
    first = issue(plane, charger("CS-1"), "key-1")

    with pytest.raises(ConflictingJobError, match=f"used for another request \\(job {first.pk}\\); use a new key"):
        issue(plane, charger("CS-2"), "key-1")


def test_a_caller_cannot_take_the_key_of_a_revocation_in_advance(plane: ControlPlane) -> None:
    record = plane.enrol(charger("CS-1"))
    issue(plane, charger("CS-2"), f"revoke:{record.pk}")

    lifecycle.revoke(record=record, actor=OPERATOR, reason="stolen", now=plane.clock())

    assert CertificateJob.objects.get(action=JobAction.REVOKE).record == record


def test_an_idempotency_key_may_be_long(plane: ControlPlane) -> None:
    identity = charger()
    key = "k" * 255

    assert issue(plane, identity, key).pk == issue(plane, identity, key).pk


def test_without_a_key_an_open_job_of_the_same_action_is_joined_and_an_ended_one_is_not(plane: ControlPlane) -> None:
    identity = charger()
    first = issue(plane, identity)
    assert issue(plane, identity).pk == first.pk

    jobs.cancel(job=first, actor=OPERATOR, reason="test", now=plane.clock())
    assert issue(plane, identity).pk != first.pk


def test_an_issue_and_a_renewal_of_one_slot_do_not_run_side_by_side(plane: ControlPlane) -> None:
    record = plane.enrol(charger("CS-1"))
    renewal = lifecycle.renew(record=record, actor=OPERATOR, reason="test", now=plane.clock())

    with pytest.raises(ConflictingJobError, match=f"job {renewal.pk}\\) is already open; wait for it or cancel it"):
        issue(plane, record.identity)


def test_every_job_carries_who_why_and_its_chain_of_work(plane: ControlPlane) -> None:
    with attributed(OPERATOR, "outer", "chain-1"):
        job = issue(plane, charger())

    assert (job.actor, job.reason, job.correlation_id) == (OPERATOR.name, "test", "chain-1")


# -- cancelling ------------------------------------------------------------------------------------------------------


def test_cancelling_ends_the_job_and_withdraws_what_was_not_sent(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    job = issue(plane, identity)
    plane.work()
    command = plane.open_command(identity, Action.REQUEST_CSR)

    jobs.cancel(job=job, actor=OPERATOR, reason="wrong charger", now=plane.clock())

    job.refresh_from_db()
    command.refresh_from_db()
    assert (job.state, job.outcome) == (JobState.CANCELLED, f"Cancelled by {OPERATOR.name}: wrong charger")
    assert command.state == OutboxCommand.State.CANCELLED
    history = CertificateJob.history.filter(id=job.pk).latest("history_id")
    assert (history.state, history.actor, history.history_change_reason) == (
        "cancelled",
        OPERATOR.name,
        "wrong charger",
    )


def test_cancelling_before_the_ca_was_asked_gives_up_the_request(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    job = issue(plane, identity, csr=request_for("CS-1"))

    jobs.cancel(job=job, actor=OPERATOR, reason="wrong charger", now=plane.clock())

    record = CertificateRecord.objects.get()
    assert record.state == RecordState.DELETED
    assert record.failure_reason == f"Cancelled by {OPERATOR.name}: wrong charger"


def test_cancelling_is_refused_while_the_ca_works_on_the_request(plane: ControlPlane) -> None:
    job = issue(plane, charger("CS-1"), csr=request_for("CS-1"))
    engine.claim(queue=JobQueue.PKI, now=plane.clock(), limit=1, lease=timedelta(seconds=60))

    with pytest.raises(TransitionRefusedError, match="The CA is working on job"):
        jobs.cancel(job=job, actor=OPERATOR, reason="too late", now=plane.clock())


def test_cancelling_is_refused_after_the_ca_was_asked(plane: ControlPlane) -> None:
    job = issue(plane, charger("CS-1"), csr=request_for("CS-1"))
    engine.run_due(queue=JobQueue.PKI, clock=plane.clock, limit=1, lease=timedelta(seconds=60))
    record = CertificateRecord.objects.get()
    assert record.state == RecordState.ISSUED
    waiting = issue(plane, charger("CS-2"), csr=request_for("CS-2"))
    waiting.refresh_from_db()
    assert waiting.record is not None
    assert record.authority is not None
    IssuanceIntent.objects.create(
        job=waiting,
        record=waiting.record,
        authority=record.authority,
        token="t" * 32,
        csr_sha256="",
        profile="charger_client",
        not_before=plane.clock(),
        not_after=plane.clock(),
        created_at=plane.clock(),
        submitted_at=plane.clock(),
    )

    with pytest.raises(TransitionRefusedError, match="when its certificate is here"):
        jobs.cancel(job=waiting, actor=OPERATOR, reason="too late", now=plane.clock())
    assert job.pk != waiting.pk


def test_cancelling_between_issuance_and_delivery_revokes_what_nobody_will_get(plane: ControlPlane) -> None:
    job = issue(plane, undeliverable_charger("SN-1"), csr=request_for("SN-1"))
    engine.run_due(queue=JobQueue.PKI, clock=plane.clock, limit=1, lease=timedelta(seconds=60))
    job.refresh_from_db()
    assert job.step == "deliver"

    jobs.cancel(job=job, actor=OPERATOR, reason="wrong charger", now=plane.clock())
    plane.work()

    record = CertificateRecord.objects.get()
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED
    assert record.state == RecordState.REVOKED
    assert record.revocation_propagated_at is not None


def test_cancelling_during_the_delivery_leaves_the_certificate_to_its_window(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    job = issue(plane, identity, csr=request_for("CS-1"))
    plane.work()

    jobs.cancel(job=job, actor=OPERATOR, reason="wrong charger", now=plane.clock())

    assert CertificateRecord.objects.get().state == RecordState.ISSUED
    plane.clock.advance(days=11)
    sweeps.revoke_unconfirmed(plane.clock())
    assert CertificateRecord.objects.get().state == RecordState.REVOKED


def test_a_revocation_is_not_cancelled(plane: ControlPlane) -> None:
    record = plane.enrol(charger("CS-1"))
    lifecycle.revoke(record=record, actor=OPERATOR, reason="stolen", now=plane.clock())

    with pytest.raises(TransitionRefusedError, match="the CA has to learn of it"):
        jobs.cancel(
            job=CertificateJob.objects.get(action=JobAction.REVOKE), actor=OPERATOR, reason="oops", now=plane.clock()
        )


def test_an_ended_job_is_not_cancelled_again(plane: ControlPlane) -> None:
    job = issue(plane, charger())
    jobs.cancel(job=job, actor=OPERATOR, reason="test", now=plane.clock())

    with pytest.raises(TransitionRefusedError, match="has ended \\(cancelled\\); there is nothing to cancel"):
        jobs.cancel(job=job, actor=OPERATOR, reason="test", now=plane.clock())


# -- hastening -------------------------------------------------------------------------------------------------------


def test_a_wait_for_the_next_try_can_be_cut_short(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    job = issue(plane, identity)
    plane.work()
    plane.answer(plane.open_command(identity, Action.REQUEST_CSR), "rejected", status="NotImplemented")
    plane.work()
    job.refresh_from_db()
    assert job.waiting_for.startswith("the next try, after: The station did not agree")

    jobs.run_now(job=job, actor=OPERATOR, reason="the station is back", now=plane.clock())
    plane.work()

    job.refresh_from_db()
    assert job.waiting_for == "the station to take the request for a CSR"


def test_a_wait_for_the_station_cannot_be_cut_short(plane: ControlPlane) -> None:
    job = issue(plane, charger("CS-1"))
    plane.work()

    with pytest.raises(TransitionRefusedError, match="waits for the station to take the request for a CSR"):
        jobs.run_now(job=job, actor=OPERATOR, reason="hurry", now=plane.clock())


def test_a_running_job_is_left_to_its_worker(plane: ControlPlane) -> None:
    job = job_for(charger(), "test_hastened", now=plane.clock())
    engine.claim(queue=JobQueue.GENERAL, now=plane.clock(), limit=1, lease=timedelta(seconds=60))

    with pytest.raises(TransitionRefusedError, match="is running right now"):
        jobs.run_now(job=job, actor=OPERATOR, reason="hurry", now=plane.clock())

    job.refresh_from_db()
    assert job.state == JobState.RUNNING


def test_an_ended_job_is_not_run_again(plane: ControlPlane) -> None:
    job = issue(plane, charger())
    jobs.cancel(job=job, actor=OPERATOR, reason="test", now=plane.clock())

    with pytest.raises(TransitionRefusedError, match="has ended; start a new one instead"):
        jobs.run_now(job=job, actor=OPERATOR, reason="again", now=plane.clock())


@pytest.mark.parametrize("verb", [jobs.cancel, jobs.run_now])
def test_a_reason_is_needed(plane: ControlPlane, verb: Callable[..., object]) -> None:
    job = issue(plane, charger())

    with pytest.raises(InvalidInputError, match="A reason is needed"):
        verb(job=job, actor=OPERATOR, reason="  ", now=plane.clock())
