"""Several people and workers at one plan, each on a connection of their own."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection, transaction

from inventory.choices import PlanRun, PlanState
from inventory.errors import InventoryError
from inventory.models import CertificateJob, ManagedIdentity, Plan
from inventory.services import plans
from inventory.services.locking import lock_identity
from inventory.services.plans import judging, planner, running
from tests.support import (
    OPERATOR,
    PATIENCE_SECONDS,
    ControlPlane,
    charger,
    in_threads,
    somebody_waits_for_a_lock,
    wait_until,
)

pytestmark = pytest.mark.django_db(transaction=True)


def renewal_of(plane: ControlPlane, *names: str) -> Plan:
    for name in names:
        plane.enrol(charger(name, region="North"))
    return plans.make(
        kind="bulk_renewal", parameters={"region": "North"}, actor=OPERATOR, reason="test", now=plane.clock()
    )


def apply(plan: Plan, plane: ControlPlane) -> Plan:
    return plans.apply(plan=plan, digest=plan.digest, actor=OPERATOR, reason="test", now=plane.clock())


def test_two_who_apply_at_once_apply_once(control_plane: ControlPlane) -> None:
    plan = renewal_of(control_plane, "CS-1")
    start = threading.Barrier(2)

    def applying() -> Plan:
        start.wait(PATIENCE_SECONDS)
        return apply(plan, control_plane)

    first, second = in_threads(applying, applying)

    assert (first.state, second.state) == (PlanState.APPLIED, PlanState.APPLIED)
    assert Plan.objects.get(pk=plan.pk).history.filter(state=PlanState.APPLIED).count() == 1
    running.run_plans(control_plane.clock())
    assert CertificateJob.objects.filter(action="renew").count() == 1


def test_who_cancels_while_somebody_applies_comes_after(control_plane: ControlPlane) -> None:
    plan = renewal_of(control_plane, "CS-1")

    def cancelling() -> str:
        try:
            plans.cancel(plan=plan, actor=OPERATOR, reason="no")
        except InventoryError as error:
            return str(error)
        return "cancelled"

    def holding() -> str:
        with transaction.atomic():
            apply(plan, control_plane)
            wait_until(somebody_waits_for_a_lock, "the other one to wait for the plan")
        return "applied"

    with_both: list[Callable[[], str]] = [holding, lambda: _after_apply(cancelling)]
    said = in_threads(*with_both)

    assert said[0] == "applied"
    assert "only one that was not applied" in said[1]


def _after_apply(work: Callable[[], str]) -> str:
    wait_until(_a_plan_is_locked, "somebody to hold the plan")
    return work()


def _a_plan_is_locked() -> bool:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM inventory_plan")
        everything = cursor.fetchone()[0]
        cursor.execute("SELECT count(*) FROM (SELECT 1 FROM inventory_plan FOR UPDATE SKIP LOCKED) AS free")
        return bool(cursor.fetchone()[0] < everything)


def test_two_workers_start_each_target_once(control_plane: ControlPlane) -> None:
    plan = renewal_of(control_plane, *(f"CS-{number}" for number in range(6)))
    apply(plan, control_plane)
    start = threading.Barrier(2)

    def work() -> None:
        start.wait(PATIENCE_SECONDS)
        running.run_plans(control_plane.clock())

    in_threads(work, work)

    assert CertificateJob.objects.filter(action="renew").count() == 6
    assert plan.targets.filter(outcome="started", job__isnull=False).count() == 6


def test_nothing_starts_after_a_pause_has_returned(control_plane: ControlPlane) -> None:
    """A worker that was on its way to a target sees the pause when it gets the lock."""
    plan = renewal_of(control_plane, "CS-1")
    apply(plan, control_plane)
    identity = ManagedIdentity.objects.get()

    def pausing() -> None:
        with transaction.atomic():
            lock_identity(identity.pk)
            wait_until(somebody_waits_for_a_lock, "the worker to wait for the charger")
            plans.pause(plan=plan, actor=OPERATOR, reason="stop")

    in_threads(pausing, lambda: _after_lock_of(identity, control_plane))

    assert not CertificateJob.objects.filter(action="renew").exists()
    assert Plan.objects.get(pk=plan.pk).run == PlanRun.PAUSED


def _after_lock_of(identity: ManagedIdentity, plane: ControlPlane) -> None:
    def held() -> bool:
        with transaction.atomic():
            return not ManagedIdentity.objects.select_for_update(skip_locked=True).filter(pk=identity.pk).exists()

    wait_until(held, "the charger to be held")
    running.run_plans(plane.clock())


def test_two_who_prepare_one_plan_help_each_other(control_plane: ControlPlane) -> None:
    ManagedIdentity.objects.bulk_create(
        [
            ManagedIdentity(kind="charger", authoritative_identifier=f"CS-{number}", region="North")
            for number in range(2 * judging.BATCH + 1)
        ],
        batch_size=1_000,
    )
    plan = plans.start(
        kind="bulk_renewal",
        parameters={"region": "North"},
        actor=OPERATOR,
        reason="test",
        now=control_plane.clock(),
    )
    start = threading.Barrier(2)

    def preparing() -> str:
        start.wait(PATIENCE_SECONDS)
        return plans.prepare(plan=plan, now=control_plane.clock()).digest

    digests = in_threads(preparing, preparing)

    assert digests[0] == digests[1] != ""
    assert Plan.objects.get(pk=plan.pk).candidates == plan.targets.count() == 2 * judging.BATCH + 1
    assert planner.prepare_batch(plan.pk, control_plane.clock()).candidates == 2 * judging.BATCH + 1
