"""Pausing while a start is under way: once a pause has returned, nothing starts."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection, transaction

from inventory.audit import attributed
from inventory.choices import KeyPath
from inventory.services import plans
from inventory.services.plans.running import run_plans
from migration.models import AuthorizationKey, KeyRotation, MigrationCase
from migration.services import bulk_rotation, rollouts, starting, waves
from tests.migration import rotating
from tests.migration.fleet import Fleet, capable_family, cohort, roll_out
from tests.support import OPERATOR, PATIENCE_SECONDS, ControlPlane, in_threads, somebody_waits_for_a_lock, wait_until
from trustanchors.models import BundleRollout

pytestmark = pytest.mark.django_db(transaction=True)


def waiting() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(cursor.fetchone()[0])


def started_before_the_pause(
    hold: Callable[[], object], start: Callable[[], object], pause: Callable[[], object], begun: Callable[[], int]
) -> tuple[int, int]:
    """Pause while a start waits in its middle for a row that somebody holds.

    :returns: how many had started when the pause returned, and how many in the end.
    """
    held, paused = threading.Event(), threading.Event()
    seen: list[int] = []

    def holder() -> None:
        with transaction.atomic():
            hold()
            held.set()
            wait_until(lambda: paused.is_set() or waiting() == 2, "the pause to return, or to wait for the start")

    def starter() -> None:
        assert held.wait(PATIENCE_SECONDS)
        start()

    def pauser() -> None:
        assert held.wait(PATIENCE_SECONDS)
        wait_until(somebody_waits_for_a_lock, "the start to be in its middle")
        pause()
        seen.append(begun())
        paused.set()

    in_threads(holder, starter, pauser)
    return seen[0], begun()


def test_no_key_leaves_once_the_plan_is_paused(control_plane: ControlPlane) -> None:
    plane = control_plane
    family = rotating.family()
    with attributed(OPERATOR, "given"):
        family.key_path, family.key_path_approved_at = KeyPath.TWO_SLOTS_AT_OUR_DOOR, plane.clock()
        family.key_path_approved_by = "person:maria"
        family.save()
    rotating.station(plane, "CS-1", family)
    plan = plans.make(
        kind="key_rotation", parameters={"family": ["Eagle"]}, actor=OPERATOR, reason="test", now=plane.clock()
    )
    plans.apply(plan=plan, digest=plan.digest, actor=OPERATOR, reason="now", now=plane.clock())
    run_plans(plane.clock())

    at_the_pause, in_the_end = started_before_the_pause(
        hold=lambda: list(AuthorizationKey.objects.select_for_update()),
        start=lambda: bulk_rotation.take_turns(plane.clock()),
        pause=lambda: plans.pause(plan=plan, actor=OPERATOR, reason="wait"),
        begun=KeyRotation.objects.count,
    )

    assert (at_the_pause, in_the_end) == (1, 1)


def test_no_charger_is_started_once_the_rollout_is_paused(control_plane: ControlPlane) -> None:
    plane = control_plane
    fleet = Fleet(plane)
    (station,) = fleet.add(1, family=capable_family())
    fleet.confirm_anchors()
    rollout = roll_out(plane, cohort("All", [station.identity]))
    waves.judge(plane.clock())

    at_the_pause, in_the_end = started_before_the_pause(
        # What the database asks before a case moves, in the transaction that starts it.
        hold=lambda: list(BundleRollout.objects.select_for_update()),
        start=lambda: starting.start_pending(plane.clock()),
        pause=lambda: rollouts.pause(rollout=rollout, actor=OPERATOR, reason="wait", now=plane.clock()),
        begun=lambda: MigrationCase.objects.filter(state="installing").count(),
    )

    assert (at_the_pause, in_the_end) == (1, 1)
