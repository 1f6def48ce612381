"""AuthorizationKeys in the console: their versions and states, never their values."""

from datetime import datetime

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from bfcerts.console.filters import ChoiceFilter
from bfcerts.console.modeladmin import ReadOnlyAdmin
from bfcerts.console.presentation import Badge, moment
from inventory.admin import states
from inventory.admin.actions import PageWithActions, actor_of
from inventory.admin.history import HistoryMixin
from inventory.admin.panels import Panel, register_identity_panel
from inventory.admin.search import identities_matching
from inventory.admin.verbs import ActionForm, Order, Verb, Verbs, identity_verbs
from inventory.choices import SubjectKind
from inventory.models import ManagedIdentity
from inventory.services.actions import AvailableAction
from migration import calendar_admin as calendar_admin
from migration import case_admin as case_admin
from migration import key_admin as key_admin
from migration import rollout_admin as rollout_admin
from migration.key_choices import FLAG_CHOICES, RotationStage
from migration.key_import_admin import ImportMixin
from migration.models import AuthorizationKey, KeyRotation, RecoveryDoor
from migration.recovery_admin import door_words
from migration.services import authorization_keys, rotation, rotation_need, secrets_of_keys
from migration.services.key_states import PROFILE_2

TONES = {
    AuthorizationKey.State.PENDING: "info",
    AuthorizationKey.State.ACTIVE: "success",
    AuthorizationKey.State.RETIRING: "warning",
    AuthorizationKey.State.RETIRED: "default",
    AuthorizationKey.State.REVOKED: "danger",
}
SHOWN = 5


def key_badge(key: AuthorizationKey) -> Badge:
    state = AuthorizationKey.State(key.state)
    return Badge(state.label, TONES[state])


class SecretForm(ActionForm):
    """A new secret. It is stored as a keyed digest and never shown again."""

    secret = forms.CharField(
        label="AuthorizationKey",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password", "spellcheck": "false"}),
        help_text=(
            f"{secrets_of_keys.SHORTEST} to {secrets_of_keys.LONGEST} printable ASCII characters, as set on the "
            "charger. It is never shown again."
        ),
    )
    source = forms.ChoiceField(
        label="Where it comes from",
        choices=[
            ("set", "A new key: I set it on the charger myself"),
            ("imported", "The key that the charger has: it is taken over, and replaces none"),
        ],
        help_text="Nothing is sent to the charger. What it does not have refuses it; to send it a new key, rotate.",
    )
    force = forms.BooleanField(
        label="Even if the charger may have its present key and no other way in, and would be locked out",
        required=False,
    )


def _set_password(order: Order) -> str:
    if order.values["source"] == "imported":
        key = authorization_keys.import_existing(
            identity=order.target,
            secret=order.values["secret"],
            actor=order.actor,
            reason=order.reason,
            now=order.now,
        )
    else:
        key = authorization_keys.set_initial(
            identity=order.target,
            secret=order.values["secret"],
            actor=order.actor,
            reason=order.reason,
            force=order.values["force"],
            now=order.now,
        )
    return f"Key {key.version} of {order.target.authoritative_identifier} is active."


def _revoke(order: Order) -> str:
    authorization_keys.revoke(
        key=order.target, actor=order.actor, reason=order.reason, force=order.values["force"], now=order.now
    )
    return f"Key {order.target.version} is refused from now on."


class FlagForm(ActionForm):
    """What speaks against the key."""

    why = forms.ChoiceField(label="Cause", choices=FLAG_CHOICES)


class RevokeForm(ActionForm):
    """Whether also what the charger may need."""

    force = forms.BooleanField(
        label="Even if the charger may have it and no other way in, and would be locked out", required=False
    )


