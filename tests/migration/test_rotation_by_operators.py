"""What operators may do with keys that are on their way, and what tells who did it."""

import pytest
from django.contrib.auth.models import User

from bfcerts.ocpp.models import OutboxCommand
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import EventType, KeyPath
from inventory.errors import NotPermittedError, TransitionRefusedError
from inventory.models import DomainEvent, ManagedIdentity, SecurityEvent
from inventory.services.retention import delete_what_ended
from migration.services import authorization_keys, rotation
from tests.migration.rotating import command_of, family, go_on, rotate, rotated, states, station, the_rotation, told
from tests.support import OPERATOR, ControlPlane, charger

pytestmark = pytest.mark.django_db


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


def test_every_step_names_who_and_why(plane: ControlPlane) -> None:
    made = rotated(plane)
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
