"""The outbox of commands: how they are put in, and how they end. The gateway takes them out in between."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection, transaction
from django.db.models import Q

from bfcerts.ocpp import inbox
from bfcerts.ocpp.canonical import Action, CommandOutcome, Evidence, Payload, is_plug_and_charge
from bfcerts.ocpp.models import OutboxCommand
from bfcerts.ocpp.notify import Channel, notify
from bfcerts.rows import insert, rows, update

ANSWER_GRACE = timedelta(minutes=2)
"""How long past its deadline a command that was sent may still be answered."""

_STATES = {
    CommandOutcome.ACCEPTED: OutboxCommand.State.ANSWERED,
    CommandOutcome.REJECTED: OutboxCommand.State.ANSWERED,
    CommandOutcome.ERROR: OutboxCommand.State.FAILED,
    CommandOutcome.TIMED_OUT: OutboxCommand.State.FAILED,
    CommandOutcome.EXPIRED: OutboxCommand.State.EXPIRED,
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ended. Answer and content must be redacted and storable already.

    `answer` is what the station said, word for word; `content` is what it means, as `Evidence.COMMAND_ANSWERED` says.
    """

    command_id: int
    outcome: CommandOutcome
    status: str = ""
    status_info: Payload | None = None
    answer: Payload | None = None
    content: Payload | None = None
    error_code: str = ""
    error_description: str = ""


def enqueue(
    *,
    station_id: str,
    action: Action,
    payload: Payload,
    dedupe_key: str,
    now: datetime,
    expires_after: timedelta,
    reference: str = "",
    correlation_id: str = "",
    secret_payload: bytes | None = None,
    not_before: datetime | None = None,
) -> OutboxCommand:
    """Store a command, once for each `dedupe_key`, and wake the gateway when the transaction commits.

    :param secret_payload: what `secret_payload.seal` returned for values that must not be readable here.
    :returns: the command; the earlier one where the key is known already.
    """
    new = OutboxCommand(
        dedupe_key=dedupe_key,
        station_id=station_id,
        action=action,
        payload=payload,
        secret_payload=secret_payload,
        reference=reference,
        correlation_id=correlation_id,
        created_at=now,
        not_before=not_before or now,
        deadline=now + expires_after,
    )
    if not insert(new, unless_known=True):
        return OutboxCommand.objects.get(dedupe_key=dedupe_key)
    notify(Channel.OUTBOX, station_id)
    return new


def cancel(references: Iterable[str], *, now: datetime) -> int:
    """Withdraw what was asked under these references: it is not sent from now on.

    What is on its way may still be answered. It is never sent again, also where its connection is lost first; what was
    secret in it is forgotten at once.

    :returns: how many were withdrawn that no station has seen.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE ocpp_outboxcommand
            SET withdrawn_at = %(now)s,
                secret_payload = NULL,
                state = CASE state WHEN 'queued' THEN 'cancelled' ELSE state END,
                finished_at = CASE state WHEN 'queued' THEN %(now)s END
            WHERE reference = ANY(%(references)s) AND state IN ('queued', 'sent') AND withdrawn_at IS NULL
            RETURNING state
            """,
            {"now": now, "references": list(references)},
        )
        return sum(state == OutboxCommand.State.CANCELLED for (state,) in cursor.fetchall())


_MAY_END: Final = """
id = ANY(%s) AND (
    state IN ('queued', 'sent') OR (state = 'cancelled' AND sent_at IS NOT NULL AND id = ANY(%s))
) ORDER BY id
"""
_ENDING = ("state", "outcome", "answer", "error_code", "error_description", "secret_payload", "finished_at")
"""What ending changes of a command."""


_BY_THE_STATION: Final = frozenset({CommandOutcome.ACCEPTED, CommandOutcome.REJECTED, CommandOutcome.ERROR})
"""Outcomes that the station itself told."""


def finish(endings: Sequence[Ending], *, now: datetime) -> None:
    """Store how commands ended, and the evidence of it. A command that has ended before keeps its first ending.

    One that was sent, and ended only because nobody wanted it any more, may still be answered: what the station did
    with it is a fact, and somebody may have to know.
    """
    if not endings:
        return
    with transaction.atomic(savepoint=False):
        _finish({ending.command_id: ending for ending in endings}, now)


def _finish(by_id: Mapping[int, Ending], now: datetime) -> None:
    answered = [key for key, ending in by_id.items() if ending.outcome in _BY_THE_STATION]
    commands = rows(OutboxCommand, _MAY_END, list(by_id), answered, lock=True)
    for command in commands:
        ending = by_id[command.pk]
        command.state = _STATES[ending.outcome]
        command.outcome = ending.outcome
        command.answer = ending.answer
        command.error_code = ending.error_code[:60]
        command.error_description = ending.error_description
        command.secret_payload = None
        command.finished_at = now
        update(command, _ENDING)
    inbox.store([_evidence(command, by_id[command.pk], now) for command in commands])


def _evidence(command: OutboxCommand, ending: Ending, now: datetime) -> inbox.Observation:
    return inbox.Observation(
        station_id=command.station_id,
        session_id=command.session_id,
        kind=Evidence.COMMAND_ANSWERED,
        payload={
            "command_id": command.pk,
            "action": command.action,
            "outcome": ending.outcome,
            "status": ending.status,
            "status_info": ending.status_info,
            "answer": ending.content,
            "error_code": ending.error_code,
            "error_description": ending.error_description,
            "reference": command.reference,
            "correlation_id": command.correlation_id,
            "plug_and_charge": is_plug_and_charge(command.payload),
        },
        received_at=now,
    )


@transaction.atomic
def expire_overdue(now: datetime, *, limit: int = 500) -> int:
    """End the commands whose deadline has passed; one that was sent is left its `ANSWER_GRACE`.

    :returns: how many; as many as `limit` means that there may be more.
    """
    overdue = Q(state=OutboxCommand.State.QUEUED, deadline__lte=now) | Q(
        state=OutboxCommand.State.SENT, deadline__lte=now - ANSWER_GRACE
    )
    expiring = OutboxCommand.objects.select_for_update(skip_locked=True).filter(overdue).order_by("deadline")
    identifiers = list(expiring.values_list("pk", flat=True)[:limit])
    finish(
        [
            Ending(
                identifier,
                CommandOutcome.EXPIRED,
                error_description="the station did not take the command before its deadline",
            )
            for identifier in identifiers
        ],
        now=now,
    )
    return len(identifiers)
