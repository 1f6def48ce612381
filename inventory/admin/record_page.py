"""What the page of a certificate shows, read in a number of queries that does not grow."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest

from bfcerts.console.presentation import distance
from inventory.admin import states, timeline
from inventory.choices import RecordState, RevocationReason
from inventory.errors import InventoryError
from inventory.models import CertificateJob, CertificateRecord, DomainEvent
from inventory.services import policies
from inventory.services.changes import entries_of
from inventory.services.policies import ResolvedPolicy

JOBS, EVIDENCE, EVENTS, HISTORY = 10, 20, 30, 15


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a certificate's life, and when it was reached."""

    name: str
    at: datetime | None


def described(record: CertificateRecord, now: datetime) -> list[tuple[str, str]]:
    """Whom an action will concern."""
    identity = record.identity
    pairs = [
        ("Certificate", f"{record.pk}, {record.get_purpose_display()}{f' ({record.slot})' if record.slot else ''}"),
        ("Identity", f"{identity.authoritative_identifier} ({identity.get_kind_display()})"),
        ("Site", identity.site),
        ("State", record.get_state_display()),
        ("Serial number", record.serial_number),
        (
            "Ends",
            f"{record.not_after:%Y-%m-%d %H:%M} UTC, {distance(record.not_after, now)}" if record.not_after else "",
        ),
    ]
    return [(name, value) for name, value in pairs if value]


def context_of(record: CertificateRecord, request: HttpRequest, now: datetime) -> dict[str, Any]:
    """Everything the page's template needs, and nothing this person may not see."""
    may = request.user.has_perm
    policy, no_policy = _policy(record) if may("inventory.view_lifecyclepolicy") else (None, "")
    events: list[DomainEvent] = []
    if may("inventory.view_domainevent"):
        events = list(DomainEvent.objects.filter(record=record).order_by("-id")[:EVENTS])
    jobs: list[CertificateJob] = []
    if may("inventory.view_certificatejob"):
        jobs = list(record.jobs.order_by("-id")[:JOBS])
    return {
        "record": record,
        "identity": record.identity,
        "now": now,
        "badge": states.record_badge(record.state),
        "validity": states.validity(record, now),
        "life": list(_life(record)),
        "revocation_reason": dict(RevocationReason.choices).get(record.revocation_reason, ""),
        "replacements": list(record.replacements.defer("certificate_pem", "chain_pem", "csr_pem")[:5]),
        "evidence": list(record.evidence.order_by("-observed_at")[:EVIDENCE]) if may("inventory.view_evidence") else [],
        "jobs": [(job, states.job_badge(job), states.waiting_words(job, now)) for job in jobs],
        "timeline": timeline.of_events(events),
        "history": entries_of(record, HISTORY),
        "policy": policy,
        "no_policy": no_policy,
    }


def _policy(record: CertificateRecord) -> tuple[ResolvedPolicy | None, str]:
    try:
        return policies.resolve(record.identity, record.purpose), ""
    except InventoryError as error:
        return None, str(error)


def _life(record: CertificateRecord) -> Iterator[Stage]:
    """The stages of domain.md; how it ended only where it has."""
    yield Stage("Requested", record.requested_at)
    yield Stage("Issued", record.issued_at)
    yield Stage("Installed", record.installed_at)
    yield Stage("Active", record.activated_at)
    if record.state == RecordState.INACTIVE:
        yield Stage("Deactivated", record.deactivated_at)
    if record.retired_at:
        yield Stage("Retired", record.retired_at)
    if record.revoked_at:
        yield Stage("Revoked here", record.revoked_at)
        yield Stage("Revoked at the CA", record.revocation_propagated_at)
    if record.deleted_at:
        yield Stage("Deleted", record.deleted_at)
