"""Security logs of stations: asked for, uploaded to an address of ours, and kept as artifacts (FR-010).

The address is signed, works once, for one station, for a limited time and size, and is short: remoteLocation holds 512
characters. Whoever holds it may upload, so it is sealed in the outbox like a password. What was uploaded is never
opened here.

The station's answer to GetLog, its LogStatusNotification and the upload itself come in any order (conformance 12).
"""

import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.db import transaction
from django.utils import timezone

from bfcerts.artifacts import Stored, TooLargeError
from bfcerts.ocpp import canonical, outbox, secret_payload
from bfcerts.ocpp.canonical import Action, CommandOutcome
from inventory.actors import Actor
from inventory.audit import attributed, current_attribution
from inventory.choices import (
    LOG_OPEN_STATES,
    ArtifactKind,
    SecurityCategory,
    SecuritySource,
    Severity,
    StationLogState,
    SubjectKind,
)
from inventory.errors import InvalidInputError, InventoryError, TransitionRefusedError
from inventory.jobs import setbacks
from inventory.jobs.periodic import duty
from inventory.models import AbandonedUpload, Artifact, ManagedIdentity, StationLog
from inventory.seams import CommandAnswer
from inventory.services import artifacts
from inventory.services.locking import lock_identity
from inventory.services.security_events import record_security_event

UPLOAD_WITHIN = timedelta(hours=2)
"""From the request to the end of the upload; the command itself waits as long for a station that is away."""
UPLOAD_TAKES = timedelta(minutes=15)
"""An upload that began longer ago was broken off without our noticing; another may begin."""
SURELY_OVER = timedelta(days=1)
"""No upload is still being stored so long after it was given up: its door ends it when `UPLOAD_TAKES` is over."""
FAILED_STATUSES = ("BadMessage", "NotSupportedOperation", "PermissionDenied", "UploadFailure")
BATCH = 200
_OVER = "This address has been used, or its time is over; ask the operator for a new request."

_signer = Signer(salt="inventory.station-log", sep="~")


class UploadRefusedError(InventoryError):
    """An upload that is not taken; the sentence is for the log of the station."""

    code = "upload_refused"
    status = 403


class UploadOverError(UploadRefusedError):
    """The address has been used, or its time is over."""

    status = 410


class UploadTooLargeError(UploadRefusedError):
    """More than a log may have."""

    status = 413


def fetch(*, identity: ManagedIdentity, actor: Actor, reason: str, now: datetime | None = None) -> StationLog:
    """Ask a station for its security log; a request that is still open is replaced (OCPP 2.0.1 N01.FR.12).

    :raises TransitionRefusedError: for what is no charger, or is disabled.
    """
    actor.require("command_managedidentity")
    if not reason.strip():
        raise InvalidInputError("A reason is needed: say why, for the audit trail.")
    now = now or timezone.now()
    with transaction.atomic(), attributed(actor, reason.strip()):
        locked = lock_identity(identity.pk)
        if locked.kind != SubjectKind.CHARGER or not locked.enabled:
            raise TransitionRefusedError(
                f"{locked.authoritative_identifier} is disabled or no charger; only enabled chargers have logs."
            )
        for earlier in StationLog.objects.filter(identity=locked, state__in=LOG_OPEN_STATES):
            _end(earlier, StationLogState.FAILED, "A newer request took its place.", now)
        log = StationLog(
            identity=locked,
            request_id=secrets.randbelow(2**31 - 1) + 1,
            upload_until=now + UPLOAD_WITHIN,
            actor=actor.name,
            reason=reason.strip(),
            correlation_id=current_attribution().correlation_id,
            created_at=now,
        )
        log.save()
        _ask(log, now)
    return log


def _ask(log: StationLog, now: datetime) -> None:
    sealed = secret_payload.seal({"remote_location": upload_address(log)}, settings.CONFIGURATION.credential_secret())
    outbox.enqueue(
        station_id=log.identity.authoritative_identifier,
        action=Action.GET_LOG,
        payload=canonical.get_log(log.log_type, "", log.request_id),
        secret_payload=sealed,
        dedupe_key=f"log:{log.pk}",
        now=now,
        expires_after=UPLOAD_WITHIN,
        reference=f"log:{log.pk}",
        correlation_id=log.correlation_id,
    )


def upload_address(log: StationLog) -> str:
    """Where the station may put this log, once."""
    return f"{settings.CONFIGURATION.log_upload_url}/upload/{_signer.sign(str(log.pk))}"


# -- what the station sends ------------------------------------------------------------------------------------------


