"""The one place where an AuthorizationKey changes its state: transition, event and what follows from it, together.

The caller holds the identity's lock and has opened an attribution.
"""

from datetime import datetime
from typing import Any

from bfcerts.ocpp import outbox
from inventory.choices import EventType, TargetOutcome
from inventory.models import ManagedIdentity, PlanTarget
from inventory.services import caps
from inventory.services.events import record_event
from inventory.services.identities import close_sessions
from migration.key_choices import OPEN_STAGES, KeyState, RotationStage
from migration.models import AuthorizationKey, KeyRotation

PROFILE_2 = 2


def lock_accepted(identity: ManagedIdentity) -> list[AuthorizationKey]:
    """The keys of an identity that open the door, newest first, locked until the end of the transaction."""
    keys = list(
        AuthorizationKey.objects.select_for_update()
        .filter(identity_id=identity.pk, state__in=AuthorizationKey.ACCEPTED_STATES)
        .order_by("-version")
    )
    for key in keys:
        key.identity = identity
    return keys


def next_version(identity: ManagedIdentity) -> int:
    """The number of an identity's next key."""
    versions = AuthorizationKey.objects.filter(identity_id=identity.pk).order_by("-version")
    return (versions.values_list("version", flat=True).first() or 0) + 1


def in_state(keys: list[AuthorizationKey], state: KeyState) -> AuthorizationKey | None:
    """The one key in a slot."""
    return next((key for key in keys if key.state == state), None)


def tell(kind: EventType, key: AuthorizationKey, now: datetime, **more: Any) -> None:
    """Append an event of a key."""
    payload = {"version": key.version, "keyId": key.pk, **more}
    record_event(kind, now=now, identity=key.identity, payload=payload, resulting_state=key.state)


def promote(key: AuthorizationKey, former: AuthorizationKey | None, retiring_until: datetime, now: datetime) -> None:
    """The charger is in with the pending key: it is active, and the former one works until its window ends."""
    if former is not None:
        former.begin_retiring()
        former.retiring_until = retiring_until
        former.save()
    key.activate()
    key.activated_at = now
    key.save()
    end_rotation(key, RotationStage.SUCCEEDED, now)
    tell(EventType.AUTHORIZATION_KEY_ACTIVATED, key, now, source=key.source)


def retire(key: AuthorizationKey, now: datetime) -> None:
    """Its window is over and the charger has left it behind."""
    key.retire()
    key.ended_at = now
    key.save()
    tell(EventType.AUTHORIZATION_KEY_RETIRED, key, now)


def revoke(key: AuthorizationKey, now: datetime, why: str = "its AuthorizationKey was revoked") -> None:
    """Refuse it from now on; whoever came in with it must not stay, and turn it into a certificate."""
    key.revoke()
    key.ended_at = now
    key.save()
    end_rotation(key, RotationStage.FAILED, now, why)
    tell(EventType.AUTHORIZATION_KEY_REVOKED, key, now)
    close_sessions(key.identity, why, now, highest_profile=PROFILE_2)


def fail(key: AuthorizationKey, why: str, now: datetime) -> None:
    """Give up a pending key that the charger does not use; it goes on with its present one, undisturbed."""
    key.revoke()
    key.ended_at = now
    key.save()
    end_rotation(key, RotationStage.FAILED, now, why)
    tell(EventType.AUTHORIZATION_KEY_FAILED, key, now, detail=why)


def end_rotation(key: AuthorizationKey, stage: RotationStage, now: datetime, detail: str = "") -> None:
    """Forget the secret and withdraw what has not been sent."""
    ended = KeyRotation.objects.filter(key=key, stage__in=OPEN_STAGES).update(
        stage=stage, sealed_secret=None, next_step_at=None, ended_at=now, **({"detail": detail} if detail else {})
    )
    if ended:
        outbox.cancel([reference(key, "deliver"), reference(key, "reset")], now=now)
        caps.give_back(key.identity, now, f"key:{key.pk}")
        tell_plan(key, TargetOutcome.DONE if stage == RotationStage.SUCCEEDED else TargetOutcome.FAILED, detail)


def tell_plan(key: AuthorizationKey, outcome: TargetOutcome, detail: str) -> None:
    """The plan that had this key made, if one did, hears what became of it."""
    started = PlanTarget.objects.filter(
        identity_id=key.identity_id, plan__kind="key_rotation", outcome=TargetOutcome.STARTED, rotation_turn=None
    )
    started.update(outcome=outcome, detail=detail or f"Key {key.version} is in use.")


def reference(key: AuthorizationKey, verb: str) -> str:
    """Under which the commands of a rotation are sent, and their answers come back."""
    return f"key:{key.pk}:{verb}"
