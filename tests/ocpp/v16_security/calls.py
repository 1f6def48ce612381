"""Commands to a 1.6 station, and what became of them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from bfcerts.ocpp import outbox, secret_payload
from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.gateway.tls import ListenerName
from bfcerts.ocpp.models import OutboxCommand
from tests.ocpp.node import Station, eventually, stored

KEY = "0123456789abcdef"
CREDENTIAL_KEY = b"test-credential-key-0123456789abcdef0123456"
BOOT = {"chargePointVendor": "Vendor", "chargePointModel": "One", "chargeBoxSerialNumber": "S1"}
DUAL = ListenerName.DUAL

Dial = Callable[..., Station]
_keys = count()


def command(action: Action, payload: dict[str, Any], secret: dict[str, Any] | None = None) -> OutboxCommand:
    return outbox.enqueue(
        station_id="CP-1",
        action=action,
        payload=payload,
        dedupe_key=f"test {next(_keys)}",
        now=datetime.now(UTC),
        expires_after=timedelta(hours=1),
        secret_payload=secret_payload.seal(secret, CREDENTIAL_KEY) if secret else None,
    )


def ended(row: OutboxCommand) -> dict[str, Any]:
    """The evidence of a command's end."""

    def check() -> bool:
        row.refresh_from_db()
        return row.state not in OutboxCommand.OPEN_STATES

    eventually(check, f"the end of {row}")
    (evidence,) = [one for one in stored("command_answered") if one.payload["command_id"] == row.pk]
    payload: dict[str, Any] = evidence.payload
    return payload


def asked(
    station: Station, action: Action, payload: dict[str, Any], name: str, request: dict[str, Any], answer: Any
) -> dict[str, Any]:
    """Send a command; the station must hear exactly this request, and answers."""
    row = command(action, payload)
    message_id, sent = station.expect(name)
    assert sent == request
    station.answer(message_id, answer)
    return ended(row)
