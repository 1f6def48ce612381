"""Questions of stations, as the gateway puts them and a worker answers them. Notifications only make it quicker.

A question is a row from before anybody is asked until long after its station was answered. The gateway has promised its
station an answer by the deadline and keeps that by itself; what a worker finds out later is kept, and is there when the
station asks again. Workers hold a question under a lease that they renew, so that another one takes it up when they are
gone; attempts are counted before the work.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import orjson
from django.db import connection, transaction

from bfcerts.ocpp.canonical import Payload, QuestionKind
from bfcerts.ocpp.models import StationQuestion
from bfcerts.ocpp.notify import Channel, notify, notify_each
from bfcerts.ocpp.protocol import Told
from bfcerts.ocpp.registry import Question, QuestionAnswer

MAX_ATTEMPTS: Final = 3
LEASE: Final = timedelta(seconds=5)
RENEWAL: Final = timedelta(seconds=1)
"""How often a worker renews what it holds."""
FRESH: Final = timedelta(minutes=1)
"""How long an answer is good for a station that asks the same again."""

State = StationQuestion.State


@dataclass(frozen=True, slots=True)
class Put:
    """A question on its way into the table."""

    station_id: str
    session_id: UUID
    message_id: str
    kind: QuestionKind
    payload: Payload
    longest: int
    now: datetime
    deadline: datetime


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a question stands that was put: `told` is there at once where the same was answered a moment ago."""

    id: int
    deadline: datetime
    told: Told | None


@dataclass(frozen=True, slots=True)
class Held:
    """A question that this worker may answer now; `attempt` is the token that proves it."""

    question: Question
    attempt: int


@dataclass(frozen=True, slots=True)
class Heard:
    """What a station heard, or that it heard nothing, because it was gone."""

    id: int
    told: StationQuestion.Told | None
    now: datetime


# -- the gateway's side ----------------------------------------------------------------------------------------------


def put(items: Sequence[Put]) -> list[Stored]:
    """Store questions, in order, and wake those who answer. The same message of the same station is the same question.

    One that still waits goes on with the deadline that it has; one that was answered a moment ago is answered already;
    any other is put anew.
    """
    by_key = {(item.station_id, item.message_id): item for item in items}
    now = items[-1].now
    with transaction.atomic():
        stored = _upsert(list(by_key.values()), now)
        notify_each(Channel.QUESTIONS, sorted({item.kind.value for item in by_key.values()}))
    return [stored[item.station_id, item.message_id] for item in items]


def _upsert(items: Sequence[Put], now: datetime) -> dict[tuple[str, str], Stored]:
    # In one order everywhere, so that two nodes never wait for each other in a circle.
    rows = sorted(
        (
            item.station_id,
            item.message_id,
            item.session_id,
            item.kind.value,
            orjson.dumps(item.payload).decode(),
            item.longest,
            item.deadline,
        )
        for item in items
    )
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO ocpp_stationquestion AS known
                (station_id, message_id, session_id, kind, payload, longest, deadline, asked_at, times_asked, state,
                 attempts, content, detail, told)
            SELECT station_id, message_id, session_id, kind, payload::jsonb, longest, deadline, %(now)s, 1, 'waiting',
                   0, '', '', ''
            FROM unnest(%(stations)s::text[], %(messages)s::text[], %(sessions)s::uuid[], %(kinds)s::text[],
                        %(payloads)s::text[], %(longest)s::int[], %(deadlines)s::timestamptz[])
                AS new(station_id, message_id, session_id, kind, payload, longest, deadline)
            ON CONFLICT (station_id, message_id) DO UPDATE
            SET session_id = EXCLUDED.session_id, times_asked = known.times_asked + 1
            RETURNING id, station_id, message_id, deadline, state, accepted, content, answered_at
            """,
            {
                "now": now,
                **dict(
                    zip(
                        ("stations", "messages", "sessions", "kinds", "payloads", "longest", "deadlines"),
                        (list(column) for column in zip(*rows, strict=True)),
                        strict=True,
                    )
                ),
            },
        )
        found = cursor.fetchall()
        wanted = {(item.station_id, item.message_id): item for item in items}
        stored: dict[tuple[str, str], Stored] = {}
        for identifier, station, message, deadline, state, accepted, content, answered_at in found:
            key = (station, message)
            if answered_at is not None and answered_at > now - FRESH:
                stored[key] = Stored(identifier, deadline, Told(bool(accepted), content))
            elif state == State.WAITING and deadline > now:
                stored[key] = Stored(identifier, deadline, None)
            else:
                stored[key] = Stored(identifier, wanted[key].deadline, None)
                _put_anew(identifier, wanted[key])
    return stored


def _put_anew(identifier: int, item: Put) -> None:
    StationQuestion.objects.filter(pk=identifier).update(
        state=State.WAITING,
        asked_at=item.now,
        deadline=item.deadline,
        attempts=0,
        lease_until=None,
        answered_at=None,
        accepted=None,
        content="",
        detail="",
        told="",
        told_at=None,
    )


def answers(identifiers: Sequence[int]) -> list[Told | None]:
    """What was answered to these questions, in order; None where nothing is yet."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, accepted, content FROM ocpp_stationquestion WHERE id = ANY(%s) AND state = 'answered'",
            [list(identifiers)],
        )
        found = {identifier: Told(bool(accepted), content) for identifier, accepted, content in cursor.fetchall()}
    return [found.get(identifier) for identifier in identifiers]


