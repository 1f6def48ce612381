"""Families, cohorts, policies and issuing authorities."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from bfcerts.console.filters import ChoiceFilter
from bfcerts.console.modeladmin import ReadOnlyAdmin
from bfcerts.console.presentation import Badge, copyable, exact_span, link, moment, protocol_words, short, text
from inventory.admin.actions import PageWithActions, actor_of
from inventory.admin.capabilities import family_verbs
from inventory.admin.editing import REASON, EditableAdmin, ReasonedForm
from inventory.admin.history import HistoryMixin
from inventory.admin.verbs import cohort_verbs
from inventory.models import ChargerFamily, Cohort, IssuingAuthority, LifecyclePolicy
from inventory.models.policy import default_key_algorithms
from inventory.services import capabilities, catalogue, family_standing
from inventory.services.actions import AvailableAction

MISSING = 3
"""Of what a family lacks for Profile 3, so many are named in the list; its page names all."""


@admin.register(ChargerFamily)
class ChargerFamilyAdmin(PageWithActions, EditableAdmin):
    """What stations of one vendor, model and firmware range do, want, and can."""

    verbs = family_verbs
    list_display = ("name", "stations", "firmware", "versions", "how_many", "ready")
    search_fields = ("name", "vendor", "model")
    search_help_text = "Name, vendor or model"
    ordering = ("name",)
    keyset_field = ""
    fieldsets = (
        ("Which stations", {"fields": ("name", "vendor", "model", "firmware_from", "firmware_to")}),
        (
            "What they do",
            {
                "fields": (
                    "subject_rule",
                    "chain_content",
                    "can_lower_profile",
                    "unsolicited_reads",
                    "certificate_store_size",
                    "accepts_intermediate_roots",
                    "protocol_variant",
                    "key_form",
                    "reconnects_by_itself",
                )
            },
        ),
        ("Notes", {"fields": ("notes",)}),
        REASON,
    )

    def beside(self, request: HttpRequest, target: ChargerFamily) -> dict[str, Any]:
        return {
            "matrix": list(capabilities.state_of(target).values()),
            "missing": [capability.label for capability in capabilities.missing_for_profile_3(target)],
        }

    def available_actions(self, request: HttpRequest, target: ChargerFamily) -> list[AvailableAction]:
        return capabilities.actions_for_family(target, actor_of(request))

    def described(self, target: ChargerFamily) -> list[tuple[str, str]]:
        return [("Family", target.name), ("Stations", f"{target.vendor} {target.model}")]

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The list, with what is known of all families on it asked at once."""
        changelist = super().get_changelist_instance(request)
        families = list(changelist.result_list)
        standing = family_standing.of(families)
        for family in families:
            family.standing_in_list = standing[family.pk]
        changelist.result_list = families
        return changelist

    @admin.display(description="Stations")
    def stations(self, family: ChargerFamily) -> str:
        return f"{family.vendor} {family.model}"

    @admin.display(description="OCPP")
    def versions(self, family: ChargerFamily) -> str:
        found = _standing(family).protocols
        return ", ".join(protocol_words(protocol).removeprefix("OCPP ") for protocol in found) or "not seen yet"

    @admin.display(description="Chargers")
    def how_many(self, family: ChargerFamily) -> SafeString:
        number = _standing(family).chargers
        words = f"more than {family_standing.CAP:,}" if number > family_standing.CAP else f"{number:,}"
        listing = reverse("admin:inventory_managedidentity_changelist")
        return link(f"{listing}?family__id__exact={family.pk}", words)

    @admin.display(description="Ready for Profile 3")
    def ready(self, family: ChargerFamily) -> SafeString | str:
        missing = _standing(family).missing
        if not missing:
            return Badge("Yes", "success").__html__()
        shown = ", ".join(missing[:MISSING]) + (f" and {len(missing) - MISSING} more" if len(missing) > MISSING else "")
        title = "\n".join(missing)
        return format_html('{}<div class="c-subtle" title="{}">Missing: {}</div>', Badge("No", "warning"), title, shown)

    @admin.display(description="Firmware")
    def firmware(self, family: ChargerFamily) -> str:
        if not family.firmware_from and not family.firmware_to:
            return "any"
        return f"{family.firmware_from or 'any'} to {family.firmware_to or 'any'}"


@admin.register(Cohort)
class CohortAdmin(PageWithActions, EditableAdmin):
    """Named sets of identities."""

    verbs = cohort_verbs
    list_display = ("name", "kind", "description", "members_link")
    search_fields = ("name",)
    search_help_text = "Name"
    ordering = ("name",)
    keyset_field = ""
    fieldsets = (
        ("What it is", {"fields": ("name", "description", "kind", "filter")}),
        REASON,
    )

    @admin.display(description="Members")
    def members_link(self, cohort: Cohort) -> SafeString:
        return link(_members_url(cohort), "Show")

    def beside(self, request: HttpRequest, target: Cohort) -> dict[str, Any]:
        return {"members_url": _members_url(target)}

    def available_actions(self, request: HttpRequest, target: Cohort) -> list[AvailableAction]:
        return catalogue.actions_for_cohort(target, actor_of(request))

    def described(self, target: Cohort) -> list[tuple[str, str]]:
        return [("Cohort", target.name), ("Kind", target.get_kind_display())]


def _standing(family: ChargerFamily) -> family_standing.FamilyStanding:
    found: family_standing.FamilyStanding = family.standing_in_list  # type: ignore[attr-defined]  # of get_changelist_instance
    return found


