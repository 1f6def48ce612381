"""What the wire keeps for how long: evidence taken in, commands that ended, questions, connections that closed.

Deleting never lets the same thing count twice:

* Evidence is told from its repeats by session, kind and message id. A station repeats a message within its own
  time-outs, on the same connection; on the next one it is another session and was always another row. So a row is only
  needed as long as a repeat may come, which is minutes, and it is kept for days. What the evidence did has dedupe keys
  of its own in the append-only tables, and those stay.
* A command is known by its dedupe key. Whoever asked for it might ask again under the same key while its own work is
  open, and is asked (`still_needed`) before the command goes. An answer that comes after that finds no open command and
  changes nothing: ids are never given twice.
* An answer that waits in the inbox needs its command, and evidence its session: what is younger than the oldest row
  that waits stays.
"""

from collections.abc import Callable, Set
from datetime import datetime

from django.db import connection, transaction

from bfcerts.purge import MOST_TRANSACTIONS, ROWS_PER_TRANSACTION, purge

StillNeeded = Callable[[Set[str]], Set[str]]
"""Which of these references belong to work that is not at its end."""


def purge_messages(*, done_before: datetime, failed_before: datetime) -> int:
    """Delete evidence that was taken in, or given up, before these times. What waits is never deleted.

    :returns: how many rows were deleted; a backlog takes several calls.
    """
    ended = "state = %s AND finished_at < %s"
    return sum(
        purge("ocpp_inboxmessage", ended, state, before, order="finished_at")
        for state, before in (("done", done_before), ("failed", failed_before))
    )


def purge_questions(*, asked_before: datetime) -> int:
    """Delete questions of stations, and what was answered, that were put before this time and wait no longer.

    :returns: how many rows were deleted; a backlog takes several calls.
    """
    return purge("ocpp_stationquestion", "asked_at < %s AND state <> 'waiting'", asked_before, order="asked_at")


def purge_sessions(*, closed_before: datetime) -> int:
    """Delete connections that closed before this time, and that no waiting evidence speaks of.

    :returns: how many rows were deleted; a backlog takes several calls.
    """
    before = min(closed_before, _oldest_waiting() or closed_before)
    return purge("ocpp_stationsession", "closed_at < %s", before, order="closed_at")


def purge_commands(*, ended_before: datetime, still_needed: StillNeeded) -> int:
    """Delete commands that ended before this time, except those that somebody's open work refers to.

    :returns: how many rows were deleted; a backlog takes several calls.
    """
    before = min(ended_before, _oldest_waiting() or ended_before)
    deleted, last = 0, (datetime.min.replace(tzinfo=before.tzinfo), 0)
    for _ in range(MOST_TRANSACTIONS):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                """
                SELECT id, finished_at, reference FROM ocpp_outboxcommand
                WHERE finished_at < %s AND (finished_at, id) > (%s, %s)
                ORDER BY finished_at, id LIMIT %s
                FOR UPDATE SKIP LOCKED
                """,
                [before, *last, ROWS_PER_TRANSACTION],
            )
            found = cursor.fetchall()
            needed = still_needed({reference for _, _, reference in found if reference})
            free = [identifier for identifier, _, reference in found if reference not in needed]
            cursor.execute("DELETE FROM ocpp_outboxcommand WHERE id = ANY(%s)", [free])
        deleted += len(free)
        if len(found) < ROWS_PER_TRANSACTION:
            break
        last = (found[-1][1], found[-1][0])
    return deleted


def _oldest_waiting() -> datetime | None:
    """When the oldest evidence was received that no worker has taken in."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT min(received_at) FROM ocpp_inboxmessage WHERE state = 'pending'")
        oldest: datetime | None = cursor.fetchone()[0]
    return oldest
