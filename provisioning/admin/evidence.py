"""What external parties said, in the console: each with how far it can be relied on now."""

from django.contrib import admin
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from bfcerts.console.filters import ChoiceFilter
from bfcerts.console.modeladmin import ReadOnlyAdmin
from bfcerts.console.presentation import NOTHING, Badge, document, link, moment
from inventory.admin import states
from inventory.words import actor_words
from provisioning.admin.cases import standing_badge
from provisioning.freshness import standing
from provisioning.models import ProvisioningEvidence


@admin.register(ProvisioningEvidence)
class ProvisioningEvidenceAdmin(ReadOnlyAdmin):
    """Every external answer, as it came, without secrets."""

    unread_fields = ("content",)
    list_display = ("whose", "said", "source", "counts", "received")
    list_filter = (
        ("system", ChoiceFilter),
        ("kind", ChoiceFilter),
        ("outcome", ChoiceFilter),
        ("identity", AutocompleteSelectFilter),
    )
    list_select_related = ("identity",)
    search_fields = ("=trace_id", "=fingerprint")
    search_help_text = "Trace id or fingerprint"
    fields = (
        "whose",
        "of_case",
        "system",
        "kind",
        "outcome",
        "counts",
        "how_far",
        "status",
        "summary",
        "observed",
        "received",
        "fresh",
        "trace_id",
        "external_reference",
        "fingerprint",
        "not_after",
        "kept",
        "artifact",
        "by",
    )
    readonly_fields = ("whose", "of_case", "counts", "how_far", "observed", "received", "fresh", "kept", "by")

    @admin.display(description="Whose")
    def whose(self, evidence: ProvisioningEvidence) -> SafeString | str:
        return states.identity_cell(evidence.identity)

    @admin.display(description="Case")
    def of_case(self, evidence: ProvisioningEvidence) -> SafeString | str:
        if evidence.case_id is None:
            return NOTHING
        return link(reverse("admin:provisioning_provisioningcase_change", args=[evidence.case_id]), evidence.case_id)

    @admin.display(description="What was said")
    def said(self, evidence: ProvisioningEvidence) -> str:
        return f"{evidence.get_kind_display()}: {evidence.get_outcome_display().lower()}. {evidence.summary}"

    @admin.display(description="By")
    def source(self, evidence: ProvisioningEvidence) -> str:
        return str(evidence.get_system_display())

    @admin.display(description="Counts now")
    def counts(self, evidence: ProvisioningEvidence) -> Badge:
        return standing_badge(standing(evidence, timezone.now()))

    @admin.display(description="How far")
    def how_far(self, evidence: ProvisioningEvidence) -> str:
        return standing(evidence, timezone.now()).sentence

    @admin.display(description="True at")
    def observed(self, evidence: ProvisioningEvidence) -> SafeString | str:
        return moment(evidence.observed_at)

    @admin.display(description="Received")
    def received(self, evidence: ProvisioningEvidence) -> SafeString | str:
        return moment(evidence.received_at)

    @admin.display(description="Fresh until")
    def fresh(self, evidence: ProvisioningEvidence) -> SafeString | str:
        return moment(evidence.fresh_until)

    @admin.display(description="The answer, without secrets")
    def kept(self, evidence: ProvisioningEvidence) -> SafeString | str:
        return document(evidence.content)

    @admin.display(description="Recorded by")
    def by(self, evidence: ProvisioningEvidence) -> str:
        return actor_words(evidence.actor)
