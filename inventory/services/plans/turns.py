"""Working at several plans, one step of each in its turn, for a slice of time."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

from bfcerts.conflicts import repeated_on_conflict

SLICE_SECONDS = 3.0
"""How long a worker is at it at a stretch, so that it does its other duties too."""

logger = logging.getLogger(__name__)


def take_turns(plan_ids: Iterable[int], step: Callable[[int], bool]) -> None:
    """Take steps until none has more to do, or the slice is over. A small plan does not wait for a large one.

    :param step: takes one of a plan, in a transaction of its own, and says whether there is more to do.
    """
    ends = time.monotonic() + SLICE_SECONDS
    waiting = deque(plan_ids)
    failed: Exception | None = None
    while waiting and time.monotonic() < ends:
        plan_id = waiting.popleft()
        try:
            if repeated_on_conflict(partial(step, plan_id)):
                waiting.append(plan_id)
        except Exception as error:  # a defect that one plan meets holds none of the others up
            logger.exception("plan %s could not be gone on with", plan_id)
            failed = error
    if failed is not None:
        raise failed
