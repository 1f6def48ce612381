"""Opening the cases of a large rollout: batch after batch, each charger as it is then, and whoever goes on with it."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.db import transaction

from inventory.actors import Actor
from inventory.choices import PlanState
from inventory.models import ManagedIdentity, Plan, PlanTarget, Setback
from inventory.services import plans
from migration.models import MigrationCase, MigrationRollout
from migration.services import driving, filling, rollouts
from migration.services.rollout_plan import MigrationPlan
from tests.migration.fleet import Fleet, capable_family, cohort, plan_of, roll_out
from tests.support import OPERATOR, PATIENCE_SECONDS, ControlPlane, in_threads

SIZE = 2
"""As many chargers as one batch has here."""


@pytest.fixture(autouse=True)
def _small_batches() -> Iterator[None]:
    plans.register(MigrationPlan(cases_at_once=SIZE))
    yield
    plans.register(MigrationPlan())


@pytest.fixture
def fleet(plane: ControlPlane) -> Fleet:
    return ready(plane)


def ready(plane: ControlPlane) -> Fleet:
    found = Fleet(plane)
    found.add(5, family=capable_family(), returns="")
    found.confirm_anchors()
    return found


def applied(plane: ControlPlane, fleet: Fleet, actor: Actor = OPERATOR) -> Plan:
    plan = plan_of(plane, cohort("All", [station.identity for station in fleet.stations]))
    return plans.apply(plan=plan, digest=plan.digest, actor=actor, reason="test", now=plane.clock())


def rollout_of(plan: Plan) -> MigrationRollout:
    return MigrationRollout.objects.get(plan=plan)


@pytest.mark.django_db
def test_the_first_cases_are_open_at_once_and_the_others_batch_by_batch(plane: ControlPlane, fleet: Fleet) -> None:
    plan = applied(plane, fleet)
    assert (plan.state, rollout_of(plan).state, MigrationCase.objects.count()) == (PlanState.APPLIED, "planned", SIZE)
    driving.drive(plane.clock())
    assert set(fleet.states().values()) == {"pending"}, "nobody starts before all cases are open"

    filling.fill(plane.clock(), SIZE)

    rollout = rollout_of(plan)
    assert (rollout.state, MigrationCase.objects.filter(wave__rollout=rollout).count()) == ("running", 5)
    assert rollout.waves.get().anchor_rollouts.exists()
    filling.fill(plane.clock(), SIZE)
    assert MigrationCase.objects.count() == 5


@pytest.mark.django_db
def test_a_charger_that_changed_meanwhile_is_left_out_and_its_target_says_so(plane: ControlPlane, fleet: Fleet) -> None:
    plan = applied(plane, fleet)
    disabled, gone = fleet.stations[2].identity, fleet.stations[4].identity
    ManagedIdentity.objects.filter(pk=disabled.pk).update(enabled=False)
    cohort_of_all = rollout_of(plan).waves.get().cohort
    cohort_of_all.members.remove(gone)

    filling.fill(plane.clock(), SIZE)

    assert set(fleet.states()) == {"CS-0000", "CS-0001", "CS-0003"}
    assert rollout_of(plan).state == "running"
    said = dict(PlanTarget.objects.filter(plan=plan, outcome="skipped").values_list("identity_id", "detail"))
    assert "CS-0002 is disabled" in said[disabled.pk]
    assert "it is no longer concerned (was: wave 1" in said[gone.pk]
    assert len(said) == 2


@pytest.mark.django_db
def test_a_charger_that_another_rollout_moves_meanwhile_stays_with_it(plane: ControlPlane, fleet: Fleet) -> None:
    applied(plane, fleet)
    last = fleet.stations[4]
    small = roll_out(plane, cohort("One", [last.identity]))
    fleet_alone = Fleet(plane, [last])
    fleet_alone.settle(6)
    plane.clock.advance(hours=5)
    fleet_alone.turn()
    assert last.case.failed_at is not None

    filling.fill(plane.clock(), SIZE)

    assert last.case.wave is not None
    assert last.case.wave.rollout_id == small.pk
    assert last.case.failed_at is not None


@pytest.mark.django_db(transaction=True)
def test_two_workers_open_each_case_once(control_plane: ControlPlane) -> None:
    plan = applied(control_plane, ready(control_plane))
    start = threading.Barrier(2)

    def work() -> None:
        start.wait(PATIENCE_SECONDS)
        filling.fill(control_plane.clock(), SIZE)

    in_threads(work, work)
    filling.fill(control_plane.clock(), SIZE)

    assert (rollout_of(plan).state, MigrationCase.objects.count()) == ("running", 5)


@pytest.mark.django_db
def test_a_worker_that_dies_leaves_whole_batches_to_the_next(plane: ControlPlane, fleet: Fleet) -> None:
    plan = applied(plane, fleet)
    with transaction.atomic():
        filling.fill(plane.clock(), SIZE)
        transaction.set_rollback(True)
    assert (rollout_of(plan).state, MigrationCase.objects.count()) == ("planned", SIZE)

    filling.fill(plane.clock(), SIZE)

    assert (rollout_of(plan).state, MigrationCase.objects.count()) == ("running", 5)


@pytest.mark.django_db
def test_a_rollout_that_is_stopped_meanwhile_takes_in_nobody_more(plane: ControlPlane, fleet: Fleet) -> None:
    plan = applied(plane, fleet)
    rollouts.stop(rollout=rollout_of(plan), actor=OPERATOR, reason="no")

    filling.fill(plane.clock(), SIZE)

    assert (rollout_of(plan).state, MigrationCase.objects.count()) == ("stopped", SIZE)


@pytest.mark.django_db
@pytest.mark.sets_defects_aside
def test_nobody_is_taken_in_for_who_lost_the_permission(plane: ControlPlane, fleet: Fleet) -> None:
    user = User.objects.create_user("maria")
    permission = Permission.objects.get(codename="start_migrationrollout")
    user.user_permissions.add(permission)
    plan = applied(plane, fleet, Actor.person(User.objects.get(pk=user.pk)))
    user.user_permissions.clear()

    filling.fill(plane.clock(), SIZE)

    rollout = rollout_of(plan)
    assert (rollout.state, MigrationCase.objects.count()) == ("planned", SIZE)
    assert rollout.note.startswith("Its chargers are not taken in: maria may not do this")
    assert Setback.objects.get(work="migration-filling").key == plan.pk

    user.user_permissions.add(permission)
    filling.fill(plane.clock() + timedelta(minutes=1), SIZE)
    rollout.refresh_from_db()
    assert (rollout.state, rollout.note, MigrationCase.objects.count()) == ("running", "", 5)
