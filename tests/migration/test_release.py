"""What becomes of chargers that are released, of whatever rollout: they are started, or it is said what starts them."""

import pytest

from migration.models import Breaker, MigrationCase, MigrationRollout
from migration.services import breakers, offered, rollouts
from migration.services.why import why, why_of
from tests.migration.fleet import Fleet, Station, capable_family, cohort, roll_out
from tests.support import OPERATOR, ControlPlane

pytestmark = pytest.mark.django_db


@pytest.fixture
def fleet(plane: ControlPlane) -> Fleet:
    return Fleet(plane)


def ended_with_quarantined(
    plane: ControlPlane, fleet: Fleet, *, close: bool = True
) -> tuple[MigrationRollout, list[Station]]:
    """A rollout that is complete, and two of its chargers in quarantine since the breaker of their family opened."""
    (good,) = fleet.add(1, family=capable_family("Good"))
    bad = fleet.add(2, family=capable_family("Bad"), returns="2")
    fleet.confirm_anchors()
    rollout = roll_out(
        plane,
        cohort("All", [station.identity for station in (good, *bad)]),
        retry_budget=0,
        family_failure_limit=1,
        success_threshold_percent=33,
        failure_threshold_percent=50,
    )
    fleet.settle(4)
    plane.clock.advance(hours=5)
    fleet.settle(6)
    rollout.refresh_from_db()
    assert rollout.state == "complete"
    assert [station.case.state for station in (good, *bad)] == ["active", "quarantine", "quarantine"]
    if close:
        breakers.close(breaker=Breaker.objects.get(), actor=OPERATOR, reason="Mended", now=plane.clock())
    for station in bad:
        station.returns = "3"
    return rollout, bad


def test_a_charger_released_after_its_rollout_was_complete_is_started(plane: ControlPlane, fleet: Fleet) -> None:
    rollout, (released, left) = ended_with_quarantined(plane, fleet)
    offer = next(item for item in offered.for_case(released.case, OPERATOR) if item.verb == "release")
    assert "is complete, and runs again" in offer.explanation

    rollouts.release(case=released.case, actor=OPERATOR, reason="Mended", now=plane.clock())
    rollout.refresh_from_db()
    assert rollout.state == "running"
    assert rollout.history.latest().history_change_reason == "Mended"
    answer = why(released.identity, plane.clock())
    assert answer is not None
    assert answer.code == "turn"

    fleet.settle(10)
    rollout.refresh_from_db()
    assert (released.case.state, left.case.state, rollout.state) == ("active", "quarantine", "complete")


def test_the_failed_of_a_complete_rollout_are_retried(plane: ControlPlane, fleet: Fleet) -> None:
    rollout, bad = ended_with_quarantined(plane, fleet)
    offer = next(item for item in offered.for_rollout(rollout, OPERATOR) if item.verb == "retry_failed")
    assert offer.allowed

    assert rollouts.retry_failed(rollout=rollout, actor=OPERATOR, reason="Mended", now=plane.clock()) == 2
    fleet.settle(10)

    rollout.refresh_from_db()
    assert ({station.case.state for station in bad}, rollout.state) == ({"active"}, "complete")


def test_who_fails_after_its_release_is_in_quarantine_again_and_the_gate_counts_it(
    plane: ControlPlane, fleet: Fleet
) -> None:
    rollout, bad = ended_with_quarantined(plane, fleet)
    for station in bad:
        station.returns = "2"

    rollouts.retry_failed(rollout=rollout, actor=OPERATOR, reason="Mended?", now=plane.clock())
    fleet.settle(6)
    plane.clock.advance(hours=5)
    fleet.settle(6)

    assert {station.case.state for station in bad} == {"quarantine"}
    assert Breaker.objects.filter(closed_at__isnull=True).count() == 1


def test_a_charger_released_of_a_stopped_rollout_is_told_to_be_planned_again(plane: ControlPlane, fleet: Fleet) -> None:
    (station,) = fleet.add(1, family=capable_family())
    fleet.confirm_anchors()
    members = cohort("All", [station.identity])
    rollout = roll_out(plane, members)
    rollouts.quarantine(case=station.case, actor=OPERATOR, reason="Look", now=plane.clock())
    rollouts.stop(rollout=rollout, actor=OPERATOR, reason="Enough", now=plane.clock())
    offer = next(item for item in offered.for_case(station.case, OPERATOR) if item.verb == "release")
    assert offer.explanation == (
        f"{station.identity} is not started by this: Rollout “{rollout.name}” was stopped. Plan another rollout with a "
        f"cohort that {station.identity} belongs to."
    )

    rollouts.release(case=station.case, actor=OPERATOR, reason="Seen", now=plane.clock())
    answer = why(station.identity, plane.clock())
    assert answer is not None
    assert (answer.code, answer.sentence) == ("wave_ended", f"Rollout “{rollout.name}” was stopped.")
    assert "Plan another rollout" in answer.what_next

    roll_out(plane, members)
    fleet.settle(8)
    assert station.case.state == "active"


