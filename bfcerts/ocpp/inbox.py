"""The inbox of evidence: stored before a station gets its answer, handled by a worker exactly once.

Rows of one station are handled one after another, in the order in which they arrived. A row that failed and waits for
its next try does not hold up the ones behind it, except where the newest of them counts (`IN_ORDER`). Attempts are
counted before the work, so that a row that kills its worker ends as failed and is not tried for ever.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from bfcerts import rows
from bfcerts.conflicts import repeated_on_conflict
from bfcerts.ocpp.canonical import Evidence, Payload
from bfcerts.ocpp.models import InboxMessage
from bfcerts.ocpp.notify import Channel, notify
from bfcerts.ocpp.registry import Handler, InboxEntry, handler_for

MAX_ATTEMPTS = 10
LONGEST_WAIT = timedelta(minutes=5)
LEASE = timedelta(seconds=60)
IN_ORDER = (Evidence.CSR_RECEIVED, Evidence.BOOTED)
"""Kinds of which a station's newest counts: an older one that is handled late would undo what the newer one said."""

AHEAD = timedelta(seconds=1)
"""Evidence dated further in the future than this comes from a node whose clock is ahead: it is due at once."""

HandlerOf = Callable[[Evidence], Handler | None]

# Claims take turns under this lock, so that two workers never hold rows of one station; it is held for milliseconds.
_CLAIM_LOCK = 0x62666365_72747301

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Observation:
    """One fact to be stored. A `message_id` that the session already stored for this kind is the same fact."""

    station_id: str
    session_id: UUID | None
    kind: Evidence
    payload: Payload
    received_at: datetime
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A row that this worker may handle now; `attempt` is the token that proves it."""

    id: int
    attempt: int
    station_id: str
    kind: str


def store(observations: Sequence[Observation]) -> None:
    """Store evidence in the caller's transaction and wake the worker when it commits.

    The payload must be JSON that PostgreSQL accepts; what comes from the wire goes through `storable` first.
    """
    if not observations:
        return
    messages = [
        InboxMessage(
            station_id=item.station_id,
            session_id=item.session_id,
            kind=item.kind,
            message_id=item.message_id,
            payload=item.payload,
            received_at=item.received_at,
            next_run_at=item.received_at,
        )
        for item in observations
    ]
    # Nothing is returned: the gateway may add to the inbox, and read nothing of it.
    InboxMessage.objects.bulk_create(messages, ignore_conflicts=True)
    notify(Channel.WORK)


def storable(value: Any) -> Any:
    """JSON from the wire as PostgreSQL's jsonb can hold it: NUL characters are replaced."""
    if isinstance(value, str):
        return value.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, dict):
        return {str(storable(key)): storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    return value


def claim_due(now: datetime, limit: int, lease: timedelta = LEASE) -> list[Claim]:
    """Take up to `limit` due rows, oldest first, of stations of which nobody holds a row.

    The rows stay ours until `finish`, `fail` or the end of the lease; each claim counts as an attempt.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_CLAIM_LOCK])
        cursor.execute(
            "UPDATE ocpp_inboxmessage SET next_run_at = %(now)s "
            "WHERE state = 'pending' AND attempts = 0 AND next_run_at > %(ahead)s",
            {"now": now, "ahead": now + AHEAD},
        )
        cursor.execute(
            """
            WITH delayed AS MATERIALIZED (
                SELECT station_id, kind, min(id) AS id FROM ocpp_inboxmessage
                WHERE state = 'pending' AND attempts > 0 AND next_run_at > %(now)s AND kind = ANY(%(in_order)s)
                GROUP BY station_id, kind
            ), due AS (
                SELECT id FROM ocpp_inboxmessage AS row
                WHERE state = 'pending' AND next_run_at <= %(now)s
                  AND NOT EXISTS (
                      SELECT FROM delayed
                      WHERE delayed.station_id = row.station_id AND delayed.kind = row.kind AND delayed.id < row.id)
                  AND (lease_until IS NULL OR lease_until <= %(now)s)
                  AND (station_id = '' OR station_id NOT IN (
                      SELECT station_id FROM ocpp_inboxmessage WHERE state = 'pending' AND lease_until > %(now)s))
                ORDER BY id
                LIMIT %(limit)s
                FOR UPDATE SKIP LOCKED
            )
            UPDATE ocpp_inboxmessage AS message
            SET lease_until = %(until)s, attempts = attempts + 1
            FROM due WHERE message.id = due.id
            RETURNING message.id, message.attempts, message.station_id, message.kind
            """,
            {"now": now, "limit": limit, "until": now + lease, "in_order": [kind.value for kind in IN_ORDER]},
        )
        return [Claim(*row) for row in sorted(cursor.fetchall())]


def finish(claim: Claim, now: datetime) -> None:
    """Mark a claimed row as handled; called in the transaction of its handler."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE ocpp_inboxmessage SET state = %s, lease_until = NULL, error = '', finished_at = %s "
            "WHERE id = %s AND attempts = %s",
            [InboxMessage.State.DONE.value, now, claim.id, claim.attempt],
        )


