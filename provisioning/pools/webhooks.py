"""Who is told of changes: addresses that programs of a node enter, and the secrets that sign what is sent there.

Only addresses of hosts that the configuration allows are taken, and called. A secret leaves this process once, in the
answer that makes it; stored it is encrypted.
"""

import os
import secrets
import uuid
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import transaction

from inventory.actors import Actor
from inventory.audit import attributed
from inventory.errors import TransitionRefusedError
from inventory.services.command import command
from provisioning.models import PoolWebhook
from provisioning.pools.callers import Caller
from provisioning.pools.choices import PoolEvent, PoolRole, PoolScope
from provisioning.pools.errors import NotInPoolError, PoolError
from provisioning.pools.nodes import locked as locked_node

MOST_OF_A_NODE: Final = 20
OTHER_NAMES: Final = {"mo.prov.cert.updated.factory.reset": PoolEvent.PROVISIONING_UPDATED.value}
"""Event types that the published documents list beside those of our choices."""
PASSED_OVER: Final = frozenset({"mo.prov.cert.factory.reset"})
"""Event types of the documents that nothing here causes."""
_NONCE_BYTES: Final = 12
_PURPOSE: Final = b"bfcerts pool webhook secret v1"
_PORTS: Final = {"https": 443, "http": 80}


class WebhookSecretError(Exception):
    """A stored secret cannot be read: it was sealed under another key."""


def create(*, caller: Caller, body: dict[str, Any], now: datetime) -> tuple[PoolWebhook, str]:
    """Enter an address of the caller's.

    :param body: as OPCP's EndpointRequest.
    :returns: the webhook, and the secret that is not shown again.
    :raises PoolError: for an address that may not be called, or events that are none.
    """
    caller.require(PoolScope.WEBHOOKS, list(PoolRole), "enter webhooks", now)
    url, events = checked_url(body.get("url")), _events(body)
    secret = secrets.token_hex(32)
    public_id = uuid.uuid4()
    with attributed(caller.actor, "Entered over OPCP"), transaction.atomic():
        node = locked_node(caller.node)
        if PoolWebhook.objects.filter(node=node, removed_at__isnull=True).count() >= MOST_OF_A_NODE:
            raise PoolError(f"A node has {MOST_OF_A_NODE} webhooks at most; delete one first.")
        webhook = PoolWebhook(
            public_id=public_id,
            node=node,
            url=url,
            events=events,
            description=_description(body),
            enabled=_enabled(body, default=True),
            sealed_secret=_seal(secret, public_id),
            created_at=now,
        )
        webhook.save()
    return webhook, secret


def of_caller(*, caller: Caller, now: datetime) -> list[PoolWebhook]:
    """The caller's webhooks, the oldest first."""
    caller.require(PoolScope.WEBHOOKS, list(PoolRole), "read webhooks", now)
    return list(PoolWebhook.objects.filter(node=caller.node, removed_at__isnull=True).order_by("pk"))


def find(*, caller: Caller, public_id: str, now: datetime) -> PoolWebhook:
    """
    :raises NotInPoolError: when it is none of the caller's.
    """
    for webhook in of_caller(caller=caller, now=now):
        if str(webhook.public_id) == public_id.lower():
            return webhook
    raise NotInPoolError("The webhook endpoint with the given ID is not found")


def update(*, caller: Caller, public_id: str, body: dict[str, Any], now: datetime) -> PoolWebhook:
    """Change what of a webhook stands in the body."""
    webhook = find(caller=caller, public_id=public_id, now=now)
    url = checked_url(body["url"]) if "url" in body else webhook.url
    events = _events(body) if _given_events(body) is not None else webhook.events
    with attributed(caller.actor, "Changed over OPCP"), transaction.atomic():
        current = PoolWebhook.objects.select_for_update().get(pk=webhook.pk)
        current.url, current.events = url, events
        current.description = _description(body) if "description" in body else current.description
        current.enabled = _enabled(body, default=current.enabled)
        current.failures, current.paused_until = 0, None
        current.save()
    return current


def delete(*, caller: Caller, public_id: str, now: datetime) -> None:
    """Tell an address nothing any more; what was still on its way is given up."""
    webhook = find(caller=caller, public_id=public_id, now=now)
    with attributed(caller.actor, "Deleted over OPCP"), transaction.atomic():
        current = PoolWebhook.objects.select_for_update().get(pk=webhook.pk)
        current.removed_at = now
        current.save()


