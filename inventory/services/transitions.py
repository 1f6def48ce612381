"""The transitions of a certificate record: the one place where its state moves, always under its row lock.

Commands (`lifecycle`) and job steps call these inside their transaction, attributed. Each writes the transition, its
history row and its event together.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bfcerts.ocpp.notify import Channel, notify_each
from bfcerts.pki.certificates import ParsedCertificate
from bfcerts.rows import insert
from inventory import seams
from inventory.audit import save_all
from inventory.choices import EVIDENCE_FRESH_FOR, REVOCABLE_STATES, EventType, RecordState
from inventory.errors import HeldBackError, TransitionRefusedError
from inventory.models import CertificateJob, CertificateRecord, Evidence
from inventory.purposes import CHARGER_IDENTITY
from inventory.services import policies
from inventory.services.events import record_event, record_event_of_each


def check_source(record: CertificateRecord, verb: str, *allowed: str) -> None:
    """Refuse a verb in a state that does not allow it.

    :raises TransitionRefusedError: with the state it is in and those it would have to be in.
    """
    if record.state not in allowed:
        names = " or ".join(RecordState(state).label.lower() for state in allowed)
        raise TransitionRefusedError(
            f"Certificate {record.pk} is {record.get_state_display().lower()}; only one that is {names} can be {verb}."
        )


def describe_certificate(record: CertificateRecord, leaf: ParsedCertificate) -> None:
    """Copy what the certificate says onto a record that has none yet."""
    record.serial_number = leaf.serial_hex
    record.issuer = leaf.issuer_text
    record.issuer_sha256 = leaf.issuer_sha256
    record.subject = leaf.subject_text
    record.subject_alternative_names = list(leaf.subject_alternative_names)
    record.fingerprint = leaf.fingerprint_sha256
    record.public_key_sha256 = leaf.public_key_sha256
    record.key_algorithm = leaf.key_algorithm
    record.certificate_pem = leaf.pem
    record.not_before, record.not_after = leaf.not_before, leaf.not_after


_ISSUED = (
    "state",
    "authority_id",
    "serial_number",
    "issuer",
    "issuer_sha256",
    "subject",
    "subject_alternative_names",
    "fingerprint",
    "public_key_sha256",
    "key_algorithm",
    "certificate_pem",
    "chain_pem",
    "not_before",
    "not_after",
    "issued_at",
    "updated_at",
)
"""What issuing changes of a record."""


def issued(
    record: CertificateRecord,
    leaf: ParsedCertificate,
    chain_pem: str,
    *,
    now: datetime,
    job: CertificateJob | None,
) -> None:
    """requested → issued: the CA returned a chain that verified."""
    check_source(record, "issued", RecordState.REQUESTED)
    describe_certificate(record, leaf)
    record.chain_pem = chain_pem
    record.issued_at = now
    record.issue()
    save_all([record], fields=_ISSUED)
    record_event(
        EventType.CERTIFICATE_ISSUED,
        now=now,
        record=record,
        job=job,
        payload={
            "issuerRef": record.issuer,
            "issuingCaId": record.authority_id,
            "validFrom": leaf.not_before.isoformat(),
            "validTo": leaf.not_after.isoformat(),
            "fingerprint": record.fingerprint,
            "serialNumber": record.serial_number,
        },
        dedupe_key=f"issued:{record.pk}",
    )


def failed(record: CertificateRecord, why: str, *, now: datetime, job: CertificateJob | None) -> None:
    """requested → deleted: the job ended before issuance; the record keeps the reason."""
    check_source(record, "given up", RecordState.REQUESTED)
    record.failure_reason = why
    record.deleted_at = now
    record.fail()
    record.save()
    record_event(EventType.CERTIFICATE_DELETED, now=now, record=record, job=job, payload={"failureReason": why})


def observe(
    record: CertificateRecord,
    kind: str,
    *,
    now: datetime,
    source: str,
    dedupe_key: str,
    detail: dict[str, Any] | None = None,
    correlation_id: str = "",
) -> Evidence:
    """Store a fact about a certificate; the same fact again is the row that exists."""
    evidence = Evidence(
        dedupe_key=dedupe_key,
        record=record,
        kind=kind,
        observed_at=now,
        source=source,
        detail=detail or {},
        correlation_id=correlation_id,
    )
    if insert(evidence, unless_known=True):
        return evidence
    return Evidence.objects.get(dedupe_key=dedupe_key)


def installation_recorded(
    record: CertificateRecord, evidence: Evidence, *, now: datetime, job: CertificateJob | None
) -> None:
    """issued → installed_pending_activation, on evidence of install, delivery or acceptance.

    What shows that it is in use shows that it is installed, too.
    """
    check_source(record, "recorded as installed", RecordState.ISSUED)
    entry = record.purpose_entry
    if evidence.kind not in entry.installing_evidence | entry.activating_evidence:
        raise TransitionRefusedError(
            f"{evidence.get_kind_display()} does not show that a {record.purpose_entry.label} certificate was "
            "installed."
        )
    record.installed_at = now
    record.record_installation()
    save_all([record], fields=("state", "installed_at", "updated_at"))
    record_event(
        EventType.CERTIFICATE_INSTALLED,
        now=now,
        record=record,
        job=job,
        payload={
            "installationChannel": evidence.source,
            "installedAt": now.isoformat(),
            "evidenceType": evidence.kind,
            "evidenceRef": evidence.pk,
        },
        dedupe_key=f"installed:{evidence.pk}",
    )
    seams.tell_records_moved([record], now)


def activated(record: CertificateRecord, evidence: Evidence, *, now: datetime, job: CertificateJob | None) -> None:
    """installed_pending_activation → active, retiring the one it follows, in the same transaction (FR-004, FR-006)."""
    check_source(record, "activated", RecordState.INSTALLED_PENDING_ACTIVATION)
    if evidence.record_id != record.pk or evidence.kind not in record.purpose_entry.activating_evidence:
        raise TransitionRefusedError(
            f"{evidence.get_kind_display()} does not prove that this {record.purpose_entry.label} certificate is in "
            "use; wait for the evidence that its purpose asks for."
        )
    if not is_fresh(record, evidence.observed_at):
        raise TransitionRefusedError(
            f"{evidence.get_kind_display()} was observed before certificate {record.pk} was deactivated; wait until "
            "it is seen in use again."
        )
    if record.not_after is None or record.not_after <= now:
        raise TransitionRefusedError(f"Certificate {record.pk} has expired; renew it instead.")
    _check_not_too_old(record, evidence, now)
    if held := seams.what_holds_activation(record, now):
        raise HeldBackError(held)
    previous = (
        CertificateRecord.objects.select_for_update()
        .filter(
            identity_id=record.identity_id,
            purpose=record.purpose,
            slot=record.slot,
            state=RecordState.ACTIVE,
        )
        .first()
    )
    if previous:
        retired(previous, f"superseded by certificate {record.pk}", now=now, keep_as_fallback=True)
    record.activation_evidence = evidence
    record.activated_at = now
    record.confirm_by = None
    record.activate()
    record.save()
    record_event(
        EventType.CERTIFICATE_ACTIVATED,
        now=now,
        record=record,
        job=job,
        payload={
            "activatedAt": now.isoformat(),
            "replacedCertificateId": previous.pk if previous else None,
            "activationEvidenceType": evidence.kind,
            "evidenceRef": evidence.pk,
        },
        dedupe_key=f"activated:{evidence.pk}",
    )
    if record.purpose == CHARGER_IDENTITY.key:
        reach_profile_3(record, now=now)
    seams.tell_records_moved([record], now)


def _check_not_too_old(record: CertificateRecord, evidence: Evidence, now: datetime) -> None:
    span = EVIDENCE_FRESH_FOR.get(evidence.kind)
    if span is not None and evidence.observed_at + span <= now:
        raise TransitionRefusedError(
            f"{evidence.get_kind_display()} of {evidence.observed_at:%Y-%m-%d %H:%M} UTC is too old to bring "
            f"certificate {record.pk} into use; ask {record.responsible_authority or 'whoever said so'} again."
        )


def is_fresh(record: CertificateRecord, observed_at: datetime) -> bool:
    """Whether what was observed then says something about the record now: a reactivated one starts anew."""
    return record.deactivated_at is None or observed_at > record.deactivated_at


def reach_profile_3(record: CertificateRecord, *, now: datetime) -> None:
    """A charger that was active on Profile 3 is refused on a lower one from then on (OCPP 2.0.1 A05.FR.07).

    :param now: when it was seen with this certificate; a door that was opened for it since stays open.
    """
    identity = record.identity
    closes = identity.fallback_until is not None and not seams.keeps_way_back(identity, record.fingerprint, now)
    if identity.security_profile < 3 or closes:
        identity.security_profile = 3
        if closes:
            identity.fallback_until = None
        identity.save()


def deactivated(record: CertificateRecord, *, now: datetime, forced: bool) -> None:
    """active → inactive: out of service on purpose; it can come back on fresh evidence."""
    check_source(record, "deactivated", RecordState.ACTIVE)
    record.deactivated_at = now
    record.deactivate()
    record.save()
    record_event(
        EventType.CERTIFICATE_DEACTIVATED,
        now=now,
        record=record,
        payload={"deactivatedAt": now.isoformat(), "forced": forced},
    )
    block_at_gateways(record)
    seams.tell_records_moved([record], now)


def reactivated(record: CertificateRecord, *, now: datetime) -> None:
    """inactive → installed_pending_activation: it becomes active on fresh evidence, like any other."""
    check_source(record, "reactivated", RecordState.INACTIVE)
    record.activation_evidence = None
    record.reactivate()
    record.save()
    record_event(EventType.CERTIFICATE_REACTIVATED, now=now, record=record)


def retired(record: CertificateRecord, why: str, *, now: datetime, keep_as_fallback: bool) -> None:
    """active, inactive or installed_pending_activation → retired: superseded, or expired."""
    check_source(record, "retired", RecordState.ACTIVE, RecordState.INACTIVE, RecordState.INSTALLED_PENDING_ACTIVATION)
    if keep_as_fallback:
        record.rollback_until = now + policies.resolve(record.identity, record.purpose).policy.rollback_window
    record.retired_at = now
    record.retire()
    record.save()
    record_event(EventType.CERTIFICATE_RETIRED, now=now, record=record, payload={"why": why})
    seams.tell_records_moved([record], now)


def revoked(records: Sequence[CertificateRecord], reason_code: str, *, now: datetime, detail: str) -> None:
    """→ revoked: from this commit on they open no door; every gateway node closes their sessions at once.

    However many they are, it takes the same statements. A record's identity never changes hands meanwhile: all of them
    are locked.
    """
    for record in records:
        check_source(record, "revoked", *REVOCABLE_STATES)
        record.revoked_at = now
        record.revocation_reason = reason_code
        record.rollback_until = None
        record.renewal_only_until = None
        record.revoke()
    changed = ("state", "revoked_at", "revocation_reason", "rollback_until", "renewal_only_until", "updated_at")
    save_all(records, fields=changed)
    record_event_of_each(
        EventType.CERTIFICATE_REVOKED,
        records,
        now=now,
        payload=lambda record: {
            "reason": reason_code,
            "detail": detail,
            "revokedAt": now.isoformat(),
            "responsibleAuthority": record.responsible_authority,
        },
        dedupe_key=lambda record: f"revoked:{record.pk}",
    )
    block_at_gateways(*records)
    seams.tell_records_moved(records, now)


def block_at_gateways(*records: CertificateRecord) -> None:
    """Close the sessions that use certificates which no longer open the door."""
    notify_each(Channel.CERTIFICATE_BLOCKED, [record.fingerprint for record in records if record.fingerprint])
