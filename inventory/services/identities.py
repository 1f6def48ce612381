"""Creating, changing, enabling and disabling identities, each attributed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from bfcerts.identifiers import IdentifierError, station_id
from bfcerts.ocpp.gateway.commands import release
from bfcerts.ocpp.models import StationSession
from bfcerts.ocpp.notify import Channel, notify
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import EventType, SubjectKind
from inventory.errors import InvalidInputError
from inventory.models import ManagedIdentity
from inventory.services.events import record_event
from inventory.services.locking import lock_identity

EDITABLE_FIELDS = frozenset(
    {
        "serial_number",
        "name",
        "owner",
        "site",
        "region",
        "tags",
        "family",
        "firmware_version",
        "parent",
        "program",
        "mode",
        "pilot",
        "allowed_purposes",
    }
)


def _validated(identity: ManagedIdentity) -> None:
    try:
        identity.full_clean()
    except ValidationError as error:
        sentences = [
            f"{field.replace('_', ' ')}: {' '.join(messages)}" if field != "__all__" else " ".join(messages)
            for field, messages in error.message_dict.items()
        ]
        raise InvalidInputError("; ".join(sentences)) from None


def create(*, kind: str, authoritative_identifier: str, actor: Actor, reason: str, **fields: Any) -> ManagedIdentity:
    """Take a subject into the inventory.

    :raises InvalidInputError: when a value cannot be used or the identifier is taken.
    """
    actor.require("add_managedidentity")
    _check_fields(fields)
    if kind == SubjectKind.CHARGER:
        try:
            station_id(authoritative_identifier)
        except IdentifierError as error:
            raise InvalidInputError(error.message) from None
    identity = ManagedIdentity(kind=kind, authoritative_identifier=authoritative_identifier, **fields)
    try:
        with transaction.atomic(), attributed(actor, reason or "Added to the inventory"):
            _validated(identity)
            identity.save()
            record_event(EventType.IDENTITY_ADDED, identity=identity, now=timezone.now())
    except IntegrityError:
        _validated(identity)  # somebody was quicker with the same identifier: the ordinary refusal
        raise
    return identity


def alike(identity: ManagedIdentity) -> str:
    """A sentence where another subject of its kind has the same identifier but for capitals; else empty."""
    others = ManagedIdentity.objects.filter(
        kind=identity.kind, authoritative_identifier__iexact=identity.authoritative_identifier
    ).exclude(pk=identity.pk)
    names = list(others.order_by("pk").values_list("authoritative_identifier", flat=True)[:3])
    if not names:
        return ""
    return (
        f"{identity.authoritative_identifier} differs from {', '.join(names)} by capitals alone, and both are in the "
        "inventory now. Where it is the same device, disable the one that it does not call itself."
    )


def update(*, identity: ManagedIdentity, changes: Mapping[str, Any], actor: Actor, reason: str) -> ManagedIdentity:
    """Change what may be changed of an identity; kind and identifier stay for ever.

    :raises InvalidInputError: when a value cannot be used.
    """
    actor.require("change_managedidentity")
    _check_fields(changes)
    with transaction.atomic(), attributed(actor, reason or "Changed"):
        locked = lock_identity(identity.pk)
        different = sorted(name for name, value in changes.items() if getattr(locked, name) != value)
        for name, value in changes.items():
            setattr(locked, name, value)
        _validated(locked)
        locked.save()
        if different:
            kind = EventType.IDENTITY_CHANGED
            record_event(kind, identity=locked, payload={"fields": different}, now=timezone.now())
    return locked


def _check_fields(fields: Mapping[str, Any]) -> None:
    unknown = sorted(set(fields) - EDITABLE_FIELDS)
    if unknown:
        raise InvalidInputError(
            f"{', '.join(unknown)} cannot be set here; the fields are {', '.join(sorted(EDITABLE_FIELDS))}."
        )


def set_enabled(*, identity: ManagedIdentity, enabled: bool, actor: Actor, reason: str) -> ManagedIdentity:
    """Let an identity in, or refuse it at every door from this commit on."""
    actor.require("change_managedidentity")
    if not reason.strip():
        raise InvalidInputError("A reason is needed: say why, for the audit trail.")
    with transaction.atomic(), attributed(actor, reason):
        locked = lock_identity(identity.pk)
        now = timezone.now()
        changes = locked.enabled != enabled
        locked.enabled = enabled
        locked.save()
        if changes:
            kind = EventType.IDENTITY_ENABLED if enabled else EventType.IDENTITY_DISABLED
            record_event(kind, identity=locked, now=now)
        if not enabled and locked.kind == SubjectKind.CHARGER:
            close_sessions(locked, "the identity was disabled", now)
    return locked


def close_sessions(
    identity: ManagedIdentity, why: str, now: datetime, *, highest_profile: int = 3, fingerprint: str | None = None
) -> None:
    """End a charger's live sessions on whichever node they are, when the transaction commits.

    The rows are closed here and now, so that a node that misses the notification finds out by itself. The identity
    must be locked by the caller: an admission then either sees its new state, or its session is among these.

    :param highest_profile: sessions on a higher security profile stay: a key lets nobody in there.
    :param fingerprint: only sessions with this certificate; the record must be locked then, not the identity.
    """
    live = StationSession.objects.select_for_update().filter(
        station_id=identity.authoritative_identifier,
        closed_at__isnull=True,
        security_profile__lte=highest_profile,
    )
    if fingerprint is not None:
        live = live.filter(certificate_fingerprint=fingerprint)
    sessions = list(live.values_list("pk", flat=True))
    if not sessions:
        return
    StationSession.objects.filter(pk__in=sessions).update(closed_at=now, close_reason=why[:200])
    release(sessions, now)
    for session in sessions:
        notify(Channel.SESSION_CLOSE, f"{session} {why}")
