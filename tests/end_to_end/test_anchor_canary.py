"""A station that trusts only its last root and reconnects at once: lost as a canary, and seen as such."""

from datetime import timedelta

import pytest
from django.utils import timezone

from bfcerts.ocpp.models import StationSession
from inventory.choices import Capability
from inventory.models import IssuingAuthority, SecurityEvent
from inventory.services import capabilities
from tests.end_to_end.mixed_fleet import bring_forward
from tests.end_to_end.plant import OPERATOR, Plant, StationThread, eventually
from tests.simulator.quirks import Quirks
from tests.trustanchors.support import anchor, bundle, cohort, family
from trustanchors.models import BundleInstallation, RolloutFamily
from trustanchors.services import releasing
from trustanchors.services.releasing import Pace

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_canary_that_a_root_loses_stops_its_family_alone(plant: Plant, stations: StationThread) -> None:
    forgetful, sound = family("Forgetful"), family("Sound")
    lost, lost_station = stations.commission("CS-0", quirks=Quirks(only_last_root_trusted=True), family=forgetful)
    spared, spared_station = stations.commission("CS-1", quirks=Quirks(only_last_root_trusted=True), family=forgetful)
    other, other_station = stations.commission("CS-2", family=sound)
    everybody = [lost_station, spared_station, other_station]
    stations.start(everybody)
    eventually(lambda: all(station.connected for station in everybody), what=plant.situation)
    roots = dict(IssuingAuthority.objects.filter(issues=True).values_list("trust_domain", "root_pem"))
    now = timezone.now()
    bundles = [bundle([anchor(roots[key], now, key)], now) for key in ("charger_identity", "backend_server")]
    rollout, _ = releasing.release(
        bundles=bundles,
        cohort=cohort("North", [lost, spared, other]),
        pace=Pace(threshold_percent=1, rate_per_minute=6_000, deadline=timedelta(hours=1)),
        actor=OPERATOR,
        reason="test",
    )
    bring_forward("anchors-members", "anchors-begin")
    mine = BundleInstallation.objects.filter(rollout=rollout)

    gone = StationSession.objects.filter(station_id="CS-0", closed_at__isnull=False)
    still = StationSession.objects.filter(station_id="CS-0", closed_at__isnull=True)
    eventually(lambda: gone.exists() and not still.exists(), what=plant.situation)
    eventually(lambda: mine.filter(identity=other, state__in=["installed", "active"]).exists(), what=plant.situation)
    BundleInstallation.objects.filter(identity=lost, deadline__isnull=False).update(deadline=timezone.now())
    bring_forward("anchors-deadlines")
    failed = eventually(lambda: mine.filter(identity=lost, state="failed").first(), what=plant.situation)

    assert failed.reason_code == "lost"
    assert "CS-0 is the first of its family (Forgetful) and has not come back since" in failed.detail
    group = RolloutFamily.objects.get(rollout=rollout, family=forgetful)
    assert group.halted_by == failed.detail
    known = capabilities.state_of(forgetful)[Capability.KEEPS_SEVERAL_ROOTS]
    assert (known.supported, known.basis) == (False, "observed")
    assert SecurityEvent.objects.filter(type="AnchorCanaryLost", identity=lost, severity="critical").exists()
    assert mine.get(identity=spared).state == "intended"
    assert spared_station.connected
    assert other_station.connected
    assert not lost_station.connected
