"""Giving a charger a new AuthorizationKey over the air, so that at every moment one works that it has.

The new key opens the door before the request leaves, because a charger may be back with it before its answer is stored
(conformance 10). It becomes active only by a connection with it. Neither key is ended by the clock while it is unknown
which of them the charger has: a lost answer is asked for again with the same key, a charger that does not come back by
itself is restarted, and a new key ends only once the charger restarted and was seen with another one, or has clearly
refused it.
"""

import uuid
from collections.abc import Set
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from bfcerts.ocpp import canonical, outbox, secret_payload
from bfcerts.ocpp.canonical import NOT_APPLICABLE, Action, CommandOutcome, ResetKind
from bfcerts.ocpp.models import StationSession
from inventory import seams
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import (
    EventType,
    KeyForm,
    KeyPath,
    SecurityCategory,
    SecuritySource,
    Severity,
    SubjectKind,
    TargetOutcome,
)
from inventory.errors import TransitionRefusedError
from inventory.jobs.periodic import duty
from inventory.models import LifecyclePolicy, ManagedIdentity
from inventory.services import caps, policies
from inventory.services.locking import lock_identity
from inventory.services.security_events import record_security_event
from migration.key_choices import OPEN_STAGES, DeliveryChannel, KeySource, KeyState, RotationStage
from migration.models import AuthorizationKey, KeyRotation
from migration.services import key_states, last_key
from migration.services.authorization_keys import needed
from migration.services.key_states import PROFILE_2
from migration.services.secrets_of_keys import digest_of, generate

ROTATION = Actor.system("key-rotation")
RECONNECT_GRACE: Final = timedelta(minutes=2)
"""How long a charger that reconnects by itself is given before it is told to restart."""
RESET_LIFETIME: Final = timedelta(minutes=2)
"""A Reset that was not taken at once is not sent to a charger that has come back by itself."""
WATCHED_AHEAD: Final = timedelta(days=2)
LONGEST_ABSENCE: Final = timedelta(minutes=15)
"""After that its site's place is free again, should the charger not have come back."""
ASK_AGAIN: Final = timedelta(minutes=1)
"""Where the site could not spare it."""
RETIREMENT_AHEAD: Final = timedelta(minutes=5)
"""Looked at so much before its end, so that the door never closes on a key that is kept open."""
LOOK_AGAIN: Final = timedelta(days=1)
BATCH: Final = 500
_CANARY_LOCK: Final = 0x6B657973

_REFUSALS: Final = frozenset({"NotImplemented", "NotSupported", "FormationViolation", "FormatViolation"})
"""CALLERRORs that say that the charger did not even begin."""


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
    policy = _policy(identity)
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
    _deliver(rotation, policy, now)
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


def _policy(identity: ManagedIdentity) -> LifecyclePolicy:
    return policies.resolve(identity, "authorization_key").policy


def _deliver(rotation: KeyRotation, policy: LifecyclePolicy, now: datetime) -> None:
    """Ask once more, with the very same key: a charger that has it already changes nothing."""
    key = rotation.key
    if not _may_leave(rotation, now):
        rotation.stage = RotationStage.RETRYING
        rotation.next_step_at = now + ASK_AGAIN
        rotation.save()
        return
    rotation.deliveries += 1
    rotation.stage = RotationStage.DELIVERING
    rotation.other_session = rotation.booted_without_at = None
    expires_after = policy.delivery_deadline
    rotation.next_step_at = now + expires_after + 2 * outbox.ANSWER_GRACE
    rotation.save()
    reference = key_states.reference(key, "deliver")
    outbox.enqueue(
        station_id=key.identity.authoritative_identifier,
        action=Action.SET_AUTHORIZATION_KEY,
        payload=canonical.set_authorization_key(),
        secret_payload=bytes(rotation.sealed_secret) if rotation.sealed_secret is not None else None,
        dedupe_key=f"{reference}:{rotation.deliveries}",
        now=now,
        expires_after=expires_after,
        reference=reference,
    )
    seams.watch_connections(key.identity, rotation.give_up_at)


def _may_leave(rotation: KeyRotation, now: datetime) -> bool:
    """Whether the site can spare the charger for a moment; one that is not connected leaves nobody."""
    identity = rotation.key.identity
    why = f"key:{rotation.key_id}"
    return not _is_connected(identity) or caps.take(identity, why, now + LONGEST_ABSENCE, now)


