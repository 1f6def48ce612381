"""The first page: how the fleet's trust stands, each figure by one cheap query and linked to what is behind it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.db.models.fields.json import KeyTextTransform
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from bfcerts.console.live import live_base
from bfcerts.console.paginator import CAP
from bfcerts.console.presentation import Badge
from bfcerts.ocpp.models import StationSession
from inventory.admin import health, states
from inventory.admin.filters import SEVERITIES_TO_LOOK_AT, failed_lately, recorded_lately
from inventory.choices import JOB_COLOURS, JOB_OPEN_STATES, RECORD_COLOURS, SEVERITY_COLOURS, JobState, RecordState
from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity, SecurityEvent
from inventory.services import lockouts

LATEST = 8
LOOKED_BACK = 200
"""So many of the newest security events of a severity are put together into lines."""
SHOWN = (
    "inventory.view_certificaterecord",
    "inventory.view_certificatejob",
    "inventory.view_securityevent",
    "inventory.view_managedidentity",
    "ocpp.view_stationsession",
)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number, what it counts, and where the things it counts are listed."""

    label: str
    value: int
    url: str
    badge: Badge


@dataclass(slots=True)
class Warned:
    """The latest security event of a subject and kind, and how often it happened among the newest."""

    event: SecurityEvent
    severity: Badge
    times: int


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
    figures["attention"] = attention = _attention(may, now)
    figures["parts"] = parts = health.parts(may, now)
    figures["away"] = [part for part in parts if part.away]
    figures["needs_nothing"] = not figures["away"] and not any(figure.value for figure in attention)
    if may("inventory.view_certificaterecord"):
        figures["certificates"] = _certificates()
        figures["ending"] = _ending(now)
    if may("ocpp.view_stationsession"):
        figures["sessions"] = _sessions()
    if may("inventory.view_certificatejob"):
        figures["jobs"] = _jobs()
        figures["open_jobs"] = [
            (job, states.job_badge(job), states.waiting_words(job, now))
            for job in CertificateJob.objects.filter(state__in=JOB_OPEN_STATES)
            .select_related("identity")
            .order_by("-id")[:LATEST]
        ]
    if may("inventory.view_securityevent"):
        figures["security_events"] = _warnings()
    if may("inventory.view_managedidentity"):
        figures["no_identities"] = not ManagedIdentity.objects.exists()
    figures["sees_nothing"] = not any(may(permission) for permission in SHOWN)
    return figures


def _attention(may: Callable[[str], bool], now: datetime) -> list[Figure]:
    """What somebody has to act on. Each counts what its list shows, up to what a list counts."""
    found: list[Figure] = []

    def add(label: str, waiting: QuerySet[Any], route: str, query: str, tone: str) -> None:
        count = min(waiting.order_by().values("pk")[:CAP].count(), CAP)
        found.append(Figure(label, count, _listing(route, query), Badge(label, tone if count else "default")))

    if may("inventory.view_managedidentity") and may("inventory.view_certificaterecord"):
        chargers = ManagedIdentity.objects.all()
        route = "inventory_managedidentity"
        add("Chargers locked out", lockouts.locked_out(chargers, now), route, "needs=way_in", "danger")
        waiting = lockouts.without_active_certificate(chargers)
        add("Chargers without an active certificate", waiting, route, "needs=certificate", "warning")
    if may("inventory.view_certificatejob"):
        failed = failed_lately(CertificateJob.objects.all(), now)
        add("Jobs failed in 24 hours", failed, "inventory_certificatejob", "open=failed", "danger")
    if may("inventory.view_securityevent"):
        for severity in SEVERITIES_TO_LOOK_AT:
            events = recorded_lately(SecurityEvent.objects.all(), severity, now)
            label = f"{severity.label} security events in 24 hours"
            add(label, events, "inventory_securityevent", f"lately={severity.value}", SEVERITY_COLOURS[severity])
    return found


def _warnings() -> list[Warned]:
    """What was warned of last, one line for each subject and kind, the latest first.

    One index scan for each severity but info, however many of info there are; it goes back over the newest only.
    """
    events = (
        SecurityEvent.objects.select_related("identity")
        .defer("payload")
        .annotate(said_count=KeyTextTransform("count", "payload"))
        .order_by("-id")
    )
    newest = [event for severity in SEVERITIES_TO_LOOK_AT for event in events.filter(severity=severity)[:LOOKED_BACK]]
    found: dict[tuple[object, ...], Warned] = {}
    for event in sorted(newest, key=lambda event: -event.pk):
        whose = event.identity_id or event.station_id or event.address
        key = (event.severity, event.type, event.native_type, whose)
        said = getattr(event, "said_count", None)
        times = int(said) if isinstance(said, str) and said.isdecimal() else 1
        if key in found:
            found[key].times += times
        elif len(found) < LATEST:
            found[key] = Warned(event, states.severity_badge(event), times)
    return list(found.values())


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
