"""Given-parts of the tests of key rotations: a connected charger, its operator, and the duties as time passes."""

from typing import Any

from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.models import OutboxCommand
from bfcerts.ocpp.outbox import expire_overdue
from inventory.audit import attributed
from inventory.models import ChargerFamily, DomainEvent
from migration.models import AuthorizationKey, KeyRotation
from migration.services import authorization_keys, key_duties, rotation
from tests.migration.model_station import ModelStation
from tests.support import OPERATOR, ControlPlane, charger

FIRST = "the-first-of-20-char"


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


def rotated(plane: ControlPlane, name: str = "CS-1", of: ChargerFamily | None = None, **traits: Any) -> ModelStation:
    """A connected charger that took the new key that it was sent, and said so."""
    made = station(plane, name, of, **traits)
    rotate(made)
    command = command_of(made)
    made.take(command)
    made.answer(command)
    return made


def go_on(plane: ControlPlane, **later: float) -> None:
    plane.clock.advance(**later)
    expire_overdue(plane.clock())
    plane.work()
    key_duties.go_on(plane.clock())
    key_duties.retire_due(plane.clock())


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
