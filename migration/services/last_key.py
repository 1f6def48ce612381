"""Which keys a charger may have and need, so that none of them ends by the way.

On Profile 2 a charger without a key that is accepted is locked out until somebody goes there. What it may have: its
active key; a pending one, once a delivery has left; a retiring one, if it came back with it.
"""

from collections.abc import Iterable
from datetime import datetime

from bfcerts.ocpp.models import OutboxCommand
from inventory.actors import Actor
from inventory.errors import LastCredentialError
from inventory.models import ManagedIdentity
from inventory.services import lockouts
from migration.key_choices import KeyState
from migration.models import AuthorizationKey, KeyRotation
from migration.services import key_states

PERMISSION = "migration.forcerevoke_authorizationkey"


def guard(
    identity: ManagedIdentity, ending: Iterable[AuthorizationKey], actor: Actor, force: bool, now: datetime
) -> None:
    """Refuse to end keys that their charger may need, unless that is forced.

    :param ending: accepted keys of the identity, which the caller has locked.
    :raises LastCredentialError: when one of them may be the charger's only way in and `force` is not given.
    :raises NotPermittedError: when `force` is given without its permission.
    """
    if force:
        actor.require(PERMISSION)
        return
    for key in ending:
        if may_be_needed(key, identity, now):
            who = identity.authoritative_identifier
            raise LastCredentialError(
                f"{who} may have key {key.version} and no other way in: without it, {who} is locked out until somebody "
                "sets a key on site. Rotate the key instead, or wait for the rotation to end; force it if you mean to."
            )


def may_be_needed(key: AuthorizationKey, identity: ManagedIdentity, now: datetime) -> bool:
    """Whether a charger may have an accepted key, and come in by it and by nothing else."""
    if key.state == KeyState.PENDING:
        return may_be_stored(key)
    if lockouts.depends_on_certificate(identity, now):
        return False
    return key.state == KeyState.ACTIVE or was_used_last(key)


def may_be_stored(key: AuthorizationKey) -> bool:
    """Whether its charger may come back with a pending key: a delivery has left, or could have by now."""
    rotation = KeyRotation.objects.filter(key=key).first()
    if rotation is None or rotation.may_be_stored:
        return rotation is not None
    sent = OutboxCommand.objects.filter(reference=key_states.reference(key, "deliver"), attempts__gt=0)
    return sent.filter(state__in=OutboxCommand.OPEN_STATES).exists()


def was_used_last(key: AuthorizationKey) -> bool:
    """Whether the charger used this retiring key after its active one, so that it may have no other."""
    active = AuthorizationKey.objects.filter(identity_id=key.identity_id, state=KeyState.ACTIVE).first()
    if key.last_success_at is None or active is None:
        return False
    return active.last_success_at is None or active.last_success_at < key.last_success_at
