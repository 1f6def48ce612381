"""Narrow doors: how they close, and the one by which a charger without a certificate comes in on Profile 2.

The key for it is fresh, is set on the charger by somebody on site, and is the only one that opens. A door closes when
the charger is back on Profile 3, and at its end whatever has happened. The other kind of door is in `renewal_door`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from bfcerts.ocpp.gateway.renewal_only import ENDED
from bfcerts.ocpp.models import StationSession
from inventory import seams
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import EventType, RecordState, SecurityCategory, SecuritySource, Severity, SubjectKind
from inventory.errors import InvalidInputError, TransitionRefusedError
from inventory.jobs import setbacks
from inventory.jobs.periodic import duty
from inventory.models import CertificateRecord, ManagedIdentity
from inventory.purposes import CHARGER_IDENTITY
from inventory.services.command import command
from inventory.services.identities import close_sessions
from inventory.services.locking import lock_identity
from inventory.services.security_events import record_security_event
from migration.key_choices import (
    ACCEPTED_KEY_STATES,
    DeliveryChannel,
    DoorKind,
    KeySource,
    RecoveryCause,
    RotationStage,
)
from migration.models import AuthorizationKey, KeyRotation, KnownDefaultKey, RecoveryDoor
from migration.services import key_states
from migration.services.key_states import PROFILE_2
from migration.services.secrets_of_keys import checked, digest_of

LONGEST: Final = timedelta(days=14)
PROFILE_3: Final = 3
RECOVERY: Final = Actor.system("recovery")
BATCH: Final = 500


def open_profile_2(
    *,
    identity: ManagedIdentity,
    cause: str,
    secret: str,
    until: datetime,
    actor: Actor,
    reason: str,
    although_it_works: bool = False,
    now: datetime | None = None,
) -> RecoveryDoor:
    """Let one charger in on Profile 2 with a fresh key until then.

    :param cause: a `RecoveryCause`; while a certificate of the charger works, only a lost one is a cause.
    :param secret: the fresh key, as `secrets_of_keys.generate` makes it; whoever opens the door brings it to the
        charger. It is stored as a digest only.
    :param although_it_works: the door is wanted although, as far as we can see, a certificate of the charger works.
    :raises TransitionRefusedError: when the charger needs no door, or has one.
    """
    now = now or timezone.now()
    with command(actor, "migration.open_recoverydoor", reason):
        if cause not in RecoveryCause.values:
            raise InvalidInputError(f"{cause!r} is no cause; use one of {', '.join(RecoveryCause.values)}.")
        check_end(until, now)
        digest = digest_of(checked(secret))
        locked = lock_identity(identity.pk)
        obstacle = why_not(locked, cause, now)
        if obstacle is not None:
            raise TransitionRefusedError(obstacle)
        warning = what_it_costs(locked, now)
        if warning is not None and not although_it_works:
            raise TransitionRefusedError(
                f"{warning} If it is to be opened all the same, say so: “Although its certificate works” "
                "(over the API although_it_works)."
            )
        if AuthorizationKey.objects.filter(digest=digest).exists() or _is_default(digest):
            raise InvalidInputError("This key was used before; the door needs a fresh one.")
        for former in key_states.lock_accepted(locked):
            key_states.revoke(former, now)
        key = _key(locked, digest, until, now)
        door = RecoveryDoor(
            identity=locked,
            kind=DoorKind.PROFILE_2_KEY,
            cause=cause,
            key=key,
            opened_at=now,
            opened_by=actor.name,
            reason=reason.strip(),
            until=until,
        )
        door.save()
        locked.fallback_until = until
        locked.save()
        seams.watch_connections(locked, until)
        tell_opened(door, now)
    return door


def check_end(until: datetime, now: datetime) -> None:
    """
    :raises InvalidInputError: when a door cannot end then.
    """
    if not now < until <= now + LONGEST:
        raise InvalidInputError(f"The door needs an end that is to come, at most {LONGEST.days} days from now.")


def why_no_door(identity: ManagedIdentity, now: datetime) -> str | None:
    """Why a charger cannot have a narrow door of whatever kind; None where nothing is in the way."""
    who = identity.authoritative_identifier
    if identity.kind != SubjectKind.CHARGER:
        return f"{who} is a {identity.get_kind_display().lower()}; narrow doors are for chargers."
    if not identity.enabled:
        return f"{who} is disabled; enable it first."
    if identity.security_profile < PROFILE_3:
        return f"{who} is on Profile {identity.security_profile}: set or rotate its AuthorizationKey instead."
    if has_open_door(identity):
        return f"{who} has an open door already; close that one first."
    if identity.fallback_until is not None and identity.fallback_until > now:
        return f"{who} may come in on Profile 2 anyway until {identity.fallback_until:%Y-%m-%d %H:%M} UTC."
    return None


def why_not(identity: ManagedIdentity, cause: str, now: datetime) -> str | None:
    """Why a charger cannot have the door to Profile 2; None where nothing is in the way."""
    obstacle = why_no_door(identity, now)
    if obstacle is not None:
        return obstacle
    who = identity.authoritative_identifier
    works = working_certificate(identity, now)
    if works is not None and cause != RecoveryCause.LOST:
        return f"Certificate {works.pk} of {who} works; only if the charger has lost it, it needs a door."
    return None


def what_it_costs(identity: ManagedIdentity, now: datetime) -> str | None:
    """What a door to Profile 2 costs a charger that seems to need none; None where no certificate of it works."""
    works = working_certificate(identity, now)
    if works is None:
        return None
    who = identity.authoritative_identifier
    connected = StationSession.objects.filter(
        station_id=who, closed_at__isnull=True, certificate_fingerprint=works.fingerprint
    )
    seen = ", and it is connected with it now" if connected.exists() else ""
    return (
        f"Certificate {works.pk} of {who} works{seen}: it seems to need no door. While the door is open, whoever has "
        f"the key comes in as {who} on Profile 2, without a certificate; every other AuthorizationKey of it ends; and "
        f"certificate {works.pk} goes on opening Profile 3, so revoke it if somebody else may have it."
    )


def working_certificate(identity: ManagedIdentity, now: datetime) -> CertificateRecord | None:
    """A certificate by which the charger could come in."""
    return CertificateRecord.objects.of(identity.pk, CHARGER_IDENTITY.key).usable_at(now).first()


def _is_default(digest: str) -> bool:
    return KnownDefaultKey.objects.filter(digest=digest).exists()


def _key(identity: ManagedIdentity, digest: str, until: datetime, now: datetime) -> AuthorizationKey:
    key = AuthorizationKey(
        identity=identity,
        version=key_states.next_version(identity),
        digest=digest,
        source=KeySource.GENERATED,
        created_at=now,
    )
    key.save()
    KeyRotation.objects.create(
        key=key,
        family=identity.family,
        channel=DeliveryChannel.OUT_OF_BAND,
        stage=RotationStage.RECONNECTING,
        may_be_stored=True,
        started_at=now,
        connect_by=until,
        give_up_at=until,
    )
    key_states.tell(EventType.AUTHORIZATION_KEY_GENERATED, key, now, channel=DeliveryChannel.OUT_OF_BAND.value)
    return key


def close(*, door: RecoveryDoor, actor: Actor, reason: str, now: datetime | None = None) -> RecoveryDoor:
    """Close a door before its end.

    :raises TransitionRefusedError: when it is closed already.
    """
    now = now or timezone.now()
    with command(actor, "migration.close_recoverydoor", reason):
        locked = lock_identity(door.identity_id)
        closed = close_locked(locked, f"Closed by {actor.name}", now)
        if closed is None or closed.pk != door.pk:
            raise TransitionRefusedError(f"The door of {locked.authoritative_identifier} is closed already.")
    return closed


def has_open_door(identity: ManagedIdentity) -> bool:
    """Whether a charger has an open door of whatever kind."""
    return RecoveryDoor.objects.filter(identity=identity, closed_at__isnull=True).exists()


def open_door_of(identity: ManagedIdentity) -> RecoveryDoor:
    """The open door of a charger.

    :raises TransitionRefusedError: when it has none.
    """
    door = RecoveryDoor.objects.filter(identity=identity, closed_at__isnull=True).first()
    if door is None:
        raise TransitionRefusedError(f"{identity.authoritative_identifier} has no open door.")
    return door


def close_locked(identity: ManagedIdentity, why: str, now: datetime) -> RecoveryDoor | None:
    """Close the open door of an identity that is locked: what opened it opens no more, and who came in by it goes."""
    door = RecoveryDoor.objects.select_for_update().filter(identity=identity, closed_at__isnull=True).first()
    if door is None:
        return None
    door.identity = identity
    door.closed_at, door.closing = now, why[:200]
    door.save()
    if door.kind == DoorKind.EXPIRED_CERTIFICATE:
        _shut_to_certificate(door, now)
    else:
        _shut_to_key(door, now)
    _tell(door, "RecoveryDoorClosed", why, now)
    return door


def _shut_to_certificate(door: RecoveryDoor, now: datetime) -> None:
    record = CertificateRecord.objects.select_for_update().get(recovery_doors=door)
    record.identity = door.identity
    if record.renewal_only_until is not None:
        record.renewal_only_until = None
        record.save()
    close_sessions(door.identity, ENDED, now, fingerprint=record.fingerprint)


def _shut_to_key(door: RecoveryDoor, now: datetime) -> None:
    identity = door.identity
    if identity.fallback_until is not None:
        identity.fallback_until = None
        identity.save()
    keys = AuthorizationKey.objects.select_for_update().filter(recovery_door=door, state__in=ACCEPTED_KEY_STATES)
    key = keys.first()
    if key is not None:
        key.identity = identity
        key_states.revoke(key, now, "the narrow door was closed")
    close_sessions(identity, "the narrow door was closed", now, highest_profile=PROFILE_2)


def connected(news: seams.Connection) -> None:
    """A charger that is back on Profile 3 needs its door no more."""
    if news.renewal_only or news.security_profile < PROFILE_3:
        return
    if not is_needed(news.identity, news.fingerprint, news.at):
        close_locked(news.identity, "The charger is back on Profile 3", news.at)


def is_needed(identity: ManagedIdentity, fingerprint: str, at: datetime) -> bool:
    """Whether a charger has an open door that a connection with this certificate at that time does not close.

    What was seen before the door was opened says nothing about now, although it may be heard of later. Who has lost a
    certificate is back only with a newer one; the lost one may be in somebody else's hands. Nor is who came with the
    expired certificate that a door is for.
    """
    door = RecoveryDoor.objects.filter(identity=identity, closed_at__isnull=True).first()
    if door is None:
        return False
    if at < door.opened_at:
        return True
    if door.kind == DoorKind.EXPIRED_CERTIFICATE:
        return CertificateRecord.objects.filter(recovery_doors=door, fingerprint=fingerprint).exists()
    newer = CertificateRecord.objects.filter(fingerprint=fingerprint, issued_at__gte=door.opened_at)
    return door.cause == RecoveryCause.LOST and not newer.exists()


@duty("recovery-doors", timedelta(minutes=1))
def close_overdue(now: datetime) -> int:
    """Close the doors whose time is over. Nobody comes in from that moment on, whether or not this has run.

    :returns: how many.
    """
    overdue = RecoveryDoor.objects.filter(closed_at__isnull=True, until__lte=now).order_by("until")
    waiting = setbacks.without(overdue, "recovery-doors", now)
    doors = list(waiting.values_list("pk", "identity_id")[:BATCH])
    closed = 0
    for door_id, identity_id in doors:
        step = partial(_close_if, overdue, identity_id, now)
        closed += setbacks.apart("recovery-doors", door_id, now, step, identity_id=identity_id) or False
    return closed


def _close_if(overdue: QuerySet[RecoveryDoor], identity_id: int, now: datetime) -> bool:
    with transaction.atomic(), attributed(RECOVERY, "The time of its narrow door is over"):
        identity = lock_identity(identity_id)
        if not overdue.filter(identity=identity).exists():
            return False
        close_locked(identity, "Its time is over", now)
    return True


def records_moved(records: Sequence[CertificateRecord], now: datetime) -> None:
    """A certificate that was revoked opens nothing: a door that rests on it is closed in the same transaction."""
    revoked = {record.pk: record for record in records if record.state == RecordState.REVOKED}
    if not revoked:
        return
    doors = RecoveryDoor.objects.filter(certificate_id__in=revoked, closed_at__isnull=True).order_by("pk")
    for record_id in doors.values_list("certificate_id", flat=True):
        record = revoked[record_id]
        close_locked(record.identity, f"Certificate {record.pk} was revoked", now)


def tell_opened(door: RecoveryDoor, now: datetime) -> None:
    """Say that a door was opened, by whom and why."""
    _tell(door, "RecoveryDoorOpened", f"until {door.until:%Y-%m-%d %H:%M} UTC, by {door.opened_by}: {door.reason}", now)


def _tell(door: RecoveryDoor, kind: str, what: str, now: datetime) -> None:
    who = door.identity.authoritative_identifier
    opened = kind == "RecoveryDoorOpened"
    what_kind = (
        f"for the renewal of expired certificate {door.certificate_id}"
        if door.kind == DoorKind.EXPIRED_CERTIFICATE
        else "on Profile 2"
    )
    record_security_event(
        kind,
        native_type=door.cause,
        category=SecurityCategory.AUTHENTICATION,
        severity=Severity.WARNING if opened else Severity.INFO,
        source=SecuritySource.OPERATOR if opened else SecuritySource.CONTROL_PLANE,
        message=f"A narrow door {what_kind} for {who} was {'opened' if opened else 'closed'}: {what}.",
        now=now,
        identity=door.identity,
        station_id=who[:64],
        payload={"door": door.pk, "cause": door.cause},
        dedupe_key=f"recovery-door:{door.pk}:{kind}",
    )


def connect() -> None:
    """Called once, when the app is ready."""
    seams.on_connection(connected)
    seams.add_way_back(is_needed)
    seams.on_records_moved(records_moved)
