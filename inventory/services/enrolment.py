"""A certificate signing request meets its job: from the station, the listener, or with the command itself.

A charger's own CSR joins the one open job of its identity and purpose instead of opening a second, and of several
CSRs the newest counts (domain.md, Jobs). SignCertificate itself was answered long before (NFR-002).
"""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from bfcerts.ocpp import outbox
from bfcerts.rows import row
from inventory.actors import Actor
from inventory.audit import add_all, attributed, save_without_history
from inventory.choices import (
    ISSUING_ACTIONS,
    EventType,
    JobAction,
    JobQueue,
    JobState,
    OperatingMode,
    RecordState,
    SecurityCategory,
    SecuritySource,
    Severity,
)
from inventory.errors import CsrRejectedError, InventoryError
from inventory.jobs import engine
from inventory.models import CertificateJob, CertificateRecord, LifecyclePolicy, ManagedIdentity
from inventory.ownership import ownership_of
from inventory.purposes import Purpose, purpose
from inventory.services import holding, jobs, operating_modes, policies, rate_limits, transitions
from inventory.services.csr_policy import BoundCsr, check_csr, claim_public_key
from inventory.services.events import record_event
from inventory.services.locking import lock_identity, lock_job_of, lock_record_of
from inventory.services.security_events import record_security_event

UNSOLICITED_BURST = 6.0
UNSOLICITED_PER_SECOND = 1 / 600
"""How many requests a station may make of its own accord: six at once, then one in ten minutes."""

_ASKED = ("request_csr", "await_trigger", "await_csr")
"""Steps in which a request of the station is what its job waits for."""
_AT_THE_CA = ("issue", "newer_csr", "deliver")


def accept_csr(job: CertificateJob, csr_pem: str, *, certificate_type: str | None, now: datetime) -> None:
    """Give a request to an open issuing job: check it, and send the job to the CA.

    A request that fails policy ends the job, with an event that says why. Everything happens in the caller's
    transaction, with the job's identity locked.
    """
    job = lock_job_of(job.identity, job.pk)
    entry = purpose(job.purpose)
    policy = policies.resolve(job.identity, job.purpose).policy
    try:
        bound = check_csr(csr_pem, identity=job.identity, purpose=entry, policy=policy)
        claim_public_key(bound.csr.public_key_sha256, job.identity)
    except CsrRejectedError as error:
        _reject(job, error, now)
        return
    current = _current_record(job)
    if (
        current
        and current.csr_sha256 == bound.csr.sha256
        and current.state
        in (
            RecordState.REQUESTED,
            RecordState.ISSUED,
        )
    ):
        return
    if current and current.state == RecordState.REQUESTED:
        if job.state == JobState.RUNNING or job.intents.filter(record=current, submitted_at__isnull=False).exists():
            job.parameters = {
                **job.parameters,
                "newer_csr": csr_pem,
                "newer_certificate_type": certificate_type,
            }
            save_without_history(job)
            return
        transitions.failed(current, "A newer certificate signing request took its place.", now=now, job=job)
    _withdraw_former(job, current, now)
    _start_record(job, entry, bound, certificate_type, policy, now)


def _withdraw_former(job: CertificateJob, former: CertificateRecord | None, now: datetime) -> None:
    """Of several requests the newest counts: what has not left for the station yet does not go there any more."""
    from inventory.services.lifecycle import give_up_undelivered

    outbox.cancel([f"job:{job.pk}:request_csr", f"job:{job.pk}:deliver"], now=now)
    if former is not None:
        job.record = None
        save_without_history(job)
        give_up_undelivered(former, "The station sent a newer request before this was delivered.", now)


def _current_record(job: CertificateJob) -> CertificateRecord | None:
    if job.record_id is None:
        return None
    return lock_record_of(job.identity, job.record_id)


def _active_record(identity_id: int, purpose_key: str, slot: str = "") -> CertificateRecord | None:
    return row(
        CertificateRecord,
        "identity_id = %s AND purpose = %s AND slot = %s AND state = 'active'",
        identity_id,
        purpose_key,
        slot,
    )


def _start_record(
    job: CertificateJob,
    entry: Purpose,
    bound: BoundCsr,
    certificate_type: str | None,
    policy: LifecyclePolicy,
    now: datetime,
) -> None:
    replaced = _active_record(job.identity_id, job.purpose, job.slot)
    if job.deadline is None:
        job.deadline = policies.issuing_deadline(policy, now=now, replaced=replaced)
    record = CertificateRecord(
        identity=job.identity,
        purpose=entry.key,
        slot=job.slot,
        trust_domain=entry.trust_domain,
        mode=job.identity.mode_for(entry),
        replaces=replaced,
        csr_pem=bound.csr.pem,
        csr_sha256=bound.csr.sha256,
        public_key_sha256=bound.csr.public_key_sha256,
        key_algorithm=bound.csr.key_algorithm,
        requested_at=now,
    )
    add_all([record])
    record_event(
        EventType.CSR_VALIDATED,
        now=now,
        record=record,
        job=job,
        payload={
            "csrFingerprint": bound.csr.sha256,
            "subjectKeyId": bound.csr.public_key_sha256,
            "identityBindingResult": f"bound by {bound.bound_by}",
        },
        dedupe_key=f"csr:{record.pk}",
    )
    job.record = record
    job.parameters = {**job.parameters, "certificate_type": certificate_type}
    engine.advance(job, engine.Proceed("issue", JobQueue.PKI), now)