def _lock(identity: ManagedIdentity) -> KeyRotation | None:
    """The open rotation of an identity that the caller has locked."""
    rotation = (
        KeyRotation.objects.select_for_update(of=("self", "key"))
        .select_related("key")
        .filter(key__identity_id=identity.pk, key__state=KeyState.PENDING, stage__in=OPEN_STAGES)
        .first()
    )
    if rotation is not None:
        rotation.key.identity = identity
    return rotation


# -- what the charger says -------------------------------------------------------------------------------------------


def answered(answer: seams.CommandAnswer) -> None:
    """A charger answered a command of a rotation, or never did."""
    key_id, _, verb = answer.reference.partition(":")
    key = AuthorizationKey.objects.filter(pk=int(key_id)).first() if key_id.isdigit() else None
    if key is None or verb != "deliver":
        return
    said = f"Answer to a new AuthorizationKey: {answer.detail or answer.outcome}"
    with transaction.atomic(), attributed(Actor.station(answer.command.station_id), said):
        identity = lock_identity(key.identity_id)
        rotation = _lock(identity)
        if rotation is not None and rotation.key_id == key.pk:
            _delivery_answered(rotation, answer)
        elif answer.outcome == CommandOutcome.ACCEPTED:
            key.refresh_from_db()
            key.identity = identity
            _stored_too_late(key, answer.at)


def _delivery_answered(rotation: KeyRotation, answer: seams.CommandAnswer) -> None:
    now, rotation.detail = answer.at, (answer.detail or str(answer.outcome))
    if rotation.stored_at is not None:
        return
    refused = answer.outcome == CommandOutcome.REJECTED or (
        answer.outcome == CommandOutcome.ERROR and answer.command.error_code in _REFUSALS
    )
    never_sent = answer.outcome == CommandOutcome.EXPIRED and answer.command.attempts == 0
    if answer.outcome == CommandOutcome.ACCEPTED and answer.answer.get("status") != NOT_APPLICABLE:
        _stored(rotation, now, reboot="RebootRequired" in answer.detail)
    elif refused or never_sent or answer.outcome == CommandOutcome.ACCEPTED:
        if rotation.may_be_stored or answer.command.attempts > 1:
            # The outbox sent it again by itself after a connection broke: the first one may have been stored, and the
            # refusal may say no more than that.
            rotation.may_be_stored = True
            _await_connection(rotation, now)
        elif never_sent:
            key_states.fail(rotation.key, "It was not reachable before the deadline; its present key stays.", now)
        else:
            key_states.fail(rotation.key, f"The charger refused it: {rotation.detail}", now)
    else:
        _unknown(rotation, now)


def _stored(rotation: KeyRotation, now: datetime, *, reboot: bool) -> None:
    """It acknowledged the key: the secret is forgotten here, and its next connection decides."""
    identity = rotation.key.identity
    policy = _policy(identity)
    rotation.may_be_stored = True
    rotation.stored_at = now
    rotation.connect_by = now + policy.cut_over_deadline
    rotation.give_up_at = rotation.connect_by + policy.rollback_window
    by_itself = identity.family is not None and identity.family.reconnects_by_itself and not reboot
    _await_connection(rotation, now + RECONNECT_GRACE if by_itself else now)
    key_states.tell(EventType.AUTHORIZATION_KEY_DELIVERED, rotation.key, now)


def _await_connection(rotation: KeyRotation, restart_at: datetime) -> None:
    rotation.stage = RotationStage.RECONNECTING
    rotation.sealed_secret = None
    rotation.next_step_at = restart_at
    rotation.save()
    seams.watch_connections(rotation.key.identity, max(rotation.give_up_at, restart_at + WATCHED_AHEAD))


def _unknown(rotation: KeyRotation, now: datetime) -> None:
    """No clear answer: it may have the key or not. The same key is sent again, and both stay open."""
    policy = _policy(rotation.key.identity)
    rotation.may_be_stored = True
    if rotation.deliveries >= policy.retry_attempts:
        _await_connection(rotation, now)
        return
    rotation.stage = RotationStage.RETRYING
    rotation.next_step_at = now + policies.retry_delay(policy, rotation.deliveries)
    rotation.save()


