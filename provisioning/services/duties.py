"""What time brings to provisioning cases: prerequisites judged again, and deadlines that pass.

One case in one transaction, decided anew from what is stored, so that a worker may die between any two statements. What
goes wrong with one of them keeps no other waiting.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction

from inventory.actors import Actor
from inventory.audit import attributed
from inventory.jobs import setbacks
from inventory.jobs.periodic import duty
from provisioning.choices import MOVING, CaseState
from provisioning.models import ProvisioningCase
from provisioning.services import lifecycle

PROVISIONING = Actor.system("provisioning")
BATCH = 200
_WORK = "provisioning"


@duty("provisioning", timedelta(seconds=10))
def drive(now: datetime) -> None:
    """One round: deadlines first, so that nothing goes on that has failed by the clock."""
    hold_deadlines(now)
    look_again(now)


def hold_deadlines(now: datetime) -> int:
    """Let cases fail that were not done in time.

    :returns: how many were looked at.
    """
    late = ProvisioningCase.objects.past_deadline(now).order_by("deadline", "id")
    return _each(list(setbacks.without(late, _WORK, now).values_list("pk", "identity_id")[:BATCH]), _hold, now)


def look_again(now: datetime) -> int:
    """Judge anew what nobody tells us of.

    :returns: how many were looked at.
    """
    due = ProvisioningCase.objects.filter(state__in=MOVING, next_look_at__lte=now).order_by("next_look_at", "id")
    return _each(list(setbacks.without(due, _WORK, now).values_list("pk", "identity_id")[:BATCH]), _look, now)


def _each(found: list[tuple[int, int]], step: Callable[[int, datetime], None], now: datetime) -> int:
    for case_id, identity_id in found:
        setbacks.apart(_WORK, case_id, now, partial(step, case_id, now), identity_id=identity_id)
    return len(found)


def _hold(case_id: int, now: datetime) -> None:
    with attributed(PROVISIONING, "Its deadline has passed"), transaction.atomic():
        case = lifecycle.lock_case(case_id)
        if case.state in MOVING and case.deadline is not None and case.deadline <= now:
            lifecycle.advance(case, now)
        if case.state in MOVING and case.deadline is not None and case.deadline <= now:
            state = CaseState(case.state).label.lower()
            lifecycle.failed(case, f"It stayed in state {state} until its deadline. {case.why}", now)


def _look(case_id: int, now: datetime) -> None:
    with attributed(PROVISIONING, "Judged again"), transaction.atomic():
        case = lifecycle.lock_case(case_id)
        if case.state in MOVING and case.next_look_at <= now:
            lifecycle.advance(case, now)
            if case.next_look_at <= now:
                lifecycle.say(case, case.why, look_again_at=case.deadline or now + lifecycle.LOOK_AGAIN)
