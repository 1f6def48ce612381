"""Retrying the failed of a rollout while somebody else locks chargers in their order."""

import threading

import pytest
from django.db import transaction

from inventory.audit import attributed
from inventory.models import DomainEvent
from inventory.services.locking import lock_identities, lock_identity
from migration.models import MigrationCase
from migration.services import cases, retrying, rollouts
from migration.states import ReasonCode
from tests.migration.fleet import Fleet, capable_family, cohort, roll_out
from tests.support import OPERATOR, PATIENCE_SECONDS, ControlPlane, in_threads, somebody_waits_for_a_lock, wait_until


@pytest.mark.django_db(transaction=True)
def test_the_failed_are_locked_in_the_order_of_chargers(control_plane: ControlPlane) -> None:
    plane = control_plane
    fleet = Fleet(plane)
    first, second = fleet.add(2, family=capable_family())
    with transaction.atomic(), attributed(OPERATOR, "test"):  # the cases the other way round than the chargers
        for station in (second, first):
            cases.open_case(
                station.identity,
                wave=None,
                code=ReasonCode.NOT_PLANNED,
                why="It is in no rollout.",
                tries=0,
                now=plane.clock(),
            )
    fleet.confirm_anchors()
    rollout = roll_out(plane, cohort("All", [first.identity, second.identity]))
    for station in (first, second):
        rollouts.quarantine(case=station.case, actor=OPERATOR, reason="test", now=plane.clock())
    assert second.case.pk < first.case.pk
    plane.clock.advance(seconds=1)
    assert rollouts.retry_failed(rollout=rollout, actor=OPERATOR, reason="Mended", now=plane.clock()) == 2
    first_locked = threading.Event()

    def other_work() -> None:
        with transaction.atomic():
            lock_identity(first.identity.pk)
            first_locked.set()
            wait_until(somebody_waits_for_a_lock, "the retry to wait for the first charger")
            lock_identities([second.identity.pk])

    def by_the_duty() -> None:
        assert first_locked.wait(PATIENCE_SECONDS)
        assert retrying.go_on(plane.clock()) == 2

    in_threads(other_work, by_the_duty)

    assert set(MigrationCase.objects.values_list("state", flat=True)) == {"pending"}
    released = DomainEvent.objects.filter(payload__previousState="quarantine").order_by("pk")
    assert [event.identity for event in released] == [first.identity, second.identity]
