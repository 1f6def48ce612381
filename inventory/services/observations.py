"""What is merely observed on the wire: boots, security events, refusals. Recorded, and never in anybody's way."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db import transaction

from bfcerts.ocpp.canonical import RefusalReason
from bfcerts.ocpp.gateway.asking import TOO_MANY_QUESTIONS
from bfcerts.ocpp.gateway.renewal_only import OUTSIDE_RENEWAL
from bfcerts.ocpp.registry import InboxEntry
from inventory import seams
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import SecurityCategory, SecuritySource, Severity
from inventory.clock_limits import EARLIEST_PLAUSIBLE
from inventory.models import CertificateRecord, ManagedIdentity
from inventory.services import boot_changes
from inventory.services.locking import lock_identity
from inventory.services.security_events import classify_station_event, record_security_event

LATEST_PLAUSIBLE = timedelta(days=366)
"""Stations have wrong clocks; what lies outside of this is no time of an event, and ours is shown instead."""

CONNECTION_REFUSED: Final = "ConnectionRefused"
"""The security event of a connection that the gateway refused; its `native_type` is the `RefusalReason`."""

_REFUSALS: dict[str, tuple[SecurityCategory, Severity, str]] = {
    RefusalReason.UNKNOWN_STATION: (
        SecurityCategory.AUTHENTICATION,
        Severity.WARNING,
        "an unknown station id",
    ),
    RefusalReason.WRONG_PASSWORD: (SecurityCategory.AUTHENTICATION, Severity.WARNING, "a wrong password"),
    RefusalReason.NO_CREDENTIALS: (SecurityCategory.AUTHENTICATION, Severity.WARNING, "no credentials"),
    RefusalReason.THROTTLED: (SecurityCategory.AUTHENTICATION, Severity.WARNING, "too many wrong passwords"),
    RefusalReason.NO_CLIENT_CERTIFICATE: (
        SecurityCategory.TLS_AND_CERTIFICATE,
        Severity.WARNING,
        "no client certificate",
    ),
    RefusalReason.UNKNOWN_CERTIFICATE: (
        SecurityCategory.TLS_AND_CERTIFICATE,
        Severity.CRITICAL,
        "a certificate that is not in the inventory",
    ),
    RefusalReason.FOREIGN_TRUST_DOMAIN: (
        SecurityCategory.TLS_AND_CERTIFICATE,
        Severity.CRITICAL,
        "a certificate of another trust domain",
    ),
    RefusalReason.CERTIFICATE_OF_ANOTHER_STATION: (
        SecurityCategory.TLS_AND_CERTIFICATE,
        Severity.CRITICAL,
        "another station's certificate",
    ),
    RefusalReason.CERTIFICATE_REVOKED: (
        SecurityCategory.TLS_AND_CERTIFICATE,
        Severity.CRITICAL,
        "a revoked certificate",
    ),
    RefusalReason.CERTIFICATE_EXPIRED: (
        SecurityCategory.TLS_AND_CERTIFICATE,
        Severity.WARNING,
        "an expired certificate",
    ),
    RefusalReason.CERTIFICATE_NOT_YET_VALID: (
        SecurityCategory.TLS_AND_CERTIFICATE,
        Severity.WARNING,
        "a certificate that is not yet valid",
    ),
    RefusalReason.AUTHORITY_EXPIRED: (
        SecurityCategory.TLS_AND_CERTIFICATE,
        Severity.CRITICAL,
        "a certificate whose CA has expired",
    ),
    RefusalReason.CERTIFICATE_SUPERSEDED: (
        SecurityCategory.TLS_AND_CERTIFICATE,
        Severity.WARNING,
        "a superseded certificate",
    ),
    RefusalReason.CERTIFICATE_NOT_ACCEPTABLE: (
        SecurityCategory.TLS_AND_CERTIFICATE,
        Severity.WARNING,
        "a certificate that is not in use",
    ),
    RefusalReason.PROFILE_TOO_LOW: (
        SecurityCategory.AUTHENTICATION,
        Severity.WARNING,
        "a lower security profile than it has reached",
    ),
    RefusalReason.SESSION_RESUMED: (
        SecurityCategory.TLS_AND_CERTIFICATE,
        Severity.WARNING,
        "a resumed TLS session",
    ),
    RefusalReason.TLS_HANDSHAKE_FAILED: (
        SecurityCategory.TLS_AND_CERTIFICATE,
        Severity.WARNING,
        "a TLS handshake that failed",
    ),
    RefusalReason.UNSUPPORTED_SUBPROTOCOL: (
        SecurityCategory.OTHER,
        Severity.INFO,
        "no OCPP version that we speak",
    ),
    RefusalReason.DISABLED_STATION: (
        SecurityCategory.AUTHENTICATION,
        Severity.WARNING,
        "a disabled identity",
    ),
}


def answer_detail(payload: Mapping[str, Any]) -> str:
    """What a station said about a command, verbatim and in one line: only free text tells why (conformance 2)."""
    info = payload.get("status_info") or {}
    if isinstance(info, dict):
        info = " ".join(str(info[key]) for key in ("reasonCode", "additionalInfo") if info.get(key))
    parts = [payload.get("status"), info, payload.get("error_code"), payload.get("error_description")]
    return ": ".join(str(part) for part in parts if part)[:1000]


def booted(identity: ManagedIdentity, entry: InboxEntry) -> None:
    """A BootNotification: keep the firmware version, which families and readiness depend on."""
    firmware = str(entry.payload.get("firmware_version") or "")[:50]
    if not firmware or firmware == identity.firmware_version:
        return
    reason = f"Reported by the station when it booted ({entry.payload.get('reason', 'no reason given')})"
    with attributed(Actor.station(entry.station_id), reason), transaction.atomic():
        locked = lock_identity(identity.pk)
        locked.firmware_version = firmware
        boot_changes.save(locked, ["firmware_version"], entry.received_at)


def connected(identity: ManagedIdentity | None, entry: InboxEntry) -> None:
    """A connection that was news: tell those who wait for one."""
    if identity is None:
        return
    reason = f"Connected on Profile {entry.payload.get('profile')}"
    with attributed(Actor.station(entry.station_id), reason), transaction.atomic():
        seams.tell_connection(
            seams.Connection(
                identity=lock_identity(identity.pk),
                session_id=entry.session_id,
                security_profile=int(entry.payload.get("profile") or 0),
                fingerprint=str(entry.payload.get("fingerprint") or ""),
                authorization_key_id=entry.payload.get("authorization_key"),
                renewal_only=bool(entry.payload.get("renewal_only")),
                at=entry.received_at,
            )
        )


def tell_boot(identity: ManagedIdentity, entry: InboxEntry) -> None:
    """Tell of a BootNotification, after the identity took from it what it keeps."""
    with attributed(Actor.station(entry.station_id), "BootNotification"), transaction.atomic():
        seams.tell_boot(
            seams.Boot(
                identity=lock_identity(identity.pk),
                session_id=entry.session_id,
                vendor=str(entry.payload.get("vendor") or "")[:50],
                model=str(entry.payload.get("model") or "")[:50],
                serial_number=str(entry.payload.get("serial_number") or "")[:64],
                firmware_version=str(entry.payload.get("firmware_version") or "")[:50],
                at=entry.received_at,
            )
        )


def station_security_event(identity: ManagedIdentity | None, entry: InboxEntry) -> None:
    """SecurityEventNotification (OCPP 2.0.1 A04)."""
    native = str(entry.payload.get("type", ""))[:60]
    kind, category, severity = classify_station_event(native)
    record_security_event(
        kind,
        native_type=native,
        category=category,
        severity=severity,
        source=SecuritySource.CHARGER,
        message=f"{entry.station_id} reported {kind}.",
        technical_detail=str(entry.payload.get("tech_info") or "")[:1000],
        occurred_at=_time(entry.payload.get("timestamp"), entry.received_at),
        now=entry.received_at,
        identity=identity,
        session_id=entry.session_id or None,
        station_id=entry.station_id,
        payload={"timestamp": str(entry.payload.get("timestamp", ""))[:60]},
        dedupe_key=f"inbox:{entry.id}",
    )
    if identity is None:
        return
    with attributed(Actor.station(entry.station_id), f"Reported {kind}"), transaction.atomic():
        seams.tell_station_report(
            seams.StationReport(
                identity=lock_identity(identity.pk),
                kind=kind,
                technical_detail=str(entry.payload.get("tech_info") or "")[:1000],
                session_id=entry.session_id,
                at=entry.received_at,
            )
        )


def _time(text: object, now: datetime) -> datetime | None:
    """The station's own time of an event, where it is plausible; what PostgreSQL or Python could not hold is not.

    The table is append-only: a row that cannot be read back would stay for ever.
    """
    try:
        parsed = datetime.fromisoformat(str(text))
        stated = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return stated if EARLIEST_PLAUSIBLE <= stated <= now + LATEST_PLAUSIBLE else None


def connection_refused(identity: ManagedIdentity | None, entry: InboxEntry) -> None:
    """A connection that the gateway refused before the upgrade."""
    reason = str(entry.payload.get("reason", ""))
    category, severity, words = _REFUSALS.get(
        reason,
        (SecurityCategory.TLS_AND_CERTIFICATE, Severity.WARNING, reason.replace("_", " ") or "no reason"),
    )
    record = None
    if entry.payload.get("fingerprint"):
        record = CertificateRecord.objects.filter(fingerprint=entry.payload["fingerprint"]).first()
    who = entry.station_id or (record.identity.authoritative_identifier if record else "") or "A client"
    count = int(entry.payload.get("count", 1) or 1)
    times = f" ({count:,} times)" if count > 1 else ""
    record_security_event(
        CONNECTION_REFUSED,
        native_type=reason[:60],
        category=category,
        severity=severity,
        source=SecuritySource.TLS_ENDPOINT,
        message=f"{who} was refused{times}: it came with {words}. {entry.payload.get('detail') or ''}".strip(),
        now=entry.received_at,
        identity=identity or (record.identity if record else None),
        record=record,
        session_id=entry.session_id or None,
        station_id=entry.station_id,
        address=entry.payload.get("address"),
        payload={
            key: entry.payload[key]
            for key in (
                "reason",
                "listener",
                "profile",
                "fingerprint",
                "serial",
                "subject",
                "issuer",
                "count",
            )
            if entry.payload.get(key)
        },
        dedupe_key=f"inbox:{entry.id}",
    )


def protocol_violation(identity: ManagedIdentity | None, entry: InboxEntry) -> None:
    """A frame that broke the protocol in a way that matters for security, or asked for more than it may."""
    kind, detail = str(entry.payload.get("kind", "")), entry.payload.get("detail", "")
    event, message = "InvalidMessages", f"{entry.station_id} sent a frame that breaks OCPP: {detail}"
    if kind == OUTSIDE_RENEWAL:
        event, message = "RefusedOutsideRenewal", f"{entry.station_id} came in through a narrow door: {detail}."
    elif kind == TOO_MANY_QUESTIONS:
        event, message = "TooManyQuestions", f"{entry.station_id} is answered “Failed”: {detail}. Look at its log."
    record_security_event(
        event,
        native_type=kind[:60],
        category=SecurityCategory.AUTHENTICATION if kind == OUTSIDE_RENEWAL else SecurityCategory.OTHER,
        severity=Severity.WARNING,
        source=SecuritySource.TLS_ENDPOINT,
        message=message,
        now=entry.received_at,
        identity=identity,
        session_id=entry.session_id or None,
        station_id=entry.station_id,
        dedupe_key=f"inbox:{entry.id}",
    )


def log_status(identity: ManagedIdentity | None, entry: InboxEntry) -> None:
    """LogStatusNotification: an upload that failed is a matter of the log's integrity (FR-010)."""
    status = str(entry.payload.get("status", ""))
    failed = status in ("BadMessage", "NotSupportedOperation", "PermissionDenied", "UploadFailure")
    record_security_event(
        "LogUploadFailed" if failed else "LogStatus",
        native_type=status[:60],
        category=SecurityCategory.SECURITY_LOG,
        severity=Severity.WARNING if failed else Severity.INFO,
        source=SecuritySource.CHARGER,
        message=f"{entry.station_id} reports its log upload: {status}.",
        now=entry.received_at,
        identity=identity,
        session_id=entry.session_id or None,
        station_id=entry.station_id,
        payload={"requestId": entry.payload.get("request_id")},
        dedupe_key=f"inbox:{entry.id}",
    )
