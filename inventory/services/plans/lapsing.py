"""What becomes of plans that nobody applied: their targets are dropped after a while, and they say so.

The plan itself stays, with its counts, its digest, who asked for it and why.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from bfcerts.purge import purge
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import PlanState
from inventory.jobs.periodic import duty
from inventory.models import Plan, PlanTarget

PLANNER = Actor.system("planner")
PLANS_AT_ONCE = 20


@duty("plan-retention", timedelta(minutes=5))
def lapse(now: datetime) -> int:
    """Drop the targets of plans that could not be applied any more for long enough, and mark those that have none left.

    A large plan takes several calls; it cannot be applied meanwhile.

    :returns: how many plans lapsed.
    """
    ended_before = now - timedelta(days=settings.CONFIGURATION.keep_unapplied_plans_days)
    old = Plan.objects.filter(state__in=[PlanState.EXPIRED, PlanState.CANCELLED], expires_at__lte=ended_before)
    lapsed = 0
    for plan_id in list(old.order_by("pk").values_list("pk", flat=True)[:PLANS_AT_ONCE]):
        purge("inventory_plantarget", "plan_id = %s", plan_id, order="id")
        lapsed += _mark(plan_id)
    return lapsed


def _mark(plan_id: int) -> bool:
    with transaction.atomic():
        plan = Plan.objects.select_for_update().get(pk=plan_id)
        if plan.state not in (PlanState.EXPIRED, PlanState.CANCELLED) or PlanTarget.objects.filter(plan=plan).exists():
            return False
        plan.state = PlanState.LAPSED
        with attributed(PLANNER, "Not applied; the targets were dropped", plan.correlation_id):
            plan.save()
    return True
