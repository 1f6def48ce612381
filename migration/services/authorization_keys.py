"""AuthorizationKeys: setting, importing and revoking them, and the door for Profile 2.

A key is stored as a keyed HMAC, verified in microseconds, so that a fleet may reconnect at once. Both slots, active
and pending, open the door; retiring ones until their window ends.
"""

import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from bfcerts.ocpp.canonical import RefusalReason
from bfcerts.ocpp.registry import ADAPTER_OPTION, Admission, ConnectionAttempt, Refusal, Stay
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import EventType, SecurityCategory, SecuritySource, Severity, SubjectKind
from inventory.errors import InvalidInputError, TransitionRefusedError
from inventory.models import ManagedIdentity
from inventory.services import lockouts
from inventory.services.actions import NEEDS_A_DOOR
from inventory.services.locking import lock_identity
from inventory.services.security_events import record_security_event
from migration.key_choices import KeySource, KeyState
from migration.models import AuthorizationKey
from migration.services import key_states, last_key
from migration.services.key_states import PROFILE_2
from migration.services.secrets_of_keys import accepted_forms, checked, digest, digest_of


def set_initial(
    *,
    identity: ManagedIdentity,
    secret: str,
    actor: Actor,
    reason: str,
    force: bool = False,
    now: datetime | None = None,
) -> AuthorizationKey:
    """Set the key that a charger uses from now on; the former ones are revoked.

    :param force: also where the charger may have one of them and no other way in; needs a permission of its own.
    :raises InvalidInputError: when the secret is too short, too long, or another charger's.
    :raises LastCredentialError: when the charger may need a former key and `force` is not given.
    :raises TransitionRefusedError: when the charger is locked out, so that no password opens its door.
    """
    return _store(
        identity, secret, actor=actor, reason=reason, now=now or timezone.now(), source=KeySource.SET, force=force
    )


def import_existing(
    *,
    identity: ManagedIdentity,
    secret: str,
    actor: Actor,
    reason: str,
    created_at: datetime | None = None,
    last_success_at: datetime | None = None,
    now: datetime | None = None,
) -> AuthorizationKey:
    """Take over a key that a charger uses already, with its age and last success. A shared one is taken and shown.

    :raises TransitionRefusedError: when the charger has another key here, which may be the one that works.
    """
    return _store(
        identity,
        secret,
        actor=actor,
        reason=reason,
        now=now or timezone.now(),
        source=KeySource.IMPORTED,
        created_at=created_at,
        last_success_at=last_success_at,
    )


def another_key(who: str) -> str:
    """Why an import leaves a charger alone."""
    return f"{who} has another key here, which an import never replaces. Set this one by hand if it is right."


def _store(
    identity: ManagedIdentity,
    secret: str,
    *,
    actor: Actor,
    reason: str,
    now: datetime,
    source: KeySource,
    created_at: datetime | None = None,
    last_success_at: datetime | None = None,
    force: bool = False,
) -> AuthorizationKey:
    actor.require("migration.set_authorizationkey")
    if identity.kind != SubjectKind.CHARGER:
        raise InvalidInputError("Only chargers have AuthorizationKeys.")
    stored = digest_of(checked(secret))
    with transaction.atomic(), attributed(actor, needed(reason)):
        locked = lock_identity(identity.pk)
        sharers = AuthorizationKey.objects.filter(digest=stored).exclude(identity=locked)
        other = sharers.select_related("identity").first()
        if other and source == KeySource.SET:
            raise InvalidInputError("Another charger uses this AuthorizationKey; every charger needs one of its own.")
        keys = key_states.lock_accepted(locked)
        active = key_states.in_state(keys, KeyState.ACTIVE)
        if active and hmac.compare_digest(active.digest, stored):
            return active
        if source == KeySource.IMPORTED and keys:
            same = next((key for key in keys if hmac.compare_digest(key.digest, stored)), None)
            if same is None:
                raise TransitionRefusedError(another_key(locked.authoritative_identifier))
            return same
        if source == KeySource.SET and lockouts.is_locked_out(locked, now):
            raise TransitionRefusedError(f"{locked.authoritative_identifier}: {NEEDS_A_DOOR}")
        last_key.guard(locked, keys, actor, force, now)
        for former in keys:
            key_states.revoke(former, now)
        key = AuthorizationKey(
            identity=locked,
            version=key_states.next_version(locked),
            state=KeyState.ACTIVE,
            digest=stored,
            source=source,
            created_at=created_at or now,
            activated_at=now,
            last_success_at=last_success_at,
        )
        key.save()
        if locked.security_profile < PROFILE_2:
            locked.security_profile = PROFILE_2
            locked.save()
        key_states.tell(EventType.AUTHORIZATION_KEY_ACTIVATED, key, now, source=source.value)
        if other:
            show_shared(locked, other.identity, now)
    return key


def needed(reason: str) -> str:
    """The reason of a change, as it goes into the audit trail.

    :raises InvalidInputError: when there is none.
    """
    if not reason.strip():
        raise InvalidInputError("A reason is needed: say why, for the audit trail.")
    return reason.strip()


def show_shared(identity: ManagedIdentity, other: ManagedIdentity, now: datetime) -> None:
    """Say once that two chargers use the same key."""
    record_security_event(
        "SharedAuthorizationKey",
        category=SecurityCategory.AUTHENTICATION,
        severity=Severity.CRITICAL,
        source=SecuritySource.OPERATOR,
        message=(
            f"{identity.authoritative_identifier} and {other.authoritative_identifier} use the same AuthorizationKey. "
            "Give each of them one of its own."
        ),
        now=now,
        identity=identity,
        station_id=identity.authoritative_identifier[:64],
        payload={"sharedWith": other.authoritative_identifier},
        dedupe_key=f"shared-key:{identity.pk}:{other.pk}",
    )


