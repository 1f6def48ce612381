"""What the collections can be narrowed by; every filter here has an index, or narrows what one has found."""

from typing import Any

import django_filters as filters
from django.db.models import QuerySet
from rest_framework.exceptions import ValidationError

from bfcerts.ocpp.models import OutboxCommand, StationQuestion, StationSession
from inventory.choices import JOB_OPEN_STATES, CohortKind, PlanRun, TargetOutcome
from inventory.models import (
    Artifact,
    CertificateJob,
    CertificateRecord,
    ChargerFamily,
    Cohort,
    DomainEvent,
    Evidence,
    IssuingAuthority,
    LifecyclePolicy,
    ManagedIdentity,
    Plan,
    PlanTarget,
    SecurityEvent,
    StationLog,
)

_PAGING = frozenset({"cursor", "page_size", "format"})


class Narrowing(filters.FilterSet):
    """Base of every filter set: what it does not know it refuses, so that a misspelt filter shows nothing too much."""

    def is_valid(self) -> bool:
        names = self._names()
        unknown = set(self.data) - names - _PAGING
        if unknown:
            known = ", ".join(sorted(names))
            raise ValidationError({name: [f"There is no such filter; use one of {known}."] for name in unknown})
        return bool(super().is_valid())

    def _names(self) -> set[str]:
        """As they are sent: a range in two parts, not_after_after and not_after_before, and never by its bare name."""
        names: set[str] = set()
        for name, item in self.filters.items():
            suffixes = getattr(item.field.widget, "suffixes", None)
            names |= {f"{name}_{suffix}" for suffix in suffixes} if suffixes else {name}
        return names


class IdentityFilter(Narrowing):
    """Identities."""

    cohort = filters.NumberFilter(method="of_cohort", label="Members of this cohort")
    tag = filters.CharFilter(method="with_tag", label="Identities with this tag")

    class Meta:
        model = ManagedIdentity
        fields = [
            "kind",
            "authoritative_identifier",
            "serial_number",
            "owner",
            "site",
            "region",
            "program",
            "family",
            "parent",
            "enabled",
            "security_profile",
        ]

    def of_cohort(self, queryset: QuerySet[Any], name: str, value: Any) -> QuerySet[Any]:
        cohort = Cohort.objects.filter(pk=int(value)).first()
        if cohort is None:
            return queryset.none()
        if cohort.kind == CohortKind.FILTER:
            return queryset.filter(cohort.condition())
        return queryset.filter(static_cohorts=cohort)

    def with_tag(self, queryset: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return queryset.filter(tags__contains=[value])


class RecordFilter(Narrowing):
    """Certificates."""

    not_after = filters.IsoDateTimeFromToRangeFilter()

    class Meta:
        model = CertificateRecord
        fields = [
            "identity",
            "purpose",
            "slot",
            "state",
            "mode",
            "fingerprint",
            "serial_number",
            "public_key_sha256",
            "authority",
        ]


class JobFilter(Narrowing):
    """Jobs."""

    open = filters.BooleanFilter(method="only_open", label="Whether the job is open")

    class Meta:
        model = CertificateJob
        fields = ["identity", "record", "action", "purpose", "state", "queue", "correlation_id"]

    def only_open(self, queryset: QuerySet[Any], name: str, value: bool) -> QuerySet[Any]:
        states = list(JOB_OPEN_STATES)
        return queryset.filter(state__in=states) if value else queryset.exclude(state__in=states)


class FamilyFilter(Narrowing):
    """Charger families."""

    class Meta:
        model = ChargerFamily
        fields = ["name", "vendor", "model"]


class CohortFilter(Narrowing):
    """Cohorts."""

    class Meta:
        model = Cohort
        fields = ["name", "kind"]


class PolicyFilter(Narrowing):
    """Policies."""

    class Meta:
        model = LifecyclePolicy
        fields = ["purpose", "mode", "program", "family", "cohort", "enabled"]


class AuthorityFilter(Narrowing):
    """Issuing authorities."""

    class Meta:
        model = IssuingAuthority
        fields = ["trust_domain", "issues", "trusted"]


class PlanFilter(Narrowing):
    """Plans."""

    run = filters.ChoiceFilter(choices=[choice for choice in PlanRun.choices if choice[0]])

    class Meta:
        model = Plan
        fields = ["kind", "state", "run", "correlation_id"]


class TargetFilter(Narrowing):
    """Targets of plans."""

    outcome = filters.ChoiceFilter(choices=[choice for choice in TargetOutcome.choices if choice[0]])

    class Meta:
        model = PlanTarget
        fields = ["plan", "identity", "included", "reason_code", "outcome", "job"]


class EvidenceFilter(Narrowing):
    """Evidence."""

    class Meta:
        model = Evidence
        fields = ["record", "kind"]


class DomainEventFilter(Narrowing):
    """Domain events."""

    class Meta:
        model = DomainEvent
        fields = ["type", "identity", "record", "job", "correlation_id"]


class SecurityEventFilter(Narrowing):
    """Security events."""

    class Meta:
        model = SecurityEvent
        fields = ["type", "category", "severity", "source", "identity", "record"]


class SessionFilter(Narrowing):
    """Sessions."""

    open = filters.BooleanFilter(field_name="closed_at", lookup_expr="isnull", label="Whether the session is open")

    class Meta:
        model = StationSession
        fields = ["station_id", "security_profile", "listener", "certificate_fingerprint"]


class CommandFilter(Narrowing):
    """Commands."""

    class Meta:
        model = OutboxCommand
        fields = ["station_id", "action", "state", "outcome", "correlation_id"]


class QuestionFilter(Narrowing):
    """Questions of stations."""

    class Meta:
        model = StationQuestion
        fields = ["station_id", "kind", "state"]


class StationLogFilter(Narrowing):
    """Logs of stations."""

    class Meta:
        model = StationLog
        fields = ["identity", "state"]


class ArtifactFilter(Narrowing):
    """Artifacts."""

    class Meta:
        model = Artifact
        fields = ["kind", "identity"]
