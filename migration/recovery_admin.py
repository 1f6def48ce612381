"""Narrow doors and vendors' default keys in the console; a key is never shown again once its form is left."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.widgets import UnfoldAdminPasswordWidget

from bfcerts.console.filters import ChoiceFilter
from bfcerts.console.presentation import Badge, link, moment
from inventory.admin import states
from inventory.admin.actions import PageWithActions, actor_of
from inventory.admin.editing import REASON, EditableAdmin, ReasonedForm
from inventory.admin.history import HistoryMixin
from inventory.admin.verbs import ActionForm, Order, Verb, Verbs, identity_verbs
from inventory.models import ManagedIdentity
from inventory.services.actions import AvailableAction
from migration.key_admin import ByCharger
from migration.key_choices import RecoveryCause
from migration.models import KnownDefaultKey, RecoveryDoor
from migration.services import key_actions, known_defaults, recovery, renewal_door, secrets_of_keys


class HoursForm(ActionForm):
    """How long a narrow door stays open."""

    hours = forms.IntegerField(
        label="Open for, in hours",
        min_value=1,
        max_value=int(recovery.LONGEST.total_seconds() // 3600),
        initial=24,
    )


class DoorForm(HoursForm):
    """A narrow door with a key, which is made for this page and stored as a digest only."""

    cause = forms.ChoiceField(label="Cause", choices=RecoveryCause.choices)
    secret = forms.CharField(
        label="Key to set on the charger",
        strip=False,
        initial=secrets_of_keys.generate,
        widget=forms.TextInput(attrs={"readonly": True, "autocomplete": "off", "class": "c-mono"}),
        help_text="Note it before you confirm: it is never shown again.",
    )
    although_it_works = forms.BooleanField(
        label="Although its certificate works",
        error_messages={"required": "Its certificate works: confirm that the door is to be opened all the same."},
    )

    def __init__(self, *args: Any, target: ManagedIdentity, **kwargs: Any) -> None:
        super().__init__(*args, target=target, **kwargs)
        warning = recovery.what_it_costs(target, timezone.now())
        if warning is None:
            del self.fields["although_it_works"]
        else:
            self.fields["although_it_works"].help_text = warning


def _open_door(order: Order) -> str:
    door = recovery.open_profile_2(
        identity=order.target,
        cause=order.values["cause"],
        secret=order.values["secret"],
        until=order.now + timedelta(hours=order.values["hours"]),
        actor=order.actor,
        reason=order.reason,
        although_it_works=order.values.get("although_it_works", False),
        now=order.now,
    )
    return f"{order.target.authoritative_identifier} is let in with the key until {door.until:%Y-%m-%d %H:%M} UTC."


def _open_renewal_door(order: Order) -> str:
    door = renewal_door.open_for_renewal(
        identity=order.target,
        until=order.now + timedelta(hours=order.values["hours"]),
        actor=order.actor,
        reason=order.reason,
        now=order.now,
    )
    return (
        f"{order.target.authoritative_identifier} is let in with certificate {door.certificate_id} until "
        f"{door.until:%Y-%m-%d %H:%M} UTC, only to renew it."
    )


def _close_door(order: Order) -> str:
    door = recovery.open_door_of(order.target)
    recovery.close(door=door, actor=order.actor, reason=order.reason, now=order.now)
    return f"The narrow door of {order.target.authoritative_identifier} is closed."


def _close(order: Order) -> str:
    door = recovery.close(door=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"The narrow door of {door.identity.authoritative_identifier} is closed."


def _remove_default(order: Order) -> str:
    known_defaults.remove(entry=order.target, actor=order.actor, reason=order.reason)
    return f"“{order.target.label}” is off the list; chargers with that key are not found any more."


for _verb in (
    Verb("open_door", "door_open", _open_door, DoorForm),
    Verb("open_renewal_door", "meeting_room", _open_renewal_door, HoursForm),
    Verb("close_door", "door_front", _close_door),
):
    identity_verbs.register(_verb)
door_verbs = Verbs()
door_verbs.register(Verb("close", "door_front", _close))
default_key_verbs = Verbs()
default_key_verbs.register(Verb("remove", "delete", _remove_default))


def door_words(door: RecoveryDoor) -> str:
    """What an open door lets a charger in with."""
    if door.certificate_id is not None:
        return f"the renewal of its expired certificate {door.certificate_id}, and nothing else"
    return "its fresh key on Profile 2"


@admin.register(RecoveryDoor)
class RecoveryDoorAdmin(PageWithActions, HistoryMixin, ByCharger):
    """Every narrow door. They are opened on the page of their charger."""

    verbs = door_verbs
    change_form_template = "admin/console/read_only_with_actions.html"
    list_display = ("whose", "badge", "kind", "cause", "opened", "opened_by", "ends")
    list_filter = (
        ("kind", ChoiceFilter),
        ("cause", ChoiceFilter),
        ("identity", AutocompleteSelectFilter),
    )
    list_select_related = ("identity",)
    fields = (
        "whose",
        "badge",
        "kind",
        "opens_to",
        "cause",
        "opened",
        "opened_by",
        "reason",
        "ends",
        "closed",
        "closing",
    )
    readonly_fields = ("whose", "badge", "opens_to", "opened", "ends", "closed")

    def available_actions(self, request: HttpRequest, target: RecoveryDoor) -> list[AvailableAction]:
        return key_actions.for_door(target, actor_of(request))

    def crumb_title(self, target: RecoveryDoor) -> str:
        return f"Narrow door of {target.identity.authoritative_identifier}"

    def described(self, target: RecoveryDoor) -> list[tuple[str, str]]:
        return [("Charger", target.identity.authoritative_identifier), ("Opens to", door_words(target))]

    @admin.display(description="Charger")
    def whose(self, door: RecoveryDoor) -> SafeString | str:
        return states.identity_cell(door.identity)

    @admin.display(description="State")
    def badge(self, door: RecoveryDoor) -> Badge:
        if door.closed_at is not None:
            return Badge("Closed", "default")
        return Badge("Open", "warning") if door.until > timezone.now() else Badge("Over", "default")

    @admin.display(description="Opens to")
    def opens_to(self, door: RecoveryDoor) -> SafeString | str:
        if door.certificate_id is not None:
            page = reverse("admin:inventory_certificaterecord_change", args=[door.certificate_id])
        else:
            page = reverse("admin:migration_authorizationkey_change", args=[door.key_id])
        return link(page, door_words(door))

    @admin.display(description="Opened")
    def opened(self, door: RecoveryDoor) -> SafeString | str:
        return moment(door.opened_at)

    @admin.display(description="Open until")
    def ends(self, door: RecoveryDoor) -> SafeString | str:
        return moment(door.until)

    @admin.display(description="Closed")
    def closed(self, door: RecoveryDoor) -> SafeString | str:
        return moment(door.closed_at)


class DefaultKeyForm(ReasonedForm):
    """A vendor's default key; it is stored as a keyed digest."""

    secret = forms.CharField(
        label="The default key",
        strip=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password", "spellcheck": "false"}),
        help_text=(
            f"{secrets_of_keys.SHORTEST} to {secrets_of_keys.LONGEST} printable ASCII characters. It is never shown "
            "again."
        ),
    )

    class Meta:
        model = KnownDefaultKey
        fields = ["label"]