def receive(*, token: str, chunks: Iterable[bytes], now: datetime | None = None) -> StationLog:
    """Take an upload in.

    Each upload has a place of its own in the store. Only the one that still holds the claim when it ends becomes the
    artifact; what an earlier, slower one brings afterwards is thrown away, and never in the place of what was kept.

    :param token: the end of the address that the station was given.
    :raises UploadRefusedError: when the address is not one of ours, was used, or is over; nothing was kept then.
    """
    now = now or timezone.now()
    log = _claim(token, now)
    place = _place(log, log.upload_claim)
    try:
        stored = artifacts.store().put(place, chunks, largest=_largest())
        kept = _keep(log, place, stored, now)
    except TooLargeError:
        _give_back(log)
        raise UploadTooLargeError(
            f"The log has more than {settings.CONFIGURATION.upload_largest_mib} MiB; nothing of it was kept."
        ) from None
    except BaseException:  # however it ends, the claim is given back
        _give_back(log)
        raise
    if kept is None:
        artifacts.store().delete(place)
        raise UploadOverError(_OVER)
    return kept


def _largest() -> int:
    return int(settings.CONFIGURATION.upload_largest_mib) * 1024 * 1024


def _place(log: StationLog, claim: str) -> str:
    return f"security-logs/{log.created_at:%Y/%m}/{log.pk}-{claim}.log"


def _claim(token: str, now: datetime) -> StationLog:
    """One upload at a time for one address, whoever else knows it.

    :returns: the log with the claim of this upload.
    """
    try:
        number = int(_signer.unsign(token))
    except (BadSignature, ValueError):
        raise UploadRefusedError("Nothing is expected at this address.") from None
    with transaction.atomic():
        log = StationLog.objects.select_for_update(of=("self",)).select_related("identity").filter(pk=number).first()
        if log is None or not log.is_open or log.upload_until <= now or not log.identity.enabled:
            raise UploadOverError(_OVER)
        if log.upload_begun_at is not None and log.upload_begun_at > now - UPLOAD_TAKES:
            raise UploadOverError(_OVER)
        _clear_away(log, now)
        log.upload_claim = secrets.token_hex(8)
        StationLog.objects.filter(pk=log.pk).update(upload_begun_at=now, upload_claim=log.upload_claim)
    return log


def _clear_away(log: StationLog, now: datetime) -> None:
    """Delete what an upload that was broken off without our noticing has left in the store; the log is locked.

    Before its claim is forgotten: a process that dies in between leaves the claim, and the next one deletes it again.
    The upload may also be slow and not dead, and put something there later; so that is deleted once more, when no
    upload can still be under way.
    """
    if log.upload_claim:
        place = _place(log, log.upload_claim)
        AbandonedUpload.objects.get_or_create(name=place, defaults={"delete_at": now + SURELY_OVER})
        artifacts.store().delete(place)


def _keep(log: StationLog, place: str, stored: Stored, now: datetime) -> StationLog | None:
    """Make what was stored the log's artifact; None when another upload has taken the claim meanwhile."""
    station = Actor.station(log.identity.authoritative_identifier)
    with attributed(station, "Uploaded its security log", log.correlation_id), transaction.atomic():
        locked = _lock(log.pk)
        if locked.upload_claim != log.upload_claim or locked.artifact_id is not None:
            return None
        locked.artifact = Artifact.objects.create(
            kind=ArtifactKind.SECURITY_LOG,
            name=place,
            origin=f"log:{log.pk}",
            identity=log.identity,
            sha256=stored.sha256,
            size=stored.size,
            content_type="application/octet-stream",
            created_at=now,
            retain_until=now + timedelta(days=settings.CONFIGURATION.keep_security_logs_days),
        )
        locked.upload_begun_at, locked.upload_claim = None, ""
        if locked.is_open:
            _end(locked, StationLogState.UPLOADED, f"{stored.size} bytes were kept.", now)
        else:
            locked.save()
    return locked


def _give_back(log: StationLog) -> None:
    StationLog.objects.filter(pk=log.pk, upload_claim=log.upload_claim).update(upload_begun_at=None, upload_claim="")


def command_answered(answer: CommandAnswer) -> None:
    """The station took the request for a log, or did not."""
    if not answer.reference.isdigit():
        return
    with transaction.atomic():
        log = _lock(int(answer.reference))
        if not log.is_open:
            return
        if answer.outcome == CommandOutcome.ACCEPTED:
            if log.state == StationLogState.REQUESTED:
                log.state = StationLogState.ACCEPTED
                log.save()
            return
        _end(log, StationLogState.FAILED, f"The station did not take the request: {answer.detail}", answer.at)


