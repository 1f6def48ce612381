"""The gateway's part of the outbox: taking commands out for the stations that this node holds."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Case, F, Value, When

from bfcerts.ocpp import outbox
from bfcerts.ocpp.canonical import Action, CommandOutcome, Payload
from bfcerts.ocpp.gateway.renewal_only import COMMANDS as RENEWAL_COMMANDS
from bfcerts.ocpp.models import OutboxCommand

MOST_DELIVERIES: Final = 10
MOST_RESETS: Final = 2
"""A station that reboots without answering would be reset again at every reconnect."""
_ENDS_THE_CONNECTION: Final = frozenset({Action.RESET, Action.SET_AUTHORIZATION_KEY})
"""What a station takes by leaving: a new key is used by connecting again, and may be before the answer is sent."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A session that could send a command now."""

    station_id: str
    session_id: UUID
    now: datetime


@dataclass(frozen=True, slots=True)
class Command:
    """A command taken out of the outbox for one session."""

    id: int
    message_id: UUID
    action: Action
    payload: Payload
    secret_payload: bytes | None = field(repr=False)


def claim(wishes: list[Wish]) -> list[Command | None]:
    """The next due command of each station, marked as sent on its session; None where there is none.

    The session row is locked against the session's end, which puts back what was sent on it: a command is never left
    behind as sent on a session that is gone. A row that this session claimed before, without ever learning of it
    because the database broke away, is claimed again. A session that is there for a renewal only gets what that needs.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH live AS (
                SELECT id, station_id, renewal_only FROM ocpp_stationsession
                WHERE id = ANY(%(sessions)s) AND closed_at IS NULL
                FOR SHARE
            )
            UPDATE ocpp_outboxcommand AS command
            SET state = 'sent', session_id = live.id, sent_at = %(now)s, attempts = command.attempts + 1
            FROM live CROSS JOIN LATERAL (
                SELECT waiting.id FROM ocpp_outboxcommand AS waiting
                WHERE waiting.station_id = live.station_id AND waiting.state IN ('queued', 'sent')
                  AND (waiting.state = 'queued' OR waiting.session_id = live.id) AND waiting.withdrawn_at IS NULL
                  AND waiting.not_before <= %(now)s AND waiting.deadline > %(now)s
                  AND (NOT live.renewal_only OR (
                      waiting.action = ANY(%(renewal)s)
                      AND waiting.payload ->> 'certificate_type' IS DISTINCT FROM 'V2GCertificate'))
                ORDER BY waiting.id
                LIMIT 1
                FOR UPDATE SKIP LOCKED
            ) AS next
            WHERE command.id = next.id
            RETURNING live.id, command.id, command.message_id, command.action, command.payload::text,
                command.secret_payload
            """,
            {
                "sessions": [wish.session_id for wish in wishes],
                "now": wishes[-1].now,
                "renewal": [action.value for action in RENEWAL_COMMANDS],
            },
        )
        claimed = {session: _command(*columns) for session, *columns in cursor.fetchall()}
    return [claimed.get(wish.session_id) for wish in wishes]


def _command(identifier: int, message_id: UUID, action: str, payload: str, sealed: bytes | None) -> Command:
    secret = bytes(sealed) if sealed is not None else None
    return Command(identifier, message_id, Action(action), json.loads(payload), secret)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a claimed command: its ending, or None when it is to be sent again on this session."""

    command_id: int
    session_id: UUID
    ending: outbox.Ending | None
    now: datetime


@transaction.atomic
def record(results: list[Result]) -> list[None]:
    """Store what became of commands, each with its evidence."""
    outbox.finish([result.ending for result in results if result.ending is not None], now=results[-1].now)
    for result in results:
        if result.ending is None:
            sent = OutboxCommand.objects.filter(
                pk=result.command_id, session_id=result.session_id, state=OutboxCommand.State.SENT
            )
            sent.update(
                state=Case(
                    When(withdrawn_at=None, then=Value(OutboxCommand.State.QUEUED)),
                    default=Value(OutboxCommand.State.CANCELLED),
                ),
                finished_at=Case(When(withdrawn_at=None, then=None), default=Value(result.now)),
                attempts=F("attempts") - 1,
            )
    return [None] * len(results)


def release(session_ids: Sequence[UUID], now: datetime) -> None:
    """Put back what was sent on sessions that ended before the answer; called in the transaction that ends them.

    It goes out again, under the same message id, on the station's next session. What was tried too often ends here,
    and so does what was withdrawn since it was sent: nobody wants it any more.
    """
    sent = OutboxCommand.objects.select_for_update().filter(session_id__in=session_ids, state=OutboxCommand.State.SENT)
    withdrawn: list[OutboxCommand] = []
    spent: list[OutboxCommand] = []
    again: list[OutboxCommand] = []
    for row in sent.order_by("pk"):
        if row.withdrawn_at is not None:
            withdrawn.append(row)
            continue
        most = MOST_RESETS if row.action in _ENDS_THE_CONNECTION else MOST_DELIVERIES
        (spent if row.attempts >= most else again).append(row)
    OutboxCommand.objects.filter(pk__in=[row.pk for row in withdrawn]).update(
        state=OutboxCommand.State.CANCELLED, finished_at=now
    )
    OutboxCommand.objects.filter(pk__in=[row.pk for row in again]).update(state=OutboxCommand.State.QUEUED)
    outbox.finish(
        [
            outbox.Ending(
                row.pk,
                CommandOutcome.TIMED_OUT,
                error_description=f"the connection was lost before the answer, {row.attempts} times",
            )
            for row in spent
        ],
        now=now,
    )


def stations_with_commands(station_ids: Sequence[str], now: datetime) -> set[str]:
    """Which of these stations have a command that is due."""
    waiting = OutboxCommand.objects.filter(
        station_id__in=station_ids, state=OutboxCommand.State.QUEUED, not_before__lte=now, deadline__gt=now
    )
    return set(waiting.values_list("station_id", flat=True).distinct())


def stations_now_due(since: datetime, now: datetime) -> set[str]:
    """Stations with a command whose time came in this span."""
    waiting = OutboxCommand.objects.filter(state=OutboxCommand.State.QUEUED, not_before__gt=since, not_before__lte=now)
    return set(waiting.values_list("station_id", flat=True).distinct())
