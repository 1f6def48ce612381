"""Provisioning cases in the console: one live page each, with what stands in the way and what it rests on."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from bfcerts.console.filters import ChoiceFilter
from bfcerts.console.modeladmin import ReadOnlyAdmin
from bfcerts.console.presentation import NOTHING, Badge, moment
from inventory.admin import states, timeline
from inventory.admin.actions import actor_of
from inventory.admin.history import HistoryMixin
from inventory.admin.live_page import LivePage
from inventory.admin.panels import Panel, register_identity_panel
from inventory.admin.search import identities_matching
from inventory.choices import EventType
from inventory.models import DomainEvent, ManagedIdentity
from inventory.services.actions import AvailableAction
from inventory.services.changes import entries_of
from provisioning.admin.verbs import case_verbs
from provisioning.choices import CASE_COLOURS, STANDING_COLOURS, CaseState
from provisioning.freshness import Stands, standing
from provisioning.models import ProvisioningCase, ProvisioningEvidence
from provisioning.services import lifecycle, offered
from provisioning.services.prerequisites import judge

EVIDENCE, EVENTS, HISTORY = 30, 40, 15
_EVENTS = (EventType.PROVISIONING_STATE_CHANGED, EventType.PROVISIONING_EVIDENCE_RECORDED)


def state_badge(case: ProvisioningCase, now: datetime) -> Badge:
    """Its state; an active one whose evidence is stale is not shown as confirmed."""
    if case.state == CaseState.ACTIVE and case.superseded_at is not None:
        return Badge("Superseded", "default")
    shown = case.activation_evidence if case.state == CaseState.ACTIVE else None
    if shown is not None and not standing(shown, now).valid:
        return Badge("Active, not confirmed lately", "warning")
    return Badge(CaseState(case.state).label, CASE_COLOURS[case.state])


def standing_badge(stands: Stands) -> Badge:
    return Badge(str(stands.standing.label), STANDING_COLOURS[stands.standing])


@admin.register(ProvisioningCase)
class ProvisioningCaseAdmin(LivePage, HistoryMixin, ReadOnlyAdmin):
    """Every effort to bring a Plug and Charge or vehicle certificate into use."""

    page_template = "admin/provisioning/provisioningcase/page.html"
    verbs = case_verbs
    version_fields = ("state", "entered_state_at")
    list_display = ("whose", "what", "path", "badge", "why_not", "since")
    list_filter = (
        ("state", ChoiceFilter),
        ("purpose", ChoiceFilter),
        ("path", ChoiceFilter),
        ("identity", AutocompleteSelectFilter),
    )
    list_select_related = ("identity", "activation_evidence")
    search_fields = ("slot", "pcid", "fingerprint")
    search_help_text = "Identifier, EMAID, PCID or fingerprint"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[ProvisioningCase], search_term: str
    ) -> tuple[QuerySet[ProvisioningCase], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        of_identities = queryset.filter(identity_id__in=identities_matching(term))
        exactly = queryset.filter(slot=term) | queryset.filter(pcid=term) | queryset.filter(fingerprint=term.lower())
        return of_identities | exactly, False

    def crumb_title(self, target: ProvisioningCase) -> str:
        return f"Provisioning of {target.identity.authoritative_identifier}"

    def available_actions(self, request: HttpRequest, target: ProvisioningCase) -> list[AvailableAction]:
        return offered.for_case(target, actor_of(request), timezone.now())

    def described(self, target: ProvisioningCase) -> list[tuple[str, str]]:
        pairs = [
            ("Case", f"{target.pk}, {target.get_purpose_display()}"),
            ("Identity", target.identity.authoritative_identifier),
            ("EMAID", target.slot),
            ("Path", target.get_path_display()),
            ("State", target.get_state_display()),
            ("Why", target.why),
        ]
        return [(name, value) for name, value in pairs if value]

    @admin.display(description="Whose")
    def whose(self, case: ProvisioningCase) -> SafeString | str:
        return states.identity_cell(case.identity)

    @admin.display(description="What")
    def what(self, case: ProvisioningCase) -> str:
        return f"{case.get_purpose_display()}{f' ({case.slot})' if case.slot else ''}"

    @admin.display(description="State")
    def badge(self, case: ProvisioningCase) -> Badge:
        return state_badge(case, timezone.now())

    @admin.display(description="Why it is not active")
    def why_not(self, case: ProvisioningCase) -> str:
        return case.why or NOTHING

    @admin.display(description="Since")
    def since(self, case: ProvisioningCase) -> SafeString | str:
        return moment(case.entered_state_at)

    def shown(self, request: HttpRequest, object_id: str) -> ProvisioningCase:
        related = ProvisioningCase.objects.select_related("identity__parent__family", "record", "activation_evidence")
        return self.viewable(request, related, object_id)

    def page_context(self, request: HttpRequest, target: ProvisioningCase) -> dict[str, Any]:
        now = timezone.now()
        may = request.user.has_perm
        authority, contact = lifecycle.whom_to_ask(target)
        evidence: Sequence[ProvisioningEvidence] = []
        if may("provisioning.view_provisioningevidence"):
            evidence = list(target.evidence.order_by("-id")[:EVIDENCE])
        stands = [(item, standing(item, now)) for item in evidence]
        return {
            "case": target,
            "identity": target.identity,
            "now": now,
            "badge": state_badge(target, now),
            "prerequisites": judge(target, now),
            "evidence": [(item, standing_badge(found), found.sentence) for item, found in stands],
            "references": list(target.references.order_by("id")),
            "authority": authority,
            "contact": contact,
            "notes": offered.notes_of(target),
            "timeline": timeline.of_events(_events_of(target)) if may("inventory.view_domainevent") else [],
            "history": entries_of(target, HISTORY),
        }


def _events_of(case: ProvisioningCase) -> list[DomainEvent]:
    found = DomainEvent.objects.filter(
        identity_id=case.identity_id, type__in=_EVENTS, payload__provisioningCaseId=case.pk
    )
    return list(found.order_by("-id")[:EVENTS])


def provisioning_panel(identity: ManagedIdentity, request: HttpRequest, now: datetime) -> Panel | None:
    """The cases of an identity that may hold certificates of others."""
    if not request.user.has_perm("provisioning.view_provisioningcase"):
        return None
    if not any(entry.ownership_to_decide for entry in identity.possible_purposes()):
        return None
    found = ProvisioningCase.objects.filter(identity=identity).select_related("activation_evidence").order_by("-id")
    cases = [(case, state_badge(case, now)) for case in found[:10]]
    return Panel("Provisioning", "admin/provisioning/panel.html", {"cases": cases}) if cases else None


register_identity_panel(provisioning_panel)