def _rotate(order: Order) -> str:
    key = rotation.rotate(identity=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"Key {key.version} is on its way to {order.target.authoritative_identifier}; both its keys open the door."


def _flag(order: Order) -> str:
    key = rotation_need.flag(
        identity=order.target, why=order.values["why"], actor=order.actor, reason=order.reason, now=order.now
    )
    return f"Key {key.version} of {order.target.authoritative_identifier} is marked for rotation."


for _verb in (
    Verb("rotate_key", "sync_lock", _rotate),
    Verb("flag_key", "flag", _flag, FlagForm),
):
    identity_verbs.register(_verb)
identity_verbs.register(Verb("set_password", "password", _set_password, SecretForm))
key_verbs = Verbs()
key_verbs.register(Verb("revoke", "gpp_bad", _revoke, RevokeForm))


def rotation_words(key: AuthorizationKey) -> str:
    """How far the delivery of a key has come, while that matters."""
    found: KeyRotation | None = getattr(key, "rotation", None)
    if found is None or not (found.is_open or found.stage == RotationStage.FAILED):
        return ""
    return found.get_stage_display() + (f": {found.detail}" if found.detail else "")


def keys_panel(identity: ManagedIdentity, request: HttpRequest, now: datetime) -> Panel | None:
    """The newest keys of a charger."""
    if identity.kind != SubjectKind.CHARGER or not request.user.has_perm("migration.view_authorizationkey"):
        return None
    keys = AuthorizationKey.objects.filter(identity=identity).select_related("rotation").order_by("-version")[:SHOWN]
    need = rotation_need.needs_rotation(identity, now) if identity.security_profile <= PROFILE_2 else None
    door = RecoveryDoor.objects.filter(identity=identity, closed_at__isnull=True).first()
    return Panel(
        "AuthorizationKey (Profile 2)",
        "admin/migration/authorizationkey/panel.html",
        {
            "keys": [(key, key_badge(key), rotation_words(key)) for key in keys],
            "need": need if keys else None,
            "door": door,
            "door_words": door_words(door) if door else "",
            "now": now,
        },
    )


register_identity_panel(keys_panel)


@admin.register(AuthorizationKey)
class AuthorizationKeyAdmin(PageWithActions, HistoryMixin, ImportMixin, ReadOnlyAdmin):
    """Every version of every charger's Profile 2 secret."""

    verbs = key_verbs
    change_form_template = "admin/console/read_only_with_actions.html"
    list_display = ("label", "whose", "badge", "source", "created", "success")
    list_filter = (("state", ChoiceFilter), ("identity", AutocompleteSelectFilter))
    list_select_related = ("identity",)
    search_fields = ("source",)
    search_help_text = "Identifier"
    fields = ("whose", "version", "badge", "source", "created", "activated", "success", "retiring", "ended")
    readonly_fields = ("whose", "badge", "created", "activated", "success", "retiring", "ended")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuthorizationKey], search_term: str
    ) -> tuple[QuerySet[AuthorizationKey], bool]:
        term = search_term.strip()
        return (queryset.filter(identity_id__in=identities_matching(term)) if term else queryset), False

    def available_actions(self, request: HttpRequest, target: AuthorizationKey) -> list[AvailableAction]:
        accepted = target.state in AuthorizationKey.ACCEPTED_STATES
        why_not = "" if accepted else f"The key is {target.get_state_display().lower()} and opens nothing any more."
        if not why_not and not actor_of(request).may("migration.set_authorizationkey"):
            why_not = "You lack the permission “migration.set_authorizationkey”."
        who = target.identity.authoritative_identifier
        explanation = (
            f"{who} is refused with this key from now on. If it has no certificate, it has no way in until it is "
            "given a new key. This cannot be undone."
        )
        return [AvailableAction("revoke", "Revoke this key", not why_not, why_not, explanation, True)]

    def crumb_title(self, target: AuthorizationKey) -> str:
        return f"Key {target.version} of {target.identity.authoritative_identifier}"

    def described(self, target: AuthorizationKey) -> list[tuple[str, str]]:
        return [
            ("Key", f"version {target.version}, {target.get_state_display()}"),
            ("Identity", target.identity.authoritative_identifier),
        ]

    @admin.display(description="Key")
    def label(self, key: AuthorizationKey) -> str:
        return f"Version {key.version}"

    @admin.display(description="Identity")
    def whose(self, key: AuthorizationKey) -> SafeString | str:
        return states.identity_cell(key.identity)

    @admin.display(description="State")
    def badge(self, key: AuthorizationKey) -> Badge:
        return key_badge(key)

    @admin.display(description="Made")
    def created(self, key: AuthorizationKey) -> SafeString | str:
        return moment(key.created_at)

    @admin.display(description="Active since")
    def activated(self, key: AuthorizationKey) -> SafeString | str:
        return moment(key.activated_at)

    @admin.display(description="Last success")
    def success(self, key: AuthorizationKey) -> SafeString | str:
        return moment(key.last_success_at)

    @admin.display(description="Accepted until")
    def retiring(self, key: AuthorizationKey) -> SafeString | str:
        return moment(key.retiring_until)

    @admin.display(description="Ended")
    def ended(self, key: AuthorizationKey) -> SafeString | str:
        return moment(key.ended_at)