@admin.register(KnownDefaultKey)
class KnownDefaultKeyAdmin(PageWithActions, EditableAdmin):
    """Vendors' default keys, by name; the keys themselves are digests that nobody sees."""

    verbs = default_key_verbs
    form = DefaultKeyForm
    change_form_template = "admin/console/read_only_with_actions.html"
    add_form_template = "admin/console/change_form.html"
    list_display = ("label", "added")
    search_fields = ("label",)
    search_help_text = "Name"
    ordering = ("-id",)
    readonly_fields = ("added",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fieldsets(self, request: HttpRequest, obj: KnownDefaultKey | None = None) -> Any:
        if obj is not None:
            return (("Default key", {"fields": ("label", "added")}),)
        return (("Which key", {"fields": ("label", "secret")}), REASON)

    def save_model(self, request: HttpRequest, obj: KnownDefaultKey, form: ReasonedForm, change: bool) -> None:
        entry = known_defaults.add(
            label=obj.label,
            secret=form.cleaned_data["secret"],
            actor=actor_of(request),
            reason=form.cleaned_data["reason"],
        )
        obj.pk = entry.pk

    def available_actions(self, request: HttpRequest, target: KnownDefaultKey) -> list[AvailableAction]:
        return key_actions.for_default_key(target, actor_of(request))

    def page_after(self, target: KnownDefaultKey) -> str:
        return reverse("admin:migration_knowndefaultkey_changelist")

    def described(self, target: KnownDefaultKey) -> list[tuple[str, str]]:
        return [("Default key", target.label)]

    @admin.display(description="Added")
    def added(self, entry: KnownDefaultKey) -> SafeString | str:
        return moment(entry.created_at)
