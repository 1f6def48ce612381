"""Asking certificate authorities: the only module that may import them (house.md; FR-008, NFR-003).

It runs in the PKI worker alone, whose environment holds the credentials. It trusts nothing that other processes
stored: the request is checked against policy again, and the answer is verified before a record becomes issued.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache

from django.conf import settings
from django.db import transaction

from bfcerts.ocpp.notify import Channel, notify
from bfcerts.pki.authorities import build_authorities
from bfcerts.pki.authorities.base import (
    AuthorityError,
    AuthorityUnavailable,
    CertificateAuthority,
    RequestRefused,
    RevocationReason,
    SignedCertificate,
    SignRequest,
    Throttled,
)
from bfcerts.pki.certificates import ParsedCertificate, parse_certificate, split_chain
from bfcerts.pki.chains import ChainError, verify_issued
from bfcerts.pki.profiles import profile
from inventory.actors import Actor
from inventory.audit import attributed, save_without_history
from inventory.choices import (
    EventType,
    OperatingMode,
    RecordState,
    SecurityCategory,
    SecuritySource,
    Severity,
)
from inventory.errors import CsrRejectedError, InventoryError
from inventory.jobs import engine
from inventory.jobs.engine import Fail, Proceed, Recorder, Result, Retry, Succeed, Wait
from inventory.models import CertificateJob, CertificateRecord, IssuanceIntent, IssuingAuthority, LifecyclePolicy
from inventory.purposes import BACKEND_SERVER, purpose, purposes
from inventory.services import enrolment, policies, rate_limits, transitions
from inventory.services.csr_policy import BoundCsr, check_csr
from inventory.services.delivery import locked_record, record_id
from inventory.services.events import record_event
from inventory.services.security_events import record_security_event

BACKDATING = timedelta(hours=1)
"""A certificate must be valid now for a station whose clock is slow (OCPP 2.0.1 A02.FR.06)."""
OUTLIVE_MARGIN = timedelta(days=1)
"""How much later than the one it replaces a leaf ends at least: some stations present the latest notAfter."""


class AuthorityNotUsableError(InventoryError):
    """The configured CAs cannot be used by this process; the message says what to change."""

    code = "authority_not_usable"


class NoAuthorityError(InventoryError):
    """No CA is set up for a trust domain."""

    code = "no_authority"


@cache
def authorities() -> Mapping[str, CertificateAuthority]:
    """The CAs by trust domain, from this process's own configuration.

    :raises AuthorityNotUsableError: where this process has no credentials for them, or they cannot be read.
    """
    configuration = settings.CONFIGURATION
    key = configuration.local_ca_key
    try:
        return build_authorities(
            kind=configuration.authority.value,
            directory=configuration.local_ca_directory or configuration.var_directory / "ca",
            local_ca_key=key.get_secret_value() if key else None,
            debug=settings.DEBUG,
            local_ca_allowed=configuration.local_ca_allowed,
            aws_region=configuration.aws_region,
            aws_endpoint_url=configuration.aws_endpoint_url,
            arns=configuration.aws_private_ca_arns,
            trust_domains=[item.trust_domain for item in purposes() if item.issued_by_our_authorities],
        )
    except AuthorityError as error:
        raise AuthorityNotUsableError(f"The certificate authorities cannot be used: {error}") from None


def authority_for(trust_domain: str) -> CertificateAuthority:
    try:
        return authorities()[trust_domain]
    except KeyError:
        raise NoAuthorityError(
            f"No certificate authority is set up for {purpose(trust_domain).label}; configure one, then start again."
        ) from None


def publish_authorities(now: datetime) -> None:
    """Write the public side of every CA into the inventory, where the gateway reads what it trusts."""
    with attributed(Actor.system("pki-worker"), "Published by the PKI worker"):
        for trust_domain, authority in authorities().items():
            try:
                description = authority.describe()
            except AuthorityError as error:
                raise AuthorityNotUsableError(f"The CA of {trust_domain} cannot be used: {error}") from None
            issuing = parse_certificate(description.certificate_pem)
            values = {
                "trust_domain": trust_domain,
                "name": issuing.subject_text,
                "certificate_pem": issuing.pem,
                "chain_pem": description.chain_pem,
                "root_pem": description.root_pem,
                "fingerprint": issuing.fingerprint_sha256,
                "not_after": issuing.not_after,
                "status": description.status,
            }
            with transaction.atomic():
                known = IssuingAuthority.objects.select_for_update().filter(reference=description.reference).first()
                if known and all(getattr(known, name) == value for name, value in values.items()) and known.issues:
                    continue
                for former in IssuingAuthority.objects.filter(trust_domain=trust_domain, issues=True).exclude(
                    reference=description.reference
                ):
                    former.issues = False
                    former.save()
                row = known or IssuingAuthority(reference=description.reference)
                for name, value in values.items():
                    setattr(row, name, value)
                row.issues = True
                row.save()
                notify(Channel.LISTENERS)


# -- issuing -------------------------------------------------------------------------------------------------------


@engine.external_step("issue")
def issue_step(job: CertificateJob, now: datetime) -> Recorder:
    """Fix the intent, ask the CA, collect, verify; the record becomes issued in the recorder's transaction."""
    record = CertificateRecord.objects.select_related("identity__family").get(pk=record_id(job))
    if record.state != RecordState.REQUESTED:
        return _already_issued
    entry = purpose(record.purpose)
    policy = policies.resolve(record.identity, record.purpose).policy
    try:
        bound = _check_again(record, policy)
        authority = authority_for(entry.trust_domain)
        intent = _intent(job, record, authority, now)
    except CsrRejectedError as error:
        return _give_up(f"Refused by the PKI worker: {error}", error.reason_code)
    except InventoryError as error:
        return _give_up(str(error), error.code)
    try:
        signed = _ask(intent, bound, authority, now)
    except Throttled as error:
        return _waits("a free place in the CA's quota", error.retry_after)
    except AuthorityUnavailable as error:
        return _unavailable(str(error))
    except RequestRefused as error:
        return _give_up(f"The CA refused the request: {error}", error.code)
    except AuthorityError as error:
        return _unavailable(str(error))
    if signed is None:
        return _waits("the CA to sign", timedelta(seconds=min(2 ** min(job.attempts, 6), 60)))
    try:
        leaf = _verify(signed, intent, bound, now)
    except ChainError as error:
        return _untrustworthy(str(error), error.code)
    return _issued(leaf, signed.chain_pem, intent)


