"""Bringing an issued certificate to its endpoint, and what the endpoint's answers mean.

Three channels: OCPP for chargers, our own listeners for server certificates, and pick-up by the endpoint (EST, REST)
for the rest. Whatever the order in which answers and connections arrive, a record moves once (conformance 10 to 12).
"""

from datetime import datetime, timedelta

from django.db.models import Q

from bfcerts.ocpp import canonical, outbox
from bfcerts.ocpp.canonical import Action, CommandOutcome
from bfcerts.ocpp.models import OutboxCommand
from bfcerts.ocpp.notify import Channel, notify
from bfcerts.pki.certificates import parse_ca_certificate, parse_certificate, split_chain
from bfcerts.pki.chains import stack
from bfcerts.rows import row
from inventory.audit import save_without_history
from inventory.choices import (
    ChainContent,
    EventType,
    EvidenceKind,
    JobAction,
    RecordState,
    RevocationReason,
    SecurityCategory,
    SecuritySource,
    Severity,
)
from inventory.errors import InventoryError
from inventory.jobs import engine
from inventory.jobs.engine import Fail, Result, Retry, Succeed, Wait
from inventory.models import CertificateJob, CertificateRecord, LifecyclePolicy
from inventory.purposes import BACKEND_SERVER, ISO15118_EVSE_LEAF, Purpose, purpose
from inventory.services import caps, holding, lockouts, policies, transitions
from inventory.services.events import record_event
from inventory.services.locking import lock_record_of
from inventory.services.security_events import record_security_event

PAUSE_FOR_A_PLACE = timedelta(minutes=1)
"""How long a renewal waits before it asks again for a place among the chargers of its site that are away."""


HELD_BACK = "the chargers that could not reconnect to trust the root that our server certificate would have"
LOOK_AGAIN_AT_HELD = timedelta(hours=1)


def reference(job: CertificateJob, step: str) -> str:
    """How a command in the outbox names the job and step that asked for it."""
    return f"job:{job.pk}:{step}"


def _policy(job: CertificateJob) -> LifecyclePolicy:
    return policies.resolve(job.identity, job.purpose).policy


def _try_number(job: CertificateJob, name: str) -> int:
    number = int(job.parameters.get(name, 0)) + 1
    job.parameters = {**job.parameters, name: number}
    return number


def _replaced_by(job: CertificateJob) -> CertificateRecord | None:
    replaced = job.parameters.get("replaces")
    return row(CertificateRecord, "id = %s", replaced) if replaced is not None else None


@engine.local_step("request_csr")
def request_csr(job: CertificateJob, now: datetime) -> Result:
    """Ask the endpoint for a certificate signing request."""
    policy = _policy(job)
    entry = job_purpose(job)
    if job.deadline is None:
        job.deadline = policies.issuing_deadline(policy, now=now, replaced=_replaced_by(job))
    if entry.key == BACKEND_SERVER.key and (why := holding.why_no_server_certificate(job, now)) is not None:
        holding.tell_of_held_server_certificate(job, why, now)
        job.outcome = why
        return Wait(HELD_BACK, now + LOOK_AGAIN_AT_HELD, "request_csr")
    number = _try_number(job, "csr_tries")
    if entry.key == BACKEND_SERVER.key:
        notify(Channel.LISTENERS)
        return Wait("a request from our listener", now + policy.csr_deadline, "await_csr")
    if not entry.delivered_over_ocpp:
        return Wait("a request from the endpoint", now + policy.delivery_deadline, "await_csr")
    outbox.enqueue(
        station_id=job.identity.authoritative_identifier,
        action=Action.REQUEST_CSR,
        payload=canonical.request_csr(entry.ocpp_certificate_type or ""),
        dedupe_key=f"{reference(job, 'request_csr')}:{number}",
        now=now,
        expires_after=policy.delivery_deadline,
        reference=reference(job, "request_csr"),
        correlation_id=job.correlation_id,
    )
    return Wait("the station to take the request for a CSR", now + policy.delivery_deadline, "await_trigger")


@engine.local_step("await_trigger")
def trigger_not_taken(job: CertificateJob, now: datetime) -> Result:
    """The delivery deadline passed: the station was never there to be asked."""
    return Fail(
        "The station was not connected long enough to be asked for a certificate signing request. Check its "
        "connection, then start again."
    )


@engine.local_step("await_csr")
def csr_missing(job: CertificateJob, now: datetime) -> Result:
    """The request never came: “trigger accepted” does not mean that a CSR follows (conformance 6)."""
    policy = _policy(job)
    tries = int(job.parameters.get("csr_tries", 0))
    message = "The endpoint was asked for a certificate signing request and sent none in time."
    if tries >= policy.retry_attempts:
        return Fail(f"{message} Asked {tries} times; look at its log for the cause.")
    job.outcome = message
    return Wait("the next try, as no request came", now + policies.retry_delay(policy, max(1, tries)), "request_csr")


