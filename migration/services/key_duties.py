"""What time brings to AuthorizationKeys on their way: the next step, a restart, the end of the former key."""

from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django.db import transaction
from django.db.models import QuerySet

from bfcerts.ocpp import canonical, outbox
from bfcerts.ocpp.canonical import Action, ResetKind
from inventory import seams
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import SecurityCategory, SecuritySource, Severity, TargetOutcome
from inventory.jobs import setbacks
from inventory.jobs.periodic import duty
from inventory.services import policies
from inventory.services.locking import lock_identity
from inventory.services.security_events import record_security_event
from migration.key_choices import OPEN_STAGES, KeyState, RotationStage
from migration.models import AuthorizationKey, KeyRotation
from migration.services import key_delivery, key_states, last_key

ROTATION = Actor.system("key-rotation")
RESET_LIFETIME: Final = timedelta(minutes=2)
"""A Reset that was not taken at once is not sent to a charger that has come back by itself."""
RETIREMENT_AHEAD: Final = timedelta(minutes=5)
"""Looked at so much before its end, so that the door never closes on a key that is kept open."""
LOOK_AGAIN: Final = timedelta(days=1)
BATCH: Final = 500


@duty("authorization-key-rotations", timedelta(seconds=30))
def go_on(now: datetime) -> int:
    """Take every open rotation its next step, where the time for it has come.

    :returns: how many were taken a step.
    """
    due = KeyRotation.objects.filter(stage__in=OPEN_STAGES, next_step_at__lte=now).order_by("next_step_at")
    due = setbacks.without(due, "authorization-key-rotations", now)
    rows = list(due.values_list("pk", "key__identity_id")[:BATCH])
    for rotation_id, identity_id in rows:
        step = partial(_step_if_due, identity_id, now)
        setbacks.apart("authorization-key-rotations", rotation_id, now, step, identity_id=identity_id)
    return len(rows)


def _step_if_due(identity_id: int, now: datetime) -> None:
    with transaction.atomic(), attributed(ROTATION, "The next step of its key rotation is due"):
        rotation = key_delivery.lock_open(lock_identity(identity_id))
        if rotation is not None and rotation.next_step_at is not None and rotation.next_step_at <= now:
            _step(rotation, now)


def _step(rotation: KeyRotation, now: datetime) -> None:
    if rotation.stage == RotationStage.RETRYING:
        key_delivery.deliver(rotation, key_delivery.policy_of(rotation.key.identity), now)
    elif rotation.stage == RotationStage.DELIVERING:
        rotation.detail = "No answer was ever stored."
        key_delivery.outcome_unknown(rotation, now)
    elif rotation.booted_without_at is not None and rotation.give_up_at <= now:
        key_states.fail(
            rotation.key, "The charger has restarted since and goes on using its present key; that one stays.", now
        )
    else:
        _restart(rotation, now)


def _restart(rotation: KeyRotation, now: datetime) -> None:
    """Have a connected charger come back, as often as the policy tries; then wait for whatever it comes back with."""
    identity = rotation.key.identity
    policy = key_delivery.policy_of(identity)
    if rotation.unconfirmed_at is None and rotation.connect_by <= now:
        rotation.unconfirmed_at = now
        _show_unconfirmed(rotation, now)
        key_states.tell_plan(
            rotation.key, TargetOutcome.FAILED, "The charger has not come back with its new key in time."
        )
    next_look = now + LOOK_AGAIN
    wanted = (
        rotation.resets < policy.retry_attempts
        and rotation.booted_without_at is None
        and key_delivery.is_connected(identity)
    )
    if wanted and not key_delivery.may_leave(rotation, now):
        rotation.detail = key_delivery.why_it_stays(rotation, now)
        next_look = now + key_delivery.ASK_AGAIN
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
    seams.watch_connections(identity, now + key_delivery.WATCHED_AHEAD)


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
    waiting = setbacks.without(due, "authorization-key-retirement", now)
    for key_id, identity_id in list(waiting.values_list("pk", "identity_id")[:BATCH]):
        step = partial(_retire, due, key_id, identity_id, now)
        retired += setbacks.apart("authorization-key-retirement", key_id, now, step, identity_id=identity_id) or False
    return retired


def _retire(due: QuerySet[AuthorizationKey], key_id: int, identity_id: int, now: datetime) -> bool:
    with transaction.atomic(), attributed(ROTATION, "Its rollback window is over"):
        identity = lock_identity(identity_id)
        key = due.select_for_update().filter(pk=key_id).first()
        if key is None:
            return False
        key.identity = identity
        if last_key.was_used_last(key):
            key.retiring_until = now + key_delivery.policy_of(identity).rollback_window
            key.save()
            return False
        if key.retiring_until is None or key.retiring_until <= now:
            key_states.retire(key, now)
            return True
    return False
