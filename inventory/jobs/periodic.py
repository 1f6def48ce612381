"""The recurring duties of the general worker: each runs on one worker at a time, and says when it last succeeded."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from bfcerts.conflicts import repeated_on_conflict
from inventory.jobs.clocks import MOST_SKEW
from inventory.models import PeriodicTask

logger = logging.getLogger(__name__)

LEASE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Duty:
    """A function of the time, and how often it runs."""

    name: str
    every: timedelta
    run: Callable[[datetime], object]


_duties: dict[str, Duty] = {}


def duty(name: str, every: timedelta) -> Callable[[Callable[[datetime], object]], Callable[[datetime], object]]:
    """Register a recurring duty."""

    def register(function: Callable[[datetime], object]) -> Callable[[datetime], object]:
        _duties[name] = Duty(name, every, function)
        return function

    return register


def known_duties() -> list[Duty]:
    return list(_duties.values())


_CLAIM = """
UPDATE inventory_periodictask SET lease_until = %(lease)s, last_started_at = %(now)s
WHERE name IN (
    SELECT name FROM inventory_periodictask
    JOIN unnest(%(names)s::text[], %(latest)s::timestamptz[]) AS known(duty, latest) ON duty = name
    WHERE (next_run_at <= %(now)s OR next_run_at > latest)
      AND (lease_until IS NULL OR lease_until <= %(now)s OR lease_until > %(latest_lease)s)
    FOR UPDATE OF inventory_periodictask SKIP LOCKED)
RETURNING name
"""


def run_due(clock: Callable[[], datetime]) -> None:
    """Run what is due and free. A duty that fails is logged, shown, and tried again at its next time.

    A next time or a lease further away than any worker gives one was written under a clock that is ahead, and counts
    for nothing.
    """
    now = clock()
    values: dict[str, Any] = {
        "lease": now + LEASE,
        "now": now,
        "names": list(_duties),
        "latest": [now + item.every + MOST_SKEW for item in _duties.values()],
        "latest_lease": now + LEASE + MOST_SKEW,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_CLAIM, values)
        claimed = [row[0] for row in cursor.fetchall()]
    for name in claimed:
        _run(_duties[name], clock)


def _run(item: Duty, clock: Callable[[], datetime]) -> None:
    row = PeriodicTask.objects.filter(name=item.name)
    try:
        repeated_on_conflict(lambda: item.run(clock()))
    except Exception as error:
        logger.exception("the recurring duty %s failed", item.name)
        row.update(
            last_error=f"{type(error).__name__}: {error}"[:1000],
            lease_until=None,
            next_run_at=clock() + item.every,
        )
        if connection.in_atomic_block:
            raise
        return
    now = clock()
    row.update(last_error="", last_succeeded_at=now, lease_until=None, next_run_at=now + item.every)


def ensure_rows(now: datetime) -> None:
    """Make the rows of duties that are new; called when a worker starts."""
    PeriodicTask.objects.bulk_create(
        [PeriodicTask(name=name, next_run_at=now) for name in _duties], ignore_conflicts=True
    )
