"""What every lifecycle command has around it, and the sentence for what is not ours to do."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import OperatingMode
from inventory.errors import InvalidInputError, TransitionRefusedError
from inventory.models import ManagedIdentity
from inventory.purposes import Purpose


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


def not_ours(identity: ManagedIdentity, entry: Purpose, mode: str, verb: str, authority: str) -> TransitionRefusedError:
    """The refusal of what another authority is responsible for."""
    return TransitionRefusedError(
        f"{entry.label} certificates of {identity.authoritative_identifier} are {OperatingMode(mode).label.lower()}: "
        f"we do not {verb} them. {authority or 'Their external authority'} is responsible; what it reports is "
        "registered here."
    )