def test_who_waits_in_a_complete_rollout_says_so_and_can_be_planned(plane: ControlPlane, fleet: Fleet) -> None:
    """Of a rollout that was complete before it learnt to run again."""
    (first,) = fleet.add(1, family=capable_family(can_lower_profile=True))
    fleet.confirm_anchors()
    members = cohort("All", [first.identity])
    rollout = roll_out(plane, members)
    fleet.settle(8)
    rollout.refresh_from_db()
    assert rollout.state == "complete"
    first.returns = "2"
    rollouts.roll_back_case(case=first.case, actor=OPERATOR, reason="test", now=plane.clock())
    fleet.settle(3)
    assert first.case.state == "pending"

    answer = why(first.identity, plane.clock())
    assert answer is not None
    assert answer.sentence == f"Rollout “{rollout.name}” is complete and starts nobody."
    first.returns = "3"
    roll_out(plane, members)
    fleet.settle(8)
    assert first.case.state == "active"


def test_a_cancelled_case_says_why_it_was_cancelled_and_not_how_its_charger_stands_now(
    plane: ControlPlane, fleet: Fleet
) -> None:
    (station,) = fleet.add(1, family=capable_family())
    fleet.confirm_anchors()
    members = cohort("All", [station.identity])
    roll_out(plane, members)
    former = station.case
    rollouts.cancel(case=former, actor=OPERATOR, reason="Wrong cohort", now=plane.clock())
    roll_out(plane, members)
    newer = MigrationCase.objects.get(identity=station.identity, state="pending")
    rollouts.quarantine(case=newer, actor=OPERATOR, reason="Old hardware", now=plane.clock())

    former.refresh_from_db()
    newer.refresh_from_db()
    said, said_now = why_of(former, plane.clock()), why_of(newer, plane.clock())
    assert said is not None
    assert said_now is not None
    assert (said.code, "Wrong cohort" in said.sentence) == ("cancelled", True)
    assert "Old hardware" in said_now.sentence


def test_a_breaker_stops_its_family_in_every_rollout_and_names_the_one_it_came_from(
    plane: ControlPlane, fleet: Fleet
) -> None:
    family = capable_family()
    failing, moving = fleet.add(2, family=family)
    fleet.confirm_anchors()
    moving.silent, failing.returns = True, "2"
    roll_out(plane, cohort("Second", [moving.identity]), name="The second", case_deadline_minutes=1_000)
    fleet.turn()
    assert moving.case.state == "installing"

    roll_out(plane, cohort("First", [failing.identity]), name="The first", retry_budget=0, family_failure_limit=1)
    fleet.settle(4)
    plane.clock.advance(hours=5)
    fleet.settle(3)

    assert (moving.case.state, moving.case.reason_code) == ("quarantine", "breaker_open")
    assert "failed in rollout “The first”. Its others are not moved, in whatever rollout, until" in moving.case.why


def test_a_charger_released_while_its_family_is_stopped_waits_for_the_breaker_and_says_so(
    plane: ControlPlane, fleet: Fleet
) -> None:
    _, (released, _) = ended_with_quarantined(plane, fleet, close=False)
    breaker = Breaker.objects.get()
    offer = next(item for item in offered.for_case(released.case, OPERATOR) if item.verb == "release")
    assert offer.allowed
    assert f"{released.identity} waits: the breaker of family Bad is open" in offer.explanation
    assert f"until somebody closes breaker {breaker.pk}." in offer.explanation

    rollouts.release(case=released.case, actor=OPERATOR, reason="Mended", now=plane.clock())
    fleet.settle(3)
    answer = why(released.identity, plane.clock())
    assert (released.case.state, answer and answer.code) == ("pending", "breaker_open")
    assert answer is not None
    assert answer.what_next.endswith("then close the breaker; the charger is then started by itself.")

    breakers.close(breaker=breaker, actor=OPERATOR, reason="Mended", now=plane.clock())
    fleet.settle(10)
    assert released.case.state == "active"
