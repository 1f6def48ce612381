"""What a charger says of a new AuthorizationKey: its answers, the key that it comes back with, its restarts.

The key becomes active only by a connection with it. Neither key is ended while it is unknown which of them the charger
has: a new key ends only once the charger restarted and was seen with another one, or has clearly refused it.
"""

import uuid
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction

from bfcerts.ocpp.canonical import NOT_APPLICABLE, CommandOutcome
from inventory import seams
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import EventType, SecurityCategory, SecuritySource, Severity
from inventory.services.locking import lock_identity
from inventory.services.security_events import record_security_event
from migration.key_choices import DeliveryChannel, KeyState, RotationStage
from migration.models import AuthorizationKey, KeyRotation
from migration.services import key_delivery, key_states

RECONNECT_GRACE: Final = timedelta(minutes=2)
"""How long a charger that reconnects by itself is given before it is told to restart."""
_REFUSALS: Final = frozenset({"NotImplemented", "NotSupported", "FormationViolation", "FormatViolation"})
"""CALLERRORs that say that the charger did not even begin."""


def answered(answer: seams.CommandAnswer) -> None:
    """A charger answered a command of a rotation, or never did."""
    key_id, _, verb = answer.reference.partition(":")
    key = AuthorizationKey.objects.filter(pk=int(key_id)).first() if key_id.isdigit() else None
    if key is None or verb != "deliver":
        return
    said = f"Answer to a new AuthorizationKey: {answer.detail or answer.outcome}"
    with transaction.atomic(), attributed(Actor.station(answer.command.station_id), said):
        identity = lock_identity(key.identity_id)
        rotation = key_delivery.lock_open(identity)
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
    elif never_sent and not rotation.may_be_stored and now < key_delivery.deliver_by(rotation):
        key_delivery.was_not_sent(rotation, now)
    elif refused or never_sent or answer.outcome == CommandOutcome.ACCEPTED:
        if rotation.may_be_stored or answer.command.attempts > 1:
            # The outbox sent it again by itself after a connection broke: the first one may have been stored, and the
            # refusal may say no more than that.
            rotation.may_be_stored = True
            key_delivery.await_connection(rotation, now)
        elif never_sent:
            key_states.fail(rotation.key, key_delivery.NOT_REACHED, now)
        else:
            key_states.fail(rotation.key, f"The charger refused it: {rotation.detail}", now)
    else:
        key_delivery.outcome_unknown(rotation, now)


def _stored(rotation: KeyRotation, now: datetime, *, reboot: bool) -> None:
    """It acknowledged the key: the secret is forgotten here, and its next connection decides."""
    identity = rotation.key.identity
    policy = key_delivery.policy_of(identity)
    rotation.may_be_stored = True
    rotation.stored_at = now
    rotation.connect_by = now + policy.cut_over_deadline
    rotation.give_up_at = rotation.connect_by + policy.rollback_window
    key_delivery.leaves(rotation, now)
    by_itself = identity.family is not None and identity.family.reconnects_by_itself and not reboot
    key_delivery.await_connection(rotation, now + RECONNECT_GRACE if by_itself else now)
    key_states.tell(EventType.AUTHORIZATION_KEY_DELIVERED, rotation.key, now)


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
    rotation = key_delivery.lock_open(news.identity)
    if rotation is not None and rotation.stage == RotationStage.RECONNECTING:
        _came_without(rotation, news)
    elif rotation is not None and rotation.stage == RotationStage.RETRYING:
        rotation.next_step_at = news.at
        rotation.save()
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
    key_states.promote(key, former, news.at + key_delivery.policy_of(news.identity).rollback_window, news.at)


def _came_without(rotation: KeyRotation, news: seams.Connection) -> None:
    """It reconnected with another key: perhaps it needs a restart to use the new one."""
    rotation.other_session = uuid.UUID(news.session_id) if news.session_id else None
    if rotation.next_step_at is None or rotation.next_step_at > news.at + RECONNECT_GRACE:
        rotation.next_step_at = news.at + RECONNECT_GRACE
    rotation.save()


def _reverted(key: AuthorizationKey, news: seams.Connection) -> None:
    """It has used the newer key and is back with the former one: that must not end while it is what it has."""
    key.retiring_until = news.at + key_delivery.policy_of(news.identity).rollback_window
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
    rotation = key_delivery.lock_open(boot.identity)
    if rotation is None or rotation.other_session is None or str(rotation.other_session) != boot.session_id:
        return
    rotation.booted_without_at = boot.at
    rotation.next_step_at = max(boot.at, rotation.give_up_at)
    rotation.save()


def connect() -> None:
    """Called once, when the app is ready."""
    seams.on_answer("key", answered)
    seams.on_connection(connected)
    seams.on_boot(booted)
