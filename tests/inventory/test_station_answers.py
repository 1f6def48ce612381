"""What stations answer, refuse, repeat, or never say while they get a certificate: the way back to job and record."""

import pytest

from bfcerts.ocpp.canonical import Action, CommandOutcome, Evidence
from bfcerts.ocpp.models import OutboxCommand
from bfcerts.ocpp.registry import Admission
from inventory.choices import EventType, JobAction, JobState, RecordState
from inventory.models import CertificateJob, CertificateRecord, DomainEvent, ManagedIdentity
from inventory.services import lifecycle, sweeps
from inventory.services.door import CertificateDoor
from tests.inventory.answered import again
from tests.inventory.attempts import certificate_attempt
from tests.support import OPERATOR, ControlPlane, charger, request_for

pytestmark = pytest.mark.django_db


def issue(plane: ControlPlane, identity: ManagedIdentity) -> CertificateJob:
    job = lifecycle.issue(
        identity=identity, purpose="charger_identity", actor=OPERATOR, reason="test", now=plane.clock()
    )
    plane.work()
    return job


def delivering(plane: ControlPlane, identity: ManagedIdentity) -> CertificateJob:
    plane.send_csr(identity, request_for(identity.authoritative_identifier))
    plane.work()
    job = CertificateJob.objects.get(identity=identity, action=JobAction.ISSUE)
    assert job.step == "await_install"
    return job


# -- the request for a CSR -------------------------------------------------------------------------------------------


