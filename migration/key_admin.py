"""What goes on around AuthorizationKeys, in the console: rotations, and the key paths of families."""

from django import forms
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from bfcerts.console.filters import ChoiceFilter
from bfcerts.console.modeladmin import ReadOnlyAdmin
from bfcerts.console.presentation import Badge, moment
from inventory.admin import states
from inventory.admin.capabilities import family_verbs
from inventory.admin.search import identities_matching
from inventory.admin.verbs import ActionForm, Order, Verb
from inventory.choices import KeyPath
from migration.key_choices import RotationStage
from migration.models import KeyRotation
from migration.services import key_paths

STAGE_COLOURS = {
    RotationStage.DELIVERING: "info",
    RotationStage.RETRYING: "warning",
    RotationStage.RECONNECTING: "info",
    RotationStage.SUCCEEDED: "success",
    RotationStage.FAILED: "danger",
}


class PathForm(ActionForm):
    """Which way the family takes a new key."""

    path = forms.ChoiceField(
        label="How its stations keep a new key",
        choices=[choice for choice in KeyPath.choices if choice[0] != KeyPath.UNAPPROVED],
    )


def _approve_path(order: Order) -> str:
    family = key_paths.approve(
        family=order.target, path=order.values["path"], actor=order.actor, reason=order.reason, now=order.now
    )
    return f"The key path of {family} is approved: {family.get_key_path_display()}."


def _withdraw_path(order: Order) -> str:
    family = key_paths.withdraw(family=order.target, actor=order.actor, reason=order.reason)
    return f"The approval of the key path of {family} is withdrawn."


family_verbs.register(Verb("approve_key_path", "key_vertical", _approve_path, PathForm))
family_verbs.register(Verb("withdraw_key_path", "key_off", _withdraw_path))


class ByCharger(ReadOnlyAdmin):
    """A list whose rows belong to a charger, and are found by its identifier."""

    search_fields = ("id",)
    search_help_text = "Identifier"
    identity_field = "identity_id"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Model], search_term: str
    ) -> tuple[QuerySet[Model], bool]:
        term = search_term.strip()
        if term:
            queryset = queryset.filter(**{f"{self.identity_field}__in": identities_matching(term)})
        return queryset, False


@admin.register(KeyRotation)
class KeyRotationAdmin(ByCharger):
    """The way of every new key to its charger."""

    identity_field = "key__identity_id"
    list_display = ("whose", "label", "badge", "channel", "deliveries", "resets", "started")
    list_filter = (
        ("stage", ChoiceFilter),
        ("channel", ChoiceFilter),
        ("key__identity", AutocompleteSelectFilter),
    )
    list_select_related = ("key__identity",)
    fields = (
        "whose",
        "label",
        "badge",
        "detail",
        "channel",
        "family",
        "deliveries",
        "resets",
        "may_be_stored",
        "started",
        "stored",
        "back_by",
        "step",
        "ended",
    )
    readonly_fields = ("whose", "label", "badge", "started", "stored", "back_by", "step", "ended")

    def crumb_title(self, target: KeyRotation) -> str:
        return f"Rotation of {target.key.identity.authoritative_identifier} to key {target.key.version}"

    @admin.display(description="Charger")
    def whose(self, rotation: KeyRotation) -> SafeString | str:
        return states.identity_cell(rotation.key.identity)

    @admin.display(description="Key")
    def label(self, rotation: KeyRotation) -> str:
        return f"Version {rotation.key.version}"

    @admin.display(description="Stage")
    def badge(self, rotation: KeyRotation) -> Badge:
        stage = RotationStage(rotation.stage)
        return Badge(stage.label, STAGE_COLOURS[stage])

    @admin.display(description="Started")
    def started(self, rotation: KeyRotation) -> SafeString | str:
        return moment(rotation.started_at)

    @admin.display(description="Acknowledged")
    def stored(self, rotation: KeyRotation) -> SafeString | str:
        return moment(rotation.stored_at)

    @admin.display(description="Back with it by")
    def back_by(self, rotation: KeyRotation) -> SafeString | str:
        return moment(rotation.connect_by)

    @admin.display(description="Next step")
    def step(self, rotation: KeyRotation) -> SafeString | str:
        return moment(rotation.next_step_at)

    @admin.display(description="Ended")
    def ended(self, rotation: KeyRotation) -> SafeString | str:
        return moment(rotation.ended_at)
