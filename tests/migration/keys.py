"""AuthorizationKeys for tests, in any state, on the way that the database allows."""

from datetime import UTC, datetime
from typing import Any

from inventory.models import ManagedIdentity
from migration.models import AuthorizationKey
from migration.services.secrets_of_keys import digest

NOW = datetime(2026, 1, 1, tzinfo=UTC)
_WAYS: dict[str, tuple[str, ...]] = {
    "pending": (),
    "active": (),
    "retiring": ("retiring",),
    "retired": ("retiring", "retired"),
    "revoked": ("revoked",),
}


def key_in(
    identity: ManagedIdentity, state: str, secret: bytes | None = None, version: int | None = None, **fields: Any
) -> AuthorizationKey:
    """A key in a state, without the history and the events of a real one."""
    number = version or identity.authorization_keys.count() + 1
    entry = AuthorizationKey(
        identity=identity,
        version=number,
        state="pending" if state == "pending" else "active",
        digest=digest(secret or f"secret-number-{identity.pk}-{number}".encode()),
        source="set",
        created_at=NOW,
        **fields,
    )
    AuthorizationKey.objects.bulk_create([entry])
    for step in _WAYS[state]:
        ended = NOW if step in ("retired", "revoked") else None
        AuthorizationKey.objects.filter(pk=entry.pk).update(state=step, ended_at=ended)
    return AuthorizationKey.objects.get(pk=entry.pk)
