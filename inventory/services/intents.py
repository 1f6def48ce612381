"""What the PKI worker makes sure of before it asks a CA: it trusts nothing that other processes stored.

The request is checked against policy again, and what is asked of the CA is fixed once in an intent, so that every
retry is the same request.
"""

import uuid
from datetime import datetime, timedelta

from bfcerts.rows import insert, row, update
from inventory.choices import OperatingMode, SecurityCategory, SecuritySource, Severity
from inventory.errors import CsrRejectedError, InventoryError
from inventory.jobs.engine import LeaseLostError
from inventory.models import (
    CertificateJob,
    CertificateRecord,
    IssuanceIntent,
    IssuingAuthority,
    LifecyclePolicy,
    PublicKeyOwner,
)
from inventory.purposes import purpose
from inventory.services.csr_policy import BoundCsr, check_csr
from inventory.services.security_events import record_security_event

REPEATABLE_FOR = timedelta(minutes=4)
"""How long the same request may be sent again: AWS Private CA knows its token for five minutes, and calls take time."""
BACKDATING = timedelta(hours=1)
"""A certificate must be valid now for a station whose clock is slow (OCPP 2.0.1 A02.FR.06)."""
OUTLIVE_MARGIN = timedelta(minutes=1)
"""How much later than the one it replaces a leaf ends at least: some stations present the latest notAfter.

So little that a station which renews as often as it may gains nothing on the policy's validity.
"""


def check_again(record: CertificateRecord, policy: LifecyclePolicy) -> BoundCsr:
    """The record's request, once more under today's policy.

    :raises InventoryError: when it may not be certified, or is not what was checked when it came in.
    """
    if record.mode != OperatingMode.MANAGED:
        raise InventoryError(f"Record {record.pk} is {record.get_mode_display().lower()}; our CAs do not issue for it.")
    if not record.identity.enabled:
        raise InventoryError(f"{record.identity.authoritative_identifier} is disabled.")
    entry = purpose(record.purpose)
    record.identity.check_purpose(entry)
    bound = check_csr(record.csr_pem, identity=record.identity, purpose=entry, policy=policy)
    if bound.csr.sha256 != record.csr_sha256 or bound.csr.public_key_sha256 != record.public_key_sha256:
        raise CsrRejectedError("altered", "The stored request is not the one that was checked; it was altered since.")
    owner = row(PublicKeyOwner, "public_key_sha256 = %s", record.public_key_sha256)
    if owner is None or owner.identity_id != record.identity_id:
        raise CsrRejectedError("key_of_another_identity", "The request's key was never claimed for this identity.")
    return bound


def check_intent(intent: IssuanceIntent, record: CertificateRecord, policy: LifecyclePolicy, now: datetime) -> None:
    """Others can write the table too: an intent counts only if it asks for no more than we would ask for now.

    :raises CsrRejectedError: when it asks for more.
    """
    asked = (intent.csr_sha256, intent.profile, intent.authority.trust_domain)
    ours = (record.csr_sha256, record.purpose_entry.certificate_profile, record.trust_domain)
    backdated = intent.not_before < min(intent.created_at, record.requested_at) - 2 * BACKDATING
    # How long a scheme's certificates last is not asked for.
    limit = None if intent.authority.run_by_others else _end_of_validity(record, policy, intent.authority, now)
    if asked != ours or backdated or (limit is not None and intent.not_after > limit):
        raise CsrRejectedError("altered", "The stored intent asks for more than policy allows; it was altered since.")


def _end_of_validity(
    record: CertificateRecord, policy: LifecyclePolicy, authority: IssuingAuthority, now: datetime
) -> datetime:
    if authority.run_by_others:
        # The scheme decides, and nobody says so to it; what it issues ends with its CA at the latest.
        return authority.not_after
    if policy.validity is None:
        raise InventoryError(
            f"The policy for {record.purpose_entry.label} names no validity; set one, or let its own authority issue."
        )
    ends: datetime = now + policy.validity
    replaced = record.replaces
    if replaced and replaced.not_after:
        ends = max(ends, replaced.not_after + OUTLIVE_MARGIN)
    return ends


def new_intent(
    job: CertificateJob,
    record: CertificateRecord,
    authority: IssuingAuthority,
    policy: LifecyclePolicy,
    now: datetime,
) -> IssuanceIntent:
    """What a CA will be asked for; `fix` makes it durable before it is."""
    return IssuanceIntent(
        record=record,
        job=job,
        authority=authority,
        token=uuid.uuid4().hex,
        csr_sha256=record.csr_sha256,
        profile=record.purpose_entry.certificate_profile,
        not_before=(now - BACKDATING).replace(microsecond=0),
        not_after=_end_of_validity(record, policy, authority, now).replace(microsecond=0),
        created_at=now,
    )