def revoke(
    *, key: AuthorizationKey, actor: Actor, reason: str, force: bool = False, now: datetime | None = None
) -> AuthorizationKey:
    """Refuse a key from now on.

    :param force: also one that its charger may have and need: it would be locked out without it.
    :raises LastCredentialError: when it may be the charger's only way in and `force` is not given.
    :raises TransitionRefusedError: when it is no longer accepted anyway.
    """
    actor.require("migration.set_authorizationkey")
    now = now or timezone.now()
    with transaction.atomic(), attributed(actor, needed(reason)):
        identity = lock_identity(key.identity_id)
        locked = AuthorizationKey.objects.select_for_update().get(pk=key.pk)
        locked.identity = identity
        if locked.state not in AuthorizationKey.ACCEPTED_STATES:
            raise TransitionRefusedError(f"This key is {locked.get_state_display().lower()} already.")
        last_key.guard(identity, [locked], actor, force, now)
        key_states.revoke(locked, now)
    return locked


# FOR SHARE orders an admission before or after a change that closes sessions: it sees the one or is among the other.
_IDENTITIES = """
SELECT i.authoritative_identifier, i.enabled, i.security_profile, i.fallback_until, k.id, k.digest, k.retiring_until,
       k.last_success_at, k.state, i.connections_watched_until, f.protocol_variant
FROM inventory_managedidentity i
LEFT JOIN inventory_chargerfamily f ON f.id = i.family_id
LEFT JOIN migration_authorizationkey k ON k.identity_id = i.id AND k.state IN ('pending', 'active', 'retiring')
WHERE i.kind = 'charger' AND i.authoritative_identifier = ANY(%s)
FOR SHARE OF i
"""


_KEYS_IN_USE = """
SELECT k.id, k.state, k.retiring_until, i.enabled, i.security_profile, i.fallback_until
FROM migration_authorizationkey k
JOIN inventory_managedidentity i ON i.id = k.identity_id
WHERE k.id = ANY(%s)
"""


class PasswordDoor:
    """The door for Profile 2; one query decides a whole batch of handshakes."""

    def decide(self, attempts: Sequence[ConnectionAttempt]) -> list[Admission | Refusal]:
        with connection.cursor() as cursor:
            cursor.execute(_IDENTITIES, [[attempt.station_id for attempt in attempts]])
            rows: dict[str, list[tuple[Any, ...]]] = {}
            for row in cursor.fetchall():
                rows.setdefault(row[0], []).append(row)
        used: list[int] = []
        decisions = [_decide(attempt, rows.get(attempt.station_id, []), used) for attempt in attempts]
        if used:
            # A fact about use, not a change of the key: no history row for every reconnect.
            AuthorizationKey.objects.filter(pk__in=used).update(last_success_at=attempts[0].now)
        return decisions

    def review(self, stays: Sequence[Stay]) -> list[Refusal | None]:
        """Whether who came in with a key may stay: the key is looked up again, for the password is long forgotten."""
        with connection.cursor() as cursor:
            cursor.execute(_KEYS_IN_USE, [[stay.options["authorization_key"] for stay in stays]])
            rows = {row[0]: row[1:] for row in cursor.fetchall()}
        return [_review(stay, rows.get(stay.options["authorization_key"])) for stay in stays]


def _review(stay: Stay, row: tuple[Any, ...] | None) -> Refusal | None:
    state, retiring_until, *identity = row or (None, None)
    if state not in AuthorizationKey.ACCEPTED_STATES or (retiring_until is not None and retiring_until <= stay.now):
        return Refusal(RefusalReason.WRONG_PASSWORD, f"The key that {stay.station_id} came in with has ended.")
    return _barred(stay.station_id, stay.now, *identity)


def _barred(
    station_id: str, now: datetime, enabled: bool, profile: int, fallback_until: datetime | None
) -> Refusal | None:
    """Why not even the right password lets a charger in."""
    if not enabled:
        return Refusal(RefusalReason.DISABLED_STATION, f"{station_id} is disabled in the inventory.")
    if profile > PROFILE_2 and (fallback_until is None or fallback_until <= now):
        return Refusal(
            RefusalReason.PROFILE_TOO_LOW,
            f"{station_id} has moved to Profile {profile}; a password no longer opens its door.",
        )
    return None


def _decide(attempt: ConnectionAttempt, rows: list[tuple[Any, ...]], used: list[int]) -> Admission | Refusal:
    if attempt.password is None:
        return Refusal(RefusalReason.NO_CREDENTIALS, "No user name and password were sent.")
    candidates = [digest(form) for form in accepted_forms(attempt.password)]
    if not rows:
        return Refusal(RefusalReason.UNKNOWN_STATION, f"No charger {attempt.station_id} is in the inventory.")
    for *_, key_id, stored, retiring_until, last_success_at, state, watched_until, variant in rows:
        if stored is None or (retiring_until is not None and retiring_until <= attempt.now):
            continue
        if any(hmac.compare_digest(candidate, stored) for candidate in candidates):
            barred = _barred(attempt.station_id, attempt.now, *rows[0][1:4])
            if barred is not None:
                return barred
            used.append(key_id)
            watched = watched_until is not None and watched_until > attempt.now
            news = watched or last_success_at is None or state != KeyState.ACTIVE
            options = {"authorization_key": key_id} | ({ADAPTER_OPTION: variant} if variant else {})
            return Admission(PROFILE_2, evidence_wanted=news, options=options)
    return Refusal(RefusalReason.WRONG_PASSWORD, f"The password sent for {attempt.station_id} is not its key.")
