"""The narrow door: one charger without a certificate comes in on Profile 2, with one key and for a time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from bfcerts.ocpp.canonical import Evidence, RefusalReason
from bfcerts.ocpp.registry import Admission
from inventory.actors import Actor
from inventory.errors import InvalidInputError, NotPermittedError, TransitionRefusedError
from inventory.models import CertificateRecord, DomainEvent, ManagedIdentity, SecurityEvent
from inventory.services import actions, lifecycle, station_commands
from inventory.services.actions import AvailableAction
from migration.key_choices import RecoveryCause
from migration.models import AuthorizationKey, RecoveryDoor
from migration.services import authorization_keys, key_duties, recovery
from migration.services.authorization_keys import PasswordDoor
from migration.services.secrets_of_keys import generate
from tests.admin import given
from tests.inventory.attempts import password_attempt
from tests.support import OPERATOR, ControlPlane, charger

pytestmark = pytest.mark.django_db

OLD = "the-old-one-20-chars"
DAY = timedelta(days=1)


def on_profile_3(name: str = "CS-1") -> ManagedIdentity:
    """A charger that has moved up and has an old key from before."""
    identity = charger(name)
    authorization_keys.set_initial(identity=identity, secret=f"{OLD[:-4]}{name}", actor=OPERATOR, reason="given")
    ManagedIdentity.objects.filter(pk=identity.pk).update(security_profile=3)
    identity.refresh_from_db()
    return identity


def open_door(
    identity: ManagedIdentity, now: datetime, secret: str = "", cause: str = "expired", **more: Any
) -> RecoveryDoor:
    return recovery.open_profile_2(
        **{
            "identity": identity,
            "cause": cause,
            "secret": secret or generate(),
            "until": now + 2 * DAY,
            "actor": OPERATOR,
            "reason": "expired in the warehouse",
            "although_it_works": True,
            "now": now,
            **more,
        }
    )


def decide(password: str, now: datetime, name: str = "CS-1") -> Any:
    (decision,) = PasswordDoor().decide([password_attempt(name, password.encode(), now)])
    return decision


def come_in(plane: ControlPlane, password: str) -> bool:
    decision = decide(password, plane.clock())
    if not isinstance(decision, Admission):
        return False
    assert decision.evidence_wanted
    plane.observe(
        "CS-1",
        Evidence.CONNECTED,
        {"profile": 2, "fingerprint": "", "authorization_key": decision.options["authorization_key"]},
    )
    plane.work()
    return True


def test_only_the_fresh_key_opens_and_only_until_the_end(plane: ControlPlane) -> None:
    identity, secret = on_profile_3(), generate()
    now = plane.clock()
    door = open_door(identity, now, secret)

    assert decide(f"{OLD[:-4]}CS-1", now).reason == RefusalReason.WRONG_PASSWORD
    assert come_in(plane, secret)
    assert AuthorizationKey.objects.get(recovery_door=door).state == "active"

    end = plane.clock.advance(days=2)
    assert decide(secret, end).reason == RefusalReason.PROFILE_TOO_LOW
    recovery.close_overdue(end)
    door.refresh_from_db()
    identity.refresh_from_db()
    assert (door.closed_at, door.closing, identity.fallback_until) == (end, "Its time is over", None)
    assert AuthorizationKey.objects.filter(identity=identity, state="revoked").count() == 2
    assert decide(secret, end).reason == RefusalReason.WRONG_PASSWORD


def test_it_closes_when_the_charger_is_back_on_profile_3(plane: ControlPlane) -> None:
    identity, secret = on_profile_3(), generate()
    record = given.active_record(identity)
    door = open_door(identity, plane.clock(), secret, cause="lost")
    assert come_in(plane, secret)

    plane.clock.advance(minutes=5)
    CertificateRecord.objects.filter(pk=record.pk).update(issued_at=plane.clock())
    plane.connect(identity, record)
    plane.work()

    door.refresh_from_db()
    identity.refresh_from_db()
    assert door.closing == "The charger is back on Profile 3"
    assert identity.fallback_until is None
    assert not AuthorizationKey.objects.filter(identity=identity).exclude(state="revoked").exists()


@pytest.mark.parametrize("cause", RecoveryCause.values)
def test_a_connection_from_before_the_door_does_not_close_it(plane: ControlPlane, cause: str) -> None:
    identity, secret = on_profile_3(), generate()
    record = given.active_record(identity)
    plane.connect(identity, record)
    now = plane.clock.advance(minutes=3)
    CertificateRecord.objects.filter(pk=record.pk).update(not_after=now if cause == "expired" else record.not_after)
    if cause == "revoked":
        lifecycle.revoke(record=record, actor=OPERATOR, reason="stolen", now=now)
    door = open_door(identity, now, secret, cause=cause)

    plane.work()

    door.refresh_from_db()
    identity.refresh_from_db()
    assert (door.closed_at, identity.fallback_until) == (None, door.until)
    assert come_in(plane, secret)


def test_a_certificate_that_was_lost_does_not_close_the_door_and_a_new_one_does(plane: ControlPlane) -> None:
    identity, secret = on_profile_3(), generate()
    lost = given.active_record(identity)
    CertificateRecord.objects.filter(pk=lost.pk).update(issued_at=plane.clock() - DAY)
    door = open_door(identity, plane.clock(), secret, cause="lost")

    plane.clock.advance(minutes=3)
    plane.connect(identity, lost)
    plane.work()
    door.refresh_from_db()
    identity.refresh_from_db()
    assert (door.closed_at, identity.fallback_until) == (None, door.until)

    plane.clock.advance(minutes=3)
    CertificateRecord.objects.filter(pk=lost.pk).update(issued_at=plane.clock())
    plane.connect(identity, lost)
    plane.work()
    door.refresh_from_db()
    identity.refresh_from_db()
    assert (door.closing, identity.fallback_until) == ("The charger is back on Profile 3", None)


def test_a_door_that_is_never_used_closes_by_itself(plane: ControlPlane) -> None:
    door = open_door(on_profile_3(), plane.clock())
    key_duties.go_on(plane.clock.advance(days=3))
    recovery.close_overdue(plane.clock())

    door.refresh_from_db()
    assert door.closed_at == plane.clock()
    assert door.key is not None
    assert door.key.state == "revoked"
    assert recovery.close_overdue(plane.clock()) == 0


def test_an_operator_closes_it_before_its_end(plane: ControlPlane) -> None:
    door = open_door(on_profile_3(), plane.clock())

    recovery.close(door=door, actor=OPERATOR, reason="not needed", now=plane.clock())

    with pytest.raises(TransitionRefusedError, match="The door of CS-1 is closed already"):
        recovery.close(door=door, actor=OPERATOR, reason="not needed", now=plane.clock())


def test_opening_is_told_with_who_and_why(plane: ControlPlane) -> None:
    door = open_door(on_profile_3(), plane.clock())

    event = SecurityEvent.objects.get(type="RecoveryDoorOpened")
    assert "by system:test-operator: expired in the warehouse" in event.message
    assert door.history.latest().actor == OPERATOR.name
    generated = DomainEvent.objects.get(type="AuthorizationKeyGenerated")
    assert generated.payload["channel"] == "out_of_band"


def test_who_needs_no_door_gets_none(plane: ControlPlane) -> None:
    now = plane.clock()
    works = on_profile_3("CS-2")
    record = given.active_record(works)
    with pytest.raises(TransitionRefusedError, match=f"Certificate {record.pk} of CS-2 works"):
        open_door(works, now)
    with pytest.raises(TransitionRefusedError, match="CS-3 is on Profile 0"):
        open_door(charger("CS-3"), now)
    identity = on_profile_3()
    open_door(identity, now)
    with pytest.raises(TransitionRefusedError, match="CS-1 has an open door already"):
        open_door(identity, now)
    person = Actor.person(User.objects.create_user("maria"))
    with pytest.raises(NotPermittedError, match=r"migration\.open_recoverydoor"):
        open_door(works, now, actor=person)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"until": timedelta(0)}, "needs an end that is to come"),
        ({"until": timedelta(days=15)}, "at most 14 days"),
        ({"cause": "forgotten"}, "is no cause"),
        ({"secret": "short"}, "printable ASCII characters"),
        ({"secret": f"{OLD[:-4]}CS-1"}, "was used before"),
    ],
)
def test_what_cannot_be_a_door_is_refused(plane: ControlPlane, wrong: dict[str, Any], says: str) -> None:
    identity, now = on_profile_3(), plane.clock()
    if "until" in wrong:
        wrong = {"until": now + wrong["until"]}

    with pytest.raises(InvalidInputError, match=says):
        open_door(identity, now, **wrong)

    assert isinstance(decide(f"{OLD[:-4]}CS-1", datetime.now(UTC)), object)
    assert AuthorizationKey.objects.get(identity=identity).state == "active"


def test_a_charger_that_came_in_by_the_door_may_be_cut_over_again(plane: ControlPlane) -> None:
    identity, secret = on_profile_3(), generate()
    given.active_record(identity)

    def cut_over() -> AvailableAction:
        current = ManagedIdentity.objects.get(pk=identity.pk)
        return next(item for item in actions.for_identity(current, OPERATOR, plane.clock()) if item.verb == "cut_over")

    assert cut_over().why_not == "CS-1 is on Profile 3 already."
    with pytest.raises(TransitionRefusedError, match="is on Profile 3 already"):
        station_commands.cut_over(identity=identity, actor=OPERATOR, reason="x", now=plane.clock())
    open_door(identity, plane.clock(), secret, cause="lost")
    assert come_in(plane, secret)
    assert cut_over().allowed


def test_a_door_for_a_charger_whose_certificate_works_says_what_it_costs_and_asks_again(plane: ControlPlane) -> None:
    identity = on_profile_3()
    record = given.active_record(identity)
    plane.connect(identity, record)
    plane.work()
    offer = next(item for item in actions.for_identity(identity, OPERATOR, plane.clock()) if item.verb == "open_door")
    warning = f"Certificate {record.pk} of CS-1 works"
    assert warning in offer.explanation
    assert "every other AuthorizationKey of it ends" in offer.explanation

    with pytest.raises(TransitionRefusedError, match=f"{warning}.*say so: “Although its certificate works”"):
        open_door(identity, plane.clock(), cause="lost", although_it_works=False)
    assert not RecoveryDoor.objects.exists()
    assert open_door(identity, plane.clock(), cause="lost").cause == "lost"
