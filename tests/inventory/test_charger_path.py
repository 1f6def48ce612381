"""The charger path through the services: from a CSR to an active certificate, and what can go wrong on the way."""

import pytest

from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.models import OutboxCommand
from inventory.choices import EventType, JobState, RecordState
from inventory.models import CertificateJob, CertificateRecord, DomainEvent, SecurityEvent
from inventory.services import lifecycle
from tests.support import OPERATOR, ControlPlane, charger, new_key, request_for

pytestmark = pytest.mark.django_db(transaction=True)


def events_of(record: CertificateRecord) -> list[str]:
    return list(DomainEvent.objects.filter(record=record).order_by("id").values_list("type", flat=True))


def test_a_charger_goes_from_no_certificate_to_active(control_plane: ControlPlane) -> None:
    identity = charger("CS-1")

    record = control_plane.enrol(identity)

    assert record.state == RecordState.ACTIVE
    assert record.activation_evidence is not None
    assert record.not_after is not None
    assert (record.not_after - control_plane.clock()).days in (179, 180)
    identity.refresh_from_db()
    assert identity.security_profile == 3
    job = CertificateJob.objects.get()
    assert (job.state, job.attempts) == (JobState.SUCCEEDED, 0)
    assert events_of(record) == [
        EventType.CSR_VALIDATED,
        EventType.CERTIFICATE_ISSUED,
        EventType.CERTIFICATE_INSTALL_REQUESTED,
        EventType.CERTIFICATE_INSTALLED,
        EventType.CERTIFICATE_ACTIVATED,
    ]
    assert DomainEvent.objects.filter(type=EventType.CERTIFICATE_REQUESTED, job=job).count() == 1


def test_a_renewal_retires_the_old_certificate_only_when_the_new_one_is_seen_in_use(
    control_plane: ControlPlane,
) -> None:
    identity = charger("CS-1")
    old = control_plane.enrol(identity)
    control_plane.clock.advance(days=150)
    job = lifecycle.renew(record=old, actor=OPERATOR, reason="test", now=control_plane.clock())

    control_plane.work()
    control_plane.answer(control_plane.open_command(identity, Action.REQUEST_CSR))
    control_plane.send_csr(identity, request_for("CS-1"))
    control_plane.work()
    control_plane.answer(control_plane.open_command(identity, Action.DELIVER_CERTIFICATE))
    control_plane.work()
    old.refresh_from_db()
    assert old.state == RecordState.ACTIVE

    job.refresh_from_db()
    assert job.record is not None
    control_plane.connect(identity, job.record)
    control_plane.work()
    old.refresh_from_db()
    new = CertificateRecord.objects.get(pk=job.record.pk)
    assert (old.state, new.state) == (RecordState.RETIRED, RecordState.ACTIVE)
    assert old.rollback_until is not None
    assert old.rollback_until > control_plane.clock()
    assert new.replaces == old
    assert new.not_after is not None
    assert old.not_after is not None
    assert new.not_after > old.not_after


def test_the_reconnect_may_come_before_the_answer_to_the_delivery(control_plane: ControlPlane) -> None:
    identity = charger("CS-1")
    control_plane.send_csr(identity, request_for("CS-1"))
    control_plane.work()
    record = CertificateRecord.objects.get()
    assert record.state == RecordState.ISSUED
    delivery = control_plane.open_command(identity, Action.DELIVER_CERTIFICATE)

    control_plane.connect(identity, record)
    control_plane.work()
    record.refresh_from_db()
    assert record.state == RecordState.ACTIVE

    control_plane.answer(delivery)
    control_plane.work()
    record.refresh_from_db()
    assert record.state == RecordState.ACTIVE
    assert DomainEvent.objects.filter(type=EventType.CERTIFICATE_INSTALLED).count() == 1


def test_a_stations_own_request_joins_the_open_job(control_plane: ControlPlane) -> None:
    identity = charger("CS-1")
    job = lifecycle.issue(identity=identity, purpose="charger_identity", actor=OPERATOR, reason="test")
    control_plane.work()

    control_plane.send_csr(identity, request_for("CS-1"))
    control_plane.work()

    assert CertificateJob.objects.count() == 1
    job.refresh_from_db()
    assert job.step == "await_install"


