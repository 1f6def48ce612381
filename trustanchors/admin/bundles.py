"""Bundles: the list, one page each with what would be sent, and their verbs."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextareaWidget

from bfcerts.console.filters import ChoiceFilter
from bfcerts.console.presentation import Badge, moment
from inventory.admin.actions import PageWithActions, actor_of
from inventory.admin.durations import DurationField
from inventory.admin.editing import REASON, ReasonedForm
from inventory.admin.verbs import ActionForm, Order, Preview, Verb, Verbs
from inventory.errors import InvalidInputError
from inventory.models import Cohort
from inventory.services.actions import AvailableAction
from inventory.words import agreeing, counted, part_of
from trustanchors.admin import cells
from trustanchors.admin.pages import WrittenOnce
from trustanchors.choices import CERTIFICATE_USES, BundleState
from trustanchors.models import TrustAnchor, TrustAnchorBundle
from trustanchors.services import actions, bundles, coverage, releasing, sequence, withdrawal
from trustanchors.services.plan_kind import WORDS
from trustanchors.services.releasing import Pace

DEFAULT = Pace()
SHOWN = 20
"""Families that a preview names."""
_ANCHORS_HELP = "Numbers of anchors, one on each line, in the order of the bundle."


def numbered(texts: str, model: type[Model], what: str) -> list[Any]:
    """Objects by their numbers, one on each line, in their order.

    :raises InvalidInputError: naming what is no number, or of nothing.
    """
    lines = [line.strip() for line in texts.splitlines() if line.strip()]
    for line in lines:
        if not line.isdecimal() or len(line) > 18:
            raise InvalidInputError(f"{line[:40]!r} is not the number of {what}; the list shows them.")
    found = model._default_manager.in_bulk([int(line) for line in lines])
    missing = [line for line in lines if int(line) not in found]
    if missing:
        raise InvalidInputError(f"There is no {what} {missing[0]}; the list shows their numbers.")
    return [found[int(line)] for line in lines]


class AnchorsForm(ActionForm):
    """The anchors of a draft."""

    anchors = forms.CharField(widget=forms.Textarea(attrs={"rows": 6, "class": "c-mono"}), help_text=_ANCHORS_HELP)


class ReleaseForm(ActionForm):
    """To whom, with what, and how fast."""

    cohort = forms.ModelChoiceField(Cohort.objects.order_by("name"))
    together_with = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "class": "c-mono"}),
        help_text="Bundles of other purposes that the same chargers get with it, by number or name, one on each line.",
    )
    threshold_percent = forms.IntegerField(
        label="Gate opens at, per cent",
        min_value=1,
        max_value=100,
        initial=DEFAULT.threshold_percent,
        help_text="So many of the chargers must have confirmed the anchors before any is enrolled or cut over.",
    )
    concurrency = forms.IntegerField(
        label="Under way at once",
        min_value=1,
        max_value=10_000,
        initial=DEFAULT.concurrency,
        help_text="Chargers that are given anchors at the same time.",
    )
    rate_per_minute = forms.IntegerField(
        label="Starts in a minute", min_value=1, max_value=10_000, initial=DEFAULT.rate_per_minute
    )
    failure_limit = forms.IntegerField(
        label="Failures that stop a family", min_value=1, max_value=10_000, initial=DEFAULT.failure_limit
    )
    deadline = DurationField(
        label="Time for a charger",
        widget=forms.TextInput,
        initial=DEFAULT.deadline,
        help_text="What has not confirmed by then has failed.",
    )
    check_interval = DurationField(
        label="Asked again after",
        widget=forms.TextInput,
        initial=DEFAULT.check_interval,
        help_text="How often a charger that has confirmed is asked what it has.",
    )


class EmergencyForm(ActionForm):
    """How far it goes, and who could not reconnect then."""

    delete_needed = forms.BooleanField(
        required=False, label="Delete also what the present server chain or the charger identity CA needs"
    )
    override_forecast = forms.BooleanField(
        required=False,
        label="Although chargers could not reconnect",
        help_text="Needs a permission of its own; the reason stays in the audit history.",
    )


def _change(order: Order) -> str:
    order.actor.require("trustanchors.change_trustanchorbundle")
    anchors = numbered(order.values["anchors"], TrustAnchor, "an anchor")
    bundles.change(bundle=order.target, anchors=anchors, actor=order.actor, reason=order.reason, now=order.now)
    return f"{order.target} holds {counted(len(anchors), 'anchor')} now."


def _release(order: Order) -> str:
    values = dict(order.values)
    cohort = values.pop("cohort")
    released = _bundles(order, values.pop("together_with"))
    releasing.release(
        bundles=released,
        cohort=cohort,
        pace=Pace(**values),
        actor=order.actor,
        reason=order.reason,
        now=order.now,
    )
    return f"{order.target} is released to {cohort}. Follow it among the rollouts."


def _bundles(order: Order, together: str) -> list[TrustAnchorBundle]:
    return [order.target, *(bundles.named(line) for line in together.splitlines() if line.strip())]


def _whom_it_reaches(order: Order) -> Preview:
    values = dict(order.values)
    cohort = values.pop("cohort")
    released = _bundles(order, values.pop("together_with"))
    found = releasing.foresee(bundles=released, cohort=cohort, pace=Pace(**values), actor=order.actor, now=order.now)
    tally = found.tally
    families = (counted(number, "charger") + f" of {family}" for family, number in tally.families.most_common(SHOWN))
    facts = [
        ("Released", "; ".join(str(bundle) for bundle in released)),
        ("Reaches", f"{part_of(tally.able, tally.targets, 'charger')} of cohort {cohort}"),
        (
            "Gate",
            f"opens when {part_of(found.needed, tally.targets, 'charger')} {agreeing(found.needed, 'has', 'have')} "
            "confirmed",
        ),
        ("Families", ", ".join(families) or "none"),
    ]
    for code, number in tally.codes.most_common():
        facts.append((f"Left out: {WORDS[code]}", f"{counted(number, 'charger')}. For example: {tally.examples[code]}"))
    return Preview(facts, found.obstacle)


def _withdraw(order: Order) -> str:
    withdrawal.withdraw(bundle=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"{order.target} is withdrawn; its gates are closed."


def _emergency(order: Order) -> str:
    withdrawal.withdraw(
        bundle=order.target,
        emergency=True,
        delete_needed=order.values["delete_needed"],
        override_forecast=order.values["override_forecast"],
        actor=order.actor,
        reason=order.reason,
        now=order.now,
    )
    return f"{order.target} is withdrawn; its gates are closed, and its anchors are being deleted from the chargers."


bundle_verbs = Verbs()
for verb in (
    Verb("change", "edit", _change, AnchorsForm),
    Verb("release", "rocket_launch", _release, ReleaseForm, _whom_it_reaches),
    Verb("withdraw", "undo", _withdraw),
    Verb("emergency_withdraw", "gpp_bad", _emergency, EmergencyForm),
):
    bundle_verbs.register(verb)


class BundleForm(ReasonedForm):
    """The next version of a purpose."""

    anchor_numbers = forms.CharField(
        label="Anchors", widget=UnfoldAdminTextareaWidget(attrs={"rows": 6}), help_text=_ANCHORS_HELP
    )


@admin.register(TrustAnchorBundle)
class TrustAnchorBundleAdmin(PageWithActions, WrittenOnce):
    """Numbered versions of what endpoints are to trust; what was released never changes."""

    form = BundleForm
    verbs = bundle_verbs
    change_form_template = "admin/console/read_only_with_actions.html"
    list_display = ("number", "purpose", "version", "badge", "released", "note")
    list_filter = (("purpose", ChoiceFilter), ("state", ChoiceFilter))
    search_fields = ("note",)
    search_help_text = "Note"
    add_fieldsets = (("The next version", {"fields": ("purpose", "anchor_numbers", "note")}), REASON)
    fieldsets = (
        ("Version", {"fields": ("purpose", "version", "badge", "note", "released", "withdrawn", "digest")}),
        ("What would be sent", {"fields": ("sent",)}),
        ("Where it was released", {"fields": ("releases",)}),
    )
    readonly_fields = ("badge", "released", "withdrawn", "sent", "releases", "digest")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        values = form.cleaned_data
        made = bundles.draft(
            purpose_key=values["purpose"],
            anchors=numbered(values["anchor_numbers"], TrustAnchor, "an anchor"),
            note=values["note"],
            actor=actor_of(request),
            reason=values["reason"],
        )
        obj.__dict__.update(made.__dict__)

    def available_actions(self, request: HttpRequest, target: TrustAnchorBundle) -> list[AvailableAction]:
        return actions.for_bundle(target, actor_of(request))

    def described(self, target: TrustAnchorBundle) -> list[tuple[str, str]]:
        return [
            ("Bundle", str(target)),
            ("State", target.get_state_display()),
            ("Anchors", ", ".join(f"{anchor} (number {anchor.pk})" for anchor in target.ordered_anchors())),
        ]

    def described_for(self, target: TrustAnchorBundle, verb: str) -> list[tuple[str, str]]:
        known = self.described(target)
        if verb not in ("withdraw", "emergency_withdraw"):
            return known
        return [*known, ("Who could not reconnect after its withdrawal", withdrawal.forecast(target, timezone.now()))]

    @admin.display(description="No.")
    def number(self, bundle: TrustAnchorBundle) -> int:
        return bundle.pk

    @admin.display(description="State")
    def badge(self, bundle: TrustAnchorBundle) -> Badge:
        return cells.badge(BundleState, bundle.state)

    @admin.display(description="Released")
    def released(self, bundle: TrustAnchorBundle) -> SafeString | str:
        return moment(bundle.released_at)

    @admin.display(description="Withdrawn")
    def withdrawn(self, bundle: TrustAnchorBundle) -> SafeString | str:
        return moment(bundle.withdrawn_at)

    @admin.display(description="In this order")
    def sent(self, bundle: TrustAnchorBundle) -> SafeString | str:
        use, now = CERTIFICATE_USES.get(bundle.purpose, ""), timezone.now()
        ordered = sequence.in_order(bundle.ordered_anchors(), use, coverage.closing_anchors(), keeps=False)
        return cells.table(
            ("Anchor", "Kept as", "Sent to", "Ends"),
            (
                (
                    cells.page_of(anchor),
                    use or "not delivered over OCPP",
                    "every family" if anchor.self_signed else "families that take more than roots",
                    cells.end_words(anchor.not_after, now),
                )
                for anchor in ordered
            ),
        )

    @admin.display(description="Rollouts")
    def releases(self, bundle: TrustAnchorBundle) -> SafeString | str:
        rollouts = bundle.rollouts.select_related("cohort", "bundle").order_by("-pk")[:20]
        return cells.table(
            ("Cohort", "Confirmed", "Gate"),
            (
                (cells.page_of(one, one.cohort), f"{one.confirmed} of {one.targets}", cells.gate_badge(one))
                for one in rollouts
            ),
        )
