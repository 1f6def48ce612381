"""Installations: the list, and one page each with its steps and what the charger last said that it has."""

from datetime import datetime

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from bfcerts.console.filters import ChoiceFilter
from bfcerts.console.modeladmin import ReadOnlyAdmin
from bfcerts.console.presentation import NOTHING, Badge, copyable, moment
from inventory.admin import states
from inventory.admin.actions import PageWithActions, actor_of
from inventory.admin.history import HistoryMixin
from inventory.admin.panels import Panel, register_identity_panel
from inventory.admin.search import identities_matching
from inventory.admin.verbs import Order, Verb, Verbs
from inventory.choices import SubjectKind
from inventory.models import ManagedIdentity
from inventory.services.actions import AvailableAction
from trustanchors.admin import cells
from trustanchors.choices import InstallationState, StepState
from trustanchors.models import BundleInstallation, TrustAnchor
from trustanchors.services import actions, control, listing, sequence
from trustanchors.services.gate import why_closed


def _retry(order: Order) -> str:
    control.retry(installation=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"{order.target} is begun anew."


installation_verbs = Verbs()
installation_verbs.register(Verb("retry", "restart_alt", _retry))


def anchors_panel(identity: ManagedIdentity, request: HttpRequest, now: datetime) -> Panel | None:
    """What a charger is to trust, and what it is known to have."""
    if identity.kind != SubjectKind.CHARGER or not request.user.has_perm("trustanchors.view_bundleinstallation"):
        return None
    found = BundleInstallation.objects.filter(identity=identity, current=True).select_related("rollout__bundle")
    return Panel(
        "Trust anchors",
        "admin/trustanchors/panel.html",
        {
            "installations": [(one, cells.badge(InstallationState, one.state)) for one in found.order_by("purpose")],
            "why_closed": why_closed(identity, now) or "",
            "now": now,
        },
    )


register_identity_panel(anchors_panel)


@admin.register(BundleInstallation)
class BundleInstallationAdmin(PageWithActions, HistoryMixin, ReadOnlyAdmin):
    """Bundles on chargers."""

    verbs = installation_verbs
    version_fields = ("state", "round")
    change_form_template = "admin/console/read_only_with_actions.html"
    list_display = ("whose", "what", "badge", "first", "checked", "detail")
    list_filter = (
        ("state", ChoiceFilter),
        ("purpose", ChoiceFilter),
        ("rollout", AutocompleteSelectFilter),
        ("identity", AutocompleteSelectFilter),
    )
    list_select_related = ("identity", "rollout__bundle", "rollout__cohort")
    search_fields = ("reason_code",)
    search_help_text = "Identifier"
    unread_fields = ("steps", "listed")
    fieldsets = (
        ("How it stands", {"fields": ("whose", "what", "rollout_link", "badge", "first", "detail", "until")}),
        ("Steps", {"fields": ("step_table",)}),
        ("What it last said that it has", {"fields": ("checked", "listed_table", "next_check")}),
        ("When", {"fields": ("started", "delivered", "installed", "activated", "returned", "mismatch_seen")}),
    )
    readonly_fields = (
        "whose",
        "what",
        "rollout_link",
        "badge",
        "first",
        "until",
        "step_table",
        "checked",
        "listed_table",
        "next_check",
        "started",
        "delivered",
        "installed",
        "activated",
        "returned",
        "mismatch_seen",
    )

    def get_search_results(
        self, request: HttpRequest, queryset: "QuerySet[BundleInstallation]", search_term: str
    ) -> "tuple[QuerySet[BundleInstallation], bool]":
        term = search_term.strip()
        return (queryset.filter(identity_id__in=identities_matching(term)) if term else queryset), False

    def available_actions(self, request: HttpRequest, target: BundleInstallation) -> list[AvailableAction]:
        return actions.for_installation(target, actor_of(request))

    def crumb_title(self, target: BundleInstallation) -> str:
        return str(target)

    def described(self, target: BundleInstallation) -> list[tuple[str, str]]:
        return [
            ("Bundle", str(target.rollout.bundle)),
            ("Charger", target.identity.authoritative_identifier),
            ("State", target.get_state_display()),
        ]

    @admin.display(description="Charger")
    def whose(self, one: BundleInstallation) -> SafeString | str:
        return states.identity_cell(one.identity)

    @admin.display(description="Bundle")
    def what(self, one: BundleInstallation) -> SafeString:
        return cells.page_of(one, f"{one.get_purpose_display()}, version {one.rollout.bundle.version}")

    @admin.display(description="Rollout")
    def rollout_link(self, one: BundleInstallation) -> SafeString:
        return cells.page_of(one.rollout)

    @admin.display(description="State")
    def badge(self, one: BundleInstallation) -> Badge:
        return cells.badge(InstallationState, one.state)

    @admin.display(description="Canary")
    def first(self, one: BundleInstallation) -> str:
        return "first of its family" if one.canary else NOTHING

    @admin.display(description="Has until")
    def until(self, one: BundleInstallation) -> SafeString | str:
        return moment(one.deadline)

    @admin.display(description="In their order")
    def step_table(self, one: BundleInstallation) -> SafeString | str:
        return cells.table(
            ("Step", "State", "Tries", "What it said"),
            (
                (
                    sequence.describe(step).capitalize() if not step["name"] else sequence.describe(step),
                    cells.badge(StepState, step["state"]),
                    step["tries"],
                    step["detail"] or NOTHING,
                )
                for step in one.steps
            ),
        )

    @admin.display(description="Installed")
    def listed_table(self, one: BundleInstallation) -> SafeString | str:
        if one.listed is None:
            return "The charger has not been asked yet."
        entries = listing.restored(one.listed)
        anchors = list(TrustAnchor.objects.filter(serial_number__in=[_serial(entry) for entry in entries]))
        return cells.table(
            ("Anchor", "Hash", "Serial number as it writes it"),
            (
                (
                    next((cells.page_of(anchor) for anchor in anchors if entry.names(anchor)), "unknown here"),
                    entry.hash_data["hashAlgorithm"],
                    copyable(entry.hash_data["serialNumber"], label="serial number"),
                )
                for entry in entries
            ),
        )

    @admin.display(description="Last asked")
    def checked(self, one: BundleInstallation) -> SafeString | str:
        return moment(one.checked_at)

    @admin.display(description="Asked again")
    def next_check(self, one: BundleInstallation) -> SafeString | str:
        return moment(one.next_check_at)

    @admin.display(description="Begun")
    def started(self, one: BundleInstallation) -> SafeString | str:
        return moment(one.started_at)

    @admin.display(description="Delivered")
    def delivered(self, one: BundleInstallation) -> SafeString | str:
        return moment(one.delivered_at)

    @admin.display(description="Installed")
    def installed(self, one: BundleInstallation) -> SafeString | str:
        return moment(one.installed_at)

    @admin.display(description="Active")
    def activated(self, one: BundleInstallation) -> SafeString | str:
        return moment(one.activated_at)

    @admin.display(description="Came back")
    def returned(self, one: BundleInstallation) -> SafeString | str:
        return moment(one.returned_at)

    @admin.display(description="Mismatch seen")
    def mismatch_seen(self, one: BundleInstallation) -> SafeString | str:
        return moment(one.mismatched_at)


def _serial(entry: listing.Entry) -> str:
    return entry.hash_data["serialNumber"].lower().lstrip("0") or "0"
