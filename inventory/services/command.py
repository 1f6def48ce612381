"""What every lifecycle command has around it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from inventory.actors import Actor
from inventory.audit import attributed
from inventory.errors import InvalidInputError


@contextmanager
def command(actor: Actor, permission: str, reason: str) -> Iterator[None]:
    """Permission, a reason, attribution, one transaction.

    :raises NotPermittedError: when the actor lacks the permission.
    :raises InvalidInputError: without a reason.
    """
    actor.require(permission)
    if not reason.strip():
        raise InvalidInputError("A reason is needed: say why, for the audit trail.")
    with attributed(actor, reason.strip()), transaction.atomic():
        yield


def callers_key(key: str | None) -> str | None:
    """A caller's idempotency key, kept apart from our own: nobody may take the key of a revocation in advance."""
    return f"caller:{hashlib.sha256(key.encode()).hexdigest()}" if key else None
