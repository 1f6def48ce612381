"""What the sweeps start, raise, end and retire."""

from datetime import datetime, timedelta

import pytest

from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.models import StationSession
from inventory.audit import attributed
from inventory.choices import EventType, JobAction, JobQueue, JobState, RecordState
from inventory.jobs import engine, periodic
from inventory.models import (
    CertificateJob,
    CertificateRecord,
    DomainEvent,
    LifecyclePolicy,
    ManagedIdentity,
    SecurityEvent,
)
from inventory.services import identities, jobs, lifecycle, policies, sweeps
from tests.inventory.material import external_certificate, publish_external_authority
from tests.support import OPERATOR, Clock, ControlPlane, charger, request_for, undeliverable_charger

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def days_before_its_end(plane: ControlPlane, record: CertificateRecord, days: float) -> None:
    assert record.not_after is not None
    plane.clock.now = record.not_after - days * DAY


# -- renewals --------------------------------------------------------------------------------------------------------


def test_a_renewal_starts_in_its_place_within_the_lead_and_once(plane: ControlPlane) -> None:
    record = plane.enrol(charger("CS-1"))
    start = policies.renewal_start(record, policies.resolve(record.identity, record.purpose).policy)
    assert start is not None

    assert sweeps.start_due_renewals(start - timedelta(seconds=1)) == 0
    assert sweeps.start_due_renewals(start) == 1
    assert sweeps.start_due_renewals(start + timedelta(minutes=1)) == 0

    job = CertificateJob.objects.get(action=JobAction.RENEW)
    assert (job.actor, job.state) == ("system:renewal", JobState.QUEUED)
    event = DomainEvent.objects.get(type=EventType.CERTIFICATE_RENEWAL_STARTED)
    assert event.payload["thresholdTriggered"] is True
    assert event.payload["existingCertificateId"] == record.pk


def test_a_failed_renewal_is_tried_again_after_a_pause(plane: ControlPlane) -> None:
    record = plane.enrol(charger("CS-1"))
    days_before_its_end(plane, record, 30)
    sweeps.start_due_renewals(plane.clock())
    job = CertificateJob.objects.get(action=JobAction.RENEW)
    with attributed(OPERATOR, "test"):
        engine.advance(jobs.lock(job.pk), engine.Fail("The station is away."), plane.clock())

    assert sweeps.start_due_renewals(plane.clock() + timedelta(minutes=59)) == 0
    assert sweeps.start_due_renewals(plane.clock() + timedelta(minutes=61)) == 1


@pytest.mark.parametrize("change", ["disabled", "inactive", "tracked", "no policy", "expired"])
def test_what_is_not_ours_to_renew_is_left_alone(plane: ControlPlane, change: str) -> None:
    record = plane.enrol(charger("CS-1"))
    days_before_its_end(plane, record, 20)
    match change:
        case "disabled":
            identities.set_enabled(identity=record.identity, enabled=False, actor=OPERATOR, reason="test")
        case "inactive":
            lifecycle.deactivate(record=record, actor=OPERATOR, reason="test", force=True, now=plane.clock())
        case "tracked":
            CertificateRecord.objects.update(mode="tracked_only")
        case "no policy":
            LifecyclePolicy.objects.update(enabled=False)
        case "expired":
            days_before_its_end(plane, record, 0)

    assert sweeps.start_due_renewals(plane.clock()) == 0


def test_one_identity_that_cannot_be_renewed_does_not_stop_the_others(plane: ControlPlane) -> None:
    stubborn = plane.enrol(charger("CS-1"))
    record = plane.enrol(charger("CS-2"))
    identities.update(
        identity=stubborn.identity, changes={"allowed_purposes": ["iso15118_evse_leaf"]}, actor=OPERATOR, reason="test"
    )
    days_before_its_end(plane, record, 20)

    assert sweeps.start_due_renewals(plane.clock()) == 1
    assert CertificateJob.objects.get(action=JobAction.RENEW).identity == record.identity


# -- thresholds ------------------------------------------------------------------------------------------------------


