"""Working at several plans, one step of each in its turn, for a slice of time."""

import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from functools import partial

from django.db.models import QuerySet

from bfcerts.conflicts import repeated_on_conflict
from inventory.jobs import setbacks
from inventory.models import Plan

SLICE_SECONDS = 3.0
"""How long a worker is at it at a stretch, so that it does its other duties too."""
MOST = 20
"""Plans that are worked at in one slice."""


def take_turns(work: str, plans: QuerySet[Plan], step: Callable[[int], bool], now: datetime) -> None:
    """Take steps until none has more to do, or the slice is over. A small plan does not wait for a large one.

    :param work: the name of the duty: under it a plan that meets a defect is set aside; it holds none of the others up.
    :param step: takes one of a plan, in a transaction of its own, and says whether there is more to do.
    """
    ends = time.monotonic() + SLICE_SECONDS
    waiting = deque(setbacks.without(plans, work, now).values_list("pk", flat=True)[:MOST])
    while waiting and time.monotonic() < ends:
        plan_id = waiting.popleft()
        if setbacks.apart(work, plan_id, now, partial(repeated_on_conflict, partial(step, plan_id))):
            waiting.append(plan_id)