def _reject(job: CertificateJob, error: CsrRejectedError, now: datetime) -> None:
    record_event(
        EventType.CSR_REJECTED,
        now=now,
        identity=job.identity,
        job=job,
        payload={"rule": error.reason_code, "detail": error.message},
        resulting_state="rejected",
    )
    record_security_event(
        "CSRRejected",
        category=SecurityCategory.INSTALLATION,
        severity=Severity.WARNING,
        source=SecuritySource.CHARGER if job.identity.kind == "charger" else SecuritySource.CONTROL_PLANE,
        message=error.message,
        now=now,
        identity=job.identity,
        job=job,
        station_id=job.identity.authoritative_identifier[:64],
        payload={"rule": error.reason_code},
        correlation_id=job.correlation_id,
    )
    # A good request that is with the CA, or on its way back from it, goes on: its certificate must not be forgotten.
    if job.step in _AT_THE_CA:
        return
    engine.advance(job, engine.Fail(error.message), now)


def device_request(
    identity: ManagedIdentity,
    purpose_key: str,
    csr_pem: str,
    *,
    certificate_type: str | None,
    key: str,
    now: datetime,
) -> None:
    """A device asks for a certificate: join the open job, or open one in its name.

    :param key: makes the request unique, so that handling it twice opens one job.
    """
    entry = purpose(purpose_key)
    station = identity.authoritative_identifier
    with attributed(Actor.station(station), "The station asked for a certificate"), transaction.atomic(savepoint=False):
        locked = lock_identity(identity.pk)
        others = jobs.open_jobs(locked, entry.key)
        issuing = [job for job in others if job.action in ISSUING_ACTIONS]
        job = issuing[0] if issuing else _open_for_device(locked, entry, key, others, now)
        if issuing and issuing[0].step not in _ASKED and _asks_too_often(locked, now):
            return
        if job is not None and job.is_open:
            with attributed(Actor.station(station), job.reason, job.correlation_id):
                accept_csr(job, csr_pem, certificate_type=certificate_type, now=now)


def _asks_too_often(identity: ManagedIdentity, now: datetime) -> bool:
    """A station cannot make the CA sign without bound: what it was not asked for is counted and limited."""
    wait = rate_limits.take(
        f"unsolicited-csr:{identity.pk}", per_second=UNSOLICITED_PER_SECOND, burst=UNSOLICITED_BURST, now=now
    )
    if wait is None:
        return False
    _refuse_request(
        identity,
        f"{identity.authoritative_identifier} asks for certificates too often; its request was not taken up. "
        "It may ask again in ten minutes; look at its log if this goes on.",
        f"{identity.pk}:{now:%Y%m%d%H}:too-often",
        now,
    )
    return True


def _refuse_request(identity: ManagedIdentity, why: str, key: str, now: datetime) -> None:
    record_security_event(
        "UnsolicitedCertificateRequestRefused",
        category=SecurityCategory.INSTALLATION,
        severity=Severity.WARNING,
        source=SecuritySource.CHARGER,
        message=why,
        now=now,
        identity=identity,
        station_id=identity.authoritative_identifier[:64],
        dedupe_key=f"refused:{key}",
    )


def _open_for_device(
    identity: ManagedIdentity, entry: Purpose, key: str, others: Sequence[CertificateJob], now: datetime
) -> CertificateJob | None:
    refusal = _why_not(identity, entry) or holding.why_no_first_enrolment(identity, entry, "", now)
    if refusal is not None:
        _refuse_request(identity, refusal, key, now)
        return None
    if _asks_too_often(identity, now):
        return None
    active = _active_record(identity.pk, entry.key)
    job, created = jobs.open_job(
        action=JobAction.RENEW if active else JobAction.ISSUE,
        identity=identity,
        purpose=entry.key,
        step="await_csr",
        now=now,
        parameters={"replaces": active.pk} if active else {},
        idempotency_key=f"device:{key}",
        others=others,
    )
    if created:
        if active:
            record_event(
                EventType.CERTIFICATE_RENEWAL_STARTED,
                now=now,
                record=active,
                job=job,
                payload={"existingCertificateId": active.pk, "renewalReason": "asked for by the station"},
            )
        record_event(
            EventType.CERTIFICATE_REQUESTED,
            now=now,
            identity=identity,
            job=job,
            payload={
                "managedIdentityId": identity.pk,
                "purpose": entry.key,
                "requestReason": job.reason,
                "requestedBy": job.actor,
            },
            resulting_state=RecordState.REQUESTED,
            dedupe_key=f"requested:{job.pk}",
        )
    return job


def _why_not(identity: ManagedIdentity, entry: Purpose) -> str | None:
    try:
        identity.check_purpose(entry)
    except InventoryError as error:
        return str(error)
    if not identity.enabled:
        return f"{identity.authoritative_identifier} is disabled and asked for a certificate."
    if identity.mode_for(entry) != OperatingMode.MANAGED:
        return (
            f"{identity.authoritative_identifier} asked for a {entry.label} certificate, which is "
            f"{OperatingMode(identity.mode_for(entry)).label.lower()}; no issuer is set up for it here."
        )
    decided = ownership_of(entry, identity.program)
    if not decided.complete and not identity.pilot:
        return operating_modes.undecided(identity, entry, decided)
    return None


@engine.local_step("newer_csr")
def take_up_newer_csr(job: CertificateJob, now: datetime) -> engine.Result:
    """After an issuance that a newer request had overtaken: let the newest one go on."""
    newer, certificate_type = job.parameters["newer_csr"], job.parameters.get("newer_certificate_type")
    job.parameters = {name: value for name, value in job.parameters.items() if not name.startswith("newer_")}
    job.state, job.step, job.record = JobState.QUEUED, "await_csr", None
    save_without_history(job)
    accept_csr(job, newer, certificate_type=certificate_type, now=now)
    job.refresh_from_db()
    return engine.Proceed(job.step, job.queue) if job.is_open else engine.Fail(job.outcome)
