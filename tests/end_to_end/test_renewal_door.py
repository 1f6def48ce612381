"""From an expired certificate through the narrow door to a new one, with real TLS, real OCPP and real processes."""

from datetime import UTC, datetime, timedelta

import pytest

from bfcerts.ocpp.models import StationSession
from inventory.choices import RecordState
from inventory.models import CertificateRecord, ManagedIdentity, SecurityEvent
from inventory.services import lifecycle, station_commands, sweeps
from migration.models import RecoveryDoor
from migration.services import renewal_door
from migration.services.why import why
from tests.end_to_end.plant import OPERATOR, Plant, StationThread, eventually
from tests.simulator.dialect import Version
from tests.simulator.events import EventKind
from tests.simulator.quirks import Quirks
from tests.simulator.station import SimulatedStation

pytestmark = pytest.mark.django_db(transaction=True)


def active(identity: ManagedIdentity) -> CertificateRecord | None:
    return CertificateRecord.objects.filter(identity=identity, state=RecordState.ACTIVE).first()


def boot_statuses(station: SimulatedStation, after: int) -> list[str]:
    return [event.detail["status"] for event in station.events.of(EventKind.BOOTED, after=after)]


@pytest.mark.parametrize(("protocol", "boots"), [("ocpp2.0.1", True), ("ocpp1.6", False)])
def test_expired_then_let_in_to_renew_then_active_and_the_door_closed(
    plant: Plant, stations: StationThread, protocol: Version, boots: bool
) -> None:
    quirks = Quirks(no_boot_notification_after_reconnect=not boots)
    identity, station = stations.commission("CS-0001", protocol=protocol, listener="dual", quirks=quirks)
    stations.start([station])
    lifecycle.issue(identity=identity, purpose="charger_identity", actor=OPERATOR, reason="first")
    eventually(
        lambda: CertificateRecord.objects.filter(
            identity=identity, state=RecordState.INSTALLED_PENDING_ACTIVATION
        ).exists(),
        what=plant.situation,
    )
    station_commands.cut_over(identity=identity, actor=OPERATOR, reason="to profile 3")
    first = eventually(lambda: active(identity), what=plant.situation)

    ended = datetime.now(UTC) - timedelta(seconds=1)
    CertificateRecord.objects.filter(pk=first.pk).update(not_after=ended)
    sweeps.retire_expired(datetime.now(UTC))
    refused = SecurityEvent.objects.filter(
        identity=identity, type="ConnectionRefused", native_type="certificate_expired"
    )
    eventually(refused.exists, what=plant.situation)
    identity.refresh_from_db()
    answer = why(identity, datetime.now(UTC))
    assert answer is not None
    assert "Open a narrow door for its renewal" in answer.what_next

    before = station.events.last_number
    door = renewal_door.open_for_renewal(
        identity=identity,
        until=datetime.now(UTC) + timedelta(hours=4),
        actor=OPERATOR,
        reason="forgotten over the winter",
    )
    second = eventually(lambda: active(identity), what=plant.situation)
    eventually(lambda: RecoveryDoor.objects.filter(pk=door.pk, closed_at__isnull=False).exists(), what=plant.situation)

    assert second.pk != first.pk
    door.refresh_from_db()
    assert door.closing == "The charger is back on Profile 3"
    narrow = StationSession.objects.get(station_id="CS-0001", renewal_only=True)
    assert (narrow.certificate_fingerprint, narrow.closed_at is None) == (first.fingerprint, False)
    wide = StationSession.objects.get(station_id="CS-0001", closed_at__isnull=True)
    assert (wide.certificate_fingerprint, wide.renewal_only) == (second.fingerprint, False)
    if boots:
        stations.call(station.wait_for(lambda it: boot_statuses(it, before)[-1:] == ["Accepted"]))
        assert boot_statuses(station, before) == ["Pending", "Accepted"]
    first.refresh_from_db()
    assert (first.state, first.renewal_only_until) == (RecordState.RETIRED, None)
