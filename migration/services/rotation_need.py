"""Which chargers need a new AuthorizationKey, and why: what readiness asks, and what a duty tells of once each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection, transaction
from django.utils import timezone

from inventory.actors import Actor
from inventory.choices import SecurityCategory, SecuritySource, Severity
from inventory.errors import InvalidInputError, TransitionRefusedError
from inventory.jobs.periodic import duty
from inventory.models import LifecyclePolicy, ManagedIdentity
from inventory.services import policies
from inventory.services.command import command
from inventory.services.locking import lock_identity
from inventory.services.policies import NoPolicyError
from inventory.services.security_events import record_security_event
from migration.key_choices import ACCEPTED_KEY_STATES, FLAGS, KeySource, KeyState, RotationReason
from migration.models import AuthorizationKey, KnownDefaultKey

BATCH: Final = 500
R = RotationReason


@dataclass(frozen=True, slots=True)
class Need:
    """Why a charger needs a new key."""

    reason: RotationReason
    sentence: str


def needs_rotation(identity: ManagedIdentity, now: datetime) -> Need | None:
    """Why a charger needs a new key before anything may rely on its present one; None where it does not."""
    return needs_of([identity], now).get(identity.pk)


def needs_of(identities: Sequence[ManagedIdentity], now: datetime) -> dict[int, Need]:
    """As `needs_rotation` for many, by id; only keys that a policy could find too old cost a query of their own.

    The gravest reason counts: what others know of the key before its age and where it comes from.
    """
    keys = {
        key.identity_id: key for key in AuthorizationKey.objects.filter(identity__in=identities, state=KeyState.ACTIVE)
    }
    digests = {key.digest for key in keys.values()}
    defaults = dict(KnownDefaultKey.objects.filter(digest__in=digests).values_list("digest", "label"))
    shared = _shared(digests)
    reverted = _reverted(keys.values())
    shortest = _shortest_validity()
    found = {}
    for identity in identities:
        key = keys.get(identity.pk)
        need = (
            Need(R.NO_KEY, f"{identity.authoritative_identifier} has no active AuthorizationKey; set the one it has.")
            if key is None
            else _need(identity, key, _Known(defaults, shared, reverted, shortest), now)
        )
        if need is not None:
            found[identity.pk] = need
    return found


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read for all at once."""

    defaults: dict[str, str]
    shared: set[str]
    reverted: set[int]
    shortest: timedelta | None


def _need(identity: ManagedIdentity, key: AuthorizationKey, known: _Known, now: datetime) -> Need | None:
    who = identity.authoritative_identifier
    if key.digest in known.defaults:
        return Need(R.DEFAULT, f"The AuthorizationKey of {who} is a vendor's default: {known.defaults[key.digest]}.")
    if key.digest in known.shared:
        return Need(R.SHARED, f"Another charger uses the AuthorizationKey of {who} too.")
    if key.flag_reason is not None:
        return Need(key.flag_reason, f"The AuthorizationKey of {who} was marked: {key.flag_reason.label.lower()}.")
    if key.pk in known.reverted:
        return Need(R.REVERTED, f"{who} went back to its former AuthorizationKey.")
    may_be_old = known.shortest is not None and key.created_at <= now - known.shortest
    if may_be_old and _is_over_age(identity, key, now):
        return Need(R.OVER_AGE, f"The AuthorizationKey of {who} is from {key.created_at:%Y-%m-%d} and too old.")
    if key.source != KeySource.GENERATED:
        return Need(R.HYGIENE, f"The AuthorizationKey of {who} was not made here and has never been rotated.")
    return None


def _shared(digests: Iterable[str]) -> set[str]:
    """Those of the digests that more than one charger is let in with."""
    users: dict[str, int] = {}
    shared = set()
    rows = AuthorizationKey.objects.filter(digest__in=list(digests), state__in=ACCEPTED_KEY_STATES)
    for digest, identity_id in rows.values_list("digest", "identity_id"):
        if users.setdefault(digest, identity_id) != identity_id:
            shared.add(digest)
    return shared


def _reverted(keys: Iterable[AuthorizationKey]) -> set[int]:
    """Those of the active keys after which their charger has used a former one."""
    active = {key.identity_id: key for key in keys}
    retiring = AuthorizationKey.objects.filter(
        identity_id__in=active, state=KeyState.RETIRING, last_success_at__isnull=False
    )
    return {
        active[identity_id].pk
        for identity_id, used in retiring.values_list("identity_id", "last_success_at")
        if used is not None and ((last := active[identity_id].last_success_at) is None or last < used)
    }


