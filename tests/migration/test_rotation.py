"""A charger gets a new AuthorizationKey over the air, and at every moment has one that works."""

import string
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection

from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.models import OutboxCommand
from bfcerts.ocpp.outbox import expire_overdue
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import EventType, KeyPath
from inventory.errors import NotPermittedError, TransitionRefusedError
from inventory.models import ChargerFamily, DomainEvent, ManagedIdentity, SecurityEvent
from inventory.services.retention import delete_what_ended
from migration.models import AuthorizationKey, KeyRotation
from migration.services import authorization_keys, rotation
from migration.services.secrets_of_keys import digest
from tests.migration.model_station import ModelStation
from tests.support import OPERATOR, ControlPlane, charger

pytestmark = pytest.mark.django_db

FIRST = "the-first-of-20-char"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def family(name: str = "Eagle", **fields: object) -> ChargerFamily:
    with attributed(OPERATOR, "given"):
        return ChargerFamily.objects.create(name=name, vendor="Volta", model=name, **fields)


def station(plane: ControlPlane, name: str = "CS-1", of: ChargerFamily | None = None, **traits: Any) -> ModelStation:
    """A connected charger on Profile 2 with an imported key."""
    identity = charger(name, **({"family": of} if of else {}))
    authorization_keys.set_initial(
        identity=identity, secret=f"{FIRST[:16]}{name[-4:]:_>4}", actor=OPERATOR, reason="given", now=plane.clock()
    )
    made = ModelStation(identity, plane, f"{FIRST[:16]}{name[-4:]:_>4}", **traits)
    assert made.connect()
    plane.work()
    return made


def rotate(made: ModelStation) -> AuthorizationKey:
    return rotation.rotate(identity=made.identity, actor=OPERATOR, reason="hygiene", now=made.plane.clock())


def go_on(plane: ControlPlane, **later: float) -> None:
    plane.clock.advance(**later)
    expire_overdue(plane.clock())
    plane.work()
    rotation.go_on(plane.clock())
    rotation.retire_due(plane.clock())


def states(made: ModelStation) -> list[str]:
    return list(
        AuthorizationKey.objects.filter(identity=made.identity).order_by("version").values_list("state", flat=True)
    )


def told(made: ModelStation) -> list[str]:
    events = DomainEvent.objects.filter(identity=made.identity, type__startswith="AuthorizationKey").order_by("pk")
    return [event.type.removeprefix("AuthorizationKey") for event in events][1:]


def the_rotation(key: AuthorizationKey) -> KeyRotation:
    return KeyRotation.objects.get(key=key)


def command_of(made: ModelStation, action: Action = Action.SET_AUTHORIZATION_KEY) -> OutboxCommand:
    command = made.next_command()
    assert command is not None
    assert command.action == action
    return command


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
    made = station(plane)
    rotate(made)
    command = command_of(made)
    made.take(command)
    made.answer(command)
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
    made = station(plane)
    rotate(made)
    command = command_of(made)
    made.take(command)
    made.answer(command)
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


# -- what operators may do -------------------------------------------------------------------------------------------


def test_a_pending_key_that_may_be_stored_is_revoked_only_by_force(plane: ControlPlane) -> None:
    made = station(plane)
    key = rotate(made)
    command = command_of(made)

    with pytest.raises(TransitionRefusedError, match="CS-1 may have key 2 and no other way in"):
        authorization_keys.revoke(key=key, actor=OPERATOR, reason="test", now=plane.clock())
    authorization_keys.revoke(key=key, actor=OPERATOR, reason="test", force=True, now=plane.clock())
    made.answer(command)
    plane.work()

    assert states(made) == ["active", "revoked"]
    assert SecurityEvent.objects.get(type="RevokedAuthorizationKeyStored").severity == "critical"


def test_a_pending_key_that_was_not_sent_is_revoked_and_never_sent(plane: ControlPlane) -> None:
    made = station(plane)
    key = rotate(made)

    authorization_keys.revoke(key=key, actor=OPERATOR, reason="test", now=plane.clock())

    made.connect()
    assert made.next_command() is None
    assert told(made) == ["Generated", "Revoked"]
    assert the_rotation(key).stage == "failed"


