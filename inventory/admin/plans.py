"""Plans: the list, the page of each with what it would do and to whom, and the page that makes one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from bfcerts.console import navigation
from bfcerts.console.filters import ChoiceFilter
from bfcerts.console.modeladmin import ReadOnlyAdmin, key_of
from bfcerts.console.navigation import Crumb
from bfcerts.console.presentation import NOTHING, Badge, exact_span, moment, spoken
from inventory.actors import Actor
from inventory.admin.actions import actor_of
from inventory.admin.editing import REASON, EditableAdmin
from inventory.admin.history import HistoryMixin
from inventory.admin.live_page import LivePage
from inventory.admin.verbs import ActionForm, Order, Verb, Verbs
from inventory.choices import OPEN_PLAN_STATES, PLAN_COLOURS, TARGET_COLOURS, PlanRun, PlanState, TargetOutcome
from inventory.errors import InventoryError, ParametersError
from inventory.models import Plan, PlanTarget, SitePolicy
from inventory.services import plans
from inventory.services.actions import AvailableAction
from inventory.services.changes import entries_of
from inventory.services.plans import offers
from inventory.services.plans.kinds import Field, FollowedPlanKind, Stand, words_for
from inventory.words import actor_words, counted

TARGETS = 50
"""Targets on one page."""


class ApplyForm(ActionForm):
    """The digest of what was looked at, carried by the page."""

    digest = forms.CharField(max_length=64, widget=forms.HiddenInput, label="Digest")

    def __init__(self, *args: Any, target: Plan, **kwargs: Any) -> None:
        super().__init__(*args, target=target, **kwargs)
        self.fields["digest"].initial = target.digest


def _apply(order: Order) -> str:
    plan = plans.apply(
        plan=order.target,
        digest=order.values["digest"],
        actor=order.actor,
        reason=order.reason,
        now=order.now,
    )
    if plan.state == PlanState.APPLYING:
        return f"Plan {plan.pk} is compared with how things stand now, then applied. This page shows how far it is."
    return f"Plan {plan.pk} is applied: {counted(plan.included, 'target')}."


def _cancel(order: Order) -> str:
    plans.cancel(plan=order.target, actor=order.actor, reason=order.reason)
    return f"Plan {order.target.pk} is cancelled."


def _pause(order: Order) -> str:
    plans.pause(plan=order.target, actor=order.actor, reason=order.reason)
    return f"Plan {order.target.pk} is paused: no further target starts."


def _resume(order: Order) -> str:
    plans.resume(plan=order.target, actor=order.actor, reason=order.reason)
    return f"Plan {order.target.pk} goes on."


def _stop(order: Order) -> str:
    plans.stop(plan=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"Plan {order.target.pk} is stopped."


plan_verbs = Verbs()
for verb in (
    Verb("apply", "play_arrow", _apply, ApplyForm),
    Verb("cancel", "cancel", _cancel),
    Verb("pause", "pause", _pause),
    Verb("resume", "resume", _resume),
    Verb("stop", "stop", _stop),
):
    plan_verbs.register(verb)


class NewPlanForm(forms.Form):
    """The parameters of a kind of plan, as its fields ask for them."""

    def __init__(self, *args: Any, kind: plans.PlanKind, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in kind.fields:
            self.fields[field.name] = _form_field(field)
        self.optional = {"title", *(field.name for field in kind.fields if not field.required)}
        self.fields["title"] = forms.CharField(
            max_length=200, required=False, help_text="Empty: made from the parameters."
        )
        self.fields["reason"] = forms.CharField(
            max_length=1000,
            widget=forms.Textarea(attrs={"rows": 2, "required": True}),
            error_messages={"required": "Say why you do this."},
            help_text="Why you do this. It stays in the audit history, with your name.",
        )

    def parameters(self) -> dict[str, Any]:
        """What was filled in, as the kind takes it."""
        values = {name: value for name, value in self.cleaned_data.items() if name not in ("title", "reason")}
        return {name: value for name, value in values.items() if value not in ("", [])}


class LinesField(forms.CharField):
    """A list of texts, one on each line."""

    def clean(self, value: Any) -> Any:
        return [line.strip() for line in super().clean(value).splitlines() if line.strip()]


def _form_field(field: Field) -> forms.Field:
    # What is required is asked for by the service, in its words and together with all else that is wrong.
    options: dict[str, Any] = {"label": field.label, "required": False, "help_text": field.help}
    if field.choices:
        return forms.ChoiceField(choices=list(field.choices), initial=field.default, **options)
    if field.many:
        options["help_text"] = f"{field.help} One on each line.".strip()
        widget = forms.Textarea(attrs={"rows": 2, "spellcheck": "false"})
        return LinesField(max_length=100_000, widget=widget, **options)
    return forms.CharField(max_length=1_000, initial=field.default, **options)


@dataclass(frozen=True, slots=True)
class Group:
    """Targets of a plan that stand alike, as one filter of its page."""

    key: str
    label: str
    count: int
    tone: str = "default"


@admin.register(Plan)
class PlanAdmin(LivePage, HistoryMixin, ReadOnlyAdmin):
    """Bulk actions, looked at before they are done."""

    page_template = "admin/inventory/plan/page.html"
    verbs = plan_verbs
    version_fields = ("state", "run", "digest")
    change_list_template = "admin/inventory/plan/change_list.html"
    list_display = ("number", "title", "badge", "how_many", "run_badge", "who", "created")
    list_filter = (("state", ChoiceFilter), ("run", ChoiceFilter))
    search_fields = ("title",)
    search_help_text = "Title"
    unread_fields = ("risk", "parameters", "excluded", "steps", "difference", "refusal")

    @admin.display(description="No.")
    def number(self, plan: Plan) -> int:
        return plan.pk

    @admin.display(description="State")
    def badge(self, plan: Plan) -> Badge:
        return _state_badge(plan)

    @admin.display(description="Included")
    def how_many(self, plan: Plan) -> str:
        return f"{plan.included:,} of {plan.candidates:,}"

    @admin.display(description="Run")
    def run_badge(self, plan: Plan) -> str:
        return PlanRun(plan.run).label if plan.run else "-"

    @admin.display(description="Made by")
    def who(self, plan: Plan) -> str:
        return actor_words(plan.actor)

    @admin.display(description="Made")
    def created(self, plan: Plan) -> SafeString | str:
        return moment(plan.created_at)

    def get_urls(self) -> list[URLPattern]:
        new = self.admin_site.admin_view(self.new_view)
        return [
            path("new/", new, name="inventory_plan_new"),
            path("new/<slug:kind>/", new, name="inventory_plan_new_kind"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        may_plan = bool(offers.plannable(actor_of(request)))
        return super().changelist_view(request, {"may_plan": may_plan} | (extra_context or {}))

    def available_actions(self, request: HttpRequest, target: Plan) -> list[AvailableAction]:
        return offers.for_plan(target, actor_of(request), timezone.now())

    def described(self, target: Plan) -> list[tuple[str, str]]:
        return [
            ("Plan", f"{target.pk}, {target}"),
            ("Targets", f"{target.included:,} of {target.candidates:,}"),
            ("Digest", target.digest or "not complete yet"),
        ]

    def shown(self, request: HttpRequest, object_id: str) -> Plan:
        return self.viewable(request, Plan.objects.all(), object_id)

    def page_context(self, request: HttpRequest, target: Plan) -> dict[str, Any]:
        kind = plans.kind_named(target.kind)
        chosen, after = request.GET.get("show", ""), max(0, key_of(request.GET.get("after", "0")))
        keyset = _keyset(chosen)
        targets = list(_targets(target, chosen).filter(**{f"{keyset}__gt": after}).order_by(keyset)[: TARGETS + 1])
        followed = kind if target.state == PlanState.APPLIED and isinstance(kind, FollowedPlanKind) else None
        standing = followed.standing(target, targets[:TARGETS]) if followed else {}
        return {
            "plan": target,
            "kind": kind,
            "duration": exact_span(target.expected_duration),
            "parameters": list(_parameters(target.parameters)),
            "now": timezone.now(),
            "applying": target.state == PlanState.APPLYING,
            "preparing": target.state == PlanState.PREPARING,
            "badge": _state_badge(target),
            "run": PlanRun(target.run).label if target.run else "",
            "steps": [(words_for(kind, code), target.steps[code]) for code in sorted(target.steps, key=_natural)],
            "made": [(label, item, _page_of(item)) for label, item in followed.made(target) if _may_view(request, item)]
            if followed
            else [],
            "can_lapse": target.state in OPEN_PLAN_STATES,
            "followed": followed is not None or bool(target.run),
            "risks": [
                ("By family", target.risk.get("families", []), target.risk.get("more_families", 0)),
                ("By site", target.risk.get("sites", []), target.risk.get("more_sites", 0)),
            ],
            "groups": _groups(target, kind),
            "chosen": chosen,
            "targets": [
                (
                    target,
                    ", ".join(words_for(kind, step) for step in target.steps),
                    *_standing_of(target, standing.get(target.identity_id)),
                )
                for target in targets[:TARGETS]
            ],
            "next_after": getattr(targets[TARGETS - 1], keyset) if len(targets) > TARGETS else None,
            "history": entries_of(target, 15),
        }

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """The usual address of a new object leads to the choice, for whoever may plan something."""
        if not self.has_view_permission(request) or not offers.plannable(actor_of(request)):
            raise PermissionDenied
        return HttpResponseRedirect(reverse("admin:inventory_plan_new"))

    def new_view(self, request: HttpRequest, kind: str = "") -> HttpResponse:
        """Choose what to plan, then say for whom."""
        actor = actor_of(request)
        keys = offers.plannable(actor)
        if not self.has_view_permission(request) or not keys:
            raise PermissionDenied
        if kind and kind not in {known.key for known in plans.kinds()}:
            messages.error(request, f"There is no kind of plan “{kind}”. Choose one here.")
            return HttpResponseRedirect(reverse("admin:inventory_plan_new"))
        if kind and kind not in keys:
            raise PermissionDenied
        chosen = plans.kind_named(kind) if kind else None
        form = NewPlanForm(request.POST or None, kind=chosen) if chosen else None
        status = HTTPStatus.OK
        if request.method == "POST" and form is not None and chosen is not None:
            if not form.is_valid():
                _check(chosen, form)
            elif (made := self._make(request, chosen, form, actor)) is not None:
                return HttpResponseRedirect(reverse("admin:inventory_plan_change", args=[made.pk]))
            status = HTTPStatus.BAD_REQUEST
        context = {
            **self.admin_site.each_context(request),
            "title": f"Plan: {chosen.label}" if chosen else "New plan",
            "crumbs": navigation.crumbs(Plan, Crumb(chosen.label if chosen else "New")),
            "kinds": [plans.kind_named(key) for key in keys],
            "kind": chosen,
            "form": form,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/inventory/plan/new.html", context, status=status)

    def _make(self, request: HttpRequest, kind: plans.PlanKind, form: NewPlanForm, actor: Actor) -> Plan | None:
        try:
            plan = plans.ask(
                kind=kind.key,
                parameters=form.parameters(),
                actor=actor,
                reason=form.cleaned_data["reason"],
                title=form.cleaned_data["title"],
                now=timezone.now(),
            )
        except InventoryError as error:
            _say_at_fields(form, error)
            return None
        messages.success(request, f"Plan {plan.pk} is made. Look at it, then apply it; nothing has been done yet.")
        return plan


def _check(kind: plans.PlanKind, form: NewPlanForm) -> None:
    """Say at once what else of a form cannot be used, beside what the form itself has found."""
    try:
        kind.validate(form.parameters())
    except InventoryError as error:
        _say_at_fields(form, error)


def _say_at_fields(form: NewPlanForm, error: InventoryError) -> None:
    places = error.places if isinstance(error, ParametersError) else {"": str(error)}
    for name, told in places.items():
        known = form.fields.get(name)
        words = (known and known.label) or spoken(name.replace("/", " "))
        form.add_error(name if known else None, f"{words} {told}" if name else told)


def _parameters(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a plan was made with, in words; each of several groups of values, such as waves, on a line of its own."""
    for name, value in parameters.items():
        words = spoken(name)
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            for number, group in enumerate(value, start=1):
                told = [f"{spoken(key).lower()} {_said(item)}" for key, item in group.items() if item not in (None, "")]
                yield f"{words.removesuffix('s')} {number}", ", ".join(told)
        else:
            yield words, _said(value)


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return NOTHING if value in (None, "") else str(value)


