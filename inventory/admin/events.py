"""The append-only logs: domain events, security events, evidence. They are read, and nothing else."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from bfcerts.console.filters import ChoiceFilter, PeriodFilter
from bfcerts.console.modeladmin import ReadOnlyAdmin
from bfcerts.console.presentation import NOTHING, Badge, exact_moment, folded, link, moment, unbroken
from inventory.admin import states
from inventory.admin.filters import ActorFilter, LateEventFilter, ReasonFilter, WhenFilter, by_actor
from inventory.admin.search import identities_matching
from inventory.models import DomainEvent, Evidence, SecurityEvent
from inventory.words import actor_words, event_words, in_words, source_words, state_words


def _linked(item: Any, route: str, text: str) -> SafeString | str:
    return link(reverse(f"admin:{route}_change", args=[item.pk]), text) if item is not None else NOTHING


@admin.register(DomainEvent)
class DomainEventAdmin(ReadOnlyAdmin):
    """What became of identities, certificates and jobs."""

    list_display = ("occurred", "what", "whose", "state", "who", "why")
    list_filter = (
        ActorFilter,
        WhenFilter,
        ("occurred_at", PeriodFilter),
        ReasonFilter,
        ("type", ChoiceFilter),
        ("identity", AutocompleteSelectFilter),
    )
    list_select_related = ("identity",)
    search_fields = ("correlation_id",)
    search_help_text = "Identifier, user name or correlation id"
    unread_fields = ("payload",)
    fields = (
        "what",
        "occurred",
        "who",
        "reason",
        "whose",
        "certificate",
        "work",
        "state",
        "correlation_id",
        "event_id",
        "readable_payload",
    )
    readonly_fields = ("what", "occurred", "who", "whose", "certificate", "work", "state", "readable_payload")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[DomainEvent], search_term: str
    ) -> tuple[QuerySet[DomainEvent], bool]:
        term = search_term.strip()
        if term:
            condition = Q(identity_id__in=identities_matching(term)) | Q(correlation_id=term) | by_actor(term)
            queryset = queryset.filter(condition)
        return queryset, False

    @admin.display(description="When")
    def occurred(self, event: DomainEvent) -> SafeString | str:
        return exact_moment(event.occurred_at)

    @admin.display(description="What")
    def what(self, event: DomainEvent) -> str:
        return event_words(event.type)

    @admin.display(description="Identity")
    def whose(self, event: DomainEvent) -> SafeString | str:
        return states.identity_cell(event.identity)

    @admin.display(description="Now it is")
    def state(self, event: DomainEvent) -> str:
        return state_words(event.resulting_state)

    @admin.display(description="Who")
    def who(self, event: DomainEvent) -> SafeString:
        return unbroken(actor_words(event.actor))

    @admin.display(description="Why")
    def why(self, event: DomainEvent) -> str:
        reason = in_words(event.reason)
        return reason if len(reason) <= 90 else f"{reason[:90]}…"

    @admin.display(description="Certificate")
    def certificate(self, event: DomainEvent) -> SafeString | str:
        return _linked(event.record, "inventory_certificaterecord", f"Certificate {event.record_id}")

    @admin.display(description="Job")
    def work(self, event: DomainEvent) -> SafeString | str:
        return _linked(event.job, "inventory_certificatejob", f"Job {event.job_id}")

    @admin.display(description="Technical details")
    def readable_payload(self, event: DomainEvent) -> SafeString | str:
        return folded(event.payload)


@admin.register(SecurityEvent)
class SecurityEventAdmin(ReadOnlyAdmin):
    """Security-relevant facts, in one normal form."""

    list_display = ("occurred", "severity_badge", "what", "whose", "address", "told")
    list_filter = (
        LateEventFilter,
        ("occurred_at", PeriodFilter),
        ("severity", ChoiceFilter),
        ("category", ChoiceFilter),
        ("source", ChoiceFilter),
        ("identity", AutocompleteSelectFilter),
    )
    list_select_related = ("identity",)
    search_fields = ("station_id",)
    search_help_text = "Identifier, claimed charge point id or address"
    unread_fields = ("payload", "technical_detail")
    fields = (
        "what",
        "severity_badge",
        "message",
        "category",
        "source",
        "occurred",
        "recorded",
        "whose",
        "station_id",
        "address",
        "native_type",
        "technical_detail",
        "correlation_id",
        "event_id",
        "readable_payload",
    )
    readonly_fields = ("what", "severity_badge", "occurred", "recorded", "whose", "readable_payload")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[SecurityEvent], search_term: str
    ) -> tuple[QuerySet[SecurityEvent], bool]:
        term = search_term.strip()
        if term:
            condition = Q(identity_id__in=identities_matching(term)) | Q(station_id=term)
            if set(term) <= set("0123456789abcdefABCDEF.:"):
                condition |= Q(address__startswith=term)
            queryset = queryset.filter(condition)
        return queryset, False

    @admin.display(description="When")
    def occurred(self, event: SecurityEvent) -> SafeString | str:
        return exact_moment(event.occurred_at)

    @admin.display(description="Recorded")
    def recorded(self, event: SecurityEvent) -> SafeString | str:
        return moment(event.recorded_at)

    @admin.display(description="Severity")
    def severity_badge(self, event: SecurityEvent) -> Badge:
        return states.severity_badge(event)

    @admin.display(description="What")
    def what(self, event: SecurityEvent) -> str:
        return event_words(event.type)

    @admin.display(description="Identity")
    def whose(self, event: SecurityEvent) -> SafeString | str:
        if event.identity is None and event.station_id:
            return f"claims to be {event.station_id}"
        return states.identity_cell(event.identity)

    @admin.display(description="In a sentence")
    def told(self, event: SecurityEvent) -> str:
        sentence = in_words(event.message)
        return sentence if len(sentence) <= 110 else f"{sentence[:110]}…"

    @admin.display(description="Technical details")
    def readable_payload(self, event: SecurityEvent) -> SafeString | str:
        return folded(event.payload)


@admin.register(Evidence)
class EvidenceAdmin(ReadOnlyAdmin):
    """Observed facts that can move a certificate."""

    list_display = ("observed", "kind", "certificate", "whose", "seen_by")
    list_filter = (("kind", ChoiceFilter),)
    list_select_related = ("record__identity",)
    search_fields = ("source",)
    search_help_text = "Identifier"
    fields = ("kind", "observed", "certificate", "whose", "seen_by", "correlation_id", "readable_detail")
    readonly_fields = ("observed", "certificate", "whose", "seen_by", "readable_detail")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Evidence], search_term: str
    ) -> tuple[QuerySet[Evidence], bool]:
        term = search_term.strip()
        if term:
            queryset = queryset.filter(record__identity_id__in=identities_matching(term))
        return queryset, False

    @admin.display(description="When")
    def observed(self, evidence: Evidence) -> SafeString | str:
        return moment(evidence.observed_at)

    @admin.display(description="Certificate")
    def certificate(self, evidence: Evidence) -> SafeString | str:
        return _linked(
            evidence.record,
            "inventory_certificaterecord",
            f"{evidence.record.get_purpose_display()} {evidence.record_id}",
        )

    @admin.display(description="Identity")
    def whose(self, evidence: Evidence) -> SafeString | str:
        return states.identity_cell(evidence.record.identity)

    @admin.display(description="Observed by")
    def seen_by(self, evidence: Evidence) -> str:
        return source_words(evidence.source)

    @admin.display(description="Technical details")
    def readable_detail(self, evidence: Evidence) -> SafeString | str:
        return folded(evidence.detail)
