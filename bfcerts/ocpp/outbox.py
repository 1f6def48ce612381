"""Putting commands for stations into the outbox. The gateway takes them out (`bfcerts.ocpp.gateway`)."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from bfcerts.ocpp.canonical import Action, Payload
from bfcerts.ocpp.models import OutboxCommand
from bfcerts.ocpp.notify import Channel, notify


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

    :returns: the command; the earlier one where the key is known already.
    """
    command, created = OutboxCommand.objects.get_or_create(
        dedupe_key=dedupe_key,
        defaults={
            "station_id": station_id,
            "action": action,
            "payload": payload,
            "secret_payload": secret_payload,
            "reference": reference,
            "correlation_id": correlation_id,
            "created_at": now,
            "not_before": not_before or now,
            "deadline": now + expires_after,
        },
    )
    if created:
        notify(Channel.OUTBOX, station_id)
    return command


def cancel(references: Iterable[str], *, now: datetime) -> int:
    """Withdraw what was asked under these references and has not been sent."""
    return OutboxCommand.objects.filter(
        reference__in=list(references), state=OutboxCommand.State.QUEUED
    ).update(state=OutboxCommand.State.CANCELLED, finished_at=now, secret_payload=None)
