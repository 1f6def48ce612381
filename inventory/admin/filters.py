"""Filters of the inventory's lists that need more than a field's choices."""

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from bfcerts.console.filters import QuestionFilter
from bfcerts.ocpp.models import StationSession
from inventory.choices import JOB_OPEN_STATES, CohortKind, RecordState, SubjectKind
from inventory.models import Cohort

COHORTS_OFFERED = 200


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
    answers = (("yes", "open"), ("no", "ended"))

    def narrow(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        match value:
            case "yes":
                return queryset.filter(state__in=JOB_OPEN_STATES)
            case "no":
                return queryset.exclude(state__in=JOB_OPEN_STATES)
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
