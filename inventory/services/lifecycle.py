"""The lifecycle commands: issue, install, activate, deactivate, reactivate, renew, revoke, delete, register_external.

One function each, called alike by the admin, the API, the command line, tasks and policies (FR-003). Each checks its
own permission, locks the identity, and writes transition, event, history row and job in one transaction; workers and
gateways are woken by notifications that PostgreSQL delivers after the commit.
"""

import hashlib
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from bfcerts.pki.certificates import CertificateError, parse_certificate, split_chain
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import (
    REVOCABLE_STATES,
    EventType,
    EvidenceKind,
    JobAction,
    JobQueue,
    JobState,
    OperatingMode,
    RecordState,
    RevocationReason,
)
from inventory.errors import (
    InvalidInputError,
    LastCredentialError,
    TransitionRefusedError,
)
from inventory.jobs import engine
from inventory.models import CertificateJob, CertificateRecord, Evidence, ManagedIdentity
from inventory.purposes import Purpose
from inventory.purposes import purpose as purpose_entry
from inventory.services import jobs, transitions
from inventory.services.csr_policy import check_given_csr, claim_public_key
from inventory.services.events import record_event
from inventory.services.locking import lock_identity, lock_record


@contextmanager
def _command(actor: Actor, permission: str, reason: str) -> Iterator[None]:
    """What every command has around it: permission, a reason, attribution, one transaction."""
    actor.require(permission)
    if not reason.strip():
        raise InvalidInputError("A reason is needed: say why, for the audit trail.")
    with attributed(actor, reason.strip()), transaction.atomic():
        yield


def _callers_key(key: str | None) -> str | None:
    """A caller's idempotency key, kept apart from our own: nobody may take the key of a revocation in advance."""
    return f"caller:{hashlib.sha256(key.encode()).hexdigest()}" if key else None


def _responsible(
    identity: ManagedIdentity, entry: Purpose, mode: str, verb: str, authority: str
) -> TransitionRefusedError:
    return TransitionRefusedError(
        f"{entry.label} certificates of {identity.authoritative_identifier} are {OperatingMode(mode).label.lower()}: "
        f"we do not {verb} them. {authority or 'Their external authority'} is responsible; what it reports is "
        "registered here."
    )


def issue(
    *,
    identity: ManagedIdentity,
    purpose: str,
    slot: str = "",
    actor: Actor,
    reason: str,
    csr_pem: str | None = None,
    idempotency_key: str | None = None,
    now: datetime | None = None,
) -> CertificateJob:
    """Start the issuance of a certificate; with a CSR given, from that, otherwise the endpoint is asked for one.

    :returns: the job; the open one of the same kind where there is one, which a newer CSR then joins.
    :raises CsrRejectedError: when policy refuses the CSR; then no job is opened, and an open one goes on.
    :raises InventoryError: when the purpose, the slot or the mode does not allow it.
    """
    from inventory.services.enrolment import accept_csr

    now = now or timezone.now()
    with _command(actor, "issue_certificaterecord", reason):
        entry = purpose_entry(purpose)
        locked = lock_identity(identity.pk)
        _check_may_hold(locked, entry, slot)
        if csr_pem is not None:
            check_given_csr(csr_pem, identity=locked, purpose=entry)
        job, created = jobs.open_job(
            action=JobAction.ISSUE,
            identity=locked,
            purpose=entry.key,
            slot=slot,
            step="request_csr",
            now=now,
            idempotency_key=_callers_key(idempotency_key),
        )
        if created:
            _requested(job, now)
        if csr_pem is not None and job.is_open:
            accept_csr(job, csr_pem, certificate_type=None, now=now)
            job.refresh_from_db()
    return job


