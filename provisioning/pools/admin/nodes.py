"""Nodes and their credentials in the console; a token is never shown again once its form is left."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextInputWidget

from bfcerts.console.filters import ChoiceFilter
from bfcerts.console.modeladmin import ReadOnlyAdmin
from bfcerts.console.presentation import NOTHING, Badge, moment
from inventory.admin.actions import PageWithActions, actor_of
from inventory.admin.editing import REASON, EditableAdmin, ReasonedForm
from inventory.admin.history import HistoryMixin
from inventory.admin.verbs import ActionForm, Order, Verb, Verbs
from inventory.services.actions import AvailableAction
from provisioning.models import PoolCredential, PoolNode
from provisioning.pools import credentials, nodes, offered

READ_ONLY_PAGE = "admin/console/read_only_with_actions.html"


class IdentifierForm(ActionForm):
    """Which identifier."""

    identifier = forms.CharField(label="Provider id, WMI or operator id", max_length=10)


class ConfirmationForm(IdentifierForm):
    """An identifier, and on whose word."""

    issuing_authority = forms.CharField(
        label="Who gives such identifiers out and confirmed it", max_length=200, widget=forms.TextInput()
    )


class LabelForm(ActionForm):
    """Whose a credential is."""

    label = forms.CharField(label="Whose it is, as “production gateway”", max_length=120)


class TokenForm(LabelForm):
    """A token, which is made for this page and stored as a digest only."""

    days = forms.IntegerField(
        label="Valid for, in days", min_value=1, max_value=credentials.LONGEST_LIFE.days, initial=90
    )
    token = forms.CharField(
        label="Token",
        strip=False,
        initial=credentials.generate,
        widget=forms.TextInput(attrs={"readonly": True, "autocomplete": "off", "class": "c-mono"}),
        help_text="Note it before you confirm: it is never shown again.",
    )


class CertificateForm(LabelForm):
    """A client certificate."""

    certificate_pem = forms.CharField(label="Certificate (PEM)", widget=forms.Textarea(attrs={"rows": 6}))


def _confirm(order: Order) -> str:
    found = nodes.confirm_identifier(
        node=order.target,
        value=order.values["identifier"],
        issuing_authority=order.values["issuing_authority"],
        actor=order.actor,
        reason=order.reason,
        now=order.now,
    )
    return f"{found} is {order.target.name}'s."


def _end(order: Order) -> str:
    found = nodes.end_identifier(
        node=order.target, value=order.values["identifier"], actor=order.actor, reason=order.reason, now=order.now
    )
    return f"{found} is not {order.target.name}'s any more."


def _give_token(order: Order) -> str:
    given = credentials.give_token(
        node=order.target,
        token=order.values["token"],
        label=order.values["label"],
        expires_at=order.now + timedelta(days=order.values["days"]),
        actor=order.actor,
        reason=order.reason,
        now=order.now,
    )
    return f"“{given.label}” speaks for {order.target.name} until {given.expires_at:%Y-%m-%d}."


def _give_certificate(order: Order) -> str:
    given = credentials.give_certificate(
        node=order.target,
        certificate_pem=order.values["certificate_pem"],
        label=order.values["label"],
        actor=order.actor,
        reason=order.reason,
        now=order.now,
    )
    return f"“{given.label}” speaks for {order.target.name} until {given.expires_at:%Y-%m-%d}."


def _close(order: Order) -> str:
    nodes.close_node(node=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"The node of {order.target.name} is closed."


def _revoke(order: Order) -> str:
    credentials.revoke(credential=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"“{order.target.label}” is refused from now on."


node_verbs = Verbs()
for _verb in (
    Verb("confirm_identifier", "verified", _confirm, ConfirmationForm),
    Verb("end_identifier", "link_off", _end, IdentifierForm),
    Verb("give_token", "key", _give_token, TokenForm),
    Verb("give_certificate", "badge", _give_certificate, CertificateForm),
    Verb("close", "domain_disabled", _close),
):
    node_verbs.register(_verb)
credential_verbs = Verbs()
credential_verbs.register(Verb("revoke", "key_off", _revoke))


class NodeForm(ReasonedForm):
    """A company in a role, and what was confirmed to be its."""

    identifiers = forms.CharField(
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Provider ids of a mobility operator, WMIs of a manufacturer or operator ids of a charge point "
        "operator, separated by commas; none for the other roles.",
    )
    issuing_authority = forms.CharField(
        required=False,
        max_length=200,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Who gives such identifiers out and confirmed these.",
    )

    class Meta:
        model = PoolNode
        fields = ["name", "role", "requests_per_second"]


@admin.register(PoolNode)
class PoolNodeAdmin(PageWithActions, EditableAdmin):
    """The companies in the pools."""

    verbs = node_verbs
    form = NodeForm
    change_form_template = READ_ONLY_PAGE
    add_form_template = "admin/console/change_form.html"
    list_display = ("name", "role", "badge", "known_as", "opened")
    list_filter = (("role", ChoiceFilter),)
    search_fields = ("name", "identifiers__value")
    search_help_text = "Name or identifier"
    readonly_fields = ("badge", "known_as", "confirmations", "opened", "closed")

    def get_queryset(self, request: HttpRequest) -> QuerySet[PoolNode]:
        return super().get_queryset(request).prefetch_related("identifiers")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("provisioning.confirm_poolnode"))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fieldsets(self, request: HttpRequest, obj: PoolNode | None = None) -> Any:
        if obj is not None:
            shown = ("name", "role", "badge", "confirmations", "requests_per_second", "opened", "closed")
            return (("Node", {"fields": shown}),)
        typed = ("name", "role", "identifiers", "issuing_authority", "requests_per_second")
        return (("Which company", {"fields": typed}), REASON)

    def save_model(self, request: HttpRequest, obj: PoolNode, form: ReasonedForm, change: bool) -> None:
        values = form.cleaned_data
        opened = nodes.open_node(
            name=obj.name,
            role=obj.role,
            identifiers=[text for part in values["identifiers"].split(",") if (text := part.strip())],
            issuing_authority=values["issuing_authority"],
            requests_per_second=obj.requests_per_second,
            actor=actor_of(request),
            reason=values["reason"],
        )
        obj.pk = opened.pk

    def available_actions(self, request: HttpRequest, target: PoolNode) -> list[AvailableAction]:
        return offered.for_node(target, actor_of(request))

    def described(self, target: PoolNode) -> list[tuple[str, str]]:
        return [("Node", str(target)), ("Known as", self.known_as(target))]

    @admin.display(description="State")
    def badge(self, node: PoolNode) -> Badge:
        return Badge("Open", "success") if node.closed_at is None else Badge("Closed", "default")

    @admin.display(description="Known as")
    def known_as(self, node: PoolNode) -> str:
        values = [one.value for one in node.identifiers.all() if one.ended_at is None]
        return ", ".join(sorted(values)) or NOTHING

    @admin.display(description="Identifiers")
    def confirmations(self, node: PoolNode) -> str:
        said = [
            f"{one}: confirmed by {one.issuing_authority} to {one.confirmed_by.partition(':')[2]} on "
            f"{one.confirmed_at:%Y-%m-%d}, {one.reason}{f'; ended {one.ended_at:%Y-%m-%d}' if one.ended_at else ''}"
            for one in node.identifiers.all()
        ]
        return "\n".join(said) or NOTHING

    @admin.display(description="Opened")
    def opened(self, node: PoolNode) -> SafeString | str:
        return moment(node.opened_at)

    @admin.display(description="Closed")
    def closed(self, node: PoolNode) -> SafeString | str:
        return moment(node.closed_at)


@admin.register(PoolCredential)
class PoolCredentialAdmin(PageWithActions, HistoryMixin, ReadOnlyAdmin):
    """By what programs are known. They are given on the page of their node."""

    verbs = credential_verbs
    change_form_template = READ_ONLY_PAGE
    list_display = ("label", "node", "kind", "badge", "expires", "used")
    list_filter = (("kind", ChoiceFilter),)
    list_select_related = ("node",)
    search_fields = ("label", "node__name")
    search_help_text = "Label or node"
    fields = ("label", "node", "kind", "badge", "opens", "created", "expires", "revoked", "used")
    readonly_fields = fields

    def available_actions(self, request: HttpRequest, target: PoolCredential) -> list[AvailableAction]:
        return offered.for_credential(target, actor_of(request))

    def described(self, target: PoolCredential) -> list[tuple[str, str]]:
        return [("Credential", target.label), ("Node", str(target.node))]

    @admin.display(description="State")
    def badge(self, credential: PoolCredential) -> Badge:
        return Badge("Given", "success") if credential.revoked_at is None else Badge("Revoked", "default")

    @admin.display(description="Opens")
    def opens(self, credential: PoolCredential) -> str:
        return ", ".join(credential.scopes)

    @admin.display(description="Given")
    def created(self, credential: PoolCredential) -> SafeString | str:
        return moment(credential.created_at)

    @admin.display(description="Ends")
    def expires(self, credential: PoolCredential) -> SafeString | str:
        return moment(credential.expires_at)

    @admin.display(description="Revoked")
    def revoked(self, credential: PoolCredential) -> SafeString | str:
        return moment(credential.revoked_at)

    @admin.display(description="Last used")
    def used(self, credential: PoolCredential) -> SafeString | str:
        return moment(credential.last_used_at)
