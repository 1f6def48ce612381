"""Giving a charger a new AuthorizationKey over the air, so that at every moment one works that it has.

The new key opens the door before the request leaves, because a charger may be back with it before its answer is stored
(conformance 10). It becomes active only by a connection with it. Neither key is ended by the clock while it is unknown
which of them the charger has: a lost answer is asked for again with the same key, a charger that does not come back by
itself is restarted, and a new key ends only once the charger restarted and was seen with another one, or has clearly
refused it.
"""

from datetime import datetime
from typing import Final

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from bfcerts.ocpp import canonical, secret_payload
from bfcerts.ocpp.models import StationSession
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import EventType, KeyForm, KeyPath, SubjectKind
from inventory.errors import TransitionRefusedError
from inventory.models import ManagedIdentity
from inventory.services.locking import lock_identity
from migration.key_choices import OPEN_STAGES, DeliveryChannel, KeySource, KeyState
from migration.models import AuthorizationKey, KeyRotation
from migration.services import key_delivery, key_states
from migration.services.authorization_keys import needed
from migration.services.key_states import PROFILE_2
from migration.services.secrets_of_keys import digest_of, generate

_CANARY_LOCK: Final = 0x6B657973


def rotate(*, identity: ManagedIdentity, actor: Actor, reason: str, now: datetime | None = None) -> AuthorizationKey:
    """Generate a new key for a charger and send it there.

    :returns: the pending key; it is active once the charger has connected with it.
    :raises TransitionRefusedError: when the charger cannot be rotated now, with what to do.
    """
    actor.require("migration.rotate_authorizationkey")
    now = now or timezone.now()
    with transaction.atomic(), attributed(actor, needed(reason)):
        locked = lock_identity(identity.pk)
        obstacle = why_not(locked, key_states.lock_accepted(locked), now)
        if obstacle is None and locked.family is not None and locked.family.key_path == KeyPath.UNAPPROVED:
            obstacle = _canary_obstacle(locked)
        if obstacle is not None:
            raise TransitionRefusedError(obstacle)
        return _begin(locked, now)


def why_not(identity: ManagedIdentity, accepted: list[AuthorizationKey], now: datetime) -> str | None:
    """Why a charger cannot be rotated now; None where nothing is in the way.

    :param accepted: its keys that open the door.
    """
    who = identity.authoritative_identifier
    if identity.kind != SubjectKind.CHARGER:
        return f"{who} is a {identity.get_kind_display().lower()}; only chargers have AuthorizationKeys."
    if not identity.enabled:
        return f"{who} is disabled; enable it first."
    if identity.security_profile > PROFILE_2 and not (identity.fallback_until and identity.fallback_until > now):
        return f"{who} is on Profile {identity.security_profile}: a new key could not be proved there."
    pending = key_states.in_state(accepted, KeyState.PENDING)
    if pending is not None:
        return f"Key {pending.version} of {who} is on its way: wait until it is in use or has failed, or revoke it."
    if key_states.in_state(accepted, KeyState.ACTIVE) is None:
        return f"{who} has no active key to connect with; set the one that it has first."
    return None


def _canary_obstacle(identity: ManagedIdentity) -> str | None:
    """While a family's key path is not approved, its chargers are rotated one at a time."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_CANARY_LOCK, identity.family_id])
    under_way = KeyRotation.objects.filter(
        family_id=identity.family_id, stage__in=OPEN_STAGES, channel=DeliveryChannel.OVER_THE_AIR
    )
    other = under_way.select_related("key__identity").first()
    if other is None:
        return None
    return (
        f"The key path of {identity.family} is not approved yet, so its chargers are rotated one at a time, and "
        f"{other.key.identity.authoritative_identifier} is under way. Approve the path once that one is through."
    )


def _begin(identity: ManagedIdentity, now: datetime) -> AuthorizationKey:
    policy = key_delivery.policy_of(identity)
    secret = generate()
    key = AuthorizationKey(
        identity=identity,
        version=key_states.next_version(identity),
        digest=digest_of(secret),
        source=KeySource.GENERATED,
        created_at=now,
    )
    key.save()
    connect_by = now + policy.delivery_deadline + policy.cut_over_deadline
    rotation = KeyRotation(
        key=key,
        family=identity.family,
        sealed_secret=_sealed(identity, secret),
        started_at=now,
        connect_by=connect_by,
        give_up_at=connect_by + policy.rollback_window,
    )
    rotation.save()
    key_states.tell(EventType.AUTHORIZATION_KEY_GENERATED, key, now)
    key_delivery.deliver(rotation, policy, now)
    return key


def _sealed(identity: ManagedIdentity, secret: str) -> bytes:
    """The secret in the form that this charger takes, encrypted for the gateway.

    OCPP 1.6 transports every key as hexadecimal by itself; a 2.0.1 station of some families wants it so too.
    """
    written = secret
    if identity.family is not None and identity.family.key_form == KeyForm.HEXADECIMAL:
        sessions = StationSession.objects.filter(station_id=identity.authoritative_identifier).order_by("-connected_at")
        protocol = sessions.values_list("protocol", flat=True).first() or ""
        written = secret if protocol.startswith("ocpp1.6") else secret.encode().hex()
    return secret_payload.seal(canonical.set_authorization_key(written), settings.CONFIGURATION.credential_secret())
