"""Webhooks of callers (OPCP webhooks.v1)."""

from http import HTTPStatus
from typing import Any

from django.http import HttpResponse, JsonResponse

from provisioning.models import PoolWebhook
from provisioning.pools import webhooks
from provisioning.pools.http.door import Call


def create(call: Call) -> HttpResponse:
    """POST /v1/webhook/endpoints: the one answer that holds the secret."""
    webhook, secret = webhooks.create(caller=call.caller, body=call.body, now=call.now)
    return JsonResponse({**_shown(call, webhook), "secret": secret}, status=HTTPStatus.CREATED)


def listing(call: Call) -> HttpResponse:
    """GET /v1/webhook/endpoints."""
    found = webhooks.of_caller(caller=call.caller, now=call.now)
    return JsonResponse([_shown(call, webhook) for webhook in found], safe=False)


def get(call: Call, webhook_id: str) -> HttpResponse:
    """GET /v1/webhook/endpoints/{id}."""
    return JsonResponse(_shown(call, webhooks.find(caller=call.caller, public_id=webhook_id, now=call.now)))


def update(call: Call, webhook_id: str) -> HttpResponse:
    """PUT /v1/webhook/endpoints/{id}."""
    changed = webhooks.update(caller=call.caller, public_id=webhook_id, body=call.body, now=call.now)
    return JsonResponse(_shown(call, changed))


def delete(call: Call, webhook_id: str) -> HttpResponse:
    """DELETE /v1/webhook/endpoints/{id}."""
    webhooks.delete(caller=call.caller, public_id=webhook_id, now=call.now)
    return HttpResponse(status=HTTPStatus.OK)


def _shown(call: Call, webhook: PoolWebhook) -> dict[str, Any]:
    webhook.node = call.caller.node
    return webhooks.described(webhook, sorted(call.caller.identifiers))
