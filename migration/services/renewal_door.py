"""The narrow door for a renewal: one charger comes in with its own certificate, which has expired, to get a new one.

TLS still proves that the charger holds the key; nothing but the dates is forgiven, of exactly that certificate, until
the end that a person named. The connection carries what a renewal needs and nothing else
(`bfcerts.ocpp.gateway.renewal_only`). A certificate that was revoked, or taken out of service, never opens it.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone

from bfcerts.ocpp.canonical import RefusalReason
from inventory import seams
from inventory.actors import Actor
from inventory.choices import (
    ISSUING_ACTIONS,
    OperatingMode,
    RecordState,
    SecurityCategory,
    SecuritySource,
    Severity,
)
from inventory.errors import InventoryError, TransitionRefusedError
from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity, SecurityEvent
from inventory.purposes import CHARGER_IDENTITY
from inventory.services import door as certificate_door
from inventory.services import lifecycle, sweeps, transitions
from inventory.services.command import command
from inventory.services.identities import close_sessions
from inventory.services.locking import lock_identity, lock_record_of
from inventory.services.observations import CONNECTION_REFUSED
from inventory.services.security_events import record_security_event
from migration.key_choices import DoorKind, RecoveryCause
from migration.models import RecoveryDoor
from migration.services import recovery
from migration.services.recovery import RECOVERY

PAUSE: Final = timedelta(hours=1)
"""After a renewal that ended without a certificate, a charger that comes in again is not asked anew before this."""


def open_for_renewal(
    *, identity: ManagedIdentity, until: datetime, actor: Actor, reason: str, now: datetime | None = None
) -> RecoveryDoor:
    """Let one charger in with its expired certificate until then, to renew it.

    The certificate is the one of `last_known`. When it is in, its renewal is started.

    :raises InvalidInputError: when a door cannot end then.
    :raises TransitionRefusedError: when the charger needs no door, has one, or its certificate cannot open one.
    """
    now = now or timezone.now()
    with command(actor, "migration.open_recoverydoor", reason):
        recovery.check_end(until, now)
        locked = lock_identity(identity.pk)
        obstacle = recovery.why_no_door(locked, now)
        if obstacle is not None:
            raise TransitionRefusedError(obstacle)
        record = lock_record_of(locked, certificate_for(locked, now).pk)
        if record.state == RecordState.INSTALLED_PENDING_ACTIVATION:
            sweeps.retire_locked(record, now)
        door = RecoveryDoor(
            identity=locked,
            kind=DoorKind.EXPIRED_CERTIFICATE,
            cause=RecoveryCause.EXPIRED,
            certificate=record,
            opened_at=now,
            opened_by=actor.name,
            reason=reason.strip(),
            until=until,
        )
        door.save()
        record.renewal_only_until = until
        record.save()
        seams.watch_connections(locked, until)
        # Who is still in from before its certificate expired comes back through the door, with what that allows.
        close_sessions(locked, "its certificate has expired; it may come in again to renew it", now)
        recovery.tell_opened(door, now)
    return door


def last_known(identities: Iterable[int]) -> dict[int, CertificateRecord]:
    """The certificate that each of these chargers came to our door with last, whatever became of it, by identity.

    It is the one that they used last. A newer one that the charger accepted and that expired before its first use takes
    its place once the charger has come with it and was refused for its dates: TLS has proved its key by then.
    """
    theirs = CertificateRecord.objects.filter(
        identity_id__in=list(identities), purpose=CHARGER_IDENTITY.key, slot=""
    ).select_related("authority")
    used = theirs.filter(activated_at__isnull=False).order_by("identity_id", "-activated_at", "-pk")
    known = {record.identity_id: record for record in used.distinct("identity_id")}
    never_used = theirs.filter(activated_at__isnull=True, installed_at__isnull=False).order_by("identity_id", "-pk")
    for record in never_used.distinct("identity_id"):
        before = known.get(record.identity_id)
        if (before is None or before.pk < record.pk) and _came_with(record, before):
            known[record.identity_id] = record
    return known


def _came_with(record: CertificateRecord, before: CertificateRecord | None) -> bool:
    """Whether a charger, when it was last refused for the dates of one of these two, came with the first."""
    refused = SecurityEvent.objects.filter(
        identity_id=record.identity_id,
        type=CONNECTION_REFUSED,
        native_type=RefusalReason.CERTIFICATE_EXPIRED,
        record__in=[record, before] if before else [record],
    )
    return refused.order_by("-pk").values_list("record_id", flat=True).first() == record.pk


def why_no_certificate(identity: ManagedIdentity, now: datetime) -> str | None:
    """Why no certificate of a charger can open a door for its renewal; None where one can."""
    try:
        certificate_for(identity, now)
    except TransitionRefusedError as error:
        return str(error)
    return None


def certificate_for(identity: ManagedIdentity, now: datetime) -> CertificateRecord:
    """The expired certificate by which a charger can be let in.

    :raises TransitionRefusedError: when one works, or its last cannot open a door.
    """
    who = identity.authoritative_identifier
    works = recovery.working_certificate(identity, now)
    if works is not None:
        raise TransitionRefusedError(
            f"Certificate {works.pk} of {who} works; if the charger has lost it, open a door with a fresh key."
        )
    if identity.mode_for(CHARGER_IDENTITY) != OperatingMode.MANAGED:
        raise TransitionRefusedError(
            f"The certificates of {who} are not ours to renew; open a door with a fresh key instead."
        )
    record = last_known([identity.pk]).get(identity.pk)
    if record is None:
        raise TransitionRefusedError(
            f"{who} has never used a certificate of ours; open a door with a fresh key instead."
        )
    unfit = why_unfit(record, now)
    if unfit:
        raise TransitionRefusedError(
            f"Certificate {record.pk}, the last of {who}, {unfit}; open a door with a fresh key instead."
        )
    return record


def why_unfit(record: CertificateRecord, now: datetime) -> str:
    """What keeps the last certificate of a charger from opening a door; empty where nothing does."""
    if record.state == RecordState.REVOKED:
        return "was revoked"
    never_used = record.state == RecordState.INSTALLED_PENDING_ACTIVATION and record.activated_at is None
    if record.state not in (RecordState.ACTIVE, RecordState.RETIRED) and not never_used:
        return f"is {record.get_state_display().lower()}"
    if record.deactivated_at is not None and not transitions.is_fresh(record, record.activated_at or now):
        return "was taken out of service"
    if record.not_after is None or record.not_after > now:
        return "has not expired"
    authority = record.authority
    if authority is not None and not authority.trusted:
        return f"comes from {authority.name}, which is not trusted any more"
    end = certificate_door.end_of_chain(authority.chain_pem if authority is not None else record.chain_pem)
    if end is not None and end <= now:
        return f"chains to a CA that expired on {end:%Y-%m-%d}"
    return ""


def connected(news: seams.Connection) -> None:
    """A charger came in through the door: start its renewal, unless one is under way or has just been tried."""
    if not news.renewal_only:
        return
    open_door = RecoveryDoor.objects.filter(
        identity=news.identity, kind=DoorKind.EXPIRED_CERTIFICATE, closed_at__isnull=True
    ).first()
    if open_door is None or not open_door.opened_at <= news.at < open_door.until:
        return
    asked = CertificateJob.objects.filter(
        identity=news.identity, purpose=CHARGER_IDENTITY.key, action__in=ISSUING_ACTIONS
    )
    since = max(news.at - PAUSE, open_door.opened_at)
    if asked.open().exists() or asked.filter(created_at__gte=since).exists():
        return
    try:
        lifecycle.issue(
            identity=news.identity,
            purpose=CHARGER_IDENTITY.key,
            actor=RECOVERY,
            reason=f"Renewal through the narrow door that {open_door.opened_by} opened: {open_door.reason}"[:1000],
            now=news.at,
        )
    except InventoryError as error:
        _tell_not_started(open_door, news, error)


def _tell_not_started(open_door: RecoveryDoor, news: seams.Connection, error: InventoryError) -> None:
    who = news.identity.authoritative_identifier
    record_security_event(
        "RenewalNotStarted",
        category=SecurityCategory.INSTALLATION,
        severity=Severity.WARNING,
        source=SecuritySource.CONTROL_PLANE,
        message=f"{who} came in through its narrow door, but its renewal could not be started: {error}",
        now=news.at,
        identity=news.identity,
        session_id=news.session_id or None,
        station_id=who[:64],
        dedupe_key=f"recovery-door:{open_door.pk}:not-started",
    )


def connect() -> None:
    """Called once, when the app is ready."""
    seams.on_connection(connected)
