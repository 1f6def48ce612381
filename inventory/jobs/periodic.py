"""The recurring duties of the general worker: each runs on one worker at a time, and says when it last succeeded."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from bfcerts.conflicts import repeated_on_conflict
from inventory.jobs.clocks import MOST_SKEW
from inventory.models import PeriodicTask

logger = logging.getLogger(__name__)

LEASE = timedelta(minutes=5)
QUICK = timedelta(seconds=10)
"""Duties that come as often as this do a little each time, and what they drive waits for them."""
QUICK_LEASE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Duty:
    """A function of the time, and how often it runs."""

    name: str
    every: timedelta
    run: Callable[[datetime], object]

    @property
    def lease(self) -> timedelta:
        """How long after the death of its worker another one takes it up; run twice at once, it does no harm."""
        return QUICK_LEASE if self.every <= QUICK else LEASE


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
UPDATE inventory_periodictask SET lease_until = %(now)s + lease, last_started_at = %(now)s
FROM (
    SELECT name AS claimed, lease FROM inventory_periodictask
    JOIN unnest(%(names)s::text[], %(latest)s::timestamptz[], %(leases)s::interval[])
        AS known(duty, latest, lease) ON duty = name
    WHERE (next_run_at <= %(now)s OR next_run_at > latest)
      AND (lease_until IS NULL OR lease_until <= %(now)s OR lease_until > %(now)s + lease + %(skew)s)
    ORDER BY next_run_at
    LIMIT 1
    FOR UPDATE OF inventory_periodictask SKIP LOCKED) AS due
WHERE name = claimed
RETURNING name
"""


def run_due(clock: Callable[[], datetime]) -> None:
    """Run what is due and free, each once. A duty that fails is logged, shown, and tried again at its next time.

    Each is claimed right before it runs, so that its lease is its own. A next time or a lease further away than any
    worker gives one was written under a clock that is ahead, and counts for nothing.
    """
    waiting = dict(_duties)
    while (name := _claim(list(waiting.values()), clock())) is not None:
        _run(waiting.pop(name), clock)


def _claim(duties: list[Duty], now: datetime) -> str | None:
    values: dict[str, Any] = {
        "now": now,
        "names": [item.name for item in duties],
        "latest": [now + item.every + MOST_SKEW for item in duties],
        "leases": [item.lease for item in duties],
        "skew": MOST_SKEW,
    }
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, values)
        row = cursor.fetchone()
    return str(row[0]) if row else None


def _run(item: Duty, clock: Callable[[], datetime]) -> None:
    row = PeriodicTask.objects.filter(name=item.name)
    try:
        repeated_on_conflict(lambda: item.run(clock()))
    except Exception as error:  # a defect of one duty stops neither the others nor its own next turn
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