def renew(
    *,
    record: CertificateRecord,
    actor: Actor,
    reason: str,
    idempotency_key: str | None = None,
    now: datetime | None = None,
) -> CertificateJob:
    """Start the replacement of an active certificate. The old one goes on working until the new one is in use.

    :raises TransitionRefusedError: when the certificate is not active, or not ours to renew.
    """
    now = now or timezone.now()
    with _command(actor, "renew_certificaterecord", reason):
        locked = lock_record(record.pk)
        transitions.check_source(locked, "renewed", RecordState.ACTIVE)
        if locked.mode != OperatingMode.MANAGED:
            raise _responsible(
                locked.identity, locked.purpose_entry, locked.mode, "renew", locked.responsible_authority
            )
        _check_may_hold(locked.identity, locked.purpose_entry, locked.slot)
        job, created = jobs.open_job(
            action=JobAction.RENEW,
            identity=locked.identity,
            purpose=locked.purpose,
            slot=locked.slot,
            step="request_csr",
            now=now,
            parameters={"replaces": locked.pk},
            idempotency_key=_callers_key(idempotency_key),
        )
        if created:
            record_event(
                EventType.CERTIFICATE_RENEWAL_STARTED,
                now=now,
                record=locked,
                job=job,
                payload={
                    "existingCertificateId": locked.pk,
                    "renewalReason": reason,
                    "thresholdTriggered": actor.name == "system:renewal",
                },
            )
            _requested(job, now)
    return job


def _check_may_hold(identity: ManagedIdentity, entry: Purpose, slot: str) -> None:
    if not identity.enabled:
        raise TransitionRefusedError(
            f"{identity.authoritative_identifier} is disabled; enable it before it gets certificates."
        )
    identity.check_purpose(entry)
    entry.check_slot(slot)
    mode = identity.mode_for(entry)
    if mode != OperatingMode.MANAGED:
        raise _responsible(identity, entry, mode, "issue", "")


def _requested(job: CertificateJob, now: datetime) -> None:
    record_event(
        EventType.CERTIFICATE_REQUESTED,
        now=now,
        identity=job.identity,
        job=job,
        payload={
            "managedIdentityId": job.identity_id,
            "purpose": job.purpose,
            "slot": job.slot,
            "requestReason": job.reason,
            "requestedBy": job.actor,
        },
        resulting_state=RecordState.REQUESTED,
        dedupe_key=f"requested:{job.pk}",
    )


def install(
    *,
    record: CertificateRecord,
    actor: Actor,
    reason: str,
    idempotency_key: str | None = None,
    now: datetime | None = None,
) -> CertificateJob:
    """Deliver an issued certificate, again if need be.

    :raises TransitionRefusedError: when it is not issued, or a job is still delivering it.
    """
    now = now or timezone.now()
    with _command(actor, "install_certificaterecord", reason):
        locked = lock_record(record.pk)
        transitions.check_source(locked, "installed", RecordState.ISSUED, RecordState.INSTALLED_PENDING_ACTIVATION)
        delivering = CertificateJob.objects.open().filter(record=locked).exclude(action=JobAction.INSTALL).first()
        if delivering:
            raise TransitionRefusedError(
                f"Job {delivering.pk} is already delivering certificate {locked.pk}: it waits for "
                f"{delivering.waiting_for or 'its turn'}."
            )
        job, _ = jobs.open_job(
            action=JobAction.INSTALL,
            identity=locked.identity,
            purpose=locked.purpose,
            slot=locked.slot,
            step="deliver",
            record=locked,
            target=f"record:{locked.pk}",
            now=now,
            idempotency_key=_callers_key(idempotency_key),
        )
    return job


def activate(
    *, record: CertificateRecord, evidence: Evidence, actor: Actor, reason: str, now: datetime | None = None
) -> CertificateRecord:
    """Make a certificate active on evidence; the previous one of the slot is retired in the same transaction.

    :raises TransitionRefusedError: when the evidence is not what the purpose asks for (FR-002a).
    """
    now = now or timezone.now()
    with _command(actor, "activate_certificaterecord", reason):
        locked = lock_record(record.pk)
        transitions.activated(locked, evidence, now=now, job=None)
        finish_jobs_of(locked, f"Certificate {locked.pk} is active.", now)
    return locked


