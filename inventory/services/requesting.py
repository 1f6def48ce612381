"""The lifecycle commands that start work: issue, renew, install. Each opens a job, or joins the one that is open."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from django.utils import timezone

from inventory.actors import Actor
from inventory.choices import EventType, JobAction, RecordState, SourceOfTruth
from inventory.errors import InventoryError, TransitionRefusedError
from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity
from inventory.purposes import CHARGER_IDENTITY, Purpose
from inventory.purposes import purpose as purpose_entry
from inventory.services import holding, jobs, lockouts, operating_modes, transitions
from inventory.services.command import callers_key, command
from inventory.services.csr_policy import check_given_csr
from inventory.services.enrolment import accept_csr
from inventory.services.events import Happening, record_event, record_happenings
from inventory.services.locking import lock_identity, lock_record
from inventory.services.operating_modes import Verb


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
    :raises HeldBackError: while a gate is closed for the first certificate of this charger.
    :raises TransitionRefusedError: when a charger is locked out and no CSR is given.
    :raises InventoryError: when the purpose, the slot or the mode does not allow it.
    """
    now = now or timezone.now()
    with command(actor, "issue_certificaterecord", reason):
        entry = purpose_entry(purpose)
        locked = lock_identity(identity.pk)
        _check_may_hold(locked, entry, slot)
        holding.check_first_enrolment(locked, entry, slot, now)
        if csr_pem is not None:
            check_given_csr(csr_pem, identity=locked, purpose=entry)
        elif entry.key == CHARGER_IDENTITY.key:
            _check_can_be_asked(locked, now)
        job, created = jobs.open_job(
            action=JobAction.ISSUE,
            identity=locked,
            purpose=entry.key,
            slot=slot,
            step="request_csr",
            now=now,
            idempotency_key=callers_key(idempotency_key),
        )
        if created:
            _requested(job, now)
        if csr_pem is not None and job.is_open:
            accept_csr(job, csr_pem, certificate_type=None, now=now)
            job.refresh_from_db()
    return job


def issue_each(
    identities: Sequence[ManagedIdentity],
    *,
    actor: Actor,
    reason: str,
    correlation_ids: Mapping[int, str] = jobs.EMPTY,
    now: datetime,
) -> jobs.Opened:
    """As `issue`, of several chargers that the caller has locked: each is asked for its request.

    :param correlation_ids: by the identity's key, where each is a chain of work of its own.
    :returns: their jobs, and why one got none; the statements do not grow with them.
    """
    refused: dict[int, InventoryError] = {}
    with command(actor, "issue_certificaterecord", reason):
        for identity in identities:
            try:
                _check_may_hold(identity, CHARGER_IDENTITY, "")
                _check_can_be_asked(identity, now)
            except InventoryError as error:
                refused[identity.pk] = error
        refused |= holding.first_enrolments_held_back(
            [identity for identity in identities if identity.pk not in refused], now
        )
        opened = jobs.open_each(
            [identity for identity in identities if identity.pk not in refused],
            action=JobAction.ISSUE,
            purpose=CHARGER_IDENTITY.key,
            step="request_csr",
            correlation_ids=correlation_ids,
            now=now,
        )
        new = [job for pk, job in opened.jobs.items() if pk in opened.new]
        record_happenings(EventType.CERTIFICATE_REQUESTED, [_request_for(job) for job in new], now=now)
    opened.refused.update(refused)
    return opened


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
    with command(actor, "renew_certificaterecord", reason):
        locked = lock_record(record.pk)
        transitions.check_source(locked, "renewed", RecordState.ACTIVE)
        operating_modes.check_record(Verb.RENEW, locked)
        _check_may_hold(locked.identity, locked.purpose_entry, locked.slot)
        job, created = jobs.open_job(
            action=JobAction.RENEW,
            identity=locked.identity,
            purpose=locked.purpose,
            slot=locked.slot,
            step="request_csr",
            now=now,
            parameters={"replaces": locked.pk},
            idempotency_key=callers_key(idempotency_key),
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
    operating_modes.check(Verb.ISSUE, identity, entry)
    decided = operating_modes.check_decided(identity, entry)
    operating_modes.check_request_may_be_taken(identity, entry, decided)


def _check_can_be_asked(identity: ManagedIdentity, now: datetime) -> None:
    if lockouts.is_out_of_reach(identity, now):
        raise TransitionRefusedError(
            f"{identity.authoritative_identifier} is locked out and cannot be asked for a request: "
            "give a CSR that was taken on site, or open a narrow door for it first."
        )


def _requested(job: CertificateJob, now: datetime) -> None:
    record_happenings(EventType.CERTIFICATE_REQUESTED, [_request_for(job)], now=now)


def _request_for(job: CertificateJob) -> Happening:
    return Happening(
        job.identity,
        RecordState.REQUESTED,
        payload={
            "managedIdentityId": job.identity_id,
            "purpose": job.purpose,
            "slot": job.slot,
            "requestReason": job.reason,
            "requestedBy": job.actor,
        },
        job=job,
        dedupe_key=f"requested:{job.pk}",
        correlation_id=job.correlation_id,
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

    :raises NotOursError: when it is only tracked.
    :raises TransitionRefusedError: when it is not issued, a job is still delivering it, or only its lifecycle is
        stored.
    """
    now = now or timezone.now()
    with command(actor, "install_certificaterecord", reason):
        locked = lock_record(record.pk)
        transitions.check_source(locked, "installed", RecordState.ISSUED, RecordState.INSTALLED_PENDING_ACTIVATION)
        operating_modes.check_record(Verb.INSTALL, locked)
        if locked.kept != SourceOfTruth.WHOLE_CHAIN:
            raise TransitionRefusedError(
                f"Of certificate {locked.pk} only its lifecycle is stored, by its ownership decision; there is nothing "
                "here to deliver. Whoever issued it delivers it."
            )
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
            idempotency_key=callers_key(idempotency_key),
        )
    return job
