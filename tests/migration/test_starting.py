"""Starting the chargers of a wave: two workers at once, and one charger of which nothing can be said."""

import threading

import pytest
from django.db import connection, transaction

from inventory.models import Setback
from migration.models import MigrationCase, Wave
from migration.services import driving, waves
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
        driving.start_pending(plane.clock())

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