def _stored_too_late(key: AuthorizationKey, now: datetime) -> None:
    """It took a key that was revoked meanwhile: it will be refused with it, and somebody has to know."""
    if key.state != KeyState.REVOKED:
        return
    who = key.identity.authoritative_identifier
    record_security_event(
        "RevokedAuthorizationKeyStored",
        category=SecurityCategory.AUTHENTICATION,
        severity=Severity.CRITICAL,
        source=SecuritySource.CONTROL_PLANE,
        message=(
            f"{who} has stored key {key.version}, which was revoked before its answer came. It is refused with it: set "
            "a key on site, or send a new one while it is still connected."
        ),
        now=now,
        identity=key.identity,
        station_id=who[:64],
        dedupe_key=f"revoked-key-stored:{key.pk}",
    )


def connected(news: seams.Connection) -> None:
    """A charger came in: with the new key, which proves it, or with another one."""
    if news.authorization_key_id is None:
        return
    keys = key_states.lock_accepted(news.identity)
    used = next((key for key in keys if key.pk == news.authorization_key_id), None)
    if used is None:
        return
    if used.state == KeyState.PENDING:
        _proved(used, keys, news)
        return
    rotation = _lock(news.identity)
    if rotation is not None and rotation.stage == RotationStage.RECONNECTING:
        _came_without(rotation, news)
    if used.state == KeyState.RETIRING:
        _reverted(used, news)


def _proved(key: AuthorizationKey, keys: list[AuthorizationKey], news: seams.Connection) -> None:
    rotation = KeyRotation.objects.filter(key=key).first()
    over_the_air = rotation is not None and rotation.channel == DeliveryChannel.OVER_THE_AIR
    if rotation is not None and over_the_air and rotation.stored_at is None:
        # The connection came before the answer (conformance 10): it says the same, and more.
        KeyRotation.objects.filter(pk=rotation.pk).update(may_be_stored=True, stored_at=news.at)
        key_states.tell(EventType.AUTHORIZATION_KEY_DELIVERED, key, news.at)
    former = key_states.in_state(keys, KeyState.ACTIVE)
    key_states.promote(key, former, news.at + _policy(news.identity).rollback_window, news.at)


def _came_without(rotation: KeyRotation, news: seams.Connection) -> None:
    """It reconnected with another key: perhaps it needs a restart to use the new one."""
    rotation.other_session = uuid.UUID(news.session_id) if news.session_id else None
    if rotation.next_step_at is None or rotation.next_step_at > news.at + RECONNECT_GRACE:
        rotation.next_step_at = news.at + RECONNECT_GRACE
    rotation.save()


def _reverted(key: AuthorizationKey, news: seams.Connection) -> None:
    """It has used the newer key and is back with the former one: that must not end while it is what it has."""
    key.retiring_until = news.at + _policy(news.identity).rollback_window
    key.save()
    who = news.identity.authoritative_identifier
    record_security_event(
        "RetiringAuthorizationKeyUsed",
        category=SecurityCategory.AUTHENTICATION,
        severity=Severity.CRITICAL,
        source=SecuritySource.CONTROL_PLANE,
        message=(
            f"{who} connected with key {key.version}, although it has used a newer one. Either it lost the newer key, "
            "and needs a rotation, or somebody else knows the former one: then revoke that."
        ),
        now=news.at,
        identity=news.identity,
        session_id=news.session_id or None,
        station_id=who[:64],
        dedupe_key=f"retiring-key-used:{key.pk}:{news.at:%Y-%m-%d}",
    )


def booted(boot: seams.Boot) -> None:
    """A restart on a connection with another key: it had its chance to use the new one."""
    rotation = _lock(boot.identity)
    if rotation is None or rotation.other_session is None or str(rotation.other_session) != boot.session_id:
        return
    rotation.booted_without_at = boot.at
    rotation.next_step_at = max(boot.at, rotation.give_up_at)
    rotation.save()


# -- what time brings ------------------------------------------------------------------------------------------------


@duty("authorization-key-rotations", timedelta(seconds=30))
def go_on(now: datetime) -> int:
    """Take every open rotation its next step, where the time for it has come.

    :returns: how many were taken a step.
    """
    due = KeyRotation.objects.filter(stage__in=OPEN_STAGES, next_step_at__lte=now).order_by("next_step_at")
    identities = list(due.values_list("key__identity_id", flat=True)[:BATCH])
    reason = "The next step of its key rotation is due"
    for identity_id in identities:
        with transaction.atomic(), attributed(ROTATION, reason):
            rotation = _lock(lock_identity(identity_id))
            if rotation is not None and rotation.next_step_at is not None and rotation.next_step_at <= now:
                _step(rotation, now)
    return len(identities)