def raised(kind: EventType) -> list[int]:
    return [event.payload["daysLeft"] for event in DomainEvent.objects.filter(type=kind).order_by("id")]


def test_escalation_at_14_days_and_incident_at_7_are_raised_once_each(plane: ControlPlane) -> None:
    record = plane.enrol(charger("CS-1"))

    for days in (14.01, 14, 13.9, 10, 7.01, 7, 6.9, 1):
        days_before_its_end(plane, record, days)
        sweeps.raise_thresholds(plane.clock())
        sweeps.raise_thresholds(plane.clock())

    assert raised(EventType.ESCALATION_RAISED) == [14]
    assert raised(EventType.INCIDENT_RAISED) == [7]
    record.refresh_from_db()
    assert record.not_after is not None
    assert record.escalated_at == record.not_after - 14 * DAY
    assert record.incident_at == record.not_after - 7 * DAY


def test_after_an_outage_of_the_sweep_the_incident_is_raised_alone(plane: ControlPlane) -> None:
    record = plane.enrol(charger("CS-1"))
    days_before_its_end(plane, record, 3)

    sweeps.raise_thresholds(plane.clock())
    sweeps.raise_thresholds(plane.clock())

    assert raised(EventType.ESCALATION_RAISED) == []
    assert raised(EventType.INCIDENT_RAISED) == [3]