def _is_over_age(identity: ManagedIdentity, key: AuthorizationKey, now: datetime) -> bool:
    """By the policy for AuthorizationKeys: its validity, less the threshold before that; without one, never."""
    try:
        policy = policies.resolve(identity, "authorization_key").policy
    except NoPolicyError:
        return False
    if policy.validity is None:
        return False
    oldest = now - policy.validity + (policy.renewal_threshold or timedelta(0))
    return bool(key.created_at <= oldest)


# -- what only people know -------------------------------------------------------------------------------------------


def flag(
    *, identity: ManagedIdentity, why: str, actor: Actor, reason: str, now: datetime | None = None
) -> AuthorizationKey:
    """Mark a charger's active key for rotation; the mark goes with the key.

    :param why: one of `FLAGS`.
    :raises TransitionRefusedError: when it has no active key.
    """
    if why not in FLAGS:
        raise InvalidInputError(f"{why!r} is no such cause; use one of {', '.join(FLAGS)}.")
    now = now or timezone.now()
    with command(actor, "migration.flag_authorizationkey", reason):
        locked = lock_identity(identity.pk)
        key = AuthorizationKey.objects.select_for_update().filter(identity=locked, state=KeyState.ACTIVE).first()
        if key is None:
            raise TransitionRefusedError(f"{locked.authoritative_identifier} has no active key that could be marked.")
        key.identity = locked
        key.flag, key.flagged_at = why, now
        key.save()
        _tell(key, Need(R(why), _need_of(key, now)), now)
    return key


def _need_of(key: AuthorizationKey, now: datetime) -> str:
    need = needs_rotation(key.identity, now)
    return need.sentence if need is not None else ""


# -- what is found by looking ----------------------------------------------------------------------------------------

_NOT_TOLD = """
  AND NOT EXISTS (SELECT 1 FROM inventory_securityevent e
                  WHERE e.dedupe_key = 'key-needs-rotation:' || k.id || ':' || %(reason)s)
ORDER BY k.id LIMIT %(limit)s
"""
_FOUND = {
    R.DEFAULT: """
SELECT k.id FROM migration_authorizationkey k
JOIN migration_knowndefaultkey d ON d.digest = k.digest
WHERE k.state IN ('pending', 'active', 'retiring')""",
    R.SHARED: """
SELECT k.id FROM migration_authorizationkey k
WHERE k.state IN ('pending', 'active', 'retiring') AND EXISTS (
    SELECT 1 FROM migration_authorizationkey o
    WHERE o.digest = k.digest AND o.identity_id <> k.identity_id AND o.state IN ('pending', 'active', 'retiring'))""",
    R.OVER_AGE: """
SELECT k.id FROM migration_authorizationkey k
WHERE k.state = 'active' AND k.created_at <= %(oldest)s""",
}


@duty("authorization-key-hygiene", timedelta(hours=1))
def look(now: datetime) -> int:
    """Tell once of every key that is a known default, shared, or over-age by its policy.

    :returns: how many were told of.
    """
    told = 0
    for reason in _FOUND:
        for key in _candidates(reason, now):
            need = needs_rotation(key.identity, now)
            if need is not None and (reason != R.OVER_AGE or _is_over_age(key.identity, key, now)):
                _tell(key, Need(reason, need.sentence), now)
                told += 1
    return told


def _candidates(reason: RotationReason, now: datetime) -> list[AuthorizationKey]:
    values: dict[str, Any] = {"reason": reason.value, "limit": BATCH}
    if reason == R.OVER_AGE:
        shortest = _shortest_validity()
        if shortest is None:
            return []
        values["oldest"] = now - shortest
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_FOUND[reason] + _NOT_TOLD, values)
        found = [row[0] for row in cursor.fetchall()]
    return list(AuthorizationKey.objects.filter(pk__in=found).select_related("identity__family").order_by("pk"))


def _shortest_validity() -> timedelta | None:
    rows = LifecyclePolicy.objects.filter(purpose="authorization_key", enabled=True, validity__isnull=False)
    spans = [
        validity - (threshold or timedelta(0))
        for validity, threshold in rows.values_list("validity", "renewal_threshold")
        if validity is not None
    ]
    return min(spans, default=None)


def _tell(key: AuthorizationKey, need: Need, now: datetime) -> None:
    who = key.identity.authoritative_identifier
    grave = need.reason not in (R.OVER_AGE, R.REFURBISHMENT, R.BOARD_REPLACEMENT)
    record_security_event(
        "AuthorizationKeyNeedsRotation",
        native_type=need.reason.value,
        category=SecurityCategory.AUTHENTICATION,
        severity=Severity.CRITICAL if grave else Severity.WARNING,
        source=SecuritySource.CONTROL_PLANE,
        message=f"{need.sentence} Rotate it.",
        now=now,
        identity=key.identity,
        station_id=who[:64],
        payload={"version": key.version, "reason": need.reason.value},
        dedupe_key=f"key-needs-rotation:{key.pk}:{need.reason.value}",
    )
