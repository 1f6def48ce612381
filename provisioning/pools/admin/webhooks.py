"""Webhooks and what is sent to them, in the console."""

import json

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from bfcerts.console.filters import ChoiceFilter
from bfcerts.console.modeladmin import ReadOnlyAdmin
from bfcerts.console.presentation import Badge, moment
from inventory.admin.actions import PageWithActions, actor_of
from inventory.admin.history import HistoryMixin
from inventory.admin.verbs import Order, Verb, Verbs
from inventory.services.actions import AvailableAction
from provisioning.models import PoolPush, PoolWebhook
from provisioning.pools import offered, pushes, webhooks
from provisioning.pools.admin.nodes import READ_ONLY_PAGE
from provisioning.pools.admin.search import FoundByIdentifier
from provisioning.pools.choices import PUSH_COLOURS, PoolEvent


def _enable(order: Order) -> str:
    webhooks.switch(webhook=order.target, enabled=True, actor=order.actor, reason=order.reason)
    return f"{order.target.url} is told again."


def _disable(order: Order) -> str:
    webhooks.switch(webhook=order.target, enabled=False, actor=order.actor, reason=order.reason)
    return f"{order.target.url} is told nothing for now."


def _send_again(order: Order) -> str:
    pushes.send_again(push=order.target, actor=order.actor, reason=order.reason, now=order.now)
    return f"“{order.target.get_event_type_display()}” is sent again."


webhook_verbs, push_verbs = Verbs(), Verbs()
webhook_verbs.register(Verb("enable", "notifications_active", _enable))
webhook_verbs.register(Verb("disable", "notifications_off", _disable))
push_verbs.register(Verb("send_again", "send", _send_again))


@admin.register(PoolWebhook)
class PoolWebhookAdmin(PageWithActions, HistoryMixin, ReadOnlyAdmin):
    """Addresses that are told of changes. Their nodes enter them over OPCP."""

    verbs = webhook_verbs
    change_form_template = READ_ONLY_PAGE
    list_display = ("url", "node", "badge", "failures", "paused", "created")
    list_select_related = ("node",)
    search_fields = ("url", "node__name")
    search_help_text = "Address or node"
    unread_fields = ("sealed_secret",)
    fields = ("url", "node", "badge", "told_of", "description", "failures", "paused", "created", "removed")
    readonly_fields = fields

    def available_actions(self, request: HttpRequest, target: PoolWebhook) -> list[AvailableAction]:
        return offered.for_webhook(target, actor_of(request))

    def described(self, target: PoolWebhook) -> list[tuple[str, str]]:
        return [("Address", target.url), ("Node", str(target.node))]

    @admin.display(description="State")
    def badge(self, webhook: PoolWebhook) -> Badge:
        if webhook.removed_at is not None:
            return Badge("Deleted", "default")
        if not webhook.enabled:
            return Badge("Switched off", "warning")
        return Badge("Failing", "danger") if webhook.failures else Badge("On", "success")

    @admin.display(description="Told of")
    def told_of(self, webhook: PoolWebhook) -> str:
        return ", ".join(PoolEvent(event).label for event in webhook.events)

    @admin.display(description="Tried again")
    def paused(self, webhook: PoolWebhook) -> SafeString | str:
        return moment(webhook.paused_until)

    @admin.display(description="Entered")
    def created(self, webhook: PoolWebhook) -> SafeString | str:
        return moment(webhook.created_at)

    @admin.display(description="Deleted")
    def removed(self, webhook: PoolWebhook) -> SafeString | str:
        return moment(webhook.removed_at)


@admin.register(PoolPush)
class PoolPushAdmin(PageWithActions, FoundByIdentifier):
    """What was told, is on its way, or was given up."""

    verbs = push_verbs
    change_form_template = READ_ONLY_PAGE
    list_display = ("event_type", "webhook", "badge", "pcid", "emaid", "attempts", "created", "detail")
    list_filter = (("state", ChoiceFilter),)
    list_select_related = ("webhook",)
    unread_fields = ("body",)
    fields = (
        "event_type",
        "event_id",
        "webhook",
        "badge",
        "pcid",
        "emaid",
        "attempts",
        "status",
        "detail",
        "created",
        "next_try",
        "ended",
        "content",
    )
    readonly_fields = fields

    def available_actions(self, request: HttpRequest, target: PoolPush) -> list[AvailableAction]:
        return offered.for_push(target, actor_of(request))

    def described(self, target: PoolPush) -> list[tuple[str, str]]:
        return [("Event", target.get_event_type_display()), ("Webhook", target.webhook.url)]

    @admin.display(description="State")
    def badge(self, push: PoolPush) -> Badge:
        return Badge(push.get_state_display(), PUSH_COLOURS[push.state])

    @admin.display(description="Begun")
    def created(self, push: PoolPush) -> SafeString | str:
        return moment(push.created_at)

    @admin.display(description="Next try")
    def next_try(self, push: PoolPush) -> SafeString | str:
        return moment(push.next_run_at if push.ended_at is None else None)

    @admin.display(description="Ended")
    def ended(self, push: PoolPush) -> SafeString | str:
        return moment(push.ended_at)

    @admin.display(description="Content")
    def content(self, push: PoolPush) -> str:
        return json.dumps(json.loads(bytes(push.body)), indent=2)
