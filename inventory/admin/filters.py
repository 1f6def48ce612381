"""Filters of the inventory's lists that need more than a field's choices."""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import TextFilter

from bfcerts.console.filters import QuestionFilter
from bfcerts.ocpp.models import StationSession
from inventory.choices import JOB_OPEN_STATES, CohortKind, JobState, RecordState, Severity, SubjectKind
from inventory.models import CertificateJob, Cohort, DomainEvent, SecurityEvent
from inventory.services import lockouts

COHORTS_OFFERED = 200
LATELY = timedelta(hours=24)
READ_FOR_REASONS = 20_000
"""How many of the newest events are read for words of a reason, which no index knows."""
NEWEST = 1000
"""How many of the newest rows a question about the last hours looks at, so that old ones cost nothing."""


SEVERITIES_TO_LOOK_AT = (Severity.CRITICAL, Severity.WARNING)


def failed_lately(jobs: QuerySet[Any], now: datetime) -> QuerySet[Any]:
    """Of these jobs, those that failed in the last 24 hours."""
    newest = CertificateJob.objects.filter(state=JobState.FAILED).order_by("-id").values("pk")[:NEWEST]
    return jobs.filter(pk__in=newest, finished_at__gt=now - LATELY)


def recorded_lately(events: QuerySet[Any], severity: str, now: datetime) -> QuerySet[Any]:
    """Of these security events, those of a severity that were recorded in the last 24 hours."""
    newest = SecurityEvent.objects.filter(severity=severity).order_by("-id").values("pk")[:NEWEST]
    return events.filter(pk__in=newest, recorded_at__gt=now - LATELY)


class ExpiryFilter(QuestionFilter):
    """Certificates in use, by when they end."""

    title = "in use and ending"
    parameter_name = "ends"
    answers = (
        ("7", "within 7 days (incident)"),
        ("14", "within 14 days (escalation)"),
        ("30", "within 30 days"),
        ("90", "within 90 days"),
        ("past", "already ended"),
    )

    def narrow(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        now = timezone.now()
        active = queryset.filter(state=RecordState.ACTIVE)
        if value == "past":
            return active.filter(not_after__lte=now)
        if value in dict(self.answers):
            return active.filter(not_after__gt=now, not_after__lte=now + timedelta(days=int(value)))
        return queryset


class OpenJobFilter(QuestionFilter):
    """Jobs that are open, or that have ended."""

    title = "open or ended"
    parameter_name = "open"
    answers = (("yes", "open"), ("no", "ended"), ("failed", "failed in the last 24 hours"))

    def narrow(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        match value:
            case "yes":
                return queryset.filter(state__in=JOB_OPEN_STATES)
            case "no":
                return queryset.exclude(state__in=JOB_OPEN_STATES)
            case "failed":
                return failed_lately(queryset, timezone.now())
            case _:
                return queryset


class LateEventFilter(QuestionFilter):
    """Security events of the last day that somebody should look at."""

    title = "last 24 hours"
    parameter_name = "lately"
    answers = tuple((severity.value, severity.label.lower()) for severity in SEVERITIES_TO_LOOK_AT)

    def narrow(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        if value not in dict(self.answers):
            return queryset
        return recorded_lately(queryset, value, timezone.now())


class WhenFilter(QuestionFilter):
    """Domain events, by how long ago they happened."""

    title = "when"
    parameter_name = "when"
    answers = (("1", "last 24 hours"), ("7", "last 7 days"), ("30", "last 30 days"), ("90", "last 90 days"))

    def narrow(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        if value not in dict(self.answers):
            return queryset
        return queryset.filter(occurred_at__gt=timezone.now() - timedelta(days=int(value)))


def by_actor(name: str) -> Q:
    """What a person, a station or a part of the system did, by its name alone or as it is stored."""
    return Q(actor__in=[name, *(f"{kind}:{name}" for kind in ("person", "station", "system"))])


class ActorFilter(TextFilter):
    """Domain events, by who did it."""

    title = "who (user name)"
    parameter_name = "who"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        name = str(self.value() or "").strip()
        return queryset.filter(by_actor(name)) if name else queryset


class ReasonFilter(TextFilter):
    """Domain events, by words of the reason that was given; it looks through the newest ones."""

    title = "words of the reason"
    parameter_name = "reason"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        words = str(self.value() or "").strip()
        if not words:
            return queryset
        newest = DomainEvent.objects.order_by("-id").values("pk")[:READ_FOR_REASONS]
        return queryset.filter(pk__in=newest, reason__icontains=words)


class NeedFilter(QuestionFilter):
    """Enabled chargers that need somebody."""

    title = "what it needs"
    parameter_name = "needs"
    answers = (("way_in", "locked out on Profile 3"), ("certificate", "no active certificate"))

    def narrow(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        match value:
            case "way_in":
                return lockouts.locked_out(queryset, timezone.now())
            case "certificate":
                return lockouts.without_active_certificate(queryset)
            case _:
                return queryset


class ConnectedFilter(QuestionFilter):
    """Chargers that are connected now, by the security profile of their session."""

    title = "connected now"
    parameter_name = "connected"
    answers = (("yes", "on any profile"), ("2", "on Profile 2"), ("3", "on Profile 3"), ("no", "not connected"))

    def narrow(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        chargers = queryset.filter(kind=SubjectKind.CHARGER)
        stations = StationSession.objects.filter(closed_at__isnull=True).values("station_id")
        match value:
            case "yes":
                return chargers.filter(authoritative_identifier__in=stations)
            case "no":
                return chargers.exclude(authoritative_identifier__in=stations)
            case "2" | "3":
                on_profile = stations.filter(security_profile=int(value))
                return chargers.filter(authoritative_identifier__in=on_profile)
            case _:
                return queryset


class CohortFilter(QuestionFilter):
    """Members of a cohort, static or by its filter."""

    title = "cohort"
    parameter_name = "cohort"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        cohorts = Cohort.objects.values_list("pk", "name")[:COHORTS_OFFERED]
        return [(str(key), name) for key, name in cohorts]

    def narrow(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        cohort = Cohort.objects.filter(pk=int(value)).first() if value.isdecimal() else None
        if cohort is None:
            return queryset.none()
        if cohort.kind == CohortKind.FILTER:
            return queryset.filter(cohort.condition())
        return queryset.filter(static_cohorts=cohort)
