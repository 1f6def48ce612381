"""Recording security events in one normal form, whatever their source (FR-010, NFR-005)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from inventory.choices import SecurityCategory, SecuritySource, Severity
from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity, SecurityEvent

_C, _S = SecurityCategory, Severity

STATION_EVENTS: dict[str, tuple[SecurityCategory, Severity]] = {
    "FirmwareUpdated": (_C.PLATFORM, _S.INFO),
    "FailedToAuthenticateAtCsms": (_C.AUTHENTICATION, _S.WARNING),
    "FailedToAuthenticateAtCentralSystem": (_C.AUTHENTICATION, _S.WARNING),
    "CsmsFailedToAuthenticate": (_C.AUTHENTICATION, _S.WARNING),
    "CentralSystemFailedToAuthenticate": (_C.AUTHENTICATION, _S.WARNING),
    "SettingSystemTime": (_C.PLATFORM, _S.INFO),
    "StartupOfTheDevice": (_C.PLATFORM, _S.INFO),
    "ResetOrReboot": (_C.PLATFORM, _S.INFO),
    "SecurityLogWasCleared": (_C.SECURITY_LOG, _S.CRITICAL),
    "ReconfigurationOfSecurityParameters": (_C.PLATFORM, _S.INFO),
    "MemoryExhaustion": (_C.PLATFORM, _S.WARNING),
    "InvalidMessages": (_C.OTHER, _S.WARNING),
    "AttemptedReplayAttacks": (_C.AUTHENTICATION, _S.CRITICAL),
    "TamperDetectionActivated": (_C.PLATFORM, _S.CRITICAL),
    "InvalidFirmwareSignature": (_C.PLATFORM, _S.WARNING),
    "InvalidFirmwareSigningCertificate": (_C.PLATFORM, _S.WARNING),
    "InvalidCsmsCertificate": (_C.TLS_AND_CERTIFICATE, _S.WARNING),
    "InvalidCentralSystemCertificate": (_C.TLS_AND_CERTIFICATE, _S.WARNING),
    "InvalidChargingStationCertificate": (_C.INSTALLATION, _S.WARNING),
    "InvalidChargePointCertificate": (_C.INSTALLATION, _S.WARNING),
    "DiscardedRenewedClientCertificate": (_C.INSTALLATION, _S.WARNING),
    "InvalidTLSVersion": (_C.TLS_AND_CERTIFICATE, _S.WARNING),
    "InvalidTLSCipherSuite": (_C.TLS_AND_CERTIFICATE, _S.WARNING),
    "MaintenanceLoginAccepted": (_C.AUTHENTICATION, _S.INFO),
    "MaintenanceLoginFailed": (_C.AUTHENTICATION, _S.WARNING),
}
"""The security events of OCPP 2.0.1 (part 2, appendix) and 1.6 by their wire names."""

NORMAL_NAMES = {
    "FailedToAuthenticateAtCentralSystem": "FailedToAuthenticateAtCsms",
    "CentralSystemFailedToAuthenticate": "CsmsFailedToAuthenticate",
    "InvalidCentralSystemCertificate": "InvalidCsmsCertificate",
    "InvalidChargePointCertificate": "InvalidChargingStationCertificate",
}
"""1.6 names for what 2.0.1 names otherwise."""


def record_security_event(
    kind: str,
    *,
    category: SecurityCategory,
    severity: Severity,
    source: SecuritySource,
    message: str,
    now: datetime,
    occurred_at: datetime | None = None,
    native_type: str = "",
    identity: ManagedIdentity | None = None,
    record: CertificateRecord | None = None,
    job: CertificateJob | None = None,
    session_id: UUID | str | None = None,
    station_id: str = "",
    address: str | None = None,
    technical_detail: str = "",
    payload: Mapping[str, Any] | None = None,
    correlation_id: str = "",
    dedupe_key: str = "",
) -> None:
    """Append one security event; with a `dedupe_key`, the same happening written again changes nothing."""
    SecurityEvent.objects.bulk_create(
        [
            SecurityEvent(
                type=kind,
                native_type=native_type,
                category=category,
                severity=severity,
                source=source,
                occurred_at=occurred_at or now,
                recorded_at=now,
                identity_id=identity.pk if identity else (record.identity_id if record else None),
                record=record,
                job=job,
                session_id=UUID(str(session_id)) if session_id else None,
                station_id=station_id,
                address=address or None,
                message=message,
                technical_detail=technical_detail,
                payload=dict(payload or {}),
                correlation_id=correlation_id,
                dedupe_key=dedupe_key,
            )
        ],
        ignore_conflicts=bool(dedupe_key),
    )


def classify_station_event(native_type: str) -> tuple[str, SecurityCategory, Severity]:
    """The normal name, category and severity of a station's event; its type is a free string beyond the list."""
    category, severity = STATION_EVENTS.get(native_type, (SecurityCategory.OTHER, Severity.WARNING))
    return NORMAL_NAMES.get(native_type, native_type), category, severity