def test_what_stands_in_the_way_is_said(plane: ControlPlane) -> None:
    made = station(plane)
    rotate(made)
    with pytest.raises(TransitionRefusedError, match="Key 2 of CS-1 is on its way"):
        rotate(made)

    without = charger("CS-2")
    with pytest.raises(TransitionRefusedError, match="CS-2 has no active key"):
        rotation.rotate(identity=without, actor=OPERATOR, reason="x")
    ManagedIdentity.objects.filter(pk=without.pk).update(security_profile=3)
    with pytest.raises(TransitionRefusedError, match="CS-2 is on Profile 3"):
        rotation.rotate(identity=without, actor=OPERATOR, reason="x")
    ManagedIdentity.objects.filter(pk=without.pk).update(enabled=False)
    with pytest.raises(TransitionRefusedError, match="CS-2 is disabled"):
        rotation.rotate(identity=without, actor=OPERATOR, reason="x")
    person = Actor.person(User.objects.create_user("maria"))
    with pytest.raises(NotPermittedError, match=r"migration\.rotate_authorizationkey"):
        rotation.rotate(identity=without, actor=person, reason="x")


def test_a_family_without_an_approved_path_is_rotated_one_charger_at_a_time(plane: ControlPlane) -> None:
    eagle = family()
    first, second = station(plane, "CS-1", eagle), station(plane, "CS-2", eagle)
    rotate(first)

    with pytest.raises(TransitionRefusedError, match="one at a time, and CS-1 is under way"):
        rotate(second)

    with attributed(OPERATOR, "given"):
        eagle.key_path, eagle.key_path_approved_at = KeyPath.TWO_SLOTS_AT_OUR_DOOR, plane.clock()
        eagle.key_path_approved_by = "person:maria"
        eagle.save()
    assert rotate(second).state == "pending"


# -- the secret ------------------------------------------------------------------------------------------------------


def test_a_generated_key_is_read_alike_by_every_station(plane: ControlPlane) -> None:
    made = station(plane)
    key = rotate(made)
    made.take(command_of(made))

    secret = made.password
    assert len(secret) == 20
    assert set(secret) <= set(string.ascii_letters + string.digits)
    assert not set(secret) <= set(string.hexdigits)
    assert key.digest == digest(secret.encode())
    for form in (secret, secret.encode().hex(), secret.encode().hex().upper()):
        assert made.works(form)


@pytest.mark.parametrize(("protocol", "length"), [("ocpp1.6", 20), ("ocpp2.0.1", 40)])
def test_a_family_that_wants_hexadecimal_gets_it_where_the_protocol_does_not_do_it(
    plane: ControlPlane, protocol: str, length: int
) -> None:
    made = station(plane, of=family(key_form="hex"))
    made.protocol = protocol
    plane.clock.advance(seconds=1)
    assert made.connect()
    rotate(made)
    made.take(command_of(made))

    assert len(made.password) == length
    assert made.works(made.password)


def test_the_secret_is_nowhere_but_encrypted_and_only_until_it_is_acknowledged(plane: ControlPlane) -> None:
    made = station(plane)
    rotate(made)
    command = command_of(made)
    made.take(command)
    assert found_anywhere(made.password) == set()
    made.answer(command)
    plane.work()

    assert found_anywhere(made.password) == set()
    assert OutboxCommand.objects.exclude(secret_payload=None).count() == 0
    assert KeyRotation.objects.exclude(sealed_secret=None).count() == 0


def found_anywhere(secret: str) -> set[str]:
    needles = (secret, secret.encode().hex(), secret.encode().hex().upper(), secret.encode().hex().encode().hex())
    tables = set()
    with connection.cursor() as cursor:
        for model in apps.get_models(include_auto_created=True):
            cursor.execute(f'SELECT row_to_json(t)::text FROM "{model._meta.db_table}" t')  # noqa: S608
            if any(needle in row for (row,) in cursor.fetchall() for needle in needles):
                tables.add(model._meta.db_table)
    return tables


def test_every_step_names_who_and_why(plane: ControlPlane) -> None:
    made = station(plane)
    rotate(made)
    command = command_of(made)
    made.take(command)
    made.answer(command)
    made.restart()
    go_on(plane)
    go_on(plane, days=8)

    who = {
        event.type: (event.actor, event.reason)
        for event in DomainEvent.objects.filter(type__startswith="AuthorizationKey").order_by("pk")
    }
    assert who[EventType.AUTHORIZATION_KEY_GENERATED] == (OPERATOR.name, "hygiene")
    assert who[EventType.AUTHORIZATION_KEY_DELIVERED][0] == "station:CS-1"
    assert who[EventType.AUTHORIZATION_KEY_ACTIVATED] == ("station:CS-1", "Connected on Profile 2")
    assert who[EventType.AUTHORIZATION_KEY_RETIRED] == ("system:key-rotation", "Its rollback window is over")


def test_the_command_of_an_open_rotation_is_kept(plane: ControlPlane) -> None:
    made = station(plane)
    key = rotate(made)
    made.answer(command_of(made))
    plane.work()
    plane.clock.advance(days=400)
    delete_what_ended(plane.clock())

    assert OutboxCommand.objects.filter(reference=f"key:{key.pk}:deliver").exists()