def _step(rotation: KeyRotation, now: datetime) -> None:
    if rotation.stage == RotationStage.RETRYING:
        _deliver(rotation, _policy(rotation.key.identity), now)
    elif rotation.stage == RotationStage.DELIVERING:
        rotation.detail = "No answer was ever stored."
        _unknown(rotation, now)
    elif rotation.booted_without_at is not None and rotation.give_up_at <= now:
        key_states.fail(
            rotation.key, "The charger has restarted since and goes on using its present key; that one stays.", now
        )
    else:
        _restart(rotation, now)


def _restart(rotation: KeyRotation, now: datetime) -> None:
    """Have a connected charger come back, as often as the policy tries; then wait for whatever it comes back with."""
    identity = rotation.key.identity
    policy = _policy(identity)
    if rotation.unconfirmed_at is None and rotation.connect_by <= now:
        rotation.unconfirmed_at = now
        _show_unconfirmed(rotation, now)
        key_states.tell_plan(rotation.key, TargetOutcome.FAILED, "It has not come back with its new key in time.")
    next_look = now + LOOK_AGAIN
    wanted = rotation.resets < policy.retry_attempts and rotation.booted_without_at is None and _is_connected(identity)
    if wanted and not _may_leave(rotation, now):
        next_look = now + ASK_AGAIN
    elif wanted:
        rotation.resets += 1
        reference = key_states.reference(rotation.key, "reset")
        outbox.enqueue(
            station_id=identity.authoritative_identifier,
            action=Action.RESET,
            payload=canonical.reset(ResetKind.APPLY_CONFIGURATION),
            dedupe_key=f"{reference}:{rotation.resets}",
            now=now,
            expires_after=RESET_LIFETIME,
            reference=reference,
        )
        next_look = now + RESET_LIFETIME + policies.retry_delay(policy, rotation.resets)
    for moment in (rotation.connect_by, rotation.give_up_at):
        if now < moment < next_look:
            next_look = moment
    rotation.next_step_at = next_look
    rotation.save()
    seams.watch_connections(identity, now + WATCHED_AHEAD)


def _is_connected(identity: ManagedIdentity) -> bool:
    return StationSession.objects.filter(station_id=identity.authoritative_identifier, closed_at__isnull=True).exists()


def _show_unconfirmed(rotation: KeyRotation, now: datetime) -> None:
    who = rotation.key.identity.authoritative_identifier
    record_security_event(
        "AuthorizationKeyUnconfirmed",
        category=SecurityCategory.AUTHENTICATION,
        severity=Severity.WARNING,
        source=SecuritySource.CONTROL_PLANE,
        message=(
            f"{who} has not come back with key {rotation.key.version} in time. Both its keys stay open until it is "
            "seen which one it has; restart it on site if it does not take a Reset."
        ),
        now=now,
        identity=rotation.key.identity,
        station_id=who[:64],
        dedupe_key=f"key-unconfirmed:{rotation.key_id}",
    )


@duty("authorization-key-retirement", timedelta(minutes=1))
def retire_due(now: datetime) -> int:
    """Retire the keys whose rollback window is over; one that its charger went back to is kept open.

    :returns: how many were retired.
    """
    due = AuthorizationKey.objects.filter(state=KeyState.RETIRING, retiring_until__lte=now + RETIREMENT_AHEAD).order_by(
        "retiring_until"
    )
    retired = 0
    for key_id, identity_id in list(due.values_list("pk", "identity_id")[:BATCH]):
        with transaction.atomic(), attributed(ROTATION, "Its rollback window is over"):
            identity = lock_identity(identity_id)
            key = due.select_for_update().filter(pk=key_id).first()
            if key is None:
                continue
            key.identity = identity
            if last_key.was_used_last(key):
                key.retiring_until = now + _policy(identity).rollback_window
                key.save()
            elif key.retiring_until is None or key.retiring_until <= now:
                key_states.retire(key, now)
                retired += 1
    return retired


def open_references(references: Set[str]) -> Set[str]:
    """Of what follows the kind in references of commands, those whose rotation is open: the retention keeps them."""
    keys = {reference: reference.partition(":")[0] for reference in references}
    identifiers = [int(key) for key in keys.values() if key.isdigit()]
    still_open = set(
        KeyRotation.objects.filter(key_id__in=identifiers, stage__in=OPEN_STAGES).values_list("key_id", flat=True)
    )
    return {reference for reference, key in keys.items() if key.isdigit() and int(key) in still_open}


def connect() -> None:
    """Called once, when the app is ready."""
    seams.on_answer("key", answered)
    seams.on_connection(connected)
    seams.on_boot(booted)
