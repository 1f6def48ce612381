"""Routes to the operator's own CSMSs change while a charger is connected, with every process as in production."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.db import connection
from pytest_django import Settings

from bfcerts.ocpp.models import StationSession
from inventory.choices import CohortKind
from inventory.models import Cohort, Upstream
from inventory.services import catalogue, identities
from tests.end_to_end.plant import OPERATOR, Plant, StationThread, database_url_of, eventually, prepare_folder
from tests.simulator.csms import UpstreamCsms

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def csmss() -> Iterator[list[UpstreamCsms]]:
    """Three CSMSs of the operator."""
    with UpstreamCsms(None) as first, UpstreamCsms(None) as second, UpstreamCsms(None) as third:
        yield [first, second, third]


@pytest.fixture
def plant(transactional_db: None, tmp_path: Path, settings: Settings, csmss: list[UpstreamCsms]) -> Iterator[Plant]:
    """The gateway and the workers, allowed to dial these CSMSs."""
    prepare_folder(tmp_path, django_settings.CONFIGURATION)
    allowed = [csms.origin for csms in csmss]
    settings.CONFIGURATION = django_settings.CONFIGURATION.model_copy(update={"upstream_allowed": allowed})
    plant = Plant(django_settings.CONFIGURATION, database_url_of(connection.settings_dict), tmp_path)
    plant.extra = {"BFCERTS_UPSTREAM_ALLOWED": ",".join(allowed)}
    try:
        plant.start("pki-worker", "worker", "gateway")
        plant.wait_until_ready()
        yield plant
    finally:
        plant.stop()


def keep(entry: Upstream) -> Upstream:
    return catalogue.save(entry=entry, actor=OPERATOR, reason="test")


def present(csmss: list[UpstreamCsms]) -> list[int]:
    """How many chargers are connected at each CSMS."""
    return [len(csms.present) for csms in csmss]


def test_whatever_changes_a_route_the_gateway_follows_at_once_and_the_charger_stays(
    plant: Plant, stations: StationThread, csmss: list[UpstreamCsms]
) -> None:
    first, second, third = csmss
    identity, station = stations.commission("CS-1", site="North")
    stations.start([station])
    stations.call(station.wait_for(lambda one: one.registered, 60))
    session = StationSession.objects.get(station_id="CS-1", closed_at__isnull=True)

    def at(*expected: int, name: str = "") -> None:
        eventually(lambda: present(csmss) == list(expected), what=plant.situation)
        stored = StationSession.objects.filter(pk=session.pk, closed_at__isnull=True, upstream=name)
        eventually(stored.exists, what=plant.situation)
        stations.call(station.heartbeat())

    everybody = keep(Upstream(name="everybody", url=first.url))
    at(1, 0, 0, name="everybody")
    own = keep(Upstream(name="own", url=second.url, identity=identity))
    at(0, 1, 0, name="own")
    own.enabled = False
    keep(own)
    at(1, 0, 0, name="everybody")

    south = Cohort(name="South", kind=CohortKind.FILTER, filter={"site": "South"})
    catalogue.save(entry=south, actor=OPERATOR, reason="test")
    pilot = catalogue.save(entry=Cohort(name="Pilot"), actor=OPERATOR, reason="test")
    keep(Upstream(name="south", url=second.url, cohort=south))
    keep(Upstream(name="pilot", url=third.url, cohort=pilot))
    identities.update(identity=identity, changes={"site": "South"}, actor=OPERATOR, reason="moved")
    at(0, 1, 0, name="south")
    identities.update(identity=identity, changes={"site": "North"}, actor=OPERATOR, reason="moved back")
    at(1, 0, 0, name="everybody")
    catalogue.add_members(cohort=pilot, identifiers=["CS-1"], actor=OPERATOR, reason="test")
    at(0, 0, 1, name="pilot")
    catalogue.remove_members(cohort=pilot, identifiers=["CS-1"], actor=OPERATOR, reason="test")
    at(1, 0, 0, name="everybody")
    south.filter = {"site": "North"}
    catalogue.save(entry=south, actor=OPERATOR, reason="test")
    at(0, 1, 0, name="south")
    south.filter = {"site": "South"}
    catalogue.save(entry=south, actor=OPERATOR, reason="test")
    everybody.url = third.url
    keep(everybody)
    at(0, 0, 1, name="everybody")
    everybody.enabled = False
    keep(everybody)
    at(0, 0, 0)
    assert StationSession.objects.filter(station_id="CS-1").count() == 1
