"""What the database refuses of migrations, whatever code asks for it."""

import pytest
from django.db import IntegrityError, connection, transaction
from django_fsm import TransitionNotAllowed

from migration.models import MigrationCase, Wave
from migration.states import CASE_TRANSITIONS, CaseState
from tests.migration import given as moving
from tests.migration.fleet import Fleet, capable_family, cohort, roll_out
from tests.support import ControlPlane, charger
from trustanchors.models import BundleInstallation

pytestmark = pytest.mark.django_db


@pytest.fixture
def fleet(plane: ControlPlane) -> Fleet:
    found = Fleet(plane)
    found.add(2, family=capable_family())
    found.confirm_anchors()
    return found


def refused(statement: str, *values: int | str) -> str:
    with pytest.raises(IntegrityError) as caught, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, values)
    return str(caught.value)


def test_a_state_changes_only_by_its_transitions() -> None:
    case = moving.migration_case(charger())
    with pytest.raises(AttributeError):
        case.state = CaseState.ACTIVE
    with pytest.raises(TransitionNotAllowed):
        case.activate()


@pytest.mark.parametrize(("source", "target"), [(a, b) for a in CASE_TRANSITIONS for b in CASE_TRANSITIONS if a != b])
def test_the_database_has_the_same_table_of_transitions(source: str, target: str) -> None:
    case = moving.migration_case(charger())
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # or the table has pending events and cannot be altered
        cursor.execute("ALTER TABLE migration_migrationcase DISABLE TRIGGER guard_case")
        cursor.execute(
            "UPDATE migration_migrationcase SET state = %s, deadline = now() WHERE id = %s", [source, case.pk]
        )
        cursor.execute("ALTER TABLE migration_migrationcase ENABLE TRIGGER guard_case")
    statement = "UPDATE migration_migrationcase SET state = %s WHERE id = %s"
    if target not in CASE_TRANSITIONS[source]:
        assert "is no transition" in refused(statement, target, case.pk)
    elif target == "installing":
        assert "not running" in refused(statement, target, case.pk)
    elif target == "active":
        assert "seen in use" in refused(statement, target, case.pk)
    else:
        with connection.cursor() as cursor:
            cursor.execute(statement, [target, case.pk])


def test_a_case_begins_pending_stays_its_charger_s_and_is_never_removed() -> None:
    case, other = moving.migration_case(charger()), charger()
    assert "its charger never changes" in refused(
        "UPDATE migration_migrationcase SET identity_id = %s WHERE id = %s", other.pk, case.pk
    )
    assert "never removed" in refused("DELETE FROM migration_migrationcase WHERE id = %s", case.pk)
    assert "one_live_case" in refused(
        "INSERT INTO migration_migrationcase (identity_id, site, state, stage, reason_code, why, last_failure,"
        " tries_left, next_look_at, last_frames, entered_state_at, opened_at, decided_by)"
        " SELECT identity_id, '', 'pending', 'waiting', 'turn', 'x', '', 1, now(), '[]', now(), now(), ''"
        " FROM migration_migrationcase WHERE id = %s",
        case.pk,
    )


def test_a_case_that_is_not_active_says_why() -> None:
    case = moving.migration_case(charger())
    assert "not_active_says_why" in refused("UPDATE migration_migrationcase SET why = '' WHERE id = %s", case.pk)


def test_a_wave_does_not_pass_below_its_threshold(plane: ControlPlane, fleet: Fleet) -> None:
    roll_out(plane, cohort("All", [station.identity for station in fleet.stations]))
    fleet.turn()
    assert "below its threshold" in refused("UPDATE migration_wave SET state = 'passed'")


def test_a_wave_does_not_start_before_the_one_before_has_passed(plane: ControlPlane, fleet: Fleet) -> None:
    first, second = fleet.stations
    roll_out(plane, cohort("First", [first.identity]), cohort("Second", [second.identity]))
    statement = "UPDATE migration_wave SET state = 'running', total = 1, deadline = now() WHERE position = 2"
    assert "has not passed" in refused(statement)


def test_a_wave_does_not_start_while_a_gate_of_its_anchors_is_closed(plane: ControlPlane, fleet: Fleet) -> None:
    rollout = roll_out(plane, cohort("All", [station.identity for station in fleet.stations]))
    BundleInstallation.objects.update(state="mismatched")

    assert "trust anchors is closed" in refused(
        "UPDATE migration_wave SET state = 'running', total = 1, deadline = now()"
    )
    fleet.turn()
    wave = rollout.waves.get()
    assert wave.state == "pending"
    assert "have confirmed their" in wave.verdict
    assert set(fleet.states().values()) == {"pending"}


def test_a_withdrawal_closes_the_gate_for_whoever_has_not_started(plane: ControlPlane, fleet: Fleet) -> None:
    rollout = roll_out(plane, cohort("All", [station.identity for station in fleet.stations]), concurrency=1)
    fleet.turn()
    assert sorted(fleet.states().values()) == ["installing", "pending"]
    BundleInstallation.objects.update(state="mismatched")

    pending = MigrationCase.objects.get(state="pending")
    assert "trust anchors is closed" in refused(
        "UPDATE migration_migrationcase SET state = 'installing' WHERE id = %s", pending.pk
    )
    fleet.turn()
    rollout.refresh_from_db()
    assert (rollout.state, rollout.waves.get().state) == ("paused", "paused")


def test_a_gate_that_has_closed_keeps_whoever_has_its_certificate_from_leaving(
    plane: ControlPlane, fleet: Fleet
) -> None:
    roll_out(plane, cohort("All", [station.identity for station in fleet.stations]))
    fleet.turn()
    assert set(fleet.states().values()) == {"installing"}
    BundleInstallation.objects.update(state="mismatched")

    assert "trust anchors is closed" in refused(
        "UPDATE migration_migrationcase SET state = 'pending_activation', deadline = now()"
    )


def test_the_number_of_chargers_of_a_wave_is_fixed_when_it_starts(plane: ControlPlane, fleet: Fleet) -> None:
    roll_out(plane, cohort("All", [station.identity for station in fleet.stations]))
    fleet.turn()
    assert Wave.objects.get().total == 2
    assert "is fixed" in refused("UPDATE migration_wave SET total = 1")


def test_thresholds_that_cannot_both_be_met_are_refused() -> None:
    rollout = moving.migration_rollout()
    statement = "UPDATE migration_migrationrollout SET failure_threshold_percent = 10 WHERE id = %s"
    assert "thresholds_apart" in refused(statement, rollout.pk)
