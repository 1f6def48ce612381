"""Chargers of a wave are cut over together: the same as one by one, in fewer statements."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inventory.choices import EventType
from inventory.models import CertificateJob, DomainEvent, ManagedIdentity, Setback
from migration.models import MigrationCase
from migration.services import cutting_over
from tests.migration.fleet import Fleet, Station, capable_family, cohort, roll_out
from tests.support import ControlPlane
from trustanchors.models import BundleInstallation

pytestmark = pytest.mark.django_db


@pytest.fixture
def fleet(plane: ControlPlane) -> Fleet:
    return Fleet(plane)


def with_certificates(fleet: Fleet, number: int, *, site: str = "", **parameters: str) -> list[Station]:
    """Chargers whose certificates are installed, so that their cut-over is next."""
    stations = fleet.add(number, family=capable_family(), site=site)
    fleet.confirm_anchors()
    members = cohort("All", [station.identity for station in stations])
    roll_out(fleet.plane, members, per_minute="6000", **parameters)
    fleet.turn()
    assert {station.case.stage for station in stations} == {"ready"}
    return stations


@pytest.mark.sets_defects_aside
def test_one_that_cannot_be_judged_keeps_none_of_the_others_back(fleet: Fleet, plane: ControlPlane) -> None:
    first, bad, last = with_certificates(fleet, 3)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE migration_authorizationkey SET activated_at = '0001-12-31 10:00:00+00 BC' WHERE id = %s",
            [bad.key_id],
        )

    assert cutting_over.cut_over_the_ready(plane.clock()) == 2

    assert [station.case.state for station in (first, bad, last)] == [
        "pending_activation",
        "installing",
        "pending_activation",
    ]
    assert Setback.objects.get(work="migration-cut-over").identity == bad.identity
    assert CertificateJob.objects.filter(action="cut_over").count() == 2


def test_of_a_site_that_can_spare_one_the_longest_waiting_leaves_first(fleet: Fleet, plane: ControlPlane) -> None:
    _, *stations, patient = with_certificates(fleet, 4, site="Depot")
    MigrationCase.objects.filter(pk=patient.case.pk).update(next_look_at=plane.clock() - timedelta(minutes=1))

    assert cutting_over.cut_over_the_ready(plane.clock()) == 1

    assert patient.case.state == "pending_activation"
    assert {station.case.reason_code for station in stations} == {"site_full"}


def test_what_was_overridden_is_kept_with_the_cut_over(fleet: Fleet, plane: ControlPlane) -> None:
    known, other = with_certificates(fleet, 2, override_forecast="yes")
    BundleInstallation.objects.filter(identity=other.identity).update(listed=[])

    assert cutting_over.cut_over_the_ready(plane.clock()) == 2

    of_known, of_other = (
        CertificateJob.objects.get(identity=station.identity, action="cut_over") for station in (known, other)
    )
    assert "forecast_overridden" not in of_known.parameters
    assert "was not among them" in of_other.parameters["forecast_overridden"]
    event = DomainEvent.objects.get(type=EventType.LOCK_OUT_FORECAST_OVERRIDDEN)
    assert event.payload["evidence"] == of_other.parameters["forecast_overridden"]


def test_what_is_asked_of_all_of_them_is_asked_once(fleet: Fleet, plane: ControlPlane) -> None:
    stations = with_certificates(fleet, 7)
    costs = []
    for chosen in (stations[:1], stations[1:]):
        later = plane.clock() + timedelta(hours=1)
        ids = [station.case.pk for station in chosen]
        MigrationCase.objects.exclude(pk__in=ids).update(next_look_at=later)
        MigrationCase.objects.filter(pk__in=ids).update(next_look_at=plane.clock())
        with CaptureQueriesContext(connection) as asked:
            assert cutting_over.cut_over_the_ready(plane.clock()) == len(chosen)
        costs.append(len(asked))

    of_one, of_six = costs
    assert of_six - of_one == 5 * 3, "each takes its place: the lock of its site, a look at it, the row"
    jobs = CertificateJob.objects.filter(action="cut_over")
    assert len(set(jobs.values_list("correlation_id", flat=True))) == 7, "each is a chain of work of its own"
    moved = DomainEvent.objects.filter(type=EventType.MIGRATION_STATE_CHANGED, resulting_state="pending_activation")
    assert {event.correlation_id for event in moved} == {job.correlation_id for job in jobs}
    own = {job.identity_id: job.correlation_id for job in jobs}
    for history in ManagedIdentity.history.filter(history_change_reason=cutting_over.WHY):
        assert own[history.id] == history.correlation_id
