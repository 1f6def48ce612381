"""A fleet moves to Profile 3 in waves, and what happens to those that do not come along."""

import pytest

from bfcerts.ocpp.canonical import Action
from inventory.choices import EventType
from inventory.models import DomainEvent, PlannedAbsence, SecurityEvent
from migration.models import Breaker, MigrationCase, Wave
from migration.services.why import why
from tests.migration.fleet import Fleet, capable_family, cohort, roll_out
from tests.support import ControlPlane

pytestmark = pytest.mark.django_db


@pytest.fixture
def fleet(plane: ControlPlane) -> Fleet:
    return Fleet(plane)


def test_a_wave_takes_its_chargers_to_profile_3_and_the_next_one_follows(plane: ControlPlane, fleet: Fleet) -> None:
    family = capable_family()
    first, second = fleet.add(2, family=family), fleet.add(3, family=family)
    fleet.confirm_anchors()
    rollout = roll_out(
        plane,
        cohort("First", [station.identity for station in first]),
        cohort("Second", [station.identity for station in second]),
    )

    fleet.turn()
    assert {station.case.state for station in second} == {"pending"}
    fleet.settle(20)

    rollout.refresh_from_db()
    assert set(fleet.states().values()) == {"active"}
    assert (rollout.state, [wave.state for wave in rollout.waves.all()]) == ("complete", ["passed", "passed"])
    for station in fleet.stations:
        station.identity.refresh_from_db()
        assert (station.identity.security_profile, why(station.identity, plane.clock())) == (3, None)
        states = DomainEvent.objects.filter(type=EventType.MIGRATION_STATE_CHANGED, identity=station.identity).order_by(
            "pk"
        )
        assert list(states.values_list("resulting_state", flat=True)) == [
            "pending", "installing", "pending_activation", "active",
        ]  # fmt: skip
    assert not PlannedAbsence.objects.filter(ended_at__isnull=True).exists()


def test_a_charger_that_never_comes_back_is_quarantined_with_its_last_frames(plane: ControlPlane, fleet: Fleet) -> None:
    (lost,) = fleet.add(1, family=capable_family(), returns="")
    fleet.confirm_anchors()
    roll_out(plane, cohort("All", [lost.identity]), retry_budget=0)
    fleet.settle(6)
    assert lost.case.state == "pending_activation"

    plane.clock.advance(hours=5)
    fleet.turn()
    assert (lost.case.state, lost.case.reason_code) == ("rollback", "silent")
    plane.clock.advance(hours=25)
    fleet.turn()

    case = lost.case
    assert (case.state, case.reason_code) == ("quarantine", "never_returned")
    assert any(frame["what"] == Action.RESET for frame in case.last_frames)
    assert DomainEvent.objects.filter(type=EventType.MIGRATION_QUARANTINED, identity=lost.identity).count() == 1
    assert SecurityEvent.objects.filter(type="MigrationQuarantined", identity=lost.identity).count() == 1
    answer = why(lost.identity, plane.clock())
    assert answer is not None
    assert "has not come back on Profile 2" in answer.sentence
    assert "look at the charger" in answer.what_next


def test_a_charger_that_falls_back_is_retried_within_its_budget_and_then_quarantined(
    plane: ControlPlane, fleet: Fleet
) -> None:
    (station,) = fleet.add(1, family=capable_family(), returns="2")
    fleet.confirm_anchors()
    roll_out(plane, cohort("All", [station.identity]), retry_budget=1)

    fleet.settle(4)
    plane.clock.advance(hours=5)
    fleet.turn()
    assert (station.case.state, station.case.tries_left) == ("pending", 0)
    plane.clock.advance(minutes=10)
    fleet.settle(4)
    assert station.case.state == "pending_activation"
    plane.clock.advance(hours=5)
    fleet.turn()

    assert station.case.state == "quarantine"
    station.identity.refresh_from_db()
    assert station.identity.security_profile == 2


def test_a_refused_certificate_is_a_failure_at_once(plane: ControlPlane, fleet: Fleet) -> None:
    (station,) = fleet.add(1, family=capable_family(), refuses={Action.DELIVER_CERTIFICATE})
    fleet.confirm_anchors()
    rollout = roll_out(plane, cohort("All", [station.identity]), retry_budget=0, case_deadline_minutes=3000)

    fleet.settle(30, seconds=600)

    assert (station.case.state, station.case.reason_code) == ("quarantine", "issue_failed")
    rollout.refresh_from_db()
    assert (rollout.state, rollout.waves.get().state) == ("paused", "failed")


def test_a_bad_family_stops_alone(plane: ControlPlane, fleet: Fleet) -> None:
    good = fleet.add(6, family=capable_family("Eagle"))
    bad = fleet.add(4, family=capable_family("Vulture"), refuses={Action.SET_NETWORK_PROFILE})
    fleet.confirm_anchors()
    everybody = [station.identity for station in (*bad, *good)]
    roll_out(
        plane,
        cohort("All", everybody),
        retry_budget=0,
        family_failure_limit=2,
        per_family=2,
        minimum_sample=10,
        success_threshold_percent=60,
        failure_threshold_percent=40,
    )

    fleet.settle(60, seconds=300)

    assert {station.case.state for station in good} == {"active"}
    assert Breaker.objects.get().family == bad[0].identity.family
    answers = [why(station.identity, plane.clock()) for station in bad]
    assert {answer and answer.code for answer in answers} <= {"cut_over_failed", "breaker_open"}
    assert MigrationCase.objects.filter(state="pending").count() == 2
    assert Wave.objects.get().state == "passed"
