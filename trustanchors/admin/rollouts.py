"""Rollouts: the list, one page each with its counts by state and family, and their verbs."""

from django import forms
from django.contrib import admin
from django.db.models import Count
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from bfcerts.console.filters import ChoiceFilter
from bfcerts.console.modeladmin import ReadOnlyAdmin
from bfcerts.console.presentation import Badge, exact_span, link, moment
from inventory.admin.actions import PageWithActions, actor_of
from inventory.admin.history import HistoryMixin
from inventory.admin.verbs import ActionForm, Order, Verb, Verbs
from inventory.services.actions import AvailableAction
from trustanchors.admin import cells
from trustanchors.choices import InstallationState, RolloutState
from trustanchors.models import BundleRollout
from trustanchors.services import actions, control, family_standing, releasing
from trustanchors.services.family_standing import FamilyStanding


class AllowForm(ActionForm):
    """Which family, and how many more may fail."""

    family = forms.IntegerField(min_value=1, help_text="Its number in the table of families.")
    further_failures = forms.IntegerField(min_value=1, max_value=10_000, initial=3)


def _pause(order: Order) -> str:
    control.pause(rollout=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"{order.target} is paused."


def _resume(order: Order) -> str:
    control.resume(rollout=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"{order.target} goes on."


def _stop(order: Order) -> str:
    control.stop(rollout=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"{order.target} is stopped; its gate is closed."


def _retry(order: Order) -> str:
    control.retry_failed(rollout=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"What failed of {order.target} is begun anew, charger by charger."


def _allow(order: Order) -> str:
    family = control.allow_family(
        rollout=order.target,
        family_id=order.values["family"],
        further_failures=order.values["further_failures"],
        actor=order.actor,
        reason=order.reason,
        now=order.now,
    )
    return f"{family} goes on."


def _roll_back(order: Order) -> str:
    rollout = releasing.roll_back(rollout=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"{rollout.cohort} gets version {rollout.bundle.version} again: rollout {rollout.pk}."


rollout_verbs = Verbs()
for verb in (
    Verb("pause", "pause", _pause),
    Verb("resume", "play_arrow", _resume),
    Verb("retry_failed", "restart_alt", _retry),
    Verb("allow_family", "lock_open", _allow, AllowForm),
    Verb("stop", "stop", _stop),
    Verb("roll_back", "undo", _roll_back),
):
    rollout_verbs.register(verb)


def _told(item: FamilyStanding) -> SafeString:
    """The sentence of a family, with the installation of its canary and what to do."""
    parts: list[SafeString | str] = [item.sentence]
    if item.canary is not None:
        parts.append(cells.page_of(item.canary, f"Installation on {item.canary.identity.authoritative_identifier}"))
    parts.append(item.what_next)
    return format_html_join("", "<div>{}</div>", ((part,) for part in parts if part))


@admin.register(BundleRollout)
class BundleRolloutAdmin(PageWithActions, HistoryMixin, ReadOnlyAdmin):
    """Releases of bundles to cohorts, each with the gate that leaf rollouts wait at."""

    verbs = rollout_verbs
    version_fields = ("state", "replaced_at")
    change_form_template = "admin/console/read_only_with_actions.html"
    list_display = ("number", "what", "whom", "badge", "gate", "progress", "outcome")
    list_filter = (("state", ChoiceFilter), ("purpose", ChoiceFilter))
    list_select_related = ("bundle", "cohort")
    search_fields = ("cohort__name",)
    search_help_text = "Cohort"
    fieldsets = (
        ("How it stands", {"fields": ("what", "whom", "badge", "gate", "progress", "outcome", "created", "chargers")}),
        ("By state", {"fields": ("by_state",)}),
        ("By family", {"fields": ("by_family",)}),
        ("Its pace", {"fields": ("threshold_percent", "concurrency", "rate_per_minute", "time", "asked_again")}),
    )
    readonly_fields = (
        "what",
        "whom",
        "badge",
        "gate",
        "progress",
        "created",
        "chargers",
        "by_state",
        "by_family",
        "time",
        "asked_again",
    )

    def available_actions(self, request: HttpRequest, target: BundleRollout) -> list[AvailableAction]:
        return actions.for_rollout(target, actor_of(request))

    def described(self, target: BundleRollout) -> list[tuple[str, str]]:
        return [
            ("Rollout", str(target)),
            ("State", target.get_state_display()),
            ("Confirmed", f"{target.confirmed} of {target.targets}"),
        ]

    def crumb_title(self, target: BundleRollout) -> str:
        return str(target)

    @admin.display(description="No.")
    def number(self, rollout: BundleRollout) -> int:
        return rollout.pk

    @admin.display(description="Bundle")
    def what(self, rollout: BundleRollout) -> SafeString:
        return cells.page_of(rollout.bundle)

    @admin.display(description="Cohort")
    def whom(self, rollout: BundleRollout) -> SafeString:
        return cells.page_of(rollout.cohort)

    @admin.display(description="State")
    def badge(self, rollout: BundleRollout) -> Badge:
        return cells.badge(RolloutState, rollout.state)

    @admin.display(description="Gate")
    def gate(self, rollout: BundleRollout) -> Badge:
        return cells.gate_badge(rollout)

    @admin.display(description="Confirmed")
    def progress(self, rollout: BundleRollout) -> str:
        failed = f", {rollout.failed} failed" if rollout.failed else ""
        return f"{rollout.confirmed} of {rollout.targets}, {rollout.needed} needed{failed}"

    @admin.display(description="Released")
    def created(self, rollout: BundleRollout) -> SafeString | str:
        return moment(rollout.created_at)

    @admin.display(description="Chargers")
    def chargers(self, rollout: BundleRollout) -> SafeString:
        return link(f"{reverse('admin:trustanchors_bundleinstallation_changelist')}?rollout={rollout.pk}", "Show")

    @admin.display(description="Chargers")
    def by_state(self, rollout: BundleRollout) -> SafeString | str:
        counted = rollout.installations.order_by().values_list("state").annotate(count=Count("pk"))
        counts = dict(counted)
        present = [state for state in InstallationState.values if state in counts]
        return cells.table(
            ("State", "Chargers"), ((cells.badge(InstallationState, state), counts[state]) for state in present)
        )

    @admin.display(description="Families")
    def by_family(self, rollout: BundleRollout) -> SafeString | str:
        return cells.table(
            ("No.", "Family", "How it stands", "Confirmed", "Failed", ""),
            (
                (
                    item.group.pk,
                    item.group,
                    _told(item),
                    f"{item.group.confirmed} of {item.group.targets}",
                    f"{item.group.failed} (stops at {item.group.failure_limit})",
                    Badge(item.label, item.tone),
                )
                for item in family_standing.of(rollout, timezone.now())
            ),
        )

    @admin.display(description="Time for a charger")
    def time(self, rollout: BundleRollout) -> str:
        return exact_span(rollout.deadline)

    @admin.display(description="Asked again after")
    def asked_again(self, rollout: BundleRollout) -> str:
        return exact_span(rollout.check_interval)