def _state_badge(plan: Plan) -> Badge:
    return Badge(PlanState(plan.state).label, PLAN_COLOURS[plan.state])


def _standing_of(target: PlanTarget, stand: Stand | None) -> tuple[Badge | None, str]:
    """The outcome of a target, or how what the plan has made for it stands."""
    if target.outcome:
        return Badge(TargetOutcome(target.outcome).label, TARGET_COLOURS[target.outcome]), target.detail
    return (Badge(stand.label, stand.tone), stand.detail) if stand is not None else (None, target.detail)


def _natural(code: str) -> tuple[str, int, str]:
    """Steps by name, and groups of one name by their number: wave:2 before wave:10."""
    name, _, rest = code.partition(":")
    return name, int(rest) if rest.isdecimal() else 0, rest


def _page_of(item: Model) -> str:
    return reverse(f"admin:{item._meta.app_label}_{item._meta.model_name}_change", args=[item.pk])


def _may_view(request: HttpRequest, item: Model) -> bool:
    return bool(request.user.has_perm(f"{item._meta.app_label}.view_{item._meta.model_name}"))


def _targets(plan: Plan, chosen: str) -> QuerySet[PlanTarget]:
    """The targets of a group; `reason:` and `outcome:` name one, anything else is all of them."""
    targets = PlanTarget.objects.filter(plan=plan).select_related("identity")
    name, _, value = chosen.partition(":")
    if name == "reason" and value:
        return targets.filter(reason_code=value)
    if name == "outcome" and value:
        return targets.filter(outcome=value)
    # Whoever is included has no reason to be excluded: the index by reason has them in their order.
    return targets.filter(included=True, reason_code="") if name == "included" else targets


