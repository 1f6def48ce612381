"""Migrations in the console: chargers on their way, and breakers."""

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RelatedDropdownFilter

from bfcerts.console.filters import ChoiceFilter
from bfcerts.console.presentation import NOTHING, Badge, document, moment
from inventory.admin import states
from inventory.admin.actions import actor_of
from inventory.admin.history import HistoryMixin
from inventory.admin.panels import Panel, register_identity_panel
from inventory.admin.search import identities_matching
from inventory.admin.verbs import Order, Verb
from inventory.choices import SubjectKind
from inventory.models import ManagedIdentity
from inventory.services.actions import AvailableAction
from migration.acting_admin import ActingAdmin, verbs_of
from migration.forecast_admin import ForecastMixin
from migration.models import Breaker, MigrationCase
from migration.services import breakers, offered, rollouts
from migration.services.readiness import check_one
from migration.services.why import Why, why, why_of, whys_of
from migration.states import CASE_COLOURS, CaseState


def _on_case(verb: Any, told: str) -> Any:
    def carry_out(order: Order) -> str:
        verb(case=order.target, actor=order.actor, reason=order.reason, now=order.now)
        return f"{order.target.identity.authoritative_identifier} {told}."

    return carry_out


def _release(order: Order) -> str:
    # As things are before: a complete rollout runs again by the release.
    meaning = offered.what_release_means(order.target)
    rollouts.release(case=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"{order.target.identity.authoritative_identifier} is released. {meaning}"


def _close(order: Order) -> str:
    breakers.close(breaker=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"{order.target}: its chargers are moved again."


@admin.register(MigrationCase)
class MigrationCaseAdmin(ForecastMixin, ActingAdmin):
    """Every charger on its way to Profile 3, and why it is not there yet."""

    verbs = verbs_of(
        Verb("release", "lock_open", _release),
        Verb("approve_exception", "verified", _on_case(rollouts.approve_exception, "stays as it is")),
        Verb("quarantine", "front_hand", _on_case(rollouts.quarantine, "is in quarantine")),
        Verb("roll_back", "undo", _on_case(rollouts.roll_back_case, "is brought back to Profile 2")),
        Verb("cancel", "cancel", _on_case(rollouts.cancel, "is out of the migration")),
    )
    version_fields = ("state", "stage")
    list_display = ("whose", "badge", "answer", "wave", "since")
    list_filter = (
        ("state", ChoiceFilter),
        ("reason_code", ChoiceFilter),
        ("wave__rollout", AutocompleteSelectFilter),
        ("wave", AutocompleteSelectFilter),
        ("identity", AutocompleteSelectFilter),
    )
    list_select_related = ("identity__family", "wave__rollout")
    search_fields = ("site",)
    search_help_text = "Identifier"
    fields = (
        "whose",
        "badge",
        "stage",
        "answer",
        "next_step",
        "wave",
        "family",
        "site",
        "tries_left",
        "last_failure",
        "due",
        "issue_job",
        "cut_over_job",
        "record",
        "frames",
        "since",
        "decided_by",
    )
    readonly_fields = ("whose", "badge", "answer", "next_step", "due", "frames", "since")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[MigrationCase], search_term: str
    ) -> tuple[QuerySet[MigrationCase], bool]:
        term = search_term.strip()
        return (queryset.filter(identity_id__in=identities_matching(term)) if term else queryset), False

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The list, with the answer for everybody on it asked at once."""
        changelist = super().get_changelist_instance(request)
        answers = whys_of(list(changelist.result_list), timezone.now())
        for case in changelist.result_list:
            case.answer_of_list = answers[case.pk]
        return changelist

    def crumb_title(self, target: MigrationCase) -> str:
        return f"Migration of {target.identity.authoritative_identifier}"

    def available_actions(self, request: HttpRequest, target: MigrationCase) -> list[AvailableAction]:
        return offered.for_case(target, actor_of(request))

    def described(self, target: MigrationCase) -> list[tuple[str, str]]:
        return [
            ("Charger", target.identity.authoritative_identifier),
            ("State", target.get_state_display()),
            ("Why", self.answer(target)),
        ]

    def _why(self, case: MigrationCase) -> Why | None:
        if hasattr(case, "answer_of_list"):
            known: Why | None = case.answer_of_list
            return known
        return why_of(case, timezone.now())

    @admin.display(description="Charger")
    def whose(self, case: MigrationCase) -> SafeString | str:
        return states.identity_cell(case.identity)

    @admin.display(description="State")
    def badge(self, case: MigrationCase) -> Badge:
        return Badge(CaseState(case.state).label, CASE_COLOURS[case.state])

    @admin.display(description="Why it is not active")
    def answer(self, case: MigrationCase) -> str:
        found = self._why(case)
        return found.sentence if found is not None else NOTHING

    @admin.display(description="What to do next")
    def next_step(self, case: MigrationCase) -> str:
        found = self._why(case)
        return found.what_next if found is not None else NOTHING

    @admin.display(description="Silence is failure from")
    def due(self, case: MigrationCase) -> SafeString | str:
        return moment(case.deadline)

    @admin.display(description="Last frames")
    def frames(self, case: MigrationCase) -> SafeString | str:
        return document(case.last_frames)

    @admin.display(description="Since")
    def since(self, case: MigrationCase) -> SafeString | str:
        return moment(case.entered_state_at)


@admin.register(Breaker)
class BreakerAdmin(HistoryMixin, ActingAdmin):
    """Families and sites that were stopped alone."""

    verbs = verbs_of(Verb("close", "power_settings_new", _close))
    version_fields = ("closed_at",)
    list_display = ("title", "badge", "failures", "rollout", "opened")
    list_filter = (("kind", ChoiceFilter), ("rollout", RelatedDropdownFilter))
    list_select_related = ("family", "rollout")
    fields = ("title", "badge", "why", "failures", "rollout", "opened", "closed", "closed_by")
    readonly_fields = ("title", "badge", "opened", "closed")

    def crumb_title(self, target: Breaker) -> str:
        return f"Breaker of {target.subject}"

    def available_actions(self, request: HttpRequest, target: Breaker) -> list[AvailableAction]:
        return offered.for_breaker(target, actor_of(request))

    def described(self, target: Breaker) -> list[tuple[str, str]]:
        return [("Breaker", str(target)), ("Why", target.why)]

    @admin.display(description="What is stopped")
    def title(self, breaker: Breaker) -> str:
        return str(breaker)

    @admin.display(description="State")
    def badge(self, breaker: Breaker) -> Badge:
        return Badge("Closed", "default") if breaker.closed_at else Badge("Stopped", "danger")

    @admin.display(description="Opened")
    def opened(self, breaker: Breaker) -> SafeString | str:
        return moment(breaker.opened_at)

    @admin.display(description="Closed")
    def closed(self, breaker: Breaker) -> SafeString | str:
        return moment(breaker.closed_at)


def migration_panel(identity: ManagedIdentity, request: HttpRequest, now: datetime) -> Panel | None:
    """How the move of a charger stands: the one answer to why, and every readiness check."""
    if identity.kind != SubjectKind.CHARGER or not request.user.has_perm("migration.view_migrationcase"):
        return None
    answer = why(identity, now)
    case = MigrationCase.objects.live().filter(identity=identity).first()
    badge = Badge(CaseState(case.state).label, CASE_COLOURS[case.state]) if case is not None else None
    return Panel(
        "Move to Profile 3",
        "admin/migration/migrationcase/panel.html",
        {
            "answer": answer,
            "case": case,
            "badge": badge,
            "checks": check_one(identity, now) if answer is not None else [],
        },
    )


register_identity_panel(migration_panel)
