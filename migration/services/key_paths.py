"""Approving how a charger family takes a new AuthorizationKey: only on the evidence of one of its chargers."""

from datetime import datetime

from django.utils import timezone

from inventory.actors import Actor
from inventory.choices import KeyPath
from inventory.errors import InvalidInputError, TransitionRefusedError
from inventory.models import ChargerFamily
from inventory.services.command import command
from migration.key_choices import DeliveryChannel, RotationStage
from migration.models import KeyRotation

PERMISSION = "migration.approve_keyrotation"


def evidence_for(family: ChargerFamily) -> KeyRotation | None:
    """The newest rotation over the air that a charger of this family came through."""
    through = KeyRotation.objects.filter(
        family=family, stage=RotationStage.SUCCEEDED, channel=DeliveryChannel.OVER_THE_AIR
    )
    return through.select_related("key__identity").order_by("-ended_at").first()


def approve(
    *, family: ChargerFamily, path: str, actor: Actor, reason: str, now: datetime | None = None
) -> ChargerFamily:
    """Let the chargers of a family be rotated in bulk.

    :param path: a `KeyPath` other than unapproved.
    :raises TransitionRefusedError: while none of its chargers has come through a rotation.
    """
    if path not in KeyPath.values or path == KeyPath.UNAPPROVED:
        raise InvalidInputError(
            f"{path!r} is no key path; use {KeyPath.VENDOR_SECOND_SLOT} or {KeyPath.TWO_SLOTS_AT_OUR_DOOR}."
        )
    actor.require(PERMISSION)
    with command(actor, PERMISSION, _with_evidence(family, reason)):
        locked = ChargerFamily.objects.select_for_update().get(pk=family.pk)
        locked.key_path = path
        locked.key_path_approved_at = now or timezone.now()
        locked.key_path_approved_by = actor.name
        locked.save()
    return locked


def _with_evidence(family: ChargerFamily, reason: str) -> str:
    """The reason, with the canary that it rests on: so the audit history names it."""
    canary = evidence_for(family)
    if canary is None:
        raise TransitionRefusedError(no_evidence(family))
    who = canary.key.identity.authoritative_identifier
    return f"{reason.strip()} (canary: {who}, key {canary.key.version})" if reason.strip() else ""


def no_evidence(family: ChargerFamily) -> str:
    """Why a path cannot be approved yet."""
    return (
        f"None of the chargers of {family} has come through a rotation yet. Rotate the key of one of them first; when "
        "it is in use, approve the path."
    )


def withdraw(*, family: ChargerFamily, actor: Actor, reason: str) -> ChargerFamily:
    """Take the approval back: its chargers are rotated one at a time again."""
    with command(actor, PERMISSION, reason):
        locked = ChargerFamily.objects.select_for_update().get(pk=family.pk)
        if locked.key_path == KeyPath.UNAPPROVED:
            raise TransitionRefusedError(f"The key path of {locked} is not approved.")
        locked.key_path = KeyPath.UNAPPROVED
        locked.key_path_approved_at, locked.key_path_approved_by = None, ""
        locked.save()
    return locked
