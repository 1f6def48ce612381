"""What the lifecycle tells of certificates that a case is about, each in the transaction that stores it."""

from collections.abc import Sequence
from datetime import datetime

from inventory import seams
from inventory.actors import Actor
from inventory.audit import attributed, current_attribution
from inventory.choices import EvidenceKind as RecordEvidenceKind
from inventory.choices import JobState, RecordState
from inventory.models import CertificateJob, CertificateRecord
from inventory.purposes import purpose
from inventory.services.locking import lock_identity
from provisioning.choices import MOVING, OPEN, CaseState, EvidenceKind, ExternalSystem, Outcome
from provisioning.freshness import fresh_until
from provisioning.models import ProvisioningCase, ProvisioningEvidence
from provisioning.services import lifecycle

PROVISIONING = Actor.system("provisioning")
S = CaseState


def records_moved(records: Sequence[CertificateRecord], now: datetime) -> None:
    """Certificates were installed, came into use, or ended."""
    for record in records:
        if record.purpose_entry.ownership_to_decide and not lifecycle.moves_itself(record.pk):
            case = _case_of(record)
            if case is not None:
                _record_moved(case, record, now)


def _case_of(record: CertificateRecord) -> ProvisioningCase | None:
    """The case that this certificate belongs to, locked; an open one that has none yet takes up what is installed."""
    own = ProvisioningCase.objects.filter(record=record, superseded_at__isnull=True).exclude(state=S.CANCELLED)
    case = own.order_by("-pk").first()
    if case is None and record.state in lifecycle.INSTALLED:
        waiting = ProvisioningCase.objects.of(record.identity_id, record.purpose, record.slot)
        case = waiting.filter(record__isnull=True, state__in=MOVING).first()
    return lifecycle.lock_case_of(record.identity, case.pk) if case is not None else None


def _record_moved(case: ProvisioningCase, record: CertificateRecord, now: datetime) -> None:
    if record.state in lifecycle.INSTALLED:
        _in_place(case, record, now)
    elif record.state == RecordState.RETIRED:
        _retired(case, record, now)
    elif record.state in (RecordState.REVOKED, RecordState.INACTIVE):
        case.record = record
        verb = "revoked" if record.state == RecordState.REVOKED else "deactivated"
        _block(case, f"Certificate {record.pk} was {verb} here: {current_attribution().reason}", now)


def _in_place(case: ProvisioningCase, record: CertificateRecord, now: datetime) -> None:
    """Our own doors, or the lifecycle on evidence of its own, have seen it installed or in use."""
    case.record = record
    case.fingerprint, case.serial_number, case.not_after = record.fingerprint, record.serial_number, record.not_after
    job = CertificateJob.objects.filter(record=record).order_by("-pk").first()
    case.job = job or case.job
    case.save()
    if case.state not in MOVING:
        return
    active = record.state == RecordState.ACTIVE
    shown = record.activation_evidence if active else record.evidence.order_by("-observed_at", "-pk").first()
    if shown is None:
        return
    kind = EvidenceKind.READINESS if active else EvidenceKind.DELIVERY
    if active and shown.kind == RecordEvidenceKind.VAS_TRANSACTION:
        kind = EvidenceKind.TRANSACTION
    evidence, new = ProvisioningEvidence.objects.get_or_create(
        dedupe_key=f"lifecycle:{case.pk}:{shown.pk}:{kind}",
        defaults={
            "identity": case.identity,
            "case": case,
            "record": record,
            "system": ExternalSystem.LIFECYCLE,
            "kind": kind,
            "outcome": Outcome.POSITIVE,
            "status": record.state,
            "summary": f"{shown.get_kind_display()}, observed by {shown.source}.",
            "authoritative": True,
            "observed_at": shown.observed_at,
            "received_at": now,
            "fresh_until": fresh_until(kind, observed_at=shown.observed_at, not_after=record.not_after),
            "fingerprint": record.fingerprint,
            "not_after": record.not_after,
            "actor": current_attribution().actor.name,
            "correlation_id": current_attribution().correlation_id,
        },
    )
    lifecycle.advance(case, now)
    if new:
        lifecycle.tell_evidence(evidence, case.state, now)


def _retired(case: ProvisioningCase, record: CertificateRecord, now: datetime) -> None:
    expired = record.not_after is not None and record.not_after <= now
    if case.state == S.ACTIVE and not expired:
        lifecycle.superseded(case, now)
    elif case.state == S.ACTIVE:
        case.record = record
        _block(case, f"Certificate {record.pk} has expired.", now)
    elif case.state in MOVING:
        case.record = record
        lifecycle.failed(case, f"Certificate {record.pk} was retired before it came into use.", now)


def _block(case: ProvisioningCase, why: str, now: datetime) -> None:
    if case.state not in (*OPEN, S.ACTIVE) or case.state == S.BLOCKED:
        return
    authority, contact = lifecycle.whom_to_ask(case)
    ask = f" Ask {authority}: {contact}." if contact else f" Ask {authority}."
    lifecycle.blocked(case, why.rstrip(".") + "." + ask, now, by=authority, since=now, evidence=None)


def may_be_activated(record: CertificateRecord, now: datetime) -> str | None:
    """Why a certificate may not come into use: its case is blocked."""
    if not record.purpose_entry.ownership_to_decide:
        return None
    case = ProvisioningCase.objects.filter(record=record, state=S.BLOCKED).first()
    if case is None:
        return None
    return f"Provisioning case {case.pk} of this certificate is blocked: {case.why} Unblock it on fresh evidence first."


def job_ended(job: CertificateJob, now: datetime) -> None:
    """The work for a case failed or was called off: so has the case."""
    case = ProvisioningCase.objects.filter(job=job, state__in=MOVING).first()
    if case is None:
        return
    locked = lifecycle.lock_case_of(lock_identity(job.identity_id), case.pk)
    if locked.state in MOVING and locked.job_id == job.pk:
        with attributed(PROVISIONING, f"Job {job.pk} ended"):
            lifecycle.failed(locked, f"Job {job.pk} has ended without a usable certificate: {job.outcome}", now)


def _concerns(job: CertificateJob) -> bool:
    return job.state in (JobState.FAILED, JobState.CANCELLED) and purpose(job.purpose).ownership_to_decide


def connect() -> None:
    """Called once, when the app is ready."""
    seams.on_records_moved(records_moved)
    seams.add_activation_check(may_be_activated)
    seams.on_job_ended("provisioning", job_ended, concerns=_concerns)
