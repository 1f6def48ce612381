"""Many keys are rotated by a plan: approved families only, in their turn, and a bad family stops alone."""

from datetime import timedelta
from typing import Any

import pytest

from inventory.audit import attributed
from inventory.choices import KeyPath
from inventory.errors import InvalidInputError
from inventory.models import ChargerFamily, ManagedIdentity, Plan, PlanTarget
from inventory.services import plans
from inventory.services.plans.running import run_plans
from migration.models import AuthorizationKey, KeyRotation, RotationTurn
from migration.services import bulk_rotation, cases, rollouts, rotation
from migration.states import ReasonCode
from tests.migration.model_station import ModelStation
from tests.migration.rotating import command_of, family, go_on, station
from tests.support import OPERATOR, ControlPlane

pytestmark = pytest.mark.django_db


def approved(plane: ControlPlane, name: str = "Eagle") -> ChargerFamily:
    made = family(name)
    with attributed(OPERATOR, "given"):
        made.key_path, made.key_path_approved_at = KeyPath.TWO_SLOTS_AT_OUR_DOOR, plane.clock()
        made.key_path_approved_by = "person:maria"
        made.save()
    return made


def plan_for(plane: ControlPlane, **parameters: Any) -> Plan:
    return plans.make(kind="key_rotation", parameters=parameters, actor=OPERATOR, reason="hygiene", now=plane.clock())


def apply(plane: ControlPlane, plan: Plan) -> None:
    plans.apply(plan=plan, digest=plan.digest, actor=OPERATOR, reason="now", now=plane.clock())
    run_plans(plane.clock())
    bulk_rotation.take_turns(plane.clock())


def under_way() -> set[str]:
    names = KeyRotation.objects.filter(stage="delivering").values_list(
        "key__identity__authoritative_identifier", flat=True
    )
    return set(names)


def finish(made: ModelStation, *, well: bool = True) -> None:
    command = command_of(made)
    if well:
        made.take(command)
        made.answer(command)
        made.restart()
    else:
        made.answer(command, "rejected")
    go_on(made.plane)
    bulk_rotation.take_turns(made.plane.clock())


def at(made: ModelStation, site: str, region: str = "") -> ModelStation:
    ManagedIdentity.objects.filter(pk=made.identity.pk).update(site=site, region=region)
    return made


def outcomes() -> dict[str, str]:
    rows = PlanTarget.objects.filter(included=True).values_list("identity__authoritative_identifier", "outcome")
    return dict(rows)


def test_a_plan_says_who_is_rotated_and_who_is_not_and_why(plane: ControlPlane) -> None:
    eagle = approved(plane)
    station(plane, "CS-1", eagle)
    station(plane, "CS-2", family("Owl"))
    station(plane, "CS-3")
    busy = station(plane, "CS-4", eagle)
    done = station(plane, "CS-5", eagle)
    for made in (busy, done):
        rotation.rotate(identity=made.identity, actor=OPERATOR, reason="x", now=plane.clock())
    finish(done)

    plan = plan_for(plane, identifiers=[f"CS-{number}" for number in range(1, 6)])

    assert plan.included == 1
    assert plan.excluded == {
        "key_path_unapproved": 1,
        "family_unknown": 1,
        "cannot_now": 1,
        "not_needed": 1,
    }
    assert PlanTarget.objects.get(included=True).steps == ["rotate:1"]


def test_a_site_is_rotated_in_turns_and_holds_nobody_else_up(plane: ControlPlane) -> None:
    eagle = approved(plane)
    stations = {f"CS-{number}": station(plane, f"CS-{number}", eagle) for number in range(6)}
    for name in ("CS-0", "CS-1", "CS-2", "CS-3"):
        at(stations[name], "Berlin")

    apply(plane, plan_for(plane, family=["Eagle"], per_site=1))
    assert under_way() == {"CS-0", "CS-4", "CS-5"}

    plane.clock.advance(seconds=1)
    finish(stations["CS-0"])
    assert under_way() == {"CS-1", "CS-4", "CS-5"}
    assert outcomes()["CS-0"] == "done"


