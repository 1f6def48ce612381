"""Who may come in with a client certificate: decided before the upgrade, by exactly that certificate's record.

A connection is accepted only if the certificate belongs to that identity and its record is active,
installed_pending_activation, issued with its delivery under way, or retired inside the rollback window. TLS does not
check dates, so that a refusal can name its station: they are checked here, of the certificate and of the CAs above it.

An expired certificate is let in, for its renewal only, while a person has opened a narrow door for exactly that one.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db import connection

from bfcerts.ocpp.canonical import RefusalReason
from bfcerts.ocpp.registry import ADAPTER_OPTION, Admission, ConnectionAttempt, Refusal
from bfcerts.pki.certificates import CertificateError, parse_certificate, split_chain
from inventory.choices import RecordState, SubjectKind
from inventory.purposes import CHARGER_IDENTITY

PROFILE_3 = 3

# FOR SHARE orders this decision before or after a revocation's row lock: either the session is known to the node
# that admits it when the revocation is announced, or the revocation is seen here. Newest first, as an activation locks
# the new certificate before the one that it replaces.
_RECORDS = """
SELECT r.fingerprint, r.state, r.purpose, r.not_before, r.not_after, r.rollback_until, r.confirm_by, r.id,
       r.renewal_only_until, coalesce(a.chain_pem, r.chain_pem),
       i.kind, i.authoritative_identifier, i.enabled, i.security_profile, i.fallback_until,
       i.connections_watched_until, f.protocol_variant
