"""What follows on a CA's answer: recorders that the engine runs under the locks of identity and job."""

from datetime import datetime, timedelta

from bfcerts.pki.certificates import ParsedCertificate
from inventory.audit import save_without_history
from inventory.choices import EventType, RecordState, SecurityCategory, SecuritySource, Severity
from inventory.errors import InventoryError
from inventory.jobs.engine import Fail, Proceed, Recorder, Result, Succeed, Wait, give_up_request
from inventory.models import CertificateJob, CertificateRecord, IssuanceIntent
from inventory.services import policies, transitions
from inventory.services.delivery import locked_record
from inventory.services.events import record_event
from inventory.services.security_events import record_security_event


def issued(leaf: ParsedCertificate, chain_pem: str, intent: IssuanceIntent, refusal: InventoryError | None) -> Recorder:
    """requested → issued, and at once revoked where it was refused after the CA had begun."""

    def record_it(job: CertificateJob, now: datetime) -> Result:
        record = locked_record(job)
        record.authority = intent.authority
        transitions.issued(record, leaf, chain_pem, now=now, job=job)
        IssuanceIntent.objects.filter(pk=intent.pk).update(collected_at=now)
        if refusal is None:
            return _after_issuance(job, record, now)
        _withdraw(job, record, f"No longer allowed when the CA had issued it: {refusal}", now)
        return Fail(str(refusal))

    return record_it


def _after_issuance(job: CertificateJob, record: CertificateRecord, now: datetime) -> Result:
    """What follows on an issued record: its delivery, or the newer request that has overtaken it meanwhile."""
    if not job.parameters.get("newer_csr"):
        return Proceed("deliver")
    _withdraw(job, record, "The station sent a newer request before this was delivered.", now)
    return Proceed("newer_csr")


def _withdraw(job: CertificateJob, record: CertificateRecord, why: str, now: datetime) -> None:
    """Revoke what was issued and will not be delivered; the job goes on without it."""
    from inventory.services.lifecycle import revoke_locked

    job.record = None
    save_without_history(job)
    revoke_locked(record, "superseded", detail=why, now=now)


def already_issued(job: CertificateJob, now: datetime) -> Result:
    """The step ran before and its result is known."""
    record = locked_record(job)
    if record.state == RecordState.ISSUED:
        return _after_issuance(job, record, now)
    return Fail(f"Certificate {record.pk} is {record.get_state_display().lower()}; it cannot be issued any more.")


def waits(waiting_for: str, delay: timedelta) -> Recorder:
    """Wait without counting: being throttled, or a slow CA, never fails a job."""

    def record_it(job: CertificateJob, now: datetime) -> Result:
        job.attempts = max(0, job.attempts - 1) if "quota" in waiting_for else job.attempts
        return Wait(waiting_for, now + delay, job.step, job.queue)

    return record_it


def unavailable(why: str) -> Recorder:
    """Wait for the CA, longer each time; an outage never fails a job."""

    def record_it(job: CertificateJob, now: datetime) -> Result:
        policy = policies.resolve(job.identity, job.purpose).policy
        job.outcome = why
        return Wait(
            f"the CA to be reachable: {why}"[:200],
            now + policies.retry_delay(policy, job.attempts),
            job.step,
            job.queue,
        )

    return record_it


def give_up(why: str, rule: str, *, refused_by_ca: bool = False) -> Recorder:
    """The request ends here; a newer one of the station, if there is one, takes its place."""

    def record_it(job: CertificateJob, now: datetime) -> Result:
        record = locked_record(job)
        if refused_by_ca:
            transitions.failed(record, why, now=now, job=job)
        else:
            give_up_request(job, why, now)
        record_event(
            EventType.CSR_REJECTED,
            now=now,
            record=record,
            job=job,
            payload={"rule": rule, "detail": why},
            resulting_state="rejected",
        )
        if not job.parameters.get("newer_csr"):
            return Fail(why)
        job.record = None
        return Proceed("newer_csr")

    return record_it


def untrustworthy(why: str, code: str) -> Recorder:
    """The answer does not verify: nothing of it is used, and somebody has to look."""

    def record_it(job: CertificateJob, now: datetime) -> Result:
        record = locked_record(job)
        message = f"The CA's answer does not verify and was not accepted: {why}"
        record_security_event(
            "UntrustworthyCertificateAuthorityAnswer",
            category=SecurityCategory.TLS_AND_CERTIFICATE,
            severity=Severity.CRITICAL,
            source=SecuritySource.CERTIFICATE_AUTHORITY,
            message=message,
            now=now,
            record=record,
            job=job,
            payload={"rule": code},
            correlation_id=job.correlation_id,
        )
        return Fail(message)

    return record_it


def revocation_propagated(job: CertificateJob, now: datetime) -> Result:
    """The CA knows; the record shows when."""
    record = locked_record(job)
    if record.revocation_propagated_at is None:
        record.revocation_propagated_at = now
        record.save()
        record_event(
            EventType.REVOCATION_PROPAGATED,
            now=now,
            record=record,
            job=job,
            payload={"revokedAt": record.revoked_at.isoformat() if record.revoked_at else None},
            dedupe_key=f"propagated:{record.pk}",
        )
    return Succeed("The CA has revoked the certificate.")