def heard(items: Sequence[Heard]) -> list[None]:
    """Store what stations heard. A question that still waits ends with it: nobody waits for its answer any more.

    Where the station is gone, it is left to whoever has been asked by now: the station may ask again.
    """
    told = {item.id: item for item in items if item.told is not None}
    gone = {item.id: item for item in items if item.told is None}
    with transaction.atomic(), connection.cursor() as cursor:
        # In one order everywhere, so that nobody waits for somebody else in a circle.
        cursor.execute(
            "SELECT FROM ocpp_stationquestion WHERE id = ANY(%s) ORDER BY id FOR UPDATE", [[item.id for item in items]]
        )
        cursor.execute(
            """
            UPDATE ocpp_stationquestion AS question
            SET told = new.told, told_at = new.at,
                state = CASE WHEN question.state = 'waiting' THEN 'expired' ELSE question.state END,
                detail = CASE WHEN question.state = 'waiting' THEN %s ELSE question.detail END
            FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[]) AS new(id, told, at)
            WHERE question.id = new.id
            """,
            [
                LATE,
                list(told),
                [str(item.told) for item in told.values()],
                [item.now for item in told.values()],
            ],
        )
        cursor.execute(
            """
            UPDATE ocpp_stationquestion SET state = 'closed', detail = %s
            WHERE id = ANY(%s) AND state = 'waiting' AND lease_until IS NULL
            """,
            [GONE, list(gone)],
        )
    return [None] * len(items)


LATE: Final = "No answer came before the deadline."
GONE: Final = "The station had gone before anybody was asked."
VANISHED: Final = "Every worker that was to answer this vanished before it was done."


# -- the worker's side -----------------------------------------------------------------------------------------------


def take(kind: QuestionKind, now: datetime, lease: timedelta = LEASE) -> Held | None:
    """Take the oldest question of a kind that waits, unless its station has gone; None where there is none.

    It stays ours until `settle` or the end of the lease; each time it is taken counts as an attempt.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE ocpp_stationquestion AS question
            SET lease_until = %(until)s, attempts = question.attempts + 1
            WHERE question.id = (
                SELECT waiting.id FROM ocpp_stationquestion AS waiting
                WHERE waiting.kind = %(kind)s AND waiting.state = 'waiting' AND waiting.deadline > %(now)s
                  AND (waiting.lease_until IS NULL OR waiting.lease_until <= %(now)s)
                  AND waiting.attempts < %(most)s
                  AND EXISTS (
                      SELECT FROM ocpp_stationsession AS session
                      WHERE session.id = waiting.session_id AND session.closed_at IS NULL)
                ORDER BY waiting.id
                LIMIT 1
                FOR UPDATE SKIP LOCKED
            )
            RETURNING question.id, question.station_id, question.session_id, question.payload::text,
                question.longest, question.asked_at, question.deadline, question.attempts
            """,
            {"until": now + lease, "kind": kind.value, "now": now, "most": MAX_ATTEMPTS},
        )
        row = cursor.fetchone()
    if row is None:
        return None
    identifier, station_id, session_id, payload, longest, asked_at, deadline, attempt = row
    question = Question(
        identifier, station_id, str(session_id), kind, orjson.loads(payload), longest, asked_at, deadline
    )
    return Held(question, attempt)