def status_reported(identity: ManagedIdentity, request_id: object, status: str, now: datetime) -> None:
    """LogStatusNotification: followed to the end. An upload that failed may be tried again by the station itself."""
    if not isinstance(request_id, int):
        return
    with transaction.atomic(), attributed(Actor.station(identity.authoritative_identifier), f"Log upload: {status}"):
        log = (
            StationLog.objects.select_for_update(of=("self",))
            .select_related("identity")
            .filter(identity=identity, request_id=request_id)
            .first()
        )
        if log is None or log.station_status == status[:40]:
            return
        log.station_status = status[:40]
        if log.is_open and status == "Uploading":
            log.state = StationLogState.UPLOADING
        log.save()
        if log.is_open and status in FAILED_STATUSES:
            _end(log, StationLogState.FAILED, f"The station reports: {status}.", now)


@duty("station_logs", timedelta(minutes=1))
def end_overdue(now: datetime) -> int:
    """Requests whose upload never came.

    :returns: how many were ended.
    """
    overdue = StationLog.objects.filter(state__in=LOG_OPEN_STATES, upload_until__lte=now).order_by("upload_until")
    ended = 0
    waiting = setbacks.without(overdue, "station_logs", now)
    for number, identity_id in list(waiting.values_list("pk", "identity_id")[:BATCH]):
        step = partial(_end_if_overdue, number, now)
        ended += setbacks.apart("station_logs", number, now, step, identity_id=identity_id) or False
    return ended


def _end_if_overdue(number: int, now: datetime) -> bool:
    with transaction.atomic(), attributed(Actor.system("station-logs"), "The time for the upload is over"):
        log = _lock(number)
        if not log.is_open or (log.upload_begun_at is not None and log.upload_begun_at > now - UPLOAD_TAKES):
            return False
        said = f" It said last: {log.station_status}." if log.station_status else ""
        _end(log, StationLogState.FAILED, f"No upload came in time.{said}", now)
    return True


@duty("abandoned_uploads", timedelta(minutes=1))
def clear_abandoned(now: datetime) -> int:
    """Delete what uploads left whose process died before they were kept: no row, so no retention, names it.

    :returns: how many.
    """
    abandoned = StationLog.objects.filter(upload_begun_at__lte=now - UPLOAD_TAKES).order_by("upload_begun_at")
    cleared = 0
    waiting = setbacks.without(abandoned, "abandoned_uploads", now)
    for number, identity_id in list(waiting.values_list("pk", "identity_id")[:BATCH]):
        step = partial(_clear_if_abandoned, number, now)
        cleared += setbacks.apart("abandoned_uploads", number, now, step, identity_id=identity_id) or False
    return cleared


@duty("late_uploads", timedelta(hours=1))
def clear_late(now: datetime) -> int:
    """Delete what uploads that had been given up have put into the store since, if any.

    :returns: how many places were looked at for the last time.
    """
    due = AbandonedUpload.objects.filter(delete_at__lte=now).order_by("delete_at")
    cleared = 0
    for upload in list(setbacks.without(due, "late_uploads", now)[:BATCH]):
        cleared += setbacks.apart("late_uploads", upload.pk, now, partial(_clear_late, upload)) or False
    return cleared


def _clear_late(upload: AbandonedUpload) -> bool:
    artifacts.store().delete(upload.name)
    upload.delete()
    return True


def _clear_if_abandoned(number: int, now: datetime) -> bool:
    with transaction.atomic():
        log = _lock(number)
        if log.upload_begun_at is None or log.upload_begun_at > now - UPLOAD_TAKES:
            return False
        _clear_away(log, now)
        _give_back(log)
    return True


def _lock(number: int) -> StationLog:
    return StationLog.objects.select_for_update(of=("self",)).select_related("identity").get(pk=number)


def _end(log: StationLog, state: StationLogState, detail: str, now: datetime) -> None:
    log.state, log.detail, log.finished_at = state, detail[:500], now
    log.save()
    if state == StationLogState.FAILED:
        outbox.cancel([f"log:{log.pk}"], now=now)
    failed = state == StationLogState.FAILED
    record_security_event(
        "SecurityLogMissing" if failed else "SecurityLogRetrieved",
        category=SecurityCategory.SECURITY_LOG,
        severity=Severity.WARNING if failed else Severity.INFO,
        source=SecuritySource.CONTROL_PLANE,
        message=f"Security log of {log.identity.authoritative_identifier}: {detail}"[:500],
        now=now,
        identity=log.identity,
        station_id=log.identity.authoritative_identifier[:64],
        payload={"requestId": log.request_id},
        correlation_id=log.correlation_id,
        dedupe_key=f"log:{log.pk}:{state}",
    )