@engine.local_step("deliver")
def deliver(job: CertificateJob, now: datetime) -> Result:
    """Send the certificate on its way; from here on the door is open for it."""
    record = locked_record(job)
    if record.state == RecordState.INSTALLED_PENDING_ACTIVATION and job.action != JobAction.INSTALL:
        return _await_activation(job, record, now)
    if record.state not in (RecordState.ISSUED, RecordState.INSTALLED_PENDING_ACTIVATION):
        if record.state == RecordState.ACTIVE:
            return Succeed(f"Certificate {record.pk} is active.")
        return Fail(f"Certificate {record.pk} is {record.get_state_display().lower()}; it is not delivered any more.")
    policy = _policy(job)
    entry = job_purpose(job)
    deliver_by = _deliver_by(job, record, now + policy.delivery_deadline)
    if deliver_by <= now:
        return never_installed(job, now)
    place_until = now + policy.cut_over_deadline + caps.TAKEN_AT_THE_LAST_MOMENT
    if entry.delivered_over_ocpp and not caps.take_for_renewal(job, place_until, now):
        return Wait(f"its turn: {caps.why_no_renewal(job, now)}", now + PAUSE_FOR_A_PLACE, "deliver")
    record.confirm_by = now + policy.delivery_deadline + policy.rollback_window
    save_without_history(record, fields=["confirm_by", "updated_at"])
    channel = "listener" if entry.key == BACKEND_SERVER.key else "ocpp" if entry.delivered_over_ocpp else "pick-up"
    record_event(
        EventType.CERTIFICATE_INSTALL_REQUESTED,
        now=now,
        record=record,
        job=job,
        payload={"executionPath": channel, "targetIdentity": job.identity.authoritative_identifier},
    )
    if channel == "listener":
        notify(Channel.LISTENERS)
        return Wait("our listener to present the certificate", now + policy.cut_over_deadline, "await_activation")
    if channel == "pick-up":
        return Wait("the endpoint to fetch the certificate", now + policy.delivery_deadline, "await_install")
    number = _try_number(job, "deliveries")
    lifetime = deliver_by - now
    if job.action == JobAction.RENEW:
        # A station that was away may not leave again when its place of the site has gone to another one.
        lifetime = min(lifetime, policy.cut_over_deadline)
    outbox.enqueue(
        station_id=job.identity.authoritative_identifier,
        action=Action.DELIVER_CERTIFICATE,
        payload=canonical.deliver_certificate(chain_for_station(record), job.parameters.get("certificate_type")),
        dedupe_key=f"{reference(job, 'deliver')}:{record.pk}:{number}",
        now=now,
        expires_after=lifetime,
        reference=reference(job, "deliver"),
        correlation_id=job.correlation_id,
    )
    by_hand = lockouts.is_out_of_reach(job.identity, now)
    return Wait(
        f"somebody to install it on site: download certificate {record.pk} with its chain from its page"
        if by_hand
        else "the station to accept the certificate",
        deliver_by + timedelta(minutes=5),
        "await_install",
    )


def _deliver_by(job: CertificateJob, record: CertificateRecord, latest: datetime) -> datetime:
    """Until when a renewed certificate may be delivered, from its first delivery on; any other has its time anew."""
    if job.action != JobAction.RENEW:
        return latest
    known = job.parameters.get("deliver_by", {})
    if known.get("record") != record.pk:
        known = {"record": record.pk, "until": latest.isoformat()}
        job.parameters = {**job.parameters, "deliver_by": known}
    return datetime.fromisoformat(known["until"])


def chain_for_station(record: CertificateRecord) -> str:
    """The chain as the station's family wants it: some want the root in it, others refuse it (conformance 4).

    That of an EVSE towards vehicles never has its root.
    """
    family = record.identity.family
    whole = family is not None and family.chain_content == ChainContent.LEAF_TO_ROOT
    leaf, *above = split_chain(record.certificate_pem + record.chain_pem)
    path = [parse_certificate(leaf), *(parse_ca_certificate(part) for part in above)]
    return stack(path, include_root=whole and record.purpose != ISO15118_EVSE_LEAF.key)


@engine.local_step("await_install")
def never_installed(job: CertificateJob, now: datetime) -> Result:
    """The delivery deadline passed without an answer."""
    record_event(
        EventType.INSTALL_FAILED,
        now=now,
        record=locked_record(job),
        job=job,
        payload={"detail": "no answer before the delivery deadline"},
    )
    return Fail(
        "The certificate could not be delivered in time: the endpoint gave no answer. What it used before still works."
    )


