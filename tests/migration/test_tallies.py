"""What a round asks of waves costs what has moved, not how many chargers they have."""

import json
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from inventory.audit import attributed
from inventory.models import ChargerFamily, ManagedIdentity
from migration.models import Breaker, CaseTally, MigrationCase, Wave
from migration.services import breakers, tallies, waves
from tests.migration.fleet import Fleet, capable_family, cohort, roll_out
from tests.migration.tallying import counted, tallied
from tests.support import OPERATOR, PATIENCE_SECONDS, ControlPlane, in_threads


def many_more(plane: ControlPlane, wave: Wave, family: ChargerFamily, number: int) -> None:
    """Chargers of a wave that wait, or are active; nothing happens to them."""
    identities = ManagedIdentity.objects.bulk_create(
        ManagedIdentity(kind="charger", authoritative_identifier=f"MORE-{index:05}", family=family)
        for index in range(number)
    )
    now = plane.clock()
    MigrationCase.objects.bulk_create(
        MigrationCase(
            identity=identity,
            wave=wave,
            family=family,
            reason_code="turn",
            why="It waits.",
            entered_state_at=now,
            opened_at=now,
            next_look_at=now,
        )
        for identity in identities
    )


def rows_read(context: CaptureQueriesContext) -> int:
    """How many rows of cases and tallies were read, by what PostgreSQL says of its plans."""
    asked = [
        query["sql"]
        for query in context.captured_queries
        if "migration_migrationcase" in query["sql"] or "migration_casetally" in query["sql"]
    ]
    with connection.cursor() as cursor:
        total = 0
        for statement in asked:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}")
            (plan,) = cursor.fetchone()
            total += _rows_of(json.loads(plan)[0]["Plan"] if isinstance(plan, str) else plan[0]["Plan"])
    return total


def _rows_of(node: Mapping[str, Any]) -> int:
    own = 0
    if node.get("Relation Name") in ("migration_migrationcase", "migration_casetally"):
        own = int(node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)))
    return own + sum(_rows_of(child) for child in node.get("Plans", []))


@pytest.mark.django_db
def test_a_round_reads_no_more_of_a_wave_that_is_larger(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    family = capable_family()
    stations = fleet.add(3, family=family, site="Depot")
    fleet.confirm_anchors()
    rollout = roll_out(plane, cohort("All", [station.identity for station in stations]))
    fleet.turn()
    MigrationCase.objects.filter(pk=stations[0].case.pk).update(failed_at=plane.clock())
    with attributed(OPERATOR, "given"):
        Breaker(kind="site", site="Elsewhere", rollout=rollout, failures=1, why="test", opened_at=plane.clock()).save()
    read = []
    for number in (0, 3_000):
        many_more(plane, rollout.waves.get(), family, number)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE migration_migrationcase")
        with transaction.atomic(), CaptureQueriesContext(connection) as asked:
            breakers.open_where_needed(plane.clock())
            waves.judge(plane.clock())
        read.append(rows_read(asked))

    small, large = read
    assert small > 0
    assert large <= small + 10


@pytest.mark.django_db
def test_whoever_moves_a_case_moves_the_tally(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    stations = fleet.add(4, family=capable_family())
    fleet.confirm_anchors()
    rollout = roll_out(plane, cohort("All", [station.identity for station in stations]))
    assert tallied() == counted() == {rollout.waves.get().pk: {("pending", False): 4}}

    with connection.cursor() as cursor:
        cursor.execute("UPDATE migration_migrationcase SET state = 'quarantine', reason_code = 'by_operator'")
        assert tallied() == counted()
        cursor.execute("UPDATE migration_migrationcase SET state = 'cancelled', failed_at = now()")
        assert tallied() == counted()
        cursor.execute("UPDATE migration_migrationcase SET wave_id = NULL WHERE identity_id % 2 = 0")
        assert tallied() == counted() == {rollout.waves.get().pk: {("cancelled", True): 2}}


@pytest.mark.django_db
def test_many_rows_are_put_together_and_say_the_same(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    (station,) = fleet.add(1, family=capable_family())
    fleet.confirm_anchors()
    roll_out(plane, cohort("All", [station.identity]))
    case = MigrationCase.objects.filter(pk=station.case.pk)
    for _ in range(tallies.MOST_ROWS // 2):
        case.update(failed_at=plane.clock())
        case.update(failed_at=None)
    assert CaseTally.objects.count() > tallies.MOST_ROWS

    for _ in ("it is started", "it is judged"):
        waves.judge(plane.clock())

    assert CaseTally.objects.count() == 1
    assert tallied() == counted()


@pytest.mark.django_db(transaction=True)
def test_what_moves_while_rows_are_put_together_is_not_lost(control_plane: ControlPlane) -> None:
    plane = control_plane
    fleet = Fleet(plane)
    first, second = fleet.add(2, family=capable_family())
    fleet.confirm_anchors()
    roll_out(plane, cohort("All", [first.identity, second.identity]))
    wave = Wave.objects.get()
    case = MigrationCase.objects.filter(pk=first.case.pk)
    for _ in range(tallies.MOST_ROWS):
        case.update(failed_at=plane.clock())
        case.update(failed_at=None)
    moved, put_together = threading.Event(), threading.Event()

    def move() -> None:
        with transaction.atomic():
            MigrationCase.objects.filter(pk=second.case.pk).update(failed_at=plane.clock())
            moved.set()
            assert put_together.wait(PATIENCE_SECONDS)

    def put() -> None:
        assert moved.wait(PATIENCE_SECONDS)
        tallies.put_together([wave])
        put_together.set()

    in_threads(move, put)

    assert CaseTally.objects.count() < 5
    assert tallied() == counted() == {wave.pk: {("pending", False): 1, ("pending", True): 1}}
