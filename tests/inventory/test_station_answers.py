"""What stations answer, refuse, repeat, or never say: every command's way back to its job and record."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from bfcerts.ocpp.canonical import Action, CommandOutcome, Evidence
from bfcerts.ocpp.models import OutboxCommand
from bfcerts.ocpp.registry import Admission
from inventory.choices import EventType, JobAction, JobState, RecordState, SecurityCategory
from inventory.errors import InvalidInputError, TransitionRefusedError
from inventory.models import CertificateJob, CertificateRecord, DomainEvent, ManagedIdentity, SecurityEvent
from inventory.models import Evidence as StoredEvidence
from inventory.services import identities, lifecycle, station_commands, sweeps
from inventory.services.door import CertificateDoor
from tests.inventory.attempts import certificate_attempt
from tests.support import OPERATOR, ControlPlane, charger, request_for

pytestmark = pytest.mark.django_db

CUT_OVER = (
    Action.SET_NETWORK_PROFILE,
    Action.SET_NETWORK_PRIORITY,
    Action.SET_SECURITY_PROFILE,
    Action.RESET,
)


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


def again(job: CertificateJob) -> CertificateJob:
    return CertificateJob.objects.get(pk=job.pk)


def queued(identity: ManagedIdentity) -> list[str]:
    return list(
        OutboxCommand.objects.filter(station_id=identity.authoritative_identifier, state="queued")
        .order_by("id")
        .values_list("action", flat=True)
    )


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


# -- fallback --------------------------------------------------------------------------------------------------------


def test_coming_back_with_the_retired_certificate_is_recorded_and_shown(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    old = plane.enrol(identity)
    plane.complete(lifecycle.renew(record=old, actor=OPERATOR, reason="test", now=plane.clock()))
    plane.clock.advance(hours=1)

    plane.connect(identity, old)
    plane.work()

    old.refresh_from_db()
    assert old.state == RecordState.RETIRED
    assert StoredEvidence.objects.filter(record=old, kind="fallback_connection").count() == 1
    event = SecurityEvent.objects.get(type="FallbackToRetiredCertificate")
    assert f"came back with its retired certificate {old.pk}" in event.message


def test_a_connection_handled_after_the_certificate_expired_is_neither_error_nor_fallback(plane: ControlPlane) -> None:
    from bfcerts.ocpp.models import InboxMessage

    identity = charger("CS-1")
    record = plane.enrol(identity)
    assert record.not_after is not None
    plane.clock.now = record.not_after - timedelta(minutes=1)
    plane.connect(identity, record)
    plane.clock.advance(minutes=2)
    sweeps.retire_expired(plane.clock())
    plane.work()

    assert set(InboxMessage.objects.values_list("state", "error")) == {("done", "")}
    assert not SecurityEvent.objects.filter(type="FallbackToRetiredCertificate").exists()


# -- cut-over --------------------------------------------------------------------------------------------------------


def cutting_over(plane: ControlPlane) -> tuple[ManagedIdentity, CertificateJob]:
    identity = charger("CS-1")
    plane.enrol(identity)
    ManagedIdentity.objects.update(security_profile=2)
    identity.refresh_from_db()
    plane.seen(identity)
    job = station_commands.cut_over(identity=identity, actor=OPERATOR, reason="test", now=plane.clock())
    plane.work()
    return identity, job


def test_a_cut_over_goes_step_by_step_and_ends_with_the_connection(plane: ControlPlane) -> None:
    identity, job = cutting_over(plane)
    for action in CUT_OVER:
        assert queued(identity) == [action]
        plane.answer(plane.open_command(identity, action))
        plane.work()
    assert again(job).waiting_for == "the station to come back on Profile 3"

    plane.connect(identity, CertificateRecord.objects.get(state=RecordState.ACTIVE))
    plane.work()

    identity.refresh_from_db()
    assert again(job).state == JobState.SUCCEEDED
    assert identity.security_profile == 3


def test_a_refused_step_of_a_cut_over_is_repeated_and_the_next_is_not_sent(plane: ControlPlane) -> None:
    identity, job = cutting_over(plane)
    plane.answer(plane.open_command(identity, Action.SET_NETWORK_PROFILE), "rejected", status="Failed")
    plane.work()
    assert queued(identity) == []
    assert again(job).outcome == "The station did not take network profile: Failed"

    plane.clock.advance(minutes=1)
    plane.work()
    assert queued(identity) == [Action.SET_NETWORK_PROFILE]


def test_a_reset_that_cuts_the_connection_before_its_answer_is_no_failure(plane: ControlPlane) -> None:
    identity, job = cutting_over(plane)
    for action in CUT_OVER[:-1]:
        plane.answer(plane.open_command(identity, action))
        plane.work()
    plane.answer(plane.open_command(identity, Action.RESET), CommandOutcome.TIMED_OUT)
    plane.work()

    assert again(job).state == JobState.WAITING
    plane.connect(identity, CertificateRecord.objects.get(state=RecordState.ACTIVE))
    plane.work()
    assert again(job).state == JobState.SUCCEEDED


def test_a_station_that_does_not_come_back_ends_the_cut_over_and_keeps_its_way_in(plane: ControlPlane) -> None:
    identity, job = cutting_over(plane)
    for action in CUT_OVER:
        plane.answer(plane.open_command(identity, action))
        plane.work()

    plane.clock.advance(hours=5)
    plane.work()

    identity.refresh_from_db()
    assert again(job).state == JobState.FAILED
    assert "did not finish the cut-over in time" in again(job).outcome
    assert identity.security_profile == 2


def test_a_cut_over_needs_a_certificate_and_a_station_that_is_not_there_yet(plane: ControlPlane) -> None:
    with pytest.raises(TransitionRefusedError, match="CS-2 has no installed certificate to come back with"):
        station_commands.cut_over(identity=charger("CS-2"), actor=OPERATOR, reason="test", now=plane.clock())
    record = plane.enrol(charger("CS-1"))
    with pytest.raises(TransitionRefusedError, match="CS-1 is on Profile 3 already"):
        station_commands.cut_over(identity=record.identity, actor=OPERATOR, reason="test", now=plane.clock())


# -- plain commands --------------------------------------------------------------------------------------------------


def test_commands_are_for_chargers_that_are_enabled(plane: ControlPlane) -> None:
    vehicle = identities.create(kind="vehicle", authoritative_identifier="WAUZZZ1", actor=OPERATOR, reason="test")
    with pytest.raises(TransitionRefusedError, match="is a vehicle; only chargers take OCPP commands"):
        station_commands.reset(identity=vehicle, actor=OPERATOR, reason="test", now=plane.clock())
    identity = charger("CS-1")
    disabled = identities.set_enabled(identity=identity, enabled=False, actor=OPERATOR, reason="test")
    with pytest.raises(TransitionRefusedError, match="CS-1 is disabled; enable it first"):
        station_commands.list_certificates(identity=disabled, actor=OPERATOR, reason="test", now=plane.clock())


def test_the_roots_are_sent_with_the_servers_last(plane: ControlPlane) -> None:
    from inventory.models import IssuingAuthority

    identity = charger("CS-1")
    station_commands.install_trust_anchors(identity=identity, actor=OPERATOR, reason="test", now=plane.clock())

    sent = [command.payload["certificate"] for command in plane.commands(identity, Action.INSTALL_CERTIFICATE)]
    roots = dict(IssuingAuthority.objects.values_list("trust_domain", "root_pem"))
    assert sent == [roots["charger_identity"], roots["backend_server"]]


@pytest.mark.parametrize(
    ("act", "arguments", "sentence"),
    [
        (station_commands.reset, {"kind": "Now"}, "'Now' is no kind of reset; use OnIdle or Immediate"),
    ],
)
def test_bad_arguments_are_refused(plane: ControlPlane, act: Any, arguments: dict[str, str], sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        act(identity=charger("CS-1"), actor=OPERATOR, reason="test", now=plane.clock(), **arguments)


# -- what is merely observed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "timestamp",
    [
        "2026-06-01T12:00:00Z",
        "2026-06-01T12:00:00+02:00",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        "yesterday",
        "",
        None,
        12,
    ],
)
def test_whatever_time_a_station_gives_its_event_can_be_read_again(plane: ControlPlane, timestamp: object) -> None:
    charger("CS-1")
    plane.observe("CS-1", Evidence.SECURITY_EVENT, {"type": "TamperDetectionActivated", "timestamp": timestamp})
    plane.work()

    event = SecurityEvent.objects.get(type="TamperDetectionActivated")
    assert isinstance(event.occurred_at, datetime)
    assert event.recorded_at == plane.clock()
    assert (event.category, event.severity) == (SecurityCategory.PLATFORM, "critical")


def test_an_event_under_a_free_name_is_kept_verbatim(plane: ControlPlane) -> None:
    plane.observe("CS-9", Evidence.SECURITY_EVENT, {"type": "VendorSpecific" * 9, "tech_info": "x" * 2000})
    plane.work()

    event = SecurityEvent.objects.get()
    assert event.native_type == ("VendorSpecific" * 9)[:60]
    assert (event.identity, event.station_id) == (None, "CS-9")
    assert len(event.technical_detail) == 1000
