"""Writing the event log: every happening once, attributed, inside the transaction that made it true (NFR-001)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from bfcerts.rows import insert, insert_all
from inventory.audit import Attribution, current_attribution
from inventory.choices import EventType
from inventory.models import CertificateJob, CertificateRecord, DomainEvent, ManagedIdentity


def certificate_payload(record: CertificateRecord) -> dict[str, Any]:
    """The fields that every certificate event carries, under the one name that the dictionaries share."""
    return {
        "certificateRecordId": record.pk,
        "managedIdentityId": record.identity_id,
        "purpose": record.purpose,
        "slot": record.slot,
        "notBefore": record.not_before.isoformat() if record.not_before else None,
        "notAfter": record.not_after.isoformat() if record.not_after else None,
    }


def record_event(
    kind: EventType,
    *,
    now: datetime,
    identity: ManagedIdentity | None = None,
    record: CertificateRecord | None = None,
    job: CertificateJob | None = None,
    payload: Mapping[str, Any] | None = None,
    resulting_state: str | None = None,
    dedupe_key: str = "",
) -> None:
    """Append one event. With a `dedupe_key`, the same happening written again changes nothing."""
    event = _event(kind, now, identity, record, job, payload, resulting_state, dedupe_key)
    insert(event, unless_known=bool(dedupe_key))


def record_event_of_each(
    kind: EventType,
    records: Sequence[CertificateRecord],
    *,
    now: datetime,
    payload: Callable[[CertificateRecord], Mapping[str, Any]],
    dedupe_key: Callable[[CertificateRecord], str],
) -> None:
    """Append one event for each of several certificates, by one statement; what is known already stays as it is."""
    events = [
        _event(kind, now, None, record, None, payload(record), record.state, dedupe_key(record)) for record in records
    ]
    insert_all(events, unless_known=True)


@dataclass(frozen=True, slots=True)
class Happening:
    """What happened to one of several identities."""

    identity: ManagedIdentity
    resulting_state: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    job: CertificateJob | None = None
    dedupe_key: str = ""
    correlation_id: str = ""
    """Where it belongs to a chain of work of its own."""


def record_happenings(kind: EventType, happenings: Sequence[Happening], *, now: datetime) -> None:
    """Append one event for each of several identities, by one statement; what is known already stays as it is."""
    attribution = current_attribution()
    events = [
        _event(
            kind,
            now,
            item.identity,
            None,
            item.job,
            item.payload,
            item.resulting_state,
            item.dedupe_key,
            replace(attribution, correlation_id=item.correlation_id or attribution.correlation_id),
        )
        for item in happenings
    ]
    insert_all(events, unless_known=True)


def _event(
    kind: EventType,
    now: datetime,
    identity: ManagedIdentity | None,
    record: CertificateRecord | None,
    job: CertificateJob | None,
    payload: Mapping[str, Any] | None,
    resulting_state: str | None,
    dedupe_key: str,
    attribution: Attribution | None = None,
) -> DomainEvent:
    attribution = attribution or current_attribution()
    body: dict[str, Any] = certificate_payload(record) if record else {}
    if job:
        body["jobId"] = job.pk
    body.update(payload or {})
    return DomainEvent(
        type=kind,
        occurred_at=now,
        actor=attribution.actor.name,
        reason=attribution.reason,
        correlation_id=attribution.correlation_id,
        identity_id=identity.pk if identity else (record.identity_id if record else None),
        record=record,
        job=job,
        resulting_state=(record.state if record else "") if resulting_state is None else resulting_state,
        payload=body,
        dedupe_key=dedupe_key,
    )