FROM inventory_certificaterecord r JOIN inventory_managedidentity i ON i.id = r.identity_id
LEFT JOIN inventory_issuingauthority a ON a.id = r.authority_id
LEFT JOIN inventory_chargerfamily f ON f.id = i.family_id
WHERE r.fingerprint = ANY(%s) AND r.fingerprint <> ''
ORDER BY r.id DESC
FOR SHARE OF r
"""
_COLUMNS = (
    "fingerprint",
    "state",
    "purpose",
    "not_before",
    "not_after",
    "rollback_until",
    "confirm_by",
    "record_id",
    "renewal_only_until",
    "chain_pem",
    "kind",
    "identifier",
    "enabled",
    "security_profile",
    "fallback_until",
    "watched_until",
    "protocol_variant",
)


class CertificateDoor:
    """The door for Profile 3; one query decides a whole batch of handshakes."""

    def decide(self, attempts: Sequence[ConnectionAttempt]) -> list[Admission | Refusal]:
        fingerprints = [attempt.certificate.fingerprint for attempt in attempts if attempt.certificate]
        with connection.cursor() as cursor:
            cursor.execute(_RECORDS, [fingerprints])
            rows = {row[0]: dict(zip(_COLUMNS, row, strict=True)) for row in cursor.fetchall()}
        return [self._decide_one(attempt, rows) for attempt in attempts]

    def _decide_one(self, attempt: ConnectionAttempt, rows: dict[str, dict[str, Any]]) -> Admission | Refusal:
        if attempt.certificate is None:
            return Refusal(RefusalReason.NO_CLIENT_CERTIFICATE, "Profile 3 needs a client certificate.")
        row = rows.get(attempt.certificate.fingerprint)
        if row is None:
            return _unknown(attempt)
        refusal, authority = _wrong_identity(attempt, row), _wrong_authority(row, attempt.now)
        if refusal is None and authority is None and _for_renewal(row, attempt.now):
            return Admission(
                PROFILE_3, evidence_wanted=True, options=_options(row), renewal_only_until=row["renewal_only_until"]
            )
        refusal = refusal or _not_valid_now(row, attempt.now) or authority or _wrong_state(row, attempt.now)
        if refusal:
            return refusal
        arrived = row["security_profile"] >= PROFILE_3 and row["fallback_until"] is None
        watched = row["watched_until"] is not None and row["watched_until"] > attempt.now
        news = row["state"] != RecordState.ACTIVE or not arrived or watched
        return Admission(PROFILE_3, evidence_wanted=news, options=_options(row))


def _options(row: dict[str, Any]) -> dict[str, Any]:
    return {ADAPTER_OPTION: row["protocol_variant"]} if row["protocol_variant"] else {}


def _for_renewal(row: dict[str, Any], now: datetime) -> bool:
    """Whether a narrow door is open for exactly this certificate, which has expired."""
    until = row["renewal_only_until"]
    return (
        until is not None
        and now < until
        and row["not_after"] <= now
        and row["state"] in (RecordState.ACTIVE, RecordState.RETIRED)
    )


@lru_cache(maxsize=256)
def end_of_chain(chain_pem: str) -> datetime | None:
    """When the first of the CAs above a certificate expires; None where none is known or one cannot be read."""
    try:
        return min((parse_certificate(part).not_after for part in split_chain(chain_pem)), default=None)
    except CertificateError:
        return None


def _wrong_authority(row: dict[str, Any], now: datetime) -> Refusal | None:
    end = end_of_chain(row["chain_pem"])
    if end is None or end > now:
        return None
    return Refusal(
        RefusalReason.AUTHORITY_EXPIRED,
        f"Certificate {row['record_id']} chains to a CA that expired on {end:%Y-%m-%d %H:%M} UTC.",
    )


def _unknown(attempt: ConnectionAttempt) -> Refusal:
    described = "a certificate that cannot be read"
    if attempt.certificate:
        try:
            parsed = parse_certificate(attempt.certificate.der)
            described = f"serial {parsed.serial_hex} of “{parsed.issuer_text}” for “{parsed.subject_text}”"
        except CertificateError:
            pass
    return Refusal(
        RefusalReason.UNKNOWN_CERTIFICATE,
        f"The certificate is not in the inventory ({described}), though a trusted CA signed it.",
    )


def _wrong_identity(attempt: ConnectionAttempt, row: dict[str, Any]) -> Refusal | None:
    if row["purpose"] != CHARGER_IDENTITY.key or row["kind"] != SubjectKind.CHARGER:
        return Refusal(
            RefusalReason.FOREIGN_TRUST_DOMAIN,
            f"Certificate {row['record_id']} is for {row['purpose']}, not for a charger's connection.",
        )
    if row["identifier"] != attempt.station_id:
        return Refusal(
            RefusalReason.CERTIFICATE_OF_ANOTHER_STATION,
            f"Certificate {row['record_id']} belongs to {row['identifier']}, but the connection is for "
            f"{attempt.station_id}.",
        )
    if not row["enabled"]:
        return Refusal(RefusalReason.DISABLED_STATION, f"{attempt.station_id} is disabled in the inventory.")
    return None


def _not_valid_now(row: dict[str, Any], now: datetime) -> Refusal | None:
    if row["not_after"] <= now:
        return Refusal(
            RefusalReason.CERTIFICATE_EXPIRED,
            f"Certificate {row['record_id']} expired on {row['not_after']:%Y-%m-%d %H:%M} UTC.",
        )
    if row["not_before"] > now:
        return Refusal(
            RefusalReason.CERTIFICATE_NOT_YET_VALID,
            f"Certificate {row['record_id']} is valid only from {row['not_before']:%Y-%m-%d %H:%M} UTC.",
        )
    return None


def _wrong_state(row: dict[str, Any], now: datetime) -> Refusal | None:
    state = row["state"]
    number = row["record_id"]
    if state in (RecordState.ACTIVE, RecordState.INSTALLED_PENDING_ACTIVATION):
        return None
    if state == RecordState.ISSUED:
        if row["confirm_by"] is not None and row["confirm_by"] > now:
            return None
        return Refusal(
            RefusalReason.CERTIFICATE_NOT_ACCEPTABLE,
            f"Certificate {number} is issued but not being delivered.",
        )
    if state == RecordState.RETIRED:
        if row["rollback_until"] is not None and row["rollback_until"] > now:
            return None
        return Refusal(
            RefusalReason.CERTIFICATE_SUPERSEDED,
            f"Certificate {number} is retired and its rollback window is over; the station should use its newer one.",
        )
    if state == RecordState.REVOKED:
        return Refusal(RefusalReason.CERTIFICATE_REVOKED, f"Certificate {number} is revoked.")
    return Refusal(RefusalReason.CERTIFICATE_NOT_ACCEPTABLE, f"Certificate {number} is {state}.")