def _members_url(cohort: Cohort) -> str:
    return f"{reverse('admin:inventory_managedidentity_changelist')}?cohort={cohort.pk}"


class PolicyForm(ReasonedForm):
    """The values of a policy; durations are written in words."""

    class Meta:
        labels = {"csr_deadline": "CSR deadline", "cut_over_deadline": "Cut-over deadline"}

    allowed_key_algorithms = forms.MultipleChoiceField(
        choices=[(name, name) for name in default_key_algorithms()],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="Requests with another key are refused.",
    )


@admin.register(LifecyclePolicy)
class LifecyclePolicyAdmin(EditableAdmin):
    """Validity, thresholds, retry, deadlines, windows."""

    form = PolicyForm
    list_display = ("name", "purpose", "scope", "validity_words", "renewal_words", "in_force")
    list_filter = (
        ("purpose", ChoiceFilter),
        ("family", RelatedDropdownFilter),
        ("cohort", RelatedDropdownFilter),
        "enabled",
    )
    list_select_related = ("family", "cohort")
    search_fields = ("name",)
    search_help_text = "Name"
    ordering = ("purpose", "name")
    keyset_field = ""
    autocomplete_fields = ("family", "cohort")
    fieldsets = (
        ("What it applies to", {"fields": ("name", "purpose", "mode", "program", "family", "cohort", "enabled")}),
        (
            "Validity and renewal",
            {
                "fields": (
                    "validity",
                    "renewal_threshold",
                    "renewal_lead",
                    "escalation_threshold",
                    "incident_threshold",
                ),
                "description": "Write durations in words: “180 days”, “4 hours 30 minutes”.",
            },
        ),
        (
            "Deadlines and windows",
            {"fields": ("csr_deadline", "delivery_deadline", "cut_over_deadline", "rollback_window")},
        ),
        ("Retry", {"fields": ("retry_attempts", "retry_delay", "retry_delay_limit")}),
        ("Keys and notes", {"fields": ("allowed_key_algorithms", "notes")}),
        REASON,
    )

    @admin.display(description="Narrowed to")
    def scope(self, policy: LifecyclePolicy) -> str:
        parts = [
            f"cohort {policy.cohort}" if policy.cohort else "",
            f"family {policy.family}" if policy.family else "",
            f"program {policy.program}" if policy.program else "",
            policy.get_mode_display().lower() if policy.mode else "",
        ]
        return ", ".join(part for part in parts if part) or "everything of the purpose"

    @admin.display(description="Validity")
    def validity_words(self, policy: LifecyclePolicy) -> str:
        return exact_span(policy.validity) if policy.validity else "the authority decides"

    @admin.display(description="Renewal starts")
    def renewal_words(self, policy: LifecyclePolicy) -> str:
        if policy.renewal_threshold is None:
            return "not by itself"
        return f"{exact_span(policy.renewal_threshold + policy.renewal_lead)} before the end"

    @admin.display(description="In force")
    def in_force(self, policy: LifecyclePolicy) -> Badge:
        return Badge("Yes", "success") if policy.enabled else Badge("No")


@admin.register(IssuingAuthority)
class IssuingAuthorityAdmin(HistoryMixin, ReadOnlyAdmin):
    """The public side of each issuing CA; the PKI worker writes it."""

    list_display = ("name", "trust_domain", "issuing", "trusted_badge", "ends", "short_fingerprint")
    search_fields = ("name", "trust_domain")
    search_help_text = "Name or trust domain"
    ordering = ("trust_domain", "name")
    keyset_field = ""
    unread_fields = ("certificate_pem", "chain_pem", "root_pem")
    fieldsets = (
        (
            "Authority",
            {"fields": ("name", "trust_domain", "reference", "status", "issuing", "trusted_badge", "ends")},
        ),
        ("Certificates", {"fields": ("full_fingerprint", "certificate", "chain", "root")}),
    )
    readonly_fields = ("issuing", "trusted_badge", "ends", "full_fingerprint", "certificate", "chain", "root")

    def crumb_title(self, target: IssuingAuthority) -> str:
        return target.name

    @admin.display(description="Issues")
    def issuing(self, authority: IssuingAuthority) -> Badge:
        return Badge("Issues", "success") if authority.issues else Badge("Does not issue")

    @admin.display(description="Trust")
    def trusted_badge(self, authority: IssuingAuthority) -> Badge:
        return Badge("Trusted at our doors", "success") if authority.trusted else Badge("Not trusted", "warning")

    @admin.display(description="Ends")
    def ends(self, authority: IssuingAuthority) -> SafeString | str:
        return moment(authority.not_after)

    @admin.display(description="Fingerprint")
    def short_fingerprint(self, authority: IssuingAuthority) -> SafeString | str:
        return copyable(authority.fingerprint, shown=short(authority.fingerprint), label="fingerprint")

    @admin.display(description="Its certificate")
    def certificate(self, authority: IssuingAuthority) -> SafeString | str:
        return text(authority.certificate_pem)

    @admin.display(description="Chain to the root")
    def chain(self, authority: IssuingAuthority) -> SafeString | str:
        return text(authority.chain_pem)

    @admin.display(description="Root")
    def root(self, authority: IssuingAuthority) -> SafeString | str:
        return text(authority.root_pem)

    @admin.display(description="Fingerprint (SHA-256)")
    def full_fingerprint(self, authority: IssuingAuthority) -> SafeString | str:
        return copyable(authority.fingerprint, label="fingerprint")