def finish_jobs_of(record: CertificateRecord, outcome: str, now: datetime) -> None:
    """End the open jobs whose aim was to bring this certificate into use."""
    open_jobs = CertificateJob.objects.open().select_for_update(of=("self",)).filter(record=record)
    for job in open_jobs.filter(action__in=[JobAction.ISSUE, JobAction.RENEW, JobAction.INSTALL]):
        engine.advance(job, engine.Succeed(outcome), now)


def deactivate(
    *, record: CertificateRecord, actor: Actor, reason: str, force: bool = False, now: datetime | None = None
) -> CertificateRecord:
    """Take an active certificate out of service on purpose; it can come back on fresh evidence.

    :raises LastCredentialError: when it is the identity's last working credential and `force` is not given.
    """
    now = now or timezone.now()
    with _command(actor, "deactivate_certificaterecord", reason):
        locked = lock_record(record.pk)
        transitions.check_source(locked, "deactivated", RecordState.ACTIVE)
        _guard_last_credential(locked, actor, force, now, "Deactivating")
        locked.deactivated_at = now
        locked.deactivate()
        locked.save()
        record_event(
            EventType.CERTIFICATE_DEACTIVATED,
            now=now,
            record=locked,
            payload={"deactivatedAt": now.isoformat(), "forced": force},
        )
        transitions.block_at_gateways(locked)
    return locked


def reactivate(
    *, record: CertificateRecord, actor: Actor, reason: str, now: datetime | None = None
) -> CertificateRecord:
    """Let an inactive certificate open the door again; it becomes active on fresh evidence, like any other.

    :raises TransitionRefusedError: when it is not inactive, or has expired.
    """
    now = now or timezone.now()
    with _command(actor, "reactivate_certificaterecord", reason):
        locked = lock_record(record.pk)
        transitions.check_source(locked, "reactivated", RecordState.INACTIVE)
        if locked.not_after is None or locked.not_after <= now:
            raise TransitionRefusedError(f"Certificate {locked.pk} has expired; issue a new one instead.")
        locked.activation_evidence = None
        locked.reactivate()
        locked.save()
        record_event(EventType.CERTIFICATE_REACTIVATED, now=now, record=locked)
    return locked


def revoke(
    *,
    record: CertificateRecord,
    actor: Actor,
    reason: str,
    revocation_reason: str = RevocationReason.UNSPECIFIED,
    evidence_kind: str = EvidenceKind.OPERATOR_STATEMENT,
    now: datetime | None = None,
) -> CertificateRecord:
    """Revoke a certificate: our doors refuse it from this commit on, then the CA is told by a job at its own rate.

    Where another authority is responsible, its revocation is recorded: the evidence for it is stored, nobody is told.

    :param evidence_kind: how we know of another authority's revocation; the reason says it in words.
    :raises TransitionRefusedError: when its state does not allow it.
    """
    now = now or timezone.now()
    if revocation_reason not in RevocationReason.values:
        raise InvalidInputError(
            f"{revocation_reason!r} is no revocation reason; use one of {', '.join(RevocationReason.values)}."
        )
    with _command(actor, "revoke_certificaterecord", reason):
        locked = lock_record(record.pk)
        transitions.check_source(locked, "revoked", *REVOCABLE_STATES)
        if locked.mode != OperatingMode.MANAGED:
            transitions.observe(
                locked,
                evidence_kind,
                now=now,
                source=actor.name,
                dedupe_key=f"revoked:{locked.pk}",
                detail={"statement": reason, "responsibleAuthority": locked.responsible_authority},
            )
        revoke_locked(locked, revocation_reason, detail=reason, now=now)
    return locked


