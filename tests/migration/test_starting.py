"""Starting the chargers of a wave: two workers at once, and one charger of which nothing can be said."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from inventory.choices import EventType
from inventory.models import CertificateJob, DomainEvent, ManagedIdentity, Setback
from migration.models import MigrationCase, Wave
from migration.services import starting, waves
from tests.migration.fleet import Fleet, capable_family, cohort, roll_out
from tests.support import PATIENCE_SECONDS, ControlPlane, in_threads, wait_until


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("limit", ["concurrency", "per_family", "per_site"])
def test_two_workers_keep_the_limits_of_a_wave_together(control_plane: ControlPlane, limit: str) -> None:
    plane = control_plane
    fleet = Fleet(plane)
    stations = fleet.add(8, family=capable_family(), site="Depot")
    fleet.confirm_anchors()
    roll_out(plane, cohort("All", [station.identity for station in stations]), per_minute="6000", **{limit: "2"})
    waves.judge(plane.clock())
    locked = threading.Event()

    def holding() -> None:
        with transaction.atomic():
            Wave.objects.select_for_update().get()
            locked.set()
            wait_until(both_wait, "both workers to be on their way to their first charger")

    def working() -> None:
        assert locked.wait(PATIENCE_SECONDS)
        starting.start_pending(plane.clock())

    in_threads(holding, working, working)

    assert MigrationCase.objects.filter(state="installing").count() == 2


def both_wait() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0] >= 2)


@pytest.mark.django_db
@pytest.mark.sets_defects_aside
def test_a_charger_of_which_nothing_can_be_read_stops_no_other(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    bad, sound = fleet.add(2, family=capable_family())
    fleet.confirm_anchors()
    roll_out(plane, cohort("All", [bad.identity, sound.identity]))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE migration_authorizationkey SET activated_at = '0001-12-31 10:00:00+00 BC' WHERE id = %s",
            [bad.key_id],
        )

    fleet.turn()

    assert (sound.case.state, bad.case.state) == ("installing", "pending")
    assert Setback.objects.get(work="migration-start").identity == bad.identity


@pytest.mark.django_db
def test_to_start_several_takes_no_more_statements_than_to_start_one(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    stations = fleet.add(7, family=capable_family(), site="Depot")
    fleet.confirm_anchors()
    roll_out(plane, cohort("All", [station.identity for station in stations]), per_minute="6000")
    waves.judge(plane.clock())
    costs = []
    for chosen in (stations[:1], stations[1:]):
        ids = [station.case.pk for station in chosen]
        MigrationCase.objects.exclude(pk__in=ids).update(next_look_at=plane.clock() + timedelta(hours=1))
        MigrationCase.objects.filter(pk__in=ids).update(next_look_at=plane.clock())
        with CaptureQueriesContext(connection) as asked:
            assert starting.start_pending(plane.clock()) == len(chosen)
        costs.append(len(asked))

    assert costs[0] == costs[1]
    jobs = CertificateJob.objects.filter(action="issue")
    assert jobs.count() == 7
    assert len(set(jobs.values_list("correlation_id", flat=True))) == 7, "each is a chain of work of its own"
    events = DomainEvent.objects.filter(type=EventType.MIGRATION_STATE_CHANGED, resulting_state="installing")
    assert {event.correlation_id for event in events} == {job.correlation_id for job in jobs}


@pytest.mark.django_db
def test_what_the_rate_leaves_for_one_is_not_given_to_two(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    stations = fleet.add(4, family=capable_family())
    fleet.confirm_anchors()
    roll_out(plane, cohort("All", [station.identity for station in stations]), per_minute="24")
    waves.judge(plane.clock())

    assert [starting.start_pending(plane.clock()) for _ in range(2)] == [2, 0]
    plane.clock.advance(seconds=3)
    assert starting.start_pending(plane.clock()) == 1


@pytest.mark.django_db
def test_one_that_gets_no_certificate_says_so_and_keeps_none_of_the_others_back(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    stations = fleet.add(3, family=capable_family())
    fleet.confirm_anchors()
    roll_out(plane, cohort("All", [station.identity for station in stations]))
    refused = stations[1]
    ManagedIdentity.objects.filter(pk=refused.identity.pk).update(mode="tracked_only")
    waves.judge(plane.clock())

    assert starting.start_pending(plane.clock()) == 2

    assert [station.case.state for station in stations] == ["installing", "pending", "installing"]
    assert refused.case.reason_code == "issue_failed"
    assert "we do not issue them" in refused.case.why
    assert not Setback.objects.exists()
