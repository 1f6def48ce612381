"""A charger gets a new AuthorizationKey over the air, and at every moment has one that works."""

import pytest

from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.models import OutboxCommand
from inventory.models import PlannedAbsence, SecurityEvent
from tests.migration.rotating import command_of, family, go_on, rotate, rotated, states, station, the_rotation, told
from tests.support import ControlPlane

pytestmark = pytest.mark.django_db


# -- the plain way ---------------------------------------------------------------------------------------------------


def test_tc_a_09_a_new_key_is_accepted_used_and_only_then_active(plane: ControlPlane) -> None:
    made = station(plane)
    key = rotate(made)

    assert states(made) == ["active", "pending"]
    command = command_of(made)
    made.take(command)
    made.answer(command)
    go_on(plane)
    assert states(made) == ["active", "pending"]
    assert the_rotation(key).sealed_secret is None

    reset = command_of(made, Action.RESET)
    made.answer(reset)
    made.restart()
    go_on(plane)
    assert states(made) == ["retiring", "active"]
    assert told(made) == ["Generated", "Delivered", "Activated"]
    assert the_rotation(key).stage == "succeeded"

    go_on(plane, days=6)
    assert made.works(made.former)
    go_on(plane, days=2)
    assert states(made) == ["retired", "active"]
    assert told(made)[-1] == "Retired"
    assert not made.works(made.former)
    assert made.works(made.password)


def test_tc_a_10_a_refused_key_ends_and_the_old_one_still_works(plane: ControlPlane) -> None:
    made = station(plane)
    key = rotate(made)

    made.answer(command_of(made), "rejected")
    go_on(plane)

    assert states(made) == ["active", "revoked"]
    assert told(made) == ["Generated", "Failed"]
    assert made.is_connected
    assert made.connect()
    assert the_rotation(key).detail == "The charger refused it: Rejected"
    assert rotate(made).version == 3


def test_a_charger_that_is_back_before_its_answer_is_let_in_with_the_new_key(plane: ControlPlane) -> None:
    made = station(plane)
    rotate(made)
    command = command_of(made)

    made.take(command)
    assert made.connect()
    made.answer(command)
    go_on(plane)

    assert states(made) == ["retiring", "active"]
    assert told(made) == ["Generated", "Delivered", "Activated"]


def test_the_door_is_open_before_the_request_leaves(plane: ControlPlane) -> None:
    made = station(plane)
    key = rotate(made)

    command = OutboxCommand.objects.get(reference=f"key:{key.pk}:deliver")
    assert command.state == "queued"
    made.take(command)
    assert made.works(made.password)
    assert made.works(made.former)


def test_a_family_that_comes_back_by_itself_is_given_time_before_a_reset(plane: ControlPlane) -> None:
    made = station(plane, of=family(reconnects_by_itself=True))
    rotate(made)
    made.answer(command_of(made))
    go_on(plane)

    assert made.next_command() is None
    go_on(plane, minutes=3)
    assert command_of(made, Action.RESET).payload == {"kind": "ApplyConfiguration"}


def test_a_key_that_needs_a_reboot_gets_one_at_once(plane: ControlPlane) -> None:
    made = station(plane, of=family(reconnects_by_itself=True), applies_after_restart=True)
    rotate(made)
    command = command_of(made)
    made.take(command)
    made.answer(command, status="RebootRequired")
    go_on(plane)

    made.answer(command_of(made, Action.RESET))
    made.restart()
    go_on(plane)
    assert states(made) == ["retiring", "active"]


# -- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("taken", [True, False])
def test_after_a_lost_answer_the_same_key_is_sent_again(plane: ControlPlane, taken: bool) -> None:
    made = station(plane)
    rotate(made)
    command = command_of(made)
    if taken:
        made.take(command)
    made.answer(command, "timed_out")
    go_on(plane)
    assert states(made) == ["active", "pending"]
    assert made.has_a_way_in()

    go_on(plane, minutes=1)
    again = command_of(made)
    made.take(again)
    made.answer(again)
    go_on(plane)
    assert len(set(made.seen)) == 1
    made.restart()
    go_on(plane)
    assert states(made) == ["retiring", "active"]


