"""Pieces of a duty's work that fail: set aside for a while, in sight, and in nobody's way."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from inventory.actors import Actor
from inventory.errors import InvalidInputError, NotPermittedError, TransitionRefusedError
from inventory.jobs import setbacks
from inventory.models import ManagedIdentity, SecurityEvent, Setback
from inventory.services import setback_actions
from tests.admin import given
from tests.support import OPERATOR, ControlPlane, charger

pytestmark = pytest.mark.django_db
EVERYBODY = ManagedIdentity.objects.order_by("pk")


def _defect() -> None:
    raise ZeroDivisionError("a defect")


def _refusal() -> None:
    raise InvalidInputError("Not now.")


@pytest.mark.sets_defects_aside
def test_what_fails_for_ever_leaves_the_front_of_the_queue_to_the_others(plane: ControlPlane) -> None:
    bad, sound = charger("CS-1"), charger("CS-2")
    done: list[int] = []

    def take_one() -> None:
        for identity in setbacks.without(EVERYBODY, "greeting", plane.clock())[:1]:
            step = _defect if identity == bad else lambda: done.append(sound.pk)
            setbacks.apart("greeting", identity.pk, plane.clock(), step, identity_id=identity.pk)

    take_one()
    assert done == []
    take_one()

    assert done == [sound.pk]
    assert list(setbacks.aside(EVERYBODY, "greeting", plane.clock())) == [bad]


@pytest.mark.sets_defects_aside
def test_a_defect_is_kept_in_sight_and_tried_again_after_longer_and_longer_times(plane: ControlPlane) -> None:
    identity, waits = charger("CS-1"), []

    for _ in range(12):
        assert setbacks.apart("greeting", identity.pk, plane.clock(), _defect, identity_id=identity.pk) is None
        row = Setback.objects.get()
        waits.append(row.until - plane.clock())
        plane.clock.advance(seconds=waits[-1].total_seconds())

    assert (waits[0], waits[1], waits[-1]) == (timedelta(seconds=10), timedelta(seconds=20), timedelta(hours=1))
    assert (row.tries, row.identity, row.error) == (12, identity, "ZeroDivisionError: a defect")
    event = SecurityEvent.objects.filter(type="WorkSetAside").first()
    assert event is not None
    assert event.identity == identity
    assert "greeting" in event.message
    assert "a defect" not in event.message


def test_a_refusal_is_tried_again_sooner_and_is_no_event(plane: ControlPlane) -> None:
    for _ in range(10):
        setbacks.apart("greeting", 1, plane.clock(), _refusal)

    row = Setback.objects.get()
    assert (row.until - plane.clock(), row.error) == (timedelta(minutes=5), "Not now.")
    assert not SecurityEvent.objects.filter(type="WorkSetAside").exists()


def test_an_operator_has_it_tried_again_at_once_and_a_further_failure_counts_on(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    for _ in range(3):
        setbacks.apart("greeting", identity.pk, plane.clock(), _refusal, identity_id=identity.pk)
    row = Setback.objects.get()
    (offer,) = setback_actions.for_setback(row, OPERATOR, plane.clock())
    assert (offer.verb, offer.allowed) == ("try_now", True)
    assert "Greeting" in offer.explanation
    assert "Not now." in offer.explanation
    assert list(setbacks.without(EVERYBODY, "greeting", plane.clock())) == []

    setback_actions.try_now(setback=row, actor=OPERATOR, reason="Mended", now=plane.clock())

    assert list(setbacks.without(EVERYBODY, "greeting", plane.clock())) == [identity]
    event = SecurityEvent.objects.get(type="WorkTriedAgain")
    assert (event.identity, event.source) == (identity, "operator")
    assert event.message.endswith(": Mended")
    (offer,) = setback_actions.for_setback(Setback.objects.get(), OPERATOR, plane.clock())
    assert not offer.allowed
    with pytest.raises(TransitionRefusedError, match="waits no longer"):
        setback_actions.try_now(setback=row, actor=OPERATOR, reason="Again", now=plane.clock())

    setbacks.apart("greeting", identity.pk, plane.clock(), _refusal, identity_id=identity.pk)
    again = Setback.objects.get()
    assert (again.tries, again.until - plane.clock()) == (4, timedelta(seconds=80))


def test_nobody_has_it_tried_again_without_the_permission_a_reason_or_when_it_is_gone(plane: ControlPlane) -> None:
    setbacks.apart("greeting", 1, plane.clock(), _refusal)
    row = Setback.objects.get()
    stranger = Actor.person(given.person("nobody", "inventory.view_setback"))

    with pytest.raises(NotPermittedError, match="retry_setback"):
        setback_actions.try_now(setback=row, actor=stranger, reason="Please", now=plane.clock())
    with pytest.raises(InvalidInputError, match="reason"):
        setback_actions.try_now(setback=row, actor=OPERATOR, reason=" ", now=plane.clock())
    Setback.objects.filter(pk=row.pk).delete()
    with pytest.raises(TransitionRefusedError, match="set aside no more"):
        setback_actions.try_now(setback=row, actor=OPERATOR, reason="Please", now=plane.clock())


def test_the_command_lists_what_is_set_aside_and_has_it_tried_again() -> None:
    def run(*words: str) -> str:
        said = StringIO()
        call_command("setbacks", *words, "--as", "maria", stdout=said)
        return said.getvalue()

    given.administrator("maria")
    assert run() == "Nothing is set aside.\n"
    row = given.setback(charger("CS-1"))

    listed = run()
    assert listed.strip().startswith(f"{row.pk}  Anchors begin {row.key} of CS-1, tried again from ")
    assert listed.endswith("Its family has no such anchor.\n")
    said = run("try", str(row.pk), "--reason", "Mended")
    assert said == f"Anchors begin {row.key} is tried again as soon as a worker comes to it.\n"
    with pytest.raises(CommandError, match="waits no longer"):
        run("try", str(row.pk), "--reason", "Mended")
    with pytest.raises(CommandError, match="Nothing is set aside with the number '99x'"):
        run("try", "99x", "--reason", "Mended")
    with pytest.raises(CommandError, match="There is no user 'nobody'"):
        call_command("setbacks", "--as", "nobody")


def test_what_has_not_failed_for_a_day_is_forgotten(plane: ControlPlane) -> None:
    setbacks.apart("greeting", 1, plane.clock(), _refusal)
    assert setbacks.forget(plane.clock.advance(hours=23)) == 0

    assert setbacks.forget(plane.clock.advance(hours=2)) == 1
