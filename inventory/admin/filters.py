"""Filters that need more than a field's choices."""

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import DropdownFilter

from bfcerts.ocpp.models import StationSession
from inventory.choices import JOB_OPEN_STATES, CohortKind, RecordState
from inventory.models import Cohort

Choices = list[tuple[str, str]]


class ExpiryFilter(DropdownFilter):
    """Certificates in use, by when they end."""

    title = "in use and ending"
    parameter_name = "ends"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [
            ("7", "within 7 days (incident)"),
            ("14", "within 14 days (escalation)"),
            ("30", "within 30 days"),
            ("90", "within 90 days"),
            ("past", "already ended"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        now = timezone.now()
        if value == "past":
            return queryset.filter(state=RecordState.ACTIVE, not_after__lte=now)
        if value and value.isdecimal():
            until = now + timedelta(days=int(value))
            return queryset.filter(state=RecordState.ACTIVE, not_after__gt=now, not_after__lte=until)
        return queryset


class OpenJobFilter(DropdownFilter):
    """Jobs that are open, or that have ended."""

    title = "open or ended"
    parameter_name = "open"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [("yes", "open"), ("no", "ended")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "yes":
                return queryset.filter(state__in=JOB_OPEN_STATES)
            case "no":
                return queryset.exclude(state__in=JOB_OPEN_STATES)
            case _:
                return queryset


class ConnectedFilter(DropdownFilter):
    """Chargers that are connected now, by the security profile of their session."""

    title = "connected now"
    parameter_name = "connected"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [("yes", "on any profile"), ("2", "on Profile 2"), ("3", "on Profile 3"), ("no", "not connected")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        stations = StationSession.objects.filter(closed_at__isnull=True).values("station_id")
        match value:
            case "yes":
                return queryset.filter(authoritative_identifier__in=stations)
            case "no":
                return queryset.filter(kind="charger").exclude(authoritative_identifier__in=stations)
            case "2" | "3":
                on_profile = stations.filter(security_profile=int(value))
                return queryset.filter(authoritative_identifier__in=on_profile)
            case _:
                return queryset


class CohortFilter(DropdownFilter):
    """Members of a cohort, static or by its filter."""

    title = "cohort"
    parameter_name = "cohort"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(str(key), name) for key, name in Cohort.objects.values_list("pk", "name")[:200]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        cohort = Cohort.objects.filter(pk=value).first() if value and value.isdecimal() else None
        if cohort is None:
            return queryset.none() if value else queryset
        if cohort.kind == CohortKind.FILTER:
            return queryset.filter(cohort.condition())
        return queryset.filter(static_cohorts=cohort)