@pytest.mark.parametrize("limit", ["per_family", "per_region"])
def test_a_family_and_a_region_have_limits_of_their_own(plane: ControlPlane, limit: str) -> None:
    eagle = approved(plane)
    for number in range(4):
        at(station(plane, f"CS-{number}", eagle), "", "North")

    apply(plane, plan_for(plane, family=["Eagle"], **{limit: 2}))

    assert len(under_way()) == 2
    assert RotationTurn.objects.count() == 2


def test_a_family_in_which_too_many_fail_stops_alone(plane: ControlPlane) -> None:
    bad, good = approved(plane, "Bad"), approved(plane, "Good")
    stations = {f"CS-{number}": station(plane, f"CS-{number}", bad if number < 4 else good) for number in range(6)}
    apply(plane, plan_for(plane, family=["Bad", "Good"], per_family=1, most_failures=2))

    for name in ("CS-0", "CS-1"):
        plane.clock.advance(seconds=1)
        finish(stations[name], well=False)
    finish(stations["CS-4"])
    finish(stations["CS-5"])

    assert outcomes() == {
        "CS-0": "failed",
        "CS-1": "failed",
        "CS-2": "skipped",
        "CS-3": "skipped",
        "CS-4": "done",
        "CS-5": "done",
    }
    run_plans(plane.clock())
    assert Plan.objects.get().run == "finished"


def test_a_paused_plan_begins_nothing_and_a_stopped_one_drops_who_waits(plane: ControlPlane) -> None:
    eagle = approved(plane)
    stations = [station(plane, f"CS-{number}", eagle) for number in range(3)]
    plan = plan_for(plane, family=["Eagle"], per_family=1)
    apply(plane, plan)

    plans.pause(plan=plan, actor=OPERATOR, reason="wait")
    finish(stations[0])
    assert under_way() == set()
    plans.stop(plan=plan, actor=OPERATOR, reason="enough", now=plane.clock())
    bulk_rotation.take_turns(plane.clock())
    assert outcomes() == {"CS-0": "done", "CS-1": "skipped", "CS-2": "skipped"}
    assert not RotationTurn.objects.exists()


def test_a_charger_that_is_away_takes_no_turn_and_fails_when_its_time_is_over(plane: ControlPlane) -> None:
    made = station(plane, "CS-1", approved(plane))
    made.disconnect()
    apply(plane, plan_for(plane, family=["Eagle"]))

    assert AuthorizationKey.objects.count() == 1
    assert RotationTurn.objects.count() == 1
    bulk_rotation.take_turns(plane.clock() + timedelta(days=4))
    assert outcomes() == {"CS-1": "failed"}


def test_a_charger_that_does_not_come_back_counts_as_failed(plane: ControlPlane) -> None:
    made = station(plane, "CS-1", approved(plane))
    apply(plane, plan_for(plane, family=["Eagle"]))
    command = command_of(made)
    made.take(command)
    made.answer(command)
    plane.work()
    made.disconnect()
    for _ in range(3):
        go_on(plane, hours=2)

    assert outcomes() == {"CS-1": "failed"}
    assert made.connect()


def test_parameters_are_checked(plane: ControlPlane) -> None:
    station(plane, "CS-1", approved(plane))
    with pytest.raises(InvalidInputError, match="per_site needs a whole number"):
        plan_for(plane, family=["Eagle"], per_site=0)
    with pytest.raises(InvalidInputError, match="There is no parameter per_day"):
        plan_for(plane, family=["Eagle"], per_day=5)


def test_a_charger_that_another_plan_is_to_rotate_is_left_to_it(plane: ControlPlane) -> None:
    station(plane, "CS-1", approved(plane))
    at(station(plane, "CS-2", ChargerFamily.objects.get()), "Berlin")
    first = plan_for(plane, family=["Eagle"], per_family=1)
    apply(plane, first)
    assert (KeyRotation.objects.count(), RotationTurn.objects.count()) == (1, 1)

    second = plan_for(plane, family=["Eagle"], only_needed="no")

    assert second.excluded == {"under_way": 2} or second.excluded == {"under_way": 1, "cannot_now": 1}
    waiting = PlanTarget.objects.get(plan=second, reason_code="under_way")
    assert f"Plan {first.pk} is to rotate the key of CS-2 already" in waiting.reason


