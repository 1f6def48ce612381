"""What the PKI worker makes sure of before it asks a CA: it trusts nothing that other processes stored.

The request is checked against policy again, and what is asked of the CA is fixed once in an intent, so that every
retry is the same request.
"""

import uuid
from datetime import datetime, timedelta

from inventory.choices import OperatingMode, SecurityCategory, SecuritySource, Severity
from inventory.errors import CsrRejectedError, InventoryError
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

BACKDATING = timedelta(hours=1)
"""A certificate must be valid now for a station whose clock is slow (OCPP 2.0.1 A02.FR.06)."""
OUTLIVE_MARGIN = timedelta(days=1)
"""How much later than the one it replaces a leaf ends at least: some stations present the latest notAfter."""


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
    owner = PublicKeyOwner.objects.filter(public_key_sha256=record.public_key_sha256).first()
    if owner is None or owner.identity_id != record.identity_id:
        raise CsrRejectedError("key_of_another_identity", "The request's key was never claimed for this identity.")
    return bound


def check_intent(intent: IssuanceIntent, record: CertificateRecord, policy: LifecyclePolicy, now: datetime) -> None:
    """Others can write the table too: an intent counts only if it asks for no more than we would ask for now.

    :raises CsrRejectedError: when it asks for more.
    """
    asked = (intent.csr_sha256, intent.profile, intent.authority.trust_domain)
    ours = (record.csr_sha256, record.purpose_entry.certificate_profile, record.trust_domain)
    if asked != ours or intent.not_after > _end_of_validity(record, policy, now):
        raise CsrRejectedError("altered", "The stored intent asks for more than policy allows; it was altered since.")


def _end_of_validity(record: CertificateRecord, policy: LifecyclePolicy, now: datetime) -> datetime:
    if policy.validity is None:
        raise InventoryError(
            f"The policy for {record.purpose_entry.label} names no validity; set one, or let its own authority issue."
        )
    ends: datetime = now + policy.validity
    replaced = record.replaces
    if replaced and replaced.not_after:
        ends = max(ends, replaced.not_after + OUTLIVE_MARGIN)
    return ends


def fix_intent(
    job: CertificateJob,
    record: CertificateRecord,
    authority: IssuingAuthority,
    policy: LifecyclePolicy,
    now: datetime,
) -> IssuanceIntent:
    """The durable intent: made once, so that every retry asks for the very same certificate."""
    intent, _ = IssuanceIntent.objects.get_or_create(
        record=record,
        defaults={
            "job": job,
            "authority": authority,
            "token": uuid.uuid4().hex,
            "csr_sha256": record.csr_sha256,
            "profile": record.purpose_entry.certificate_profile,
            "not_before": (now - BACKDATING).replace(microsecond=0),
            "not_after": _end_of_validity(record, policy, now).replace(microsecond=0),
            "created_at": now,
        },
    )
    return intent


def warn_of_a_second_certificate(intent: IssuanceIntent, now: datetime) -> None:
    """The CA's answer was lost for longer than it remembers: asking again may make a second certificate."""
    record_security_event(
        "IssuanceUnconfirmed",
        category=SecurityCategory.OTHER,
        severity=Severity.WARNING,
        source=SecuritySource.CERTIFICATE_AUTHORITY,
        message=(
            f"The CA was asked at {intent.submitted_at:%Y-%m-%d %H:%M:%S} UTC for certificate {intent.record_id} and "
            "its answer was lost. The request is repeated, but the CA may have forgotten it by now and issue a second "
            f"certificate: look for the token {intent.token} in its audit report and revoke what no record holds."
        ),
        now=now,
        record=intent.record,
        dedupe_key=f"issuance-unconfirmed:{intent.pk}",
    )
