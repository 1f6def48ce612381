"""Pieces of a duty's work that fail: set aside for a while, in sight, and in nobody's way."""

from datetime import timedelta

import pytest

from inventory.errors import InvalidInputError
from inventory.jobs import setbacks
from inventory.models import ManagedIdentity, SecurityEvent, Setback
from tests.support import ControlPlane, charger

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


def test_what_has_not_failed_for_a_day_is_forgotten(plane: ControlPlane) -> None:
    setbacks.apart("greeting", 1, plane.clock(), _refusal)
    assert setbacks.forget(plane.clock.advance(hours=23)) == 0

    assert setbacks.forget(plane.clock.advance(hours=2)) == 1