def kinds_waiting(now: datetime) -> list[QuestionKind]:
    """Of which kinds there is a question that nobody answers yet."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT kind FROM ocpp_stationquestion "
            "WHERE state = 'waiting' AND (lease_until IS NULL OR lease_until <= %s)",
            [now],
        )
        return [QuestionKind(kind) for (kind,) in cursor.fetchall()]


def renew(held: Sequence[Held], now: datetime, lease: timedelta = LEASE) -> None:
    """Go on holding what is being answered."""
    if not held:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE ocpp_stationquestion SET lease_until = %s
            WHERE id IN (
                SELECT question.id FROM ocpp_stationquestion AS question
                JOIN unnest(%s::bigint[], %s::int[]) AS ours(id, attempt)
                    ON question.id = ours.id AND question.attempts = ours.attempt
                WHERE question.state = 'waiting'
                ORDER BY question.id
                FOR UPDATE OF question SKIP LOCKED)
            """,
            [now + lease, [one.question.id for one in held], [one.attempt for one in held]],
        )


def settle(held: Held, answer: QuestionAnswer, now: datetime) -> bool:
    """Store an answer, and wake the gateway that waits for it. An answer too late is kept all the same.

    :returns: false where another worker has taken the question meanwhile, or the station has put it anew; then nothing
        is stored.
    """
    fitting = _fitting(answer, held.question)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE ocpp_stationquestion
            SET accepted = %(accepted)s, content = %(content)s, answered_at = %(now)s, lease_until = NULL,
                detail = CASE WHEN state = 'waiting' AND deadline > %(now)s THEN %(detail)s
                              ELSE trim(%(late)s || ' ' || %(detail)s) END,
                state = CASE WHEN state <> 'waiting' THEN state WHEN deadline > %(now)s THEN 'answered'
                             ELSE 'expired' END
            WHERE id = %(id)s AND attempts = %(attempt)s AND asked_at = %(asked_at)s AND answered_at IS NULL
            RETURNING state
            """,
            {
                "accepted": fitting.accepted,
                "content": fitting.content,
                "detail": fitting.detail,
                "late": "The answer came too late.",
                "now": now,
                "id": held.question.id,
                "attempt": held.attempt,
                "asked_at": held.question.asked_at,
            },
        )
        row = cursor.fetchone()
        if row is not None and row[0] == State.ANSWERED:
            notify(Channel.ANSWERS, str(held.question.id))
    return row is not None


def _fitting(answer: QuestionAnswer, question: Question) -> QuestionAnswer:
    """An answer that the station's message can carry, with a detail that the database can."""
    detail = answer.detail.replace("\x00", " ")
    if len(answer.content) > question.longest:
        said = (
            f"The answer has {len(answer.content)} characters, and the message of this station carries no more than "
            f"{question.longest}."
        )
        return QuestionAnswer(False, "", f"{said} {detail}".strip())
    if not answer.content.isascii() or "\x00" in answer.content:
        return QuestionAnswer(False, "", f"The answer is no base64. {detail}".strip())
    return QuestionAnswer(answer.accepted, answer.content, detail)


def clear_up(now: datetime) -> None:
    """End what nobody will answer: past its deadline, given up by every worker, or of a station that has gone.

    Safe to run by many at once; what nobody waits for is not locked for long.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            """
            WITH over AS (
                SELECT question.id, CASE
                    WHEN question.deadline <= %(now)s THEN 'expired'
                    WHEN question.lease_until IS NULL THEN 'closed'
                    ELSE 'answered' END AS state
                FROM ocpp_stationquestion AS question
                WHERE question.state = 'waiting' AND (
                    question.deadline <= %(now)s
                    OR (question.attempts >= %(most)s AND question.lease_until <= %(now)s)
                    OR (question.lease_until IS NULL AND NOT EXISTS (
                        SELECT FROM ocpp_stationsession AS session
                        WHERE session.id = question.session_id AND session.closed_at IS NULL)))
                ORDER BY question.id
                LIMIT 500
                FOR UPDATE OF question SKIP LOCKED
            )
            UPDATE ocpp_stationquestion AS question
            SET state = over.state, detail = %(details)s::jsonb ->> over.state,
                accepted = CASE over.state WHEN 'answered' THEN false END,
                answered_at = CASE over.state WHEN 'answered' THEN %(now)s::timestamptz END
            FROM over WHERE question.id = over.id
            RETURNING question.id, question.state
            """,
            {"now": now, "most": MAX_ATTEMPTS, "details": orjson.dumps(_DETAILS).decode()},
        )
        given_up = [str(identifier) for identifier, state in cursor.fetchall() if state == State.ANSWERED]
        if given_up:
            notify_each(Channel.ANSWERS, given_up)


_DETAILS: Final[Mapping[str, str]] = {
    State.EXPIRED.value: LATE,
    State.ANSWERED.value: VANISHED,
    State.CLOSED.value: GONE,
}
