"""Rollouts and their waves in the console: one live page each, with progress, gates and what can be done now."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import RelatedDropdownFilter

from bfcerts.console.filters import ChoiceFilter
from bfcerts.console.presentation import NOTHING, Badge, exact_span, moment
from inventory.admin.actions import actor_of
from inventory.admin.history import HistoryMixin
from inventory.admin.live_page import LivePage
from inventory.admin.verbs import Order, Verb
from inventory.services.actions import AvailableAction
from inventory.services.changes import entries_of
from inventory.words import counted
from migration.acting_admin import ActingAdmin, verbs_of
from migration.models import Breaker, MigrationRollout, Wave
from migration.services import offered, progress, rollouts
from migration.services.progress import Waiting, WaveProgress
from migration.states import (
    CASE_COLOURS,
    ROLLOUT_COLOURS,
    WAVE_COLOURS,
    CaseState,
    RolloutState,
    Verdict,
    WaveState,
)

HISTORY = 15
_GATES = {
    Verdict.PASS: Badge("Pass", "success"),
    Verdict.FAIL: Badge("Fail", "danger"),
    Verdict.INCONCLUSIVE: Badge("Inconclusive", "warning"),
    Verdict.UNDECIDED: Badge("Not yet decided", "info"),
}
_ON_THE_WAY = (CaseState.INSTALLING, CaseState.PENDING_ACTIVATION, CaseState.ROLLBACK)


@dataclass(frozen=True, slots=True)
class StateFigure:
    """How many chargers are in a state, and where they are listed."""

    label: str
    value: int
    url: str
    badge: Badge


@dataclass(frozen=True, slots=True)
class WaveRow:
    """One wave as the page of its rollout shows it."""

    now: WaveProgress
    badge: Badge
    gate: Badge | None
    on_the_way: int
    roll_back: str
    """Where it is rolled back; empty where that is over, or not for this person."""


@dataclass(frozen=True, slots=True)
class BreakerRow:
    """Who was stopped, and where somebody closes it."""

    breaker: Breaker
    badge: Badge
    close: str


def _on_rollout(verb: Any, told: str) -> Any:
    def carry_out(order: Order) -> str:
        verb(rollout=order.target, actor=order.actor, reason=order.reason, now=order.now)
        return f"Rollout “{order.target.name}” {told}."

    return carry_out


def _roll_back_wave(order: Order) -> str:
    rollouts.roll_back(wave=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"{order.target} is rolled back, one charger after the other."


def _cases_url(**filters: object) -> str:
    return f"{reverse('admin:migration_migrationcase_changelist')}?{urlencode(filters)}"


def _figures(numbers: Mapping[str, int], **filters: object) -> list[StateFigure]:
    """The states that chargers are in, each with the list of them."""
    return [
        StateFigure(
            state.label,
            numbers[state],
            _cases_url(**filters, state__exact=state.value),
            Badge(state.label, CASE_COLOURS[state]),
        )
        for state in CaseState
        if numbers.get(state)
    ]


def _waiting(found: list[Waiting], **filters: object) -> list[tuple[Waiting, str]]:
    return [(item, _cases_url(**filters, reason_code__exact=item.code.value)) for item in found]


@admin.register(MigrationRollout)
class MigrationRolloutAdmin(LivePage, HistoryMixin, ActingAdmin):
    """Migrations to Profile 3. A plan makes them."""

    page_template = "admin/migration/migrationrollout/page.html"
    verbs = verbs_of(
        Verb("pause", "pause", _on_rollout(rollouts.pause, "is paused")),
        Verb("resume", "play_arrow", _on_rollout(rollouts.resume, "goes on")),
        Verb("next", "skip_next", _on_rollout(rollouts.start_next, "has started its next wave")),
        Verb("retry_failed", "restart_alt", _on_rollout(rollouts.retry_failed, "tries its failed chargers anew")),
        Verb("stop", "stop", _on_rollout(rollouts.stop, "is stopped")),
    )
    version_fields = ("state", "note")
    list_display = ("name", "badge", "note", "created")
    list_filter = (("state", ChoiceFilter),)
    search_fields = ("name",)
    search_help_text = "Name"

    def crumb_title(self, target: MigrationRollout) -> str:
        return target.name

    def available_actions(self, request: HttpRequest, target: MigrationRollout) -> list[AvailableAction]:
        return offered.for_rollout(target, actor_of(request))

    def described(self, target: MigrationRollout) -> list[tuple[str, str]]:
        numbers = rollouts.standing(target)
        standing = "; ".join(f"{numbers[state]} {state.label.lower()}" for state in CaseState if state in numbers)
        return [("Rollout", target.name), ("State", target.get_state_display()), ("Chargers", standing or NOTHING)]

    @admin.display(description="State")
    def badge(self, rollout: MigrationRollout) -> Badge:
        return Badge(RolloutState(rollout.state).label, ROLLOUT_COLOURS[rollout.state])

    @admin.display(description="Made")
    def created(self, rollout: MigrationRollout) -> SafeString | str:
        return moment(rollout.created_at)

    def shown(self, request: HttpRequest, object_id: str) -> MigrationRollout:
        return self.viewable(request, MigrationRollout.objects.select_related("plan"), object_id)

    def page_context(self, request: HttpRequest, target: MigrationRollout) -> dict[str, Any]:
        now, may = timezone.now(), request.user.has_perm
        standing = progress.of_waves(list(target.waves.select_related("rollout", "cohort").order_by("position")), now)
        numbers = {state.value: sum(item.states.get(state, 0) for item in standing) for state in CaseState}
        of_rollout = {"wave__rollout__id__exact": target.pk}
        return {
            "rollout": target,
            "now": now,
            "badge": self.badge(target),
            "total": sum(numbers.values()),
            "figures": _figures(numbers, **of_rollout),
            "waves": [_wave_row(item, request) for item in standing],
            "waiting": _waiting(progress.waiting(Q(wave__rollout=target)), **of_rollout),
            "breakers": _breaker_rows(target, request) if may("migration.view_breaker") else [],
            "settings": _settings(target),
            "history": entries_of(target, HISTORY),
        }


def _wave_row(item: WaveProgress, request: HttpRequest) -> WaveRow:
    wave = item.wave
    may = wave.state not in (WaveState.PENDING, WaveState.ROLLED_BACK) and request.user.has_perm(
        "migration.rollback_migrationrollout"
    )
    return WaveRow(
        now=item,
        badge=Badge(WaveState(wave.state).label, WAVE_COLOURS[wave.state]),
        gate=_GATES[item.verdict] if item.verdict is not None else None,
        on_the_way=sum(item.states.get(state, 0) for state in _ON_THE_WAY),
        roll_back=reverse("admin:migration_wave_do", args=[wave.pk, "roll_back"]) if may else "",
    )


def _breaker_rows(rollout: MigrationRollout, request: HttpRequest) -> list[BreakerRow]:
    may = request.user.has_perm("migration.close_breaker")
    return [
        BreakerRow(
            breaker,
            Badge("Closed") if breaker.closed_at else Badge("Stopped", "danger"),
            reverse("admin:migration_breaker_do", args=[breaker.pk, "close"])
            if may and breaker.closed_at is None
            else "",
        )
        for breaker in progress.breakers_of(rollout)
    ]


def _settings(rollout: MigrationRollout) -> list[tuple[str, str]]:
    """What holds for all of its waves, in words."""
    tries = rollout.retry_budget
    return [
        ("A wave passes when", f"{rollout.success_threshold_percent} % of it are active"),
        (
            "A wave fails when",
            f"more than {rollout.failure_threshold_percent} % of at least {rollout.minimum_sample} decided have failed",
        ),
        ("Next wave", "by itself, when the one before has passed" if rollout.advance_automatically else "by hand"),
        ("Tries of a charger", f"{1 + tries}{' in all' if tries else ''}"),
        ("A charger has for its certificate and cut-over", exact_span(rollout.case_deadline)),
        ("To come back on Profile 2", exact_span(rollout.return_deadline)),
        ("A family is stopped at", counted(rollout.family_failure_limit, "failure")),
        ("A site is stopped at", counted(rollout.site_failure_limit, "failure")),
        ("Lock-out forecast", "overridden" if rollout.overrides_forecast else "heeded"),
    ]


@admin.register(Wave)
class WaveAdmin(LivePage, HistoryMixin, ActingAdmin):
    """The ordered parts of rollouts, each with its gate."""

    page_template = "admin/migration/wave/page.html"
    verbs = verbs_of(Verb("roll_back", "undo", _roll_back_wave))
    version_fields = ("state",)
    list_display = ("title", "cohort", "badge", "total", "verdict", "until")
    list_filter = (("state", ChoiceFilter), ("rollout", RelatedDropdownFilter))
    list_select_related = ("rollout", "cohort")

    def crumb_title(self, target: Wave) -> str:
        return str(target)

    def available_actions(self, request: HttpRequest, target: Wave) -> list[AvailableAction]:
        return offered.for_wave(target, actor_of(request))

    def described(self, target: Wave) -> list[tuple[str, str]]:
        return [("Wave", str(target)), ("Cohort", str(target.cohort)), ("State", target.get_state_display())]

    @admin.display(description="Wave")
    def title(self, wave: Wave) -> str:
        return str(wave)

    @admin.display(description="State")
    def badge(self, wave: Wave) -> Badge:
        return Badge(WaveState(wave.state).label, WAVE_COLOURS[wave.state])

    @admin.display(description="Decided at the latest")
    def until(self, wave: Wave) -> SafeString | str:
        return moment(wave.deadline)

    def shown(self, request: HttpRequest, object_id: str) -> Wave:
        return self.viewable(request, Wave.objects.select_related("rollout", "cohort"), object_id)

    def page_context(self, request: HttpRequest, target: Wave) -> dict[str, Any]:
        now = timezone.now()
        (standing,) = progress.of_waves([target], now)
        of_wave = {"wave__id__exact": target.pk}
        anchors = target.anchor_rollouts.select_related("bundle", "cohort").order_by("pk")
        return {
            "wave": target,
            "now": now,
            "badge": self.badge(target),
            "standing": standing,
            "gate": _GATES[standing.verdict] if standing.verdict is not None else None,
            "figures": _figures(standing.states, **of_wave),
            "waiting": _waiting(progress.waiting(Q(wave=target)), **of_wave),
            "anchors": [
                (item, Badge("Open", "success") if item.gate_open else Badge("Closed", "warning")) for item in anchors
            ],
            "limits": _limits(target),
            "history": entries_of(target, HISTORY),
        }


def _limits(wave: Wave) -> list[tuple[str, str]]:
    """What holds for a wave, in words, and where it comes from."""

    def whose(own: int | None) -> str:
        return "as its rollout says" if own is None else "its own"

    return [
        ("Passes when", f"{wave.success_percent} % are active ({whose(wave.success_threshold_percent)})"),
        (
            "Fails when",
            f"more than {wave.failure_percent} % of the decided have failed ({whose(wave.failure_threshold_percent)})",
        ),
        ("Decided before failures count", f"{wave.sample} ({whose(wave.minimum_sample)})"),
        ("Patience from its start", exact_span(wave.patience)),
        ("On the way at once", f"{wave.concurrency}"),
        ("Started in a minute", f"{wave.per_minute}"),
        ("Of one family at once", str(wave.per_family) if wave.per_family else "no limit of its own"),
        ("Of one site at once", str(wave.per_site) if wave.per_site else "as the cap of the site says"),
    ]