def _check_again(record: CertificateRecord, policy: LifecyclePolicy) -> BoundCsr:
    if record.mode != OperatingMode.MANAGED:
        raise InventoryError(f"Record {record.pk} is {record.get_mode_display().lower()}; our CAs do not issue for it.")
    if not record.identity.enabled:
        raise InventoryError(f"{record.identity.authoritative_identifier} is disabled.")
    entry = purpose(record.purpose)
    record.identity.check_purpose(entry)
    bound = check_csr(record.csr_pem, identity=record.identity, purpose=entry, policy=policy)
    if bound.csr.sha256 != record.csr_sha256 or bound.csr.public_key_sha256 != record.public_key_sha256:
        raise CsrRejectedError("altered", "The stored request is not the one that was checked; it was altered since.")
    return bound


def _intent(
    job: CertificateJob, record: CertificateRecord, authority: CertificateAuthority, now: datetime
) -> IssuanceIntent:
    """The durable intent: made once, so that every retry asks for the very same certificate."""
    known = IssuanceIntent.objects.filter(record=record).select_related("authority").first()
    if known:
        return known
    row = IssuingAuthority.objects.filter(trust_domain=record.trust_domain, issues=True).first()
    if row is None:
        publish_authorities(now)
        row = IssuingAuthority.objects.get(trust_domain=record.trust_domain, issues=True)
    validity = policies.resolve(record.identity, record.purpose).policy.validity
    if validity is None:
        raise InventoryError(
            f"The policy for {record.purpose_entry.label} names no validity; set one, or let its own authority issue."
        )
    not_after = now + validity
    replaced = record.replaces
    if replaced and replaced.not_after:
        not_after = max(not_after, replaced.not_after + OUTLIVE_MARGIN)
    intent, _ = IssuanceIntent.objects.get_or_create(
        record=record,
        defaults={
            "job": job,
            "authority": row,
            "token": uuid.uuid4().hex,
            "csr_sha256": record.csr_sha256,
            "profile": record.purpose_entry.certificate_profile,
            "not_before": (now - BACKDATING).replace(microsecond=0),
            "not_after": not_after.replace(microsecond=0),
            "created_at": now,
        },
    )
    return intent


def _ask(
    intent: IssuanceIntent, bound: BoundCsr, authority: CertificateAuthority, now: datetime
) -> SignedCertificate | None:
    configuration = settings.CONFIGURATION
    if not intent.reference:
        _take_quota("issue", configuration.aws_issue_per_second, authority, now)
        IssuanceIntent.objects.filter(pk=intent.pk, submitted_at__isnull=True).update(submitted_at=now)
        dns_names: tuple[str, ...] = ()
        if intent.profile == BACKEND_SERVER.certificate_profile:
            dns_names = (intent.record.identity.authoritative_identifier,)
        intent.reference = authority.submit(
            SignRequest(
                token=intent.token,
                csr=bound.csr,
                profile=profile(intent.profile),
                subject=None,
                dns_names=dns_names,
                not_before=intent.not_before,
                not_after=intent.not_after,
            )
        )
        IssuanceIntent.objects.filter(pk=intent.pk).update(reference=intent.reference)
    _take_quota("get", configuration.aws_get_per_second, authority, now)
    return authority.collect(intent.reference)


