"""What lists are narrowed by has an index: the database says how it would find one among a few thousand."""

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import Model, Q, QuerySet

from inventory.audit import attributed
from inventory.models import (
    CertificateJob,
    CertificateRecord,
    DomainEvent,
    Evidence,
    ManagedIdentity,
    SecurityEvent,
)
from tests.inventory.records import NOW
from tests.support import OPERATOR

pytestmark = pytest.mark.django_db

MANY = 3000
RARE = 10
"""So many rows have what is looked for; an index is of no use for what most rows have."""


def filled() -> None:
    """Some thousand rows in each table, a few of them of the rare kind."""
    with attributed(OPERATOR, "test"):
        identities = ManagedIdentity.objects.bulk_create(_identity(number) for number in range(MANY))
        records = CertificateRecord.objects.bulk_create(
            _record(number, identity) for number, identity in enumerate(identities)
        )
        CertificateJob.objects.bulk_create(_job(number, one) for number, one in enumerate(identities))
        DomainEvent.objects.bulk_create(_event(number, one) for number, one in enumerate(records))
        Evidence.objects.bulk_create(
            Evidence(
                record=record,
                kind="evse_acceptance" if number < RARE else "mtls_connection",
                observed_at=NOW,
                source="test",
                dedupe_key=str(number),
            )
            for number, record in enumerate(records)
        )
        SecurityEvent.objects.bulk_create(_security_event(number) for number in range(MANY))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _identity(number: int) -> ManagedIdentity:
    rare = number < RARE
    return ManagedIdentity(
        kind="charger",
        authoritative_identifier=f"CS-{number}",
        serial_number=f"SN-{number}",
        owner=f"owner {number % 300}",
        site=f"site {number % 300}",
        region=f"region {number % 300}",
        program="rare" if rare else f"program {number % 300}",
        tags=["rare"] if rare else ["common"],
        enabled=not rare,
        security_profile=1 if rare else 3,
        fallback_until=NOW if rare else None,
    )


def _record(number: int, identity: ManagedIdentity) -> CertificateRecord:
    rare = number < RARE
    return CertificateRecord(
        identity=identity,
        purpose="iso15118_contract" if rare else "charger_identity",
        trust_domain="iso15118_contract" if rare else "charger_identity",
        slot=f"EMAID{number}" if rare else "",
        mode="brokered" if rare else "managed",
        state="installed_pending_activation" if rare else "issued",
        registered_externally=True,
        requested_at=NOW,
        public_key_sha256=f"key{number}",
        serial_number=f"{number:x}",
        issuer_sha256="ca",
        fingerprint=f"fingerprint{number}",
        not_after=NOW + timedelta(days=number),
    )


def _job(number: int, identity: ManagedIdentity) -> CertificateJob:
    rare = number < RARE
    return CertificateJob(
        action="cut_over" if rare else "issue",
        identity=identity,
        purpose="backend_server" if rare else "charger_identity",
        state="failed" if rare else "succeeded",
        step="issue",
        actor="test",
        reason="test",
        correlation_id=f"correlation{number}",
        idempotency_key=str(number),
        next_run_at=NOW,
        created_at=NOW,
        finished_at=NOW,
    )


def _event(number: int, record: CertificateRecord) -> DomainEvent:
    return DomainEvent(
        type="IncidentRaised" if number < RARE else "CertificateIssued",
        occurred_at=NOW,
        actor="test",
        reason="test",
        correlation_id=f"correlation{number}",
        identity_id=record.identity_id,
        record=record,
        dedupe_key=str(number),
    )


def _security_event(number: int) -> SecurityEvent:
    rare = number < RARE
    return SecurityEvent(
        type="Rare" if rare else "ConnectionRefused",
        category="platform" if rare else "authentication",
        severity="critical" if rare else "warning",
        source="broker" if rare else "tls_endpoint",
        occurred_at=NOW,
        recorded_at=NOW,
        station_id=f"CS-{number}",
        correlation_id=f"correlation{number}",
        message="test",
        dedupe_key=uuid4().hex,
    )


ASKED: list[tuple[type[Model], str, Any]] = [
    (ManagedIdentity, "authoritative_identifier", "CS-77"),
    (ManagedIdentity, "serial_number", "SN-77"),
    (ManagedIdentity, "owner", "owner 7"),
    (ManagedIdentity, "site", "site 7"),
    (ManagedIdentity, "region", "region 7"),
    (ManagedIdentity, "program", "rare"),
    (ManagedIdentity, "enabled", False),
    (ManagedIdentity, "security_profile", 1),
    (ManagedIdentity, "tags__contains", ["rare"]),
    (ManagedIdentity, "fallback_until__lte", NOW),
    (CertificateRecord, "purpose", "iso15118_contract"),
    (CertificateRecord, "slot", "EMAID7"),
    (CertificateRecord, "state", "installed_pending_activation"),
    (CertificateRecord, "mode", "brokered"),
    (CertificateRecord, "fingerprint", "fingerprint77"),
    (CertificateRecord, "serial_number", "77"),
    (CertificateRecord, "public_key_sha256", "key77"),
    (CertificateRecord, "not_after__lte", NOW + timedelta(days=5)),
    (CertificateJob, "action", "cut_over"),
    (CertificateJob, "purpose", "backend_server"),
    (CertificateJob, "state", "failed"),
    (CertificateJob, "correlation_id", "correlation77"),
    (DomainEvent, "type", "IncidentRaised"),
    (DomainEvent, "correlation_id", "correlation77"),
    (Evidence, "kind", "evse_acceptance"),
    (SecurityEvent, "type", "Rare"),
    (SecurityEvent, "category", "platform"),
    (SecurityEvent, "severity", "critical"),
    (SecurityEvent, "source", "broker"),
    (SecurityEvent, "station_id", "CS-77"),
    (SecurityEvent, "correlation_id", "correlation77"),
]


def scans(queryset: QuerySet[Any]) -> set[tuple[str, str]]:
    """How the database would read the tables of a query: the kind of scan and, of an index, its name."""
    found: set[tuple[str, str]] = set()

    def walk(node: dict[str, Any]) -> None:
        if "Scan" in node["Node Type"]:
            found.add((node["Node Type"], node.get("Index Name", "")))
        for inner in node.get("Plans", []):
            walk(inner)

    walk(json.loads(queryset.explain(format="json"))[0]["Plan"])
    return found


def test_what_the_lists_are_narrowed_by_is_found_by_an_index(db: None) -> None:
    filled()

    read_whole = {}
    for model, name, value in ASKED:
        queryset = model._default_manager.filter(**{name: value}).order_by("-id")
        assert queryset.count() <= RARE
        plan = scans(queryset)
        if any(kind == "Seq Scan" or index.endswith("_pkey") for kind, index in plan):
            read_whole[f"{model.__name__}.{name}"] = plan
    assert read_whole == {}


def test_a_certificate_is_searched_by_either_of_its_numbers_without_reading_them_all(db: None) -> None:
    filled()

    either = CertificateRecord.objects.filter(Q(fingerprint="77") | Q(serial_number="77")).order_by()

    assert [one.serial_number for one in either] == ["77"]
    assert {kind for kind, _ in scans(either)} == {"Bitmap Heap Scan", "Bitmap Index Scan"}