def switch(*, webhook: PoolWebhook, enabled: bool, actor: Actor, reason: str) -> PoolWebhook:
    """Switch a webhook on or off, by a person of the administration."""
    with command(actor, "provisioning.switch_poolwebhook", reason):
        current = PoolWebhook.objects.select_for_update().get(pk=webhook.pk)
        if current.removed_at is not None:
            raise TransitionRefusedError("Its node has deleted this webhook; it can enter it anew.")
        if current.enabled == enabled:
            raise TransitionRefusedError(f"It is {'on' if enabled else 'off'} already.")
        current.enabled, current.failures, current.paused_until = enabled, 0, None
        current.save()
    return current


def secret_of(webhook: PoolWebhook) -> str:
    """
    :raises WebhookSecretError: when it cannot be read with the key of this installation.
    """
    sealed = bytes(webhook.sealed_secret)
    try:
        opened = _cipher().decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], webhook.public_id.bytes)
    except (InvalidTag, ValueError):
        raise WebhookSecretError(
            "The secret of the webhook cannot be decrypted; check that all processes share BFCERTS_CREDENTIAL_KEY."
        ) from None
    return opened.decode()


def described(webhook: PoolWebhook, identifiers: list[tuple[str, str]]) -> dict[str, Any]:
    """As OPCP's EndpointResponse, under both names that the documents have for the events."""
    role = PoolRole(webhook.node.role)
    shown: dict[str, Any] = {
        "id": str(webhook.public_id),
        "apiVersion": "v1",
        "created": int(webhook.created_at.timestamp()),
        "description": webhook.description,
        "enabledEvents": webhook.events,
        "events": webhook.events,
        "metadata": {},
        "status": "enabled" if webhook.enabled else "disabled",
        "url": webhook.url,
        "userRole": role.name,
        "userName": webhook.node.name,
    }
    values = [value for _, value in identifiers]
    if role is PoolRole.MO:
        shown["providerIds"] = values
    if role is PoolRole.OEM:
        shown["wmis"] = values
    return shown


def checked_url(value: object) -> str:
    """An address that may be called.

    :raises PoolError: for any other; asked when it is entered and whenever it is called.
    """
    try:
        parts = urlsplit(value if isinstance(value, str) and len(value) <= 400 else "")
        port = parts.port
    except ValueError:
        raise PoolError("url : must be an address of the form https://host/path") from None
    if parts.scheme not in _PORTS or not parts.hostname or not str(value).isascii() or not str(value).isprintable():
        raise PoolError("url : must be an address of the form https://host/path")
    if parts.username is not None or parts.query or parts.fragment or " " in str(value):
        raise PoolError("url : must have no user, no query, no fragment and no blanks")
    origin = _origin(parts.scheme, parts.hostname, port)
    if origin not in _allowed():
        raise PoolError(
            f"url : {origin} is not among the hosts that the administration of the pools allows; ask for it to be added"
        )
    return str(value)


def _allowed() -> set[str]:
    found = set()
    for entry in settings.CONFIGURATION.pool_push_allowed:
        parts = urlsplit(entry)
        found.add(_origin(parts.scheme, parts.hostname or "", parts.port))
    return found


def _origin(scheme: str, host: str, port: int | None) -> str:
    return f"{scheme}://{host.lower()}:{port or _PORTS.get(scheme, 0)}"


def _given_events(body: dict[str, Any]) -> object:
    return body.get("enabledEvents", body.get("events"))


def _events(body: dict[str, Any]) -> list[str]:
    given = _given_events(body)
    named = [OTHER_NAMES.get(str(one), str(one)) for one in given] if isinstance(given, list) else []
    unknown = [one for one in named if one not in PoolEvent.values and one not in PASSED_OVER]
    if not named or unknown:
        wrong = f"{', '.join(unknown)[:100]} is none of them" if unknown else "none was given"
        raise PoolError(f"enabledEvents : must be some of {', '.join(PoolEvent.values)}; {wrong}")
    return sorted(set(named) - PASSED_OVER)


def _description(body: dict[str, Any]) -> str:
    return str(body.get("description") or "")[:200]


def _enabled(body: dict[str, Any], *, default: bool) -> bool:
    status = body.get("status")
    if status is None:
        return default
    if status not in ("enabled", "disabled"):
        raise PoolError("status : must be enabled or disabled")
    return bool(status == "enabled")


def _seal(secret: str, public_id: uuid.UUID) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + _cipher().encrypt(nonce, secret.encode(), public_id.bytes)


def _cipher() -> AESGCM:
    key = settings.CONFIGURATION.credential_secret()
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(key))