def test_a_refusal_after_a_lost_answer_proves_nothing(plane: ControlPlane) -> None:
    made = station(plane)
    rotate(made)
    first = command_of(made)
    made.take(first)
    made.answer(first, "timed_out")
    go_on(plane, minutes=1)
    go_on(plane, minutes=1)

    made.answer(command_of(made), "rejected")
    go_on(plane)

    assert states(made) == ["active", "pending"]
    made.restart()
    go_on(plane)
    assert states(made) == ["retiring", "active"]


def test_a_charger_that_restarted_and_uses_its_old_key_keeps_it_and_the_new_one_fails(plane: ControlPlane) -> None:
    made = station(plane)
    rotate(made)
    made.answer(command_of(made))
    go_on(plane, minutes=1)
    made.answer(command_of(made, Action.RESET))
    made.restart()
    go_on(plane, days=1)
    assert states(made) == ["active", "pending"]
    assert SecurityEvent.objects.filter(type="AuthorizationKeyUnconfirmed").count() == 0

    go_on(plane, days=7)

    assert states(made) == ["active", "revoked"]
    assert told(made) == ["Generated", "Delivered", "Failed"]
    assert made.connect()


def test_a_charger_that_is_away_for_ever_is_let_in_with_either(plane: ControlPlane) -> None:
    made = rotated(plane)
    plane.work()
    made.disconnect()
    for _ in range(30):
        go_on(plane, days=1)

    assert states(made) == ["active", "pending"]
    assert SecurityEvent.objects.get(type="AuthorizationKeyUnconfirmed").severity == "warning"
    assert made.works(made.former)
    assert made.connect()
    go_on(plane)
    assert states(made) == ["retiring", "active"]


def test_a_charger_that_was_never_reached_keeps_its_key_alone(plane: ControlPlane) -> None:
    made = station(plane)
    made.disconnect()
    rotate(made)
    go_on(plane, days=4)

    assert states(made) == ["active", "revoked"]
    assert told(made) == ["Generated", "Failed"]


def test_resets_are_limited(plane: ControlPlane) -> None:
    made = station(plane)
    key = rotate(made)
    made.answer(command_of(made))
    for _ in range(60):
        go_on(plane, hours=1)

    assert the_rotation(key).resets == 8


def test_a_charger_that_goes_back_to_its_former_key_is_not_locked_out(plane: ControlPlane) -> None:
    made = rotated(plane)
    made.restart()
    go_on(plane, days=3)

    made.password = made.former
    assert made.connect()
    for _ in range(20):
        go_on(plane, days=1)

    assert states(made) == ["retiring", "active"]
    assert made.connect()
    event = SecurityEvent.objects.filter(type="RetiringAuthorizationKeyUsed").first()
    assert event is not None
    assert "CS-1 connected with key 1, although it has used a newer one" in event.message


def test_a_charger_that_is_away_is_asked_when_it_comes_and_its_site_can_spare_it(plane: ControlPlane) -> None:
    made = station(plane)
    made.disconnect()
    key = rotate(made)
    assert not OutboxCommand.objects.filter(reference=f"key:{key.pk}:deliver").exists()
    assert the_rotation(key).detail == "The charger is not connected; the key is sent when it comes."

    plane.clock.advance(days=1)
    assert made.connect()
    go_on(plane)
    command = command_of(made)
    assert PlannedAbsence.objects.filter(identity=made.identity, ended_at=None, until__gt=plane.clock()).exists()
    made.take(command)
    made.answer(command)
    go_on(plane)
    made.restart()
    go_on(plane)
    assert states(made) == ["retiring", "active"]