def fix(intent: IssuanceIntent, now: datetime) -> None:
    """Store a new intent as submitted, right before the CA is asked: every retry asks for the very same certificate.

    :raises LeaseLostError: when another worker has made the record's intent meanwhile.
    """
    intent.submitted_at = now
    if not insert(intent, unless_known=True):
        raise LeaseLostError


def answer_is_lost(intent: IssuanceIntent, now: datetime) -> bool:
    """Whether the CA was asked so long ago that it may take a repetition for a new request."""
    return intent.submitted_at is not None and now - intent.submitted_at >= REPEATABLE_FOR


def mark_submitted(intent: IssuanceIntent, now: datetime) -> None:
    """Store that the CA is about to be asked, so that a crash from here on leaves an answer to look for.

    :raises LeaseLostError: when another worker has asked it meanwhile.
    """
    unchanged = IssuanceIntent.objects.filter(pk=intent.pk, reference="", submitted_at=intent.submitted_at)
    if not unchanged.update(submitted_at=now):
        raise LeaseLostError
    intent.submitted_at = now


def forget_submission(intent: IssuanceIntent) -> None:
    """The CA said no, or was never reached: there is no answer to look for."""
    unanswered = IssuanceIntent.objects.filter(pk=intent.pk, reference="", submitted_at=intent.submitted_at)
    unanswered.update(submitted_at=None)
    intent.submitted_at = None


def remember(intent: IssuanceIntent, reference: str) -> None:
    """Store what the CA answered, right after it did."""
    intent.reference = reference
    update(intent, ["reference"])


def collected(intent: IssuanceIntent, now: datetime) -> None:
    """Store that the certificate is in its record, in the transaction that puts it there."""
    intent.collected_at = now
    update(intent, ["reference", "collected_at"])


def tell_of_a_lost_answer(intent: IssuanceIntent, now: datetime) -> None:
    """Once for each answer: the CA may hold a certificate that no record knows of."""
    asked_at = f"{intent.submitted_at:%Y-%m-%d %H:%M:%S} UTC"
    record_security_event(
        "IssuanceUnconfirmed",
        category=SecurityCategory.OTHER,
        severity=Severity.WARNING,
        source=SecuritySource.CERTIFICATE_AUTHORITY,
        message=(
            f"The CA was asked at {asked_at} for certificate {intent.record_id} and its answer was lost: only its "
            f"audit report says whether it issued. A certificate there that is valid from {_span(intent)} and in no "
            "record has to be revoked; a job that is still open looks for it before it asks again."
        ),
        now=now,
        record=intent.record,
        job=intent.job,
        dedupe_key=f"issuance-unconfirmed:{intent.pk}:{asked_at}",
    )


def tell_of_a_repeated_request(intent: IssuanceIntent, why: str, now: datetime) -> None:
    """Once for each request: a CA that cannot be looked into is asked again, and may hold a certificate too many."""
    record_security_event(
        "IssuanceRepeated",
        category=SecurityCategory.OTHER,
        severity=Severity.WARNING,
        source=SecuritySource.CERTIFICATE_AUTHORITY,
        message=(
            f"The answer to the request for certificate {intent.record_id} was lost, and the same request is sent "
            f"again: {why}. A certificate of this key that is in no record opens no door here; ask the scheme to "
            "revoke it."
        ),
        now=now,
        record=intent.record,
        job=intent.job,
        dedupe_key=f"issuance-repeated:{intent.pk}",
    )


def tell_that_a_person_must_look(intent: IssuanceIntent, why: str, ends: datetime, now: datetime) -> None:
    """Once for each answer: nothing here can find out by itself whether the CA issued."""
    record_security_event(
        "IssuanceNeedsReconciliation",
        category=SecurityCategory.OTHER,
        severity=Severity.CRITICAL,
        source=SecuritySource.CERTIFICATE_AUTHORITY,
        message=(
            f"Whether the CA issued certificate {intent.record_id} is not known: {why}. Until then look into the CA's "
            f"audit report for a certificate valid from {_span(intent)}, and revoke it there. Job {intent.job_id} ends "
            f"at {ends:%Y-%m-%d %H:%M} UTC without a certificate if nothing is done."
        ),
        now=now,
        record=intent.record,
        job=intent.job,
        dedupe_key=f"issuance-by-hand:{intent.pk}:{ends:%Y%m%d%H%M%S}",
    )


def _span(intent: IssuanceIntent) -> str:
    return f"{intent.not_before:%Y-%m-%d %H:%M:%S} to {intent.not_after:%Y-%m-%d %H:%M:%S} UTC"