def test_an_accepted_trigger_without_a_request_is_repeated_and_ends(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    job = issue(plane, identity)

    for _ in range(8):
        plane.answer(plane.open_command(identity, Action.REQUEST_CSR))
        plane.work()
        assert again(job).step == "await_csr"
        plane.clock.advance(hours=2)
        plane.work()
        plane.clock.advance(hours=2)
        plane.work()

    job = again(job)
    assert job.state == JobState.FAILED
    assert job.outcome == (
        "The endpoint was asked for a certificate signing request and sent none in time. Asked 8 times; look at its "
        "log for the cause."
    )


def test_a_refused_trigger_is_repeated_with_the_stations_own_words(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    job = issue(plane, identity)
    plane.answer(
        plane.open_command(identity, Action.REQUEST_CSR),
        "rejected",
        status="Rejected",
        status_info={"reasonCode": "Busy", "additionalInfo": "charging"},
    )
    plane.work()

    job = again(job)
    assert job.state == JobState.WAITING
    assert job.outcome == "The station did not agree to send a certificate signing request: Rejected: Busy charging"


@pytest.mark.parametrize("first", ["the command expires", "the job's time is up"])
def test_a_station_that_is_never_there_ends_the_job_with_what_to_do(plane: ControlPlane, first: str) -> None:
    job = issue(plane, charger("CS-1"))

    plane.clock.advance(days=3)
    if first == "the command expires":
        sweeps.expire_commands(plane.clock())
        plane.read_inbox()
    plane.work()

    job = again(job)
    assert job.state == JobState.FAILED
    assert "not connected long enough" in job.outcome


# -- the delivery ----------------------------------------------------------------------------------------------------


def test_a_station_that_takes_the_certificate_and_gives_no_answer_gets_it_again(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    job = delivering(plane, identity)

    plane.answer(plane.open_command(identity, Action.DELIVER_CERTIFICATE), CommandOutcome.TIMED_OUT)
    plane.work()
    assert again(job).waiting_for.startswith("the next try, after: The station took the certificate but gave no")
    plane.clock.advance(minutes=1)
    plane.work()

    commands = plane.commands(identity, Action.DELIVER_CERTIFICATE)
    assert len(commands) == 2
    assert len({command.payload["chain"] for command in commands}) == 1
    plane.answer(commands[1])
    plane.work()
    assert CertificateRecord.objects.get().state == RecordState.INSTALLED_PENDING_ACTIVATION


def test_a_late_answer_reopens_no_job_that_has_ended(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    job = delivering(plane, identity)
    command = plane.open_command(identity, Action.DELIVER_CERTIFICATE)
    plane.clock.advance(days=4)
    plane.work()
    assert again(job).state == JobState.FAILED

    for outcome in (CommandOutcome.TIMED_OUT, CommandOutcome.EXPIRED, CommandOutcome.REJECTED):
        plane.answer(command, outcome)
        plane.work()

    job = again(job)
    assert (job.state, job.waiting_for) == (JobState.FAILED, "")


def test_a_late_acceptance_still_counts_for_the_certificate(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    job = delivering(plane, identity)
    command = plane.open_command(identity, Action.DELIVER_CERTIFICATE)
    plane.clock.advance(days=4)
    plane.work()

    plane.answer(command)
    plane.work()
    record = CertificateRecord.objects.get()
    assert record.state == RecordState.INSTALLED_PENDING_ACTIVATION
    plane.connect(identity, record)
    plane.work()

    record.refresh_from_db()
    assert (record.state, again(job).state) == (RecordState.ACTIVE, JobState.FAILED)


def test_a_certificate_refused_three_times_is_given_up(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    job = delivering(plane, identity)

    for number in range(3):
        if number:
            plane.clock.advance(hours=1)
            plane.work()
            plane.send_csr(identity, request_for("CS-1"))
            plane.work()
        plane.answer(plane.open_command(identity, Action.DELIVER_CERTIFICATE), "rejected", status="Rejected")
        plane.work()

    job = again(job)
    assert job.state == JobState.FAILED
    assert job.outcome == "CS-1 refused the certificate: Rejected. Given up after 3 tries."
    assert set(CertificateRecord.objects.values_list("state", flat=True)) == {RecordState.REVOKED}
    assert CertificateRecord.objects.filter(revocation_propagated_at__isnull=True).count() == 0
    assert DomainEvent.objects.filter(type=EventType.INSTALL_FAILED).count() == 3


@pytest.mark.parametrize("lost", ["with the connection", "by the call's time limit", "before it was installed again"])
def test_a_refused_repeat_does_not_take_away_what_the_station_may_have(plane: ControlPlane, lost: str) -> None:
    identity = charger("CS-1")
    job = delivering(plane, identity)
    command = plane.open_command(identity, Action.DELIVER_CERTIFICATE)
    if lost == "with the connection":
        OutboxCommand.objects.filter(pk=command.pk).update(attempts=2)
    elif lost == "by the call's time limit":
        plane.answer(command, CommandOutcome.TIMED_OUT)
        plane.work()
        plane.clock.advance(minutes=1)
        plane.work()
    else:
        OutboxCommand.objects.filter(pk=command.pk).update(attempts=1, state="expired")
        plane.clock.advance(days=3, minutes=10)
        plane.work()
        assert again(job).state == JobState.FAILED
        record = CertificateRecord.objects.get()
        job = lifecycle.install(record=record, actor=OPERATOR, reason="test", now=plane.clock())
        plane.work()

    plane.answer(plane.commands(identity, Action.DELIVER_CERTIFICATE)[-1], "rejected", status="Rejected")
    plane.work()

    record = CertificateRecord.objects.get()
    assert (record.state, again(job).step) == (RecordState.ISSUED, "await_doubtful")
    (decision,) = CertificateDoor().decide([certificate_attempt(record, plane.clock())])
    assert isinstance(decision, Admission)
    plane.connect(identity, record)
    plane.work()
    record.refresh_from_db()
    assert (record.state, again(job).state) == (RecordState.ACTIVE, JobState.SUCCEEDED)


def test_what_a_refused_repeat_left_in_doubt_ends_by_itself_and_a_new_request_goes_beside_it(
    plane: ControlPlane,
) -> None:
    identity = charger("CS-1")
    job = delivering(plane, identity)
    command = plane.open_command(identity, Action.DELIVER_CERTIFICATE)
    OutboxCommand.objects.filter(pk=command.pk).update(attempts=2)
    plane.answer(command, "rejected", status="Rejected")
    plane.work()

    plane.clock.advance(days=3)
    plane.work()
    assert again(job).step == "await_trigger"
    plane.answer(plane.open_command(identity, Action.REQUEST_CSR))
    plane.send_csr(identity, request_for("CS-1"))
    plane.work()
    older, newer = CertificateRecord.objects.order_by("pk")
    assert (older.state, newer.state, again(job).record) == (RecordState.ISSUED, RecordState.ISSUED, newer)

    assert older.confirm_by is not None
    sweeps.revoke_unconfirmed(older.confirm_by)
    older.refresh_from_db()
    newer.refresh_from_db()
    assert (older.state, newer.state) == (RecordState.REVOKED, RecordState.ISSUED)


def test_the_same_answer_twice_is_one_installation(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    delivering(plane, identity)
    command = plane.open_command(identity, Action.DELIVER_CERTIFICATE)

    plane.answer(command)
    plane.answer(command)
    plane.answer(command, "rejected")
    plane.work()

    assert CertificateRecord.objects.get().state == RecordState.INSTALLED_PENDING_ACTIVATION
    assert DomainEvent.objects.filter(type=EventType.CERTIFICATE_INSTALLED).count() == 1


def test_an_answer_for_an_overtaken_certificate_moves_that_one_and_not_the_job(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    job = delivering(plane, identity)
    first = plane.open_command(identity, Action.DELIVER_CERTIFICATE)
    OutboxCommand.objects.filter(pk=first.pk).update(state="sent")
    plane.send_csr(identity, request_for("CS-1"))
    plane.work()

    plane.answer(first)
    plane.work()

    older, newer = CertificateRecord.objects.order_by("pk")
    assert (older.state, newer.state) == (RecordState.INSTALLED_PENDING_ACTIVATION, RecordState.ISSUED)
    job = again(job)
    assert (job.step, job.record) == ("await_install", newer)


def test_a_delivery_that_has_not_left_does_not_leave_after_a_newer_request(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    delivering(plane, identity)
    plane.send_csr(identity, request_for("CS-1"))
    plane.work()

    assert [command.state for command in plane.commands(identity, Action.DELIVER_CERTIFICATE)] == [
        "cancelled",
        "queued",
    ]


def test_an_answer_to_a_command_that_nobody_knows_is_no_error(plane: ControlPlane) -> None:
    for command_id in ("", "999999", "no number", "-1"):
        plane.observe(
            "CS-1", Evidence.COMMAND_ANSWERED, {"command_id": command_id, "outcome": "accepted", "action": "reset"}
        )
    plane.work()

    from bfcerts.ocpp.models import InboxMessage

    assert set(InboxMessage.objects.values_list("state", "error")) == {("done", "")}
