"""What an attacker on the wire tried, and must not get."""

import pytest

from bfcerts.ocpp.canonical import Evidence
from bfcerts.ocpp.models import StationSession
from inventory.choices import RecordState
from inventory.models import CertificateJob, CertificateRecord, SecurityEvent
from inventory.services import identities
from migration.services import authorization_keys
from tests.support import OPERATOR, ControlPlane, charger, request_for

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("stated", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1999-01-01T00:00:00Z"])
def test_a_time_that_nobody_could_read_back_is_not_stored(control_plane: ControlPlane, stated: str) -> None:
    charger("CS-1")

    control_plane.observe("CS-1", Evidence.SECURITY_EVENT, {"type": "TamperDetectionActivated", "timestamp": stated})
    control_plane.work()

    event = SecurityEvent.objects.get()
    assert event.occurred_at == event.recorded_at
    assert event.payload["timestamp"] == stated


def open_session(station: str, plane: ControlPlane, profile: int = 2) -> StationSession:
    return StationSession.objects.create(
        station_id=station,
        node="elsewhere",
        listener="profile2",
        protocol="ocpp2.0.1",
        security_profile=profile,
        address="127.0.0.1",
        connected_at=plane.clock(),
    )


def test_a_revoked_key_ends_the_session_that_it_opened(control_plane: ControlPlane) -> None:
    identity = charger("CS-1")
    key = authorization_keys.set_initial(identity=identity, secret="k" * 20, actor=OPERATOR, reason="test")
    session = open_session("CS-1", control_plane)

    authorization_keys.revoke(key=key, actor=OPERATOR, reason="stolen", force=True)

    session.refresh_from_db()
    assert session.closed_at is not None
    assert session.close_reason == "its AuthorizationKey was revoked"


def test_a_revoked_key_leaves_a_session_on_profile_3_alone(control_plane: ControlPlane) -> None:
    identity = charger("CS-1")
    key = authorization_keys.set_initial(identity=identity, secret="k" * 20, actor=OPERATOR, reason="test")
    session = open_session("CS-1", control_plane, profile=3)

    authorization_keys.revoke(key=key, actor=OPERATOR, reason="hygiene", force=True)

    session.refresh_from_db()
    assert session.closed_at is None


def test_disabling_closes_the_session_rows_so_that_a_missed_notification_loses_nothing(
    control_plane: ControlPlane,
) -> None:
    identity = charger("CS-1")
    session = open_session("CS-1", control_plane)

    identities.set_enabled(identity=identity, enabled=False, actor=OPERATOR, reason="lost")

    session.refresh_from_db()
    assert session.closed_at is not None


def test_a_storm_of_requests_does_not_make_the_ca_sign_without_bound(control_plane: ControlPlane) -> None:
    identity = charger("CS-1")
    for _ in range(20):
        control_plane.send_csr(identity, request_for("CS-1"))
        control_plane.work()

    assert CertificateRecord.objects.exclude(serial_number="").count() <= 7
    assert SecurityEvent.objects.filter(type="UnsolicitedCertificateRequestRefused").count() == 1


def test_a_station_that_renews_as_often_as_it_may_does_not_stretch_its_validity(control_plane: ControlPlane) -> None:
    identity = charger("CS-1")
    first = control_plane.enrol(identity)
    for _ in range(4):
        control_plane.clock.advance(minutes=10)
        control_plane.send_csr(identity, request_for("CS-1"))
        control_plane.work()
        record = CertificateRecord.objects.get(state=RecordState.ISSUED)
        control_plane.connect(identity, record)
        control_plane.work()

    last = CertificateRecord.objects.get(state=RecordState.ACTIVE)
    assert last.pk != first.pk
    assert last.not_after is not None
    assert (last.not_after - control_plane.clock()).total_seconds() <= 180 * 86400 + 60


@pytest.mark.parametrize("subject", [[("CN", "CS-1"), ("UID", "CS-2")], [("CN", "CS-1"), ("serialNumber", "CS-2")]])
def test_a_request_that_names_somebody_else_beside_itself_is_refused(
    control_plane: ControlPlane, subject: list[tuple[str, str]]
) -> None:
    control_plane.send_csr(charger("CS-1"), request_for("CS-1", subject=subject))
    control_plane.work()

    assert "also names “CS-2”" in CertificateJob.objects.get().outcome
    assert not CertificateRecord.objects.exists()