@pytest.mark.parametrize("only_needed", ["yes", "no"])
def test_a_charger_that_was_rotated_since_the_plan_was_made_is_not_rotated_again(
    plane: ControlPlane, only_needed: str
) -> None:
    made = station(plane, "CS-1", approved(plane))
    plan = plan_for(plane, family=["Eagle"], only_needed=only_needed)
    plans.apply(plan=plan, digest=plan.digest, actor=OPERATOR, reason="now", now=plane.clock())
    run_plans(plane.clock())
    rotation.rotate(identity=made.identity, actor=OPERATOR, reason="by hand", now=plane.clock())
    finish(made)

    target = PlanTarget.objects.get(plan=plan)
    assert target.outcome == "skipped"
    now = "is now rotate key 2" if only_needed == "no" else "was made here, and nothing speaks against it"
    assert "was rotate key 1, " in target.detail
    assert now in target.detail
    assert AuthorizationKey.objects.count() == 2


def test_a_charger_whose_key_is_on_its_way_from_elsewhere_is_skipped_and_no_failure(plane: ControlPlane) -> None:
    made = station(plane, "CS-1", approved(plane))
    plan = plan_for(plane, family=["Eagle"])
    plans.apply(plan=plan, digest=plan.digest, actor=OPERATOR, reason="now", now=plane.clock())
    run_plans(plane.clock())
    rotation.rotate(identity=made.identity, actor=OPERATOR, reason="by hand", now=plane.clock())

    bulk_rotation.take_turns(plane.clock())

    target = PlanTarget.objects.get(plan=plan)
    assert target.outcome == "skipped"
    assert "is now excluded: Key 2 of CS-1 is on its way" in target.detail


def test_a_charger_of_another_family_by_its_turn_keeps_its_key(plane: ControlPlane) -> None:
    made = station(plane, "CS-1", approved(plane))
    other = approved(plane, "Owl")
    plan = plan_for(plane, identifiers=["CS-1"])
    plans.apply(plan=plan, digest=plan.digest, actor=OPERATOR, reason="now", now=plane.clock())
    run_plans(plane.clock())
    ManagedIdentity.objects.filter(pk=made.identity.pk).update(family=other)

    bulk_rotation.take_turns(plane.clock())

    target = PlanTarget.objects.get(plan=plan)
    assert (target.outcome, AuthorizationKey.objects.count()) == ("skipped", 1)
    assert "was of family Eagle, is now of Owl" in target.detail


def test_a_charger_in_quarantine_keeps_its_key(plane: ControlPlane) -> None:
    made = station(plane, "CS-1", approved(plane))
    plan = plan_for(plane, family=["Eagle"])
    plans.apply(plan=plan, digest=plan.digest, actor=OPERATOR, reason="now", now=plane.clock())
    run_plans(plane.clock())
    with attributed(OPERATOR, "test"):
        case = cases.open_case(
            made.identity, wave=None, code=ReasonCode.NOT_PLANNED, why="-", tries=0, now=plane.clock()
        )
    rollouts.quarantine(case=case, actor=OPERATOR, reason="smoke", now=plane.clock())

    bulk_rotation.take_turns(plane.clock())

    target = PlanTarget.objects.get(plan=plan)
    assert (target.outcome, AuthorizationKey.objects.count()) == ("skipped", 1)
    assert "CS-1 is in quarantine on its way to Profile 3" in target.detail
    assert plan_for(plane, family=["Eagle"]).excluded == {"in_quarantine": 1}


def test_of_two_plans_for_one_charger_the_first_rotates_it(plane: ControlPlane) -> None:
    station(plane, "CS-1", approved(plane))
    made = [plan_for(plane, family=["Eagle"]) for _ in range(2)]
    for plan in made:
        plans.apply(plan=plan, digest=plan.digest, actor=OPERATOR, reason="now", now=plane.clock())
        # Each was compared before the other one was applied.
        Plan.objects.filter(pk=plan.pk).update(run="finished")
    Plan.objects.update(run="running")

    run_plans(plane.clock())
    bulk_rotation.take_turns(plane.clock())

    first, second = PlanTarget.objects.order_by("plan_id")
    assert (first.outcome, second.outcome) == ("started", "skipped")
    assert f"Plan {made[0].pk} is to rotate the key of CS-1 already" in second.detail
    assert AuthorizationKey.objects.count() == 2
