"""Records in every state, made by SQL: what is tested is what the database and the doors make of them."""

import uuid
from datetime import UTC, datetime
from typing import Any

from django.db import connection

from inventory.audit import attributed
from inventory.choices import EvidenceKind
from inventory.models import CertificateRecord, Evidence, ManagedIdentity
from inventory.services import transitions
from tests.support import OPERATOR

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PATHS: dict[str, tuple[str, ...]] = {
    "requested": (),
    "issued": ("issued",),
    "installed_pending_activation": ("issued", "installed_pending_activation"),
    "active": ("issued", "installed_pending_activation", "active"),
    "inactive": ("issued", "installed_pending_activation", "active", "inactive"),
    "retired": ("issued", "installed_pending_activation", "active", "retired"),
    "revoked": ("issued", "revoked"),
    "deleted": ("issued", "revoked", "deleted"),
}


def sql(statement: str, *values: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)


def record_of(identity: ManagedIdentity, **fields: Any) -> CertificateRecord:
    """A requested record, as code makes it."""
    with attributed(OPERATOR, "test"):
        record = CertificateRecord(
            **{
                "identity": identity,
                "purpose": "charger_identity",
                "trust_domain": "charger_identity",
                "mode": "managed",
                "requested_at": NOW,
                **fields,
            }
        )
        record.save()
    return record


def evidence_for(record: CertificateRecord) -> Evidence:
    return transitions.observe(
        record, EvidenceKind.MTLS_CONNECTION, now=NOW, source="test", dedupe_key=uuid.uuid4().hex
    )


def bring_to(record: CertificateRecord, state: str, *, fingerprint: str = "") -> None:
    for step in PATHS[state]:
        move(record, step, fingerprint=fingerprint)


def move(record: CertificateRecord, state: str, *, fingerprint: str = "") -> None:
    """Change the state by SQL, with everything else that the state needs."""
    sql(
        "UPDATE inventory_certificaterecord SET state = %s, fingerprint = %s, serial_number = %s, issuer_sha256 = 'ca',"
        " revoked_at = %s, activation_evidence_id = %s WHERE id = %s",
        state,
        fingerprint or f"fingerprint-{record.pk}",
        f"{record.pk:x}",
        NOW,
        evidence_for(record).pk,
        record.pk,
    )