@engine.local_step("await_activation")
def never_used(job: CertificateJob, now: datetime) -> Result:
    """The cut-over deadline passed: installed, but never seen in use. The old certificate still works."""
    record = locked_record(job)
    if record.state == RecordState.ACTIVE:
        return Succeed(f"Certificate {record.pk} is active.")
    message = (
        f"{job.identity.authoritative_identifier} has installed certificate {record.pk} but did not come back with it "
        "before the cut-over deadline. What it used before still works; check the station, then install again."
    )
    record_event(EventType.ACTIVATION_FAILED, now=now, record=record, job=job, payload={"detail": message})
    record_security_event(
        "ActivationFailed",
        category=SecurityCategory.INSTALLATION,
        severity=Severity.WARNING,
        source=SecuritySource.CONTROL_PLANE,
        message=message,
        now=now,
        record=record,
        job=job,
        station_id=job.identity.authoritative_identifier[:64],
        correlation_id=job.correlation_id,
    )
    return Fail(message)


@engine.local_step("await_doubtful")
def doubtful_not_used(job: CertificateJob, now: datetime) -> Result:
    """The station refused a repeat and did not come back with what it may have: a new request goes beside it.

    The certificate keeps its door until it is confirmed or its time for that is over.
    """
    record = locked_record(job)
    if record.state == RecordState.ACTIVE:
        return Succeed(f"Certificate {record.pk} is active.")
    message = (
        f"{job.identity.authoritative_identifier} refused certificate {record.pk} when it was sent again, and did not "
        "come back with it"
    )
    tries = int(job.parameters.get("refusals", 1))
    if tries >= policies.INSTALL_TRIES or job.action == JobAction.INSTALL:
        return Fail(f"{message}. Given up after {tries} tries; what it used before still works.")
    job.record = None
    save_without_history(job)
    return Wait(f"a new request, as {message}"[:200], now, "request_csr")


def _await_activation(job: CertificateJob, record: CertificateRecord, now: datetime) -> Wait:
    policy = _policy(job)
    if job_purpose(job).delivered_over_ocpp:
        # It leaves from now on: its place of the site lasts as long as it has to come back.
        caps.leaves_for_renewal(job, now + policy.cut_over_deadline, now)
    return Wait(
        "a connection on Profile 3 with exactly this certificate"
        if job_purpose(job).delivered_over_ocpp
        else "proof of use",
        now + policy.cut_over_deadline,
        "await_activation",
    )


def _await_doubtful(job: CertificateJob, now: datetime) -> Wait:
    return Wait(
        "a connection with the certificate, which the station may have although it refused the repeat",
        now + _policy(job).cut_over_deadline,
        "await_doubtful",
    )


def job_purpose(job: CertificateJob) -> Purpose:
    """The purpose's entry in the registry."""
    return purpose(job.purpose)


def record_id(job: CertificateJob) -> int:
    """The id of the job's record.

    :raises InventoryError: when it has none, which no step but the first may meet.
    """
    if job.record_id is None:
        raise InventoryError(f"Job {job.pk} has no certificate to work on; cancel it and start again.")
    return job.record_id


def locked_record(job: CertificateJob) -> CertificateRecord:
    """The job's record, locked; its identity is the job's."""
    return lock_record_of(job.identity, record_id(job))


# -- what the station answered ---------------------------------------------------------------------------------------


def trigger_answered(job: CertificateJob, outcome: str, detail: str, now: datetime) -> None:
    """The station took, or did not take, the request for a CSR."""
    if job.step != "await_trigger":
        return
    policy = _policy(job)
    if outcome == CommandOutcome.ACCEPTED:
        engine.advance(
            job,
            Wait("the station's certificate signing request", now + policy.csr_deadline, "await_csr"),
            now,
        )
        return
    if outcome == CommandOutcome.EXPIRED:
        engine.advance(job, trigger_not_taken(job, now), now)
        return
    job.step = "request_csr"
    job.attempts = int(job.parameters.get("csr_tries", 1))
    engine.advance(job, Retry(f"The station did not agree to send a certificate signing request: {detail}"), now)


def delivery_answered(
    job: CertificateJob,
    record_id: int,
    outcome: str,
    detail: str,
    *,
    session: str,
    command: str,
    now: datetime,
) -> None:
    """The station accepted the certificate, refused it, or gave no usable answer.

    The record is the one that the command delivered; a newer request may have given the job another one since.
    """
    record = lock_record_of(job.identity, record_id)
    if outcome == CommandOutcome.ACCEPTED:
        _accepted(job, record, session, command, now)
        return
    waits_for_it = _waits_for(job, record)
    if outcome in (CommandOutcome.TIMED_OUT, CommandOutcome.EXPIRED):
        if waits_for_it:
            _no_answer(job, outcome, command, now)
    elif record.state == RecordState.ISSUED:
        _refused(job, record, detail, command, now)
    elif waits_for_it:
        station = job.identity.authoritative_identifier
        engine.advance(
            job, Fail(f"{station} refused certificate {record.pk}, which it had installed before: {detail}"), now
        )