def test_a_renewed_certificate_raises_nothing(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    record = plane.enrol(identity)
    days_before_its_end(plane, record, 30)
    plane.sweep()
    while plane.play_station(identity):
        pass
    record.refresh_from_db()
    assert record.state == RecordState.RETIRED

    days_before_its_end(plane, record, 5)
    sweeps.raise_thresholds(plane.clock())

    assert raised(EventType.ESCALATION_RAISED) == raised(EventType.INCIDENT_RAISED) == []


def test_a_certificate_without_any_policy_does_not_silence_the_others(plane: ControlPlane) -> None:
    vehicle = identities.create(
        kind="vehicle",
        authoritative_identifier="WAUZZZ1",
        mode="tracked_only",
        pilot=True,
        actor=OPERATOR,
        reason="test",
    )
    lifecycle.register_external(
        identity=vehicle,
        purpose="iso15118_oem_provisioning",
        certificate_pem=external_certificate("WAUZZZ1", plane.clock(), 100),
        state=RecordState.ACTIVE,
        evidence_kind="external_confirmation",
        actor=OPERATOR,
        reason="test",
        now=plane.clock(),
    )
    record = plane.enrol(charger("CS-1"))
    LifecyclePolicy.objects.filter(purpose="iso15118_oem_provisioning").update(enabled=False)
    LifecyclePolicy.objects.filter(purpose="charger_identity").update(
        escalation_threshold=None, incident_threshold=20 * DAY
    )
    CertificateRecord.objects.exclude(pk=record.pk).update(not_after=record.not_after)
    days_before_its_end(plane, record, 20)

    assert sweeps.raise_thresholds(plane.clock()) == 1
    assert DomainEvent.objects.get(type=EventType.INCIDENT_RAISED).record == record


# -- expiry and confirmation -----------------------------------------------------------------------------------------


def test_an_expired_certificate_is_retired_without_a_fallback_and_shown(plane: ControlPlane) -> None:
    record = plane.enrol(charger("CS-1"))
    days_before_its_end(plane, record, 0)

    assert sweeps.retire_expired(plane.clock() - timedelta(seconds=1)) == 0
    assert sweeps.retire_expired(plane.clock()) == 1
    assert sweeps.retire_expired(plane.clock()) == 0

    record.refresh_from_db()
    assert (record.state, record.rollback_until) == (RecordState.RETIRED, None)
    assert DomainEvent.objects.filter(type=EventType.CERTIFICATE_RETIRED, record=record).count() == 1
    assert SecurityEvent.objects.get(type="CertificateExpired").severity == "critical"


def test_an_undelivered_certificate_is_revoked_at_the_end_of_its_window(plane: ControlPlane) -> None:
    plane.send_csr(charger("CS-1"), request_for("CS-1"))
    plane.work()
    record = CertificateRecord.objects.get()
    assert record.confirm_by is not None

    assert sweeps.revoke_unconfirmed(record.confirm_by - timedelta(seconds=1)) == 0
    plane.clock.now = record.confirm_by
    assert sweeps.revoke_unconfirmed(plane.clock()) == 1
    plane.work()

    record.refresh_from_db()
    assert record.state == RecordState.REVOKED
    assert record.revocation_propagated_at is not None
    job = CertificateJob.objects.get(action=JobAction.ISSUE)
    assert job.state == JobState.FAILED
    assert not [one for one in plane.commands(record.identity, Action.DELIVER_CERTIFICATE) if one.state == "queued"]


def test_a_certificate_whose_delivery_never_began_is_not_forgotten(plane: ControlPlane) -> None:
    job = lifecycle.issue(
        identity=undeliverable_charger("SN-1"),
        purpose="charger_identity",
        csr_pem=request_for("SN-1"),
        actor=OPERATOR,
        reason="test",
        now=plane.clock(),
    )
    engine.run_due(queue=JobQueue.PKI, clock=plane.clock, limit=5, lease=timedelta(seconds=60))
    assert sweeps.revoke_unconfirmed(plane.clock()) == 0  # its job is about to deliver it
    with attributed(OPERATOR, "test"):
        engine.advance(jobs.lock(job.pk), engine.Fail("A defect."), plane.clock())

    assert sweeps.revoke_unconfirmed(plane.clock()) == 1
    assert CertificateRecord.objects.get().state == RecordState.REVOKED


def test_an_external_certificate_that_is_merely_issued_is_left_alone(plane: ControlPlane) -> None:
    publish_external_authority(plane.clock())
    lifecycle.register_external(
        identity=charger("CS-1"),
        purpose="charger_identity",
        certificate_pem=external_certificate("CS-1", plane.clock(), 100),
        actor=OPERATOR,
        reason="test",
        now=plane.clock(),
    )

    assert sweeps.revoke_unconfirmed(plane.clock() + 30 * DAY) == 0


# -- the way back to a lower profile ---------------------------------------------------------------------------------


def session_of(identity: ManagedIdentity, profile: int, now: datetime) -> StationSession:
    return StationSession.objects.create(
        station_id=identity.authoritative_identifier,
        node="n1",
        listener="dual",
        protocol="ocpp2.0.1",
        security_profile=profile,
        address="127.0.0.1",
        connected_at=now,
    )


def fallen_back(name: str, until: datetime | None, *, profile: int = 3) -> ManagedIdentity:
    identity = charger(name)
    ManagedIdentity.objects.filter(pk=identity.pk).update(security_profile=profile, fallback_until=until)
    return identity


def test_a_session_below_the_profile_ends_with_the_time_that_its_migration_allowed(db: None, clock: Clock) -> None:
    ends = clock() + timedelta(hours=1)
    session = session_of(fallen_back("CS-1", ends), 2, clock())

    assert sweeps.end_fallbacks(ends - timedelta(seconds=1)) == 0
    assert sweeps.end_fallbacks(ends) == 1
    assert sweeps.end_fallbacks(ends) == 0

    session.refresh_from_db()
    assert session.closed_at == ends
    assert session.close_reason == "a lower profile is no longer allowed on the way to Profile 3"


def test_other_sessions_stay_when_a_fallback_ends(db: None, clock: Clock) -> None:
    over, open_still = clock() - timedelta(hours=1), clock() + timedelta(hours=1)
    staying = [
        session_of(fallen_back("CS-1", over), 3, clock()),
        session_of(fallen_back("CS-2", open_still), 2, clock()),
        session_of(fallen_back("CS-3", None, profile=2), 2, clock()),
        session_of(fallen_back("CS-4", over, profile=2), 2, clock()),
    ]

    assert sweeps.end_fallbacks(clock()) == 0
    assert not StationSession.objects.filter(pk__in=[one.pk for one in staying], closed_at__isnull=False).exists()


def test_ending_fallbacks_is_a_duty_of_the_worker() -> None:
    assert sweeps.end_fallbacks in [item.run for item in periodic.known_duties()]
