"""Badges for the inventory's states; words and colours come from `inventory.choices`."""

from datetime import datetime

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from bfcerts.console.presentation import NOTHING, Badge, distance, link, moment, unbroken
from inventory.choices import (
    JOB_COLOURS,
    RECORD_COLOURS,
    SEVERITY_COLOURS,
    JobState,
    RecordState,
    Severity,
)
from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity, SecurityEvent
from inventory.words import in_words, step_words

_IN_USE = (RecordState.ISSUED, RecordState.INSTALLED_PENDING_ACTIVATION, RecordState.ACTIVE)
_OVER = (RecordState.RETIRED, RecordState.REVOKED)
LOCKED_OUT_BADGE = Badge("Locked out", "danger")
PROFILE_WORDS = {
    0: "Profile 0, no security",
    1: "Profile 1, password without TLS",
    2: "Profile 2, TLS and password",
    3: "Profile 3, client certificate",
}


def record_badge(state: str) -> Badge:
    return Badge(RecordState(state).label, RECORD_COLOURS[state])


def job_badge(job: CertificateJob) -> Badge:
    return Badge(JobState(job.state).label, JOB_COLOURS[job.state])


def identity_cell(identity: ManagedIdentity | None) -> SafeString | str:
    """An identity in a list: its identifier, which leads to its page, and its name."""
    if identity is None:
        return NOTHING
    page = link(
        reverse("admin:inventory_managedidentity_change", args=[identity.pk]),
        unbroken(identity.authoritative_identifier),
    )
    return format_html('{}<div class="c-subtle">{}</div>', page, identity.name) if identity.name else page


def severity_badge(event: SecurityEvent) -> Badge:
    return Badge(Severity(event.severity).label, SEVERITY_COLOURS[event.severity])


def validity_tone(record: CertificateRecord, now: datetime) -> str:
    """How urgent a certificate's end is, by what its policy has raised already; nothing where it is out of use."""
    if record.not_after is None or record.state not in _IN_USE:
        return "default"
    if record.not_after <= now or record.incident_at:
        return "danger"
    return "warning" if record.escalated_at else "success"


def validity(record: CertificateRecord, now: datetime) -> SafeString | str:
    """The validity as a bar, with the days left in words; no days are left of a certificate that is out of use."""
    if record.not_before is None or record.not_after is None:
        return NOTHING
    if record.state in _OVER:
        return format_html('<span class="c-subtle">out of use; would have ended {}</span>', moment(record.not_after))
    whole = (record.not_after - record.not_before).total_seconds()
    left = max(0.0, min(1.0, (record.not_after - now).total_seconds() / whole)) if whole > 0 else 0.0
    if record.not_after <= now:
        words = f"ended {distance(record.not_after, now)}"
    elif record.not_before > now:
        words = f"begins {distance(record.not_before, now)}"
    else:
        words = f"ends {distance(record.not_after, now)}"
    return format_html(
        '<div class="c-validity c-validity--{}"><span>{}</span>'
        '<div class="c-validity__bar" aria-hidden="true"><span style="width:{}%"></span></div>'
        '<span class="c-subtle c-nowrap">{}</span></div>',
        validity_tone(record, now),
        words,
        round(left * 100),
        moment(record.not_after),
    )


def waiting_words(job: CertificateJob, now: datetime) -> str:
    """What an open job waits for and until when; how an ended one ended."""
    if job.state == JobState.WAITING and job.waiting_until:
        return f"waits for {job.waiting_for}, until {job.waiting_until:%Y-%m-%d %H:%M} UTC"
    if job.is_open:
        return f"next: {step_words(job.step)}"
    return in_words(job.outcome) or NOTHING
