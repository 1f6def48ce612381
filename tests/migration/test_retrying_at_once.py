"""Retrying the failed of a rollout while somebody else locks chargers in their order."""

import threading

import pytest
from django.db import transaction

from inventory.audit import attributed
from inventory.services.locking import lock_identities, lock_identity
from migration.models import MigrationCase
from migration.services import cases, rollouts
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
    first_locked = threading.Event()

    def other_work() -> None:
        with transaction.atomic():
            lock_identity(first.identity.pk)
            first_locked.set()
            wait_until(somebody_waits_for_a_lock, "the retry to wait for the first charger")
            lock_identities([second.identity.pk])

    def retrying() -> None:
        assert first_locked.wait(PATIENCE_SECONDS)
        # As a form and a request with an Idempotency-Key do: one transaction around it all.
        with transaction.atomic():
            rollouts.retry_failed(rollout=rollout, actor=OPERATOR, reason="Mended", now=plane.clock())

    in_threads(other_work, retrying)

    assert set(MigrationCase.objects.values_list("state", flat=True)) == {"pending"}
