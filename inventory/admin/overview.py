"""The first page: how the fleet's trust stands, each figure by one cheap query and linked to what is behind it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from bfcerts.console.presentation import Badge
from bfcerts.ocpp.models import GatewayNode, StationSession
from inventory.admin import states
from inventory.admin.live import live_base
from inventory.choices import JOB_COLOURS, JOB_OPEN_STATES, RECORD_COLOURS, JobState, RecordState
from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity, SecurityEvent

LATEST = 8
NODE_SILENT_AFTER = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number, what it counts, and where the things it counts are listed."""

    label: str
    value: int
    url: str
    badge: Badge


def add_overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """django-unfold's hook for the index page."""
    return context | {
        "title": "Overview",
        "crumbs": [],
        "live_base": live_base(request),
        **overview(request, timezone.now()),
    }


def overview(request: HttpRequest, now: datetime) -> dict[str, Any]:
    """The figures that this person may see."""
    may = request.user.has_perm
    figures: dict[str, Any] = {"now": now}
    if may("inventory.view_certificaterecord"):
        figures["certificates"] = _certificates()
        figures["ending"] = _ending(now)
    if may("ocpp.view_stationsession"):
        figures["sessions"] = _sessions()
        figures["nodes"] = GatewayNode.objects.filter(beat_at__gt=now - NODE_SILENT_AFTER).count()
    if may("inventory.view_certificatejob"):
        figures["jobs"] = _jobs()
        figures["open_jobs"] = [
            (job, states.job_badge(job), states.waiting_words(job, now))
            for job in CertificateJob.objects.filter(state__in=JOB_OPEN_STATES)
            .select_related("identity")
            .order_by("-id")[:LATEST]
        ]
    if may("inventory.view_securityevent"):
        latest = SecurityEvent.objects.select_related("identity").defer("payload").order_by("-id")[:LATEST]
        figures["security_events"] = [(event, states.severity_badge(event)) for event in latest]
    if may("inventory.view_managedidentity"):
        figures["no_identities"] = not ManagedIdentity.objects.exists()
    return figures


def _listing(route: str, query: str) -> str:
    return f"{reverse(f'admin:{route}_changelist')}?{query}"


def _certificates() -> list[Figure]:
    counts = dict(CertificateRecord.objects.values_list("state").annotate(Count("pk")).order_by())
    return [
        Figure(
            state.label,
            counts.get(state.value, 0),
            _listing("inventory_certificaterecord", f"state__exact={state.value}"),
            Badge(state.label, RECORD_COLOURS[state]),
        )
        for state in RecordState
        if state is not RecordState.DELETED
    ]


def _ending(now: datetime) -> list[Figure]:
    active = CertificateRecord.objects.filter(state=RecordState.ACTIVE)
    counts = active.filter(not_after__lte=now + timedelta(days=30)).aggregate(
        ended=Count("pk", filter=Q(not_after__lte=now)),
        week=Count("pk", filter=Q(not_after__gt=now, not_after__lte=now + timedelta(days=7))),
        fortnight=Count("pk", filter=Q(not_after__gt=now, not_after__lte=now + timedelta(days=14))),
        month=Count("pk", filter=Q(not_after__gt=now)),
    )

    def figure(label: str, key: str, value: str, tone: str) -> Figure:
        count = counts[key]
        badge = Badge(label, tone if count else "default")
        return Figure(label, count, _listing("inventory_certificaterecord", f"ends={value}"), badge)

    return [
        figure("End within 30 days", "month", "30", "info"),
        figure("End within 14 days", "fortnight", "14", "warning"),
        figure("End within 7 days", "week", "7", "danger"),
        figure("In use past their end", "ended", "past", "danger"),
    ]


def _sessions() -> list[Figure]:
    open_sessions = StationSession.objects.filter(closed_at__isnull=True)
    counts = dict(open_sessions.values_list("security_profile").annotate(Count("pk")).order_by())
    tones = {3: "success", 2: "info"}
    return [
        Figure(
            f"Connected on Profile {profile}",
            counts.get(profile, 0),
            _listing("ocpp_stationsession", f"open=yes&profile={profile}"),
            Badge("", tones.get(profile, "warning")),
        )
        for profile in sorted({2, 3} | set(counts), reverse=True)
    ]


def _jobs() -> list[Figure]:
    open_jobs = CertificateJob.objects.filter(state__in=JOB_OPEN_STATES)
    counts = dict(open_jobs.values_list("state").annotate(Count("pk")).order_by())
    return [
        Figure(
            f"Jobs {JobState(state).label.lower()}",
            counts.get(state, 0),
            _listing("inventory_certificatejob", f"state__exact={state}"),
            Badge(JobState(state).label, JOB_COLOURS[state]),
        )
        for state in JOB_OPEN_STATES
    ]