def _take_quota(call: str, per_second: float, authority: CertificateAuthority, now: datetime) -> None:
    """Stay below the account's quotas, over all PKI workers together; the local CA has none."""
    if settings.CONFIGURATION.authority == "local":
        return
    wait = rate_limits.take(f"aws-private-ca:{call}", per_second=per_second, burst=per_second, now=now)
    if wait is not None:
        raise Throttled(f"Our own limit of {per_second:g} {call} calls a second is reached.", retry_after=wait)


def _verify(signed: SignedCertificate, intent: IssuanceIntent, bound: BoundCsr, now: datetime) -> ParsedCertificate:
    leaf = parse_certificate(signed.certificate_pem)
    verify_issued(
        leaf=leaf,
        chain=[parse_certificate(part) for part in split_chain(signed.chain_pem)],
        anchors=[parse_certificate(intent.authority.root_pem)],
        now=now,
        public_key_sha256=bound.csr.public_key_sha256,
        extended_key_usages=profile(intent.profile).extended_key_usages,
        not_after_limit=intent.not_after,
    )
    return leaf


def _issued(leaf: ParsedCertificate, chain_pem: str, intent: IssuanceIntent) -> Recorder:
    def record_it(job: CertificateJob, now: datetime) -> Result:
        record = locked_record(job)
        record.authority = intent.authority
        transitions.issued(record, leaf, chain_pem, now=now, job=job)
        IssuanceIntent.objects.filter(pk=intent.pk).update(collected_at=now)
        return after_issuance(job, record, now)

    return record_it


def after_issuance(job: CertificateJob, record: CertificateRecord, now: datetime) -> Result:
    """What follows on an issued record: its delivery, or the newer request that has overtaken it meanwhile."""
    from inventory.services.lifecycle import revoke_locked

    if not job.parameters.get("newer_csr"):
        return Proceed("deliver")
    job.record = None
    save_without_history(job)
    revoke_locked(record, "superseded", detail="The station sent a newer request before this was delivered.", now=now)
    return Proceed("newer_csr")


@engine.local_step("newer_csr")
def newer_csr_step(job: CertificateJob, now: datetime) -> Result:
    """Start over with the newest of several requests."""
    enrolment.take_up_newer_csr(job, now)
    job.refresh_from_db()
    return Proceed(job.step, job.queue) if job.is_open else Fail(job.outcome)


def _already_issued(job: CertificateJob, now: datetime) -> Result:
    record = locked_record(job)
    if record.state == RecordState.ISSUED:
        return after_issuance(job, record, now)
    return Fail(f"Certificate {record.pk} is {record.get_state_display().lower()}; it cannot be issued any more.")


def _waits(waiting_for: str, delay: timedelta) -> Recorder:
    """Wait without counting: being throttled, or a slow CA, never fails a job."""

    def record_it(job: CertificateJob, now: datetime) -> Result:
        job.attempts = max(0, job.attempts - 1) if "quota" in waiting_for else job.attempts
        return Wait(waiting_for, now + delay, job.step, job.queue)

    return record_it


def _unavailable(why: str) -> Recorder:
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


def _give_up(why: str, code: str) -> Recorder:
    def record_it(job: CertificateJob, now: datetime) -> Result:
        record = locked_record(job)
        if record.state == RecordState.REQUESTED:
            transitions.failed(record, why, now=now, job=job)
        record_event(EventType.CSR_REJECTED, now=now, record=record, job=job, payload={"rule": code, "detail": why})
        return Fail(why)

    return record_it


def _untrustworthy(why: str, code: str) -> Recorder:
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
        transitions.failed(record, message, now=now, job=job)
        return Fail(message)

    return record_it


# -- revoking ------------------------------------------------------------------------------------------------------


@engine.external_step("revoke_at_authority")
def revoke_step(job: CertificateJob, now: datetime) -> Recorder:
    """Tell the CA of a revocation that our doors have acted on already."""
    record = CertificateRecord.objects.select_related("authority").get(pk=record_id(job))
    try:
        authority = authority_for(record.trust_domain)
        _take_quota("revoke", settings.CONFIGURATION.aws_revoke_per_second, authority, now)
        authority.revoke(record.serial_number, RevocationReason(record.revocation_reason or "unspecified"))
    except Throttled as error:
        return _waits("a free place in the CA's quota", error.retry_after)
    except RequestRefused as error:
        why = f"The CA refused the revocation: {error}"
        return lambda _job, _now: Retry(why)
    except (AuthorityError, InventoryError) as error:
        return _unavailable(str(error))
    return _revocation_propagated


def _revocation_propagated(job: CertificateJob, now: datetime) -> Result:
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
