"""What follows on a CA's answer: recorders that the engine runs under the locks of identity and job."""

from datetime import datetime, timedelta

from bfcerts.pki.certificates import ParsedCertificate
from inventory.audit import save_without_history
from inventory.choices import EventType, RecordState, SecurityCategory, SecuritySource, Severity
from inventory.errors import InventoryError
from inventory.jobs.engine import Fail, Proceed, Recorder, Result, Succeed, Wait, give_up_request
from inventory.models import CertificateJob, CertificateRecord, IssuanceIntent, IssuingAuthority, LifecyclePolicy
from inventory.services import holding, intents, policies, transitions
from inventory.services.delivery import HELD_BACK, LOOK_AGAIN_AT_HELD, locked_record
from inventory.services.events import record_event
from inventory.services.security_events import record_security_event

UNCONFIRMED_FOR = timedelta(hours=24)
"""How long a job waits for a person to find out whether the CA issued, before it ends and makes place for another."""
LOOK_AGAIN = timedelta(minutes=30)


def issued(leaf: ParsedCertificate, chain_pem: str, intent: IssuanceIntent, refusal: InventoryError | None) -> Recorder:
    """requested → issued, and at once revoked where it was refused after the CA had begun."""

    def record_it(job: CertificateJob, now: datetime) -> Result:
        record = locked_record(job)
        record.authority = intent.authority
        transitions.issued(record, leaf, chain_pem, now=now, job=job)
        intents.collected(intent, now)
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
    revoke_locked([record], "superseded", detail=why, now=now)


def already_issued(job: CertificateJob, now: datetime) -> Result:
    """The step ran before and its result is known."""
    record = locked_record(job)
    if record.state == RecordState.ISSUED:
        return _after_issuance(job, record, now)
    return Fail(f"Certificate {record.pk} is {record.get_state_display().lower()}; it cannot be issued any more.")


def waits(waiting_for: str, delay: timedelta, *, counted: bool = False) -> Recorder:
    """Wait for what the CA will do: being throttled, or a slow CA, fails no job before its time as a whole is over.

    :param counted: whether it counts as a try, so that the next wait of this step may be longer.
    """

    def record_it(job: CertificateJob, now: datetime) -> Result:
        if not counted:
            job.attempts = max(0, job.attempts - 1)
        return Wait(waiting_for[:200], now + delay, job.step, job.queue)

    return record_it


def held_back(why: str) -> Recorder:
    """Do not ask the CA for a server certificate after which chargers could not reconnect; look again later."""

    def record_it(job: CertificateJob, now: datetime) -> Result:
        holding.tell_of_held_server_certificate(job, why, now)
        job.attempts, job.outcome = max(0, job.attempts - 1), why
        return Wait(HELD_BACK, now + LOOK_AGAIN_AT_HELD, job.step, job.queue)

    return record_it


def left_to_a_person(intent: IssuanceIntent, asked_at: datetime, why: str) -> Recorder:
    """Wait, and say so, for somebody who can find out whether the CA issued: not for ever, and asking nothing twice."""
    ends = asked_at + UNCONFIRMED_FOR

    def record_it(job: CertificateJob, now: datetime) -> Result:
        if now >= ends:
            return give_up(
                f"The CA's answer was lost, and nobody could find out whether it issued: {why}. Ended so that a new "
                "request can be made.",
                "unconfirmed",
            )(job, now)
        intents.tell_that_a_person_must_look(intent, why, ends, now)
        job.outcome = f"The CA's answer was lost, and {why}."
        return Wait(
            f"the CA's lost answer to be looked up by a person: {why}"[:200],
            min(now + LOOK_AGAIN, ends),
            job.step,
            job.queue,
        )

    return record_it


def unavailable(why: str) -> Recorder:
    """Wait for the CA, longer each time; an outage fails no job before its time as a whole is over."""

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


def tell_of_an_end_too_near(authority: IssuingAuthority, policy: LifecyclePolicy, now: datetime) -> None:
    """Once a day: new certificates of a policy would outlive their CA, which refuses them."""
    record_security_event(
        "AuthorityEndsTooSoon",
        category=SecurityCategory.TLS_AND_CERTIFICATE,
        severity=Severity.CRITICAL,
        source=SecuritySource.CERTIFICATE_AUTHORITY,
        message=(
            f"{authority.name} ends on {authority.not_after:%Y-%m-%d}, before a certificate under “{policy.name}” "
            "would; it will refuse to issue one. Renew that CA or shorten the policy."
        ),
        now=now,
        dedupe_key=f"authority-ends:{authority.fingerprint}:{policy.pk}:{now:%Y%m%d}",
    )