def test_of_several_requests_the_newest_counts(control_plane: ControlPlane) -> None:
    identity = charger("CS-1")
    first, second = new_key(), new_key()
    control_plane.send_csr(identity, request_for("CS-1", first))
    control_plane.send_csr(identity, request_for("CS-1", second))

    control_plane.work()

    issued = CertificateRecord.objects.get(state=RecordState.ISSUED)
    assert issued.csr_pem == CertificateRecord.objects.latest("id").csr_pem
    assert CertificateRecord.objects.filter(state=RecordState.DELETED).count() == 1
    assert CertificateJob.objects.count() == 1


def test_a_request_for_another_identity_ends_the_job_visibly(control_plane: ControlPlane) -> None:
    identity = charger("CS-1")
    job = lifecycle.issue(identity=identity, purpose="charger_identity", actor=OPERATOR, reason="test")
    control_plane.work()

    control_plane.send_csr(identity, request_for("CS-10"))
    control_plane.work()

    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "“CS-10” does not name CS-1" in job.outcome
    assert DomainEvent.objects.get(type=EventType.CSR_REJECTED).payload["rule"] == "identity_mismatch"
    assert SecurityEvent.objects.get(type="CSRRejected").identity == identity
    assert not CertificateRecord.objects.exists()


def test_a_key_of_another_identity_is_refused(control_plane: ControlPlane) -> None:
    key = new_key()
    control_plane.enrol(charger("CS-1"), key)

    control_plane.send_csr(charger("CS-2"), request_for("CS-2", key))
    control_plane.work()

    job = CertificateJob.objects.latest("id")
    assert job.state == JobState.FAILED
    assert "used by another identity (CS-1)" in job.outcome


def test_a_refused_certificate_is_revoked_and_the_station_asked_again(control_plane: ControlPlane) -> None:
    identity = charger("CS-1")
    control_plane.send_csr(identity, request_for("CS-1"))
    control_plane.work()

    control_plane.answer(
        control_plane.open_command(identity, Action.DELIVER_CERTIFICATE),
        "rejected",
        status="Rejected",
        status_info={"reasonCode": "InvalidChain", "additionalInfo": "no root"},
    )
    control_plane.work()

    record = CertificateRecord.objects.get()
    assert record.state == RecordState.REVOKED
    assert record.revocation_propagated_at is not None
    assert "no root" in SecurityEvent.objects.get(type="CertificateInstallRefused").technical_detail
    job = CertificateJob.objects.filter(action="issue").get()
    assert (job.state, job.step) == (JobState.WAITING, "request_csr")
    control_plane.clock.advance(minutes=5)
    control_plane.work()
    assert control_plane.open_command(identity, Action.REQUEST_CSR).state == OutboxCommand.State.QUEUED


def test_installed_but_never_used_ends_with_the_deadline_and_the_old_one_still_works(
    control_plane: ControlPlane,
) -> None:
    identity = charger("CS-1")
    old = control_plane.enrol(identity)
    job = lifecycle.renew(record=old, actor=OPERATOR, reason="test", now=control_plane.clock())
    control_plane.work()
    control_plane.send_csr(identity, request_for("CS-1"))
    control_plane.work()
    control_plane.answer(control_plane.open_command(identity, Action.DELIVER_CERTIFICATE))
    control_plane.work()

    control_plane.clock.advance(hours=5)
    control_plane.work()

    job.refresh_from_db()
    old.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "did not come back with it" in job.outcome
    assert old.state == RecordState.ACTIVE
    assert DomainEvent.objects.filter(type=EventType.ACTIVATION_FAILED).count() == 1

    control_plane.clock.advance(days=11)
    control_plane.sweep()
    assert job.record is not None
    assert CertificateRecord.objects.get(pk=job.record.pk).state == RecordState.REVOKED


def test_a_revocation_changes_local_authorisation_first_and_the_ca_learns_of_it(control_plane: ControlPlane) -> None:
    record = control_plane.enrol(charger("CS-1"))

    revoked = lifecycle.revoke(
        record=record, actor=OPERATOR, reason="stolen", revocation_reason="keyCompromise", now=control_plane.clock()
    )
    assert (revoked.state, revoked.revocation_propagated_at) == (RecordState.REVOKED, None)

    control_plane.clock.advance(seconds=3)
    control_plane.work()
    revoked.refresh_from_db()
    assert revoked.revoked_at is not None
    assert revoked.revocation_propagated_at is not None
    assert revoked.revocation_propagated_at > revoked.revoked_at