def fail(claim: Claim, error: str, now: datetime) -> None:
    """Store when a row that could not be handled is tried again, or give it up after `MAX_ATTEMPTS`."""
    row = InboxMessage.objects.filter(pk=claim.id, attempts=claim.attempt, state=InboxMessage.State.PENDING)
    if claim.attempt >= MAX_ATTEMPTS:
        row.update(state=InboxMessage.State.FAILED, lease_until=None, error=error, finished_at=now)
        logger.error("inbox row %s is given up after %s attempts: %s", claim.id, claim.attempt, error)
        return
    wait = min(timedelta(seconds=2**claim.attempt), LONGEST_WAIT)
    row.update(lease_until=None, error=error, next_run_at=now + wait)


def process_due(*, now: datetime, limit: int, lease: timedelta = LEASE, handlers: HandlerOf = handler_for) -> int:
    """Handle what is due: each row in one transaction with its handler, so that its effects happen exactly once.

    :param handlers: who handles a kind of evidence; what nobody handles is done.
    :returns: how many rows were claimed; less than `limit` means that nothing more is due now.
    """
    claims = claim_due(now, limit, lease)
    delayed: set[tuple[str, str]] = set()
    for claim in claims:
        if (claim.station_id, claim.kind) in delayed:
            _put_back(claim)
            continue
        if claim.attempt > MAX_ATTEMPTS:
            fail(claim, "every worker that handled this row vanished before it was done", now)
            continue
        try:
            repeated_on_conflict(partial(_handle, claim, now, handlers))
        except Exception as error:  # whatever a handler raises is one row's failure
            logger.warning("inbox row %s could not be handled, attempt %s", claim.id, claim.attempt, exc_info=True)
            fail(claim, f"{type(error).__name__}: {error}"[:1000], now)
            if claim.kind in IN_ORDER and claim.attempt < MAX_ATTEMPTS:
                delayed.add((claim.station_id, claim.kind))
    return len(claims)


def _put_back(claim: Claim) -> None:
    """Give a row back untried: an earlier one of its station has to be handled first."""
    InboxMessage.objects.filter(pk=claim.id, attempts=claim.attempt).update(
        lease_until=None, attempts=claim.attempt - 1
    )


def _handle(claim: Claim, now: datetime, handlers: HandlerOf) -> None:
    with transaction.atomic():
        row = rows.row(
            InboxMessage, "id = %s AND attempts = %s AND state = 'pending'", claim.id, claim.attempt, lock=True
        )
        if row is None:
            return
        if row.station_id:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", [f"inbox {row.station_id}"])
        kind = Evidence(row.kind)
        handler = handlers(kind)
        if handler is not None:
            handler(
                InboxEntry(
                    id=row.id,
                    station_id=row.station_id,
                    session_id=str(row.session_id or ""),
                    kind=kind,
                    payload=row.payload,
                    # what a gateway whose clock is ahead stored is not from the future
                    received_at=min(row.received_at, now),
                )
            )
        finish(claim, now)