def revoke_locked(record: CertificateRecord, reason_code: str, *, detail: str, now: datetime) -> None:
    """Revoke a locked record under the current attribution, and open the job that tells its CA."""
    transitions.revoked(record, reason_code, now=now, detail=detail)
    open_jobs = CertificateJob.objects.open().select_for_update(of=("self",)).filter(record=record)
    for job in open_jobs.exclude(action=JobAction.REVOKE):
        engine.advance(job, engine.Fail(f"Certificate {record.pk} was revoked: {detail}"), now)
    if record.mode == OperatingMode.MANAGED and record.authority_id is not None:
        jobs.open_job(
            action=JobAction.REVOKE,
            identity=record.identity,
            purpose=record.purpose,
            slot=record.slot,
            step="revoke_at_authority",
            queue=JobQueue.PKI,
            record=record,
            target=f"record:{record.pk}",
            idempotency_key=f"revoke:{record.pk}",
            now=now,
        )


def delete(
    *, record: CertificateRecord, actor: Actor, reason: str, force: bool = False, now: datetime | None = None
) -> CertificateRecord:
    """Take a certificate out of the living inventory; its row, events and history stay.

    :raises LastCredentialError: when it is the identity's last working credential and `force` is not given.
    """
    now = now or timezone.now()
    with _command(actor, "delete_certificaterecord", reason):
        locked = lock_record(record.pk)
        transitions.check_source(
            locked,
            "deleted",
            RecordState.REQUESTED,
            RecordState.INACTIVE,
            RecordState.RETIRED,
            RecordState.REVOKED,
        )
        working = CertificateJob.objects.open().filter(record=locked).first()
        if working:
            raise TransitionRefusedError(
                f"Job {working.pk} ({working.get_action_display().lower()}) still works on certificate {locked.pk}; "
                "wait for it or cancel it first."
            )
        _guard_last_credential(locked, actor, force, now, "Deleting")
        locked.deleted_at = now
        locked.delete_record()
        locked.save()
        record_event(EventType.CERTIFICATE_DELETED, now=now, record=locked, payload={"forced": force})
        transitions.block_at_gateways(locked)
    return locked


def _guard_last_credential(record: CertificateRecord, actor: Actor, force: bool, now: datetime, doing: str) -> None:
    """The guard of the IoT hub pattern: an identity is not left without a working credential by accident."""
    working = CertificateRecord.objects.of(record.identity_id, record.purpose, record.slot).usable_at(now)
    if not working.filter(pk=record.pk).exists() or working.exclude(pk=record.pk).exists():
        return
    if not force:
        raise LastCredentialError(
            f"{doing} certificate {record.pk} would leave {record.identity.authoritative_identifier} without a "
            "working certificate. Renew it first, or force it if you mean to."
        )
    actor.require("forcedelete_certificaterecord")


