"""Commands to a 2.0.1 station, and what became of them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from bfcerts.ocpp import outbox
from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.models import OutboxCommand
from tests.ocpp.node import Station, eventually, stored

PASSWORD = b"0123456789abcdef"
State = OutboxCommand.State

Dial = Callable[[], Station]
_keys = count()


def command(action: Action, payload: dict[str, Any], **changes: Any) -> OutboxCommand:
    return outbox.enqueue(
        **{
            "station_id": "CS-1",
            "action": action,
            "payload": payload,
            "dedupe_key": f"test {next(_keys)}",
            "now": datetime.now(UTC),
            "expires_after": timedelta(hours=1),
            **changes,
        }
    )


def ended(row: OutboxCommand) -> tuple[OutboxCommand, dict[str, Any]]:
    """The command once it has ended, and the evidence of that."""

    def check() -> bool:
        row.refresh_from_db()
        return row.state not in OutboxCommand.OPEN_STATES

    eventually(check, f"the end of {row}")
    (evidence,) = [one for one in stored("command_answered") if one.payload["command_id"] == row.pk]
    assert evidence.payload["outcome"] == row.outcome
    return row, evidence.payload


VARIABLE = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}}