def _waits_for(job: CertificateJob, record: CertificateRecord) -> bool:
    return job.is_open and job.record_id == record.pk and job.step in ("await_install", "await_doubtful")


def _may_be_installed(job: CertificateJob, record: CertificateRecord, command: str) -> bool:
    """Whether a station that refuses this delivery may have taken an earlier one, whose answer was lost.

    A station installs, loses its connection, and calls the repeat a certificate that it never asked for.
    """
    jobs_of_it = CertificateJob.objects.filter(record=record).values_list("pk", flat=True)
    deliveries = OutboxCommand.objects.filter(
        reference__in=[f"job:{pk}:deliver" for pk in {job.pk, *jobs_of_it}],
        dedupe_key__contains=f":deliver:{record.pk}:",
    )
    return deliveries.filter(Q(pk=command, attempts__gt=1) | (~Q(pk=command) & Q(attempts__gt=0))).exists()


def _accepted(job: CertificateJob, record: CertificateRecord, session: str, command: str, now: datetime) -> None:
    if record.state == RecordState.ISSUED:
        evidence = transitions.observe(
            record,
            EvidenceKind.INSTALL_ACKNOWLEDGED
            if EvidenceKind.INSTALL_ACKNOWLEDGED in record.purpose_entry.installing_evidence
            else EvidenceKind.EVSE_ACCEPTANCE,
            now=now,
            source=f"station {job.identity.authoritative_identifier}",
            dedupe_key=f"answer:{command}",
            detail={"session": session, "command": command},
            correlation_id=job.correlation_id,
        )
        transitions.installation_recorded(record, evidence, now=now, job=job)
    if _waits_for(job, record) and record.state == RecordState.INSTALLED_PENDING_ACTIVATION:
        engine.advance(job, _await_activation(job, record, now), now)


def _no_answer(job: CertificateJob, outcome: str, command: str, now: datetime) -> None:
    if outcome == CommandOutcome.TIMED_OUT:
        job.step, job.attempts = "deliver", int(job.parameters.get("deliveries", 1))
        engine.advance(job, Retry("The station took the certificate but gave no answer."), now)
    elif job.action == JobAction.RENEW:
        if not OutboxCommand.objects.filter(pk=command, attempts__gt=0).exists():
            caps.give_back_renewal(job, now)
        engine.advance(job, Wait("its turn: it was away when it had one", now + PAUSE_FOR_A_PLACE, "deliver"), now)


def _refused(job: CertificateJob, record: CertificateRecord, detail: str, command: str, now: datetime) -> None:
    from inventory.services.lifecycle import revoke_locked

    transitions.observe(
        record,
        EvidenceKind.INSTALL_REFUSED,
        now=now,
        source=f"station {job.identity.authoritative_identifier}",
        dedupe_key=f"answer:{command}",
        detail={"detail": detail},
        correlation_id=job.correlation_id,
    )
    message = f"{job.identity.authoritative_identifier} refused the certificate: {detail or 'no reason given'}"
    record_event(
        EventType.INSTALL_FAILED,
        now=now,
        record=record,
        job=job,
        payload={"detail": detail},
        dedupe_key=f"refused:{command}",
    )
    record_security_event(
        "CertificateInstallRefused",
        category=SecurityCategory.INSTALLATION,
        severity=Severity.WARNING,
        source=SecuritySource.CHARGER,
        message=message,
        technical_detail=detail,
        now=now,
        record=record,
        job=job,
        station_id=job.identity.authoritative_identifier[:64],
        correlation_id=job.correlation_id,
        dedupe_key=f"refused:{command}",
    )
    tries = _try_number(job, "refusals")
    waits_for_it = _waits_for(job, record)
    if _may_be_installed(job, record, command):
        if waits_for_it:
            engine.advance(job, _await_doubtful(job, now), now)
        return
    if waits_for_it:
        job.record = None
        save_without_history(job)
    revoke_locked([record], RevocationReason.SUPERSEDED, detail=message, now=now)
    if not waits_for_it:
        return
    if tries >= policies.INSTALL_TRIES or job.action == JobAction.INSTALL:
        engine.advance(job, Fail(f"{message}. Given up after {tries} tries."), now)
        return
    delay = policies.retry_delay(_policy(job), tries)
    engine.advance(job, Wait(f"the next try, after: {message}"[:200], now + delay, "request_csr"), now)