def _keyset(chosen: str) -> str:
    """The column that the index of a group is ordered by; either way they stand in the order of the plan."""
    return "position" if chosen.partition(":")[0] in ("included", "reason", "outcome") else "id"


def _groups(plan: Plan, kind: plans.PlanKind) -> list[Group]:
    groups = [Group("included", "Included", plan.included, "success")]
    if plan.run:
        counts = PlanTarget.objects.filter(plan=plan).exclude(outcome="").values_list("outcome").annotate(Count("pk"))
        found = dict(counts.order_by())
        groups += [
            Group(f"outcome:{outcome.value}", outcome.label, found[outcome.value], TARGET_COLOURS[outcome.value])
            for outcome in TargetOutcome
            if found.get(outcome.value) and outcome.value
        ]
    return groups + [
        Group(f"reason:{code}", f"Excluded: {words_for(kind, code)}", number) for code, number in plan.excluded.items()
    ]


@admin.register(SitePolicy)
class SitePolicyAdmin(EditableAdmin):
    """How many chargers of a site may be away at once."""

    list_display = ("__str__", "away_percent", "away_most")
    search_fields = ("site",)
    search_help_text = "Site"
    ordering = ("site",)
    keyset_field = ""
    fieldsets = (("How many may be away at once", {"fields": ("site", "away_percent", "away_most")}), REASON)