def register_external(
    *,
    identity: ManagedIdentity,
    purpose: str,
    slot: str = "",
    certificate_pem: str,
    chain_pem: str = "",
    state: str = RecordState.ISSUED,
    evidence_kind: str | None = None,
    evidence_detail: Mapping[str, Any] | None = None,
    responsible_authority: str = "",
    native_status: str = "",
    actor: Actor,
    reason: str,
    now: datetime | None = None,
) -> CertificateRecord:
    """Take a certificate that others issued into the inventory, with the evidence that its target state asks for.

    Registering the same certificate again returns the record that exists.

    :raises InvalidInputError: when the certificate cannot be read, or belongs to another identity or purpose.
    :raises TransitionRefusedError: when the state asks for evidence that was not given.
    """
    now = now or timezone.now()
    with _command(actor, "register_certificaterecord", reason):
        entry = purpose_entry(purpose)
        locked = lock_identity(identity.pk)
        locked.check_purpose(entry)
        entry.check_slot(slot)
        try:
            leaf = parse_certificate(certificate_pem)
            chain = "".join(parse_certificate(part).pem for part in split_chain(chain_pem)) if chain_pem else ""
        except CertificateError as error:
            raise InvalidInputError(f"The certificate cannot be registered: {error}") from None
        if leaf.is_ca:
            raise InvalidInputError(
                "This is the certificate of a CA, not of an endpoint; CAs are kept as trust anchors."
            )
        known = CertificateRecord.objects.filter(fingerprint=leaf.fingerprint_sha256).first()
        if known:
            return _known_record(known, locked, entry, slot)
        namesake = CertificateRecord.objects.filter(
            issuer_sha256=leaf.issuer_sha256, serial_number=leaf.serial_hex
        ).first()
        if namesake:
            raise InvalidInputError(
                f"Record {namesake.pk} has another certificate of “{leaf.issuer_text}” with the serial number "
                f"{leaf.serial_hex}: one of the two is not genuine. Ask the issuer."
            )
        claim_public_key(leaf.public_key_sha256, locked)
        if state not in (RecordState.ISSUED, RecordState.INSTALLED_PENDING_ACTIVATION, RecordState.ACTIVE):
            raise InvalidInputError(
                f"A certificate cannot be registered as {state}; use issued, installed_pending_activation or active."
            )
        record = CertificateRecord(
            identity=locked,
            purpose=entry.key,
            slot=slot,
            trust_domain=entry.trust_domain,
            mode=locked.mode_for(entry),
            state=RecordState.ISSUED,
            registered_externally=True,
            responsible_authority=(responsible_authority or leaf.issuer_text)[:200],
            native_status=native_status,
            requested_at=now,
            issued_at=now,
            chain_pem=chain,
        )
        transitions.describe_certificate(record, leaf)
        record.save()
        record_event(
            EventType.CERTIFICATE_ISSUED,
            now=now,
            record=record,
            payload={"registeredExternally": True, "issuerRef": record.issuer},
            dedupe_key=f"issued:{record.pk}",
        )
        _bring_to(record, state, evidence_kind, dict(evidence_detail or {}), now, actor)
    return record


def _known_record(known: CertificateRecord, identity: ManagedIdentity, entry: Purpose, slot: str) -> CertificateRecord:
    if (known.identity_id, known.purpose, known.slot) != (identity.pk, entry.key, slot):
        raise InvalidInputError(
            f"This certificate is registered already, as record {known.pk} of "
            f"{known.identity.authoritative_identifier} for {known.purpose_entry.label}."
        )
    return known


def _bring_to(
    record: CertificateRecord,
    state: str,
    kind: str | None,
    detail: dict[str, Any],
    now: datetime,
    actor: Actor,
) -> None:
    if state == RecordState.ISSUED:
        return
    if kind is None:
        raise TransitionRefusedError(
            f"Registering a certificate as {RecordState(state).label.lower()} needs evidence; name its kind."
        )
    evidence = transitions.observe(
        record,
        kind,
        now=now,
        source=actor.name,
        dedupe_key=f"register:{record.pk}:{kind}:{uuid.uuid4().hex}",
        detail=detail,
    )
    transitions.installation_recorded(record, evidence, now=now, job=None)
    if state == RecordState.ACTIVE:
        transitions.activated(record, evidence, now=now, job=None)


def check_may_be_abandoned(job: CertificateJob) -> None:
    """Refuse to give up a job while the CA works on its request: its certificate must not be forgotten.

    :raises TransitionRefusedError: while the CA does.
    """
    record = job.record
    if record is None or record.state != RecordState.REQUESTED:
        return
    if job.state == JobState.RUNNING or job.intents.filter(record=record, submitted_at__isnull=False).exists():
        raise TransitionRefusedError(
            f"The CA is working on job {job.pk} right now; try again in a moment, when its certificate is here."
        )


def give_up_undelivered(record: CertificateRecord, why: str, now: datetime) -> None:
    """Revoke a locked certificate that was issued and whose delivery will not begin any more."""
    if record.state == RecordState.ISSUED and record.confirm_by is None:
        revoke_locked(record, RevocationReason.SUPERSEDED, detail=why, now=now)
