"""Sending what the outbox holds: signed, retried with a back-off, given up visibly, and one webhook at a time.

Whoever sends holds a webhook under a lease. Attempts are counted before the call, so that a worker that dies in one
leaves a push that goes on, at worst told twice under the same event id. What one webhook does costs the others nothing:
each is held alone, calls run beside the worker's other work, and one that fails is left alone for longer each time.
"""

import hashlib
import hmac
import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from django.conf import settings
from django.db import close_old_connections, connection, transaction
from django.db.models import F
from django.utils import timezone

from bfcerts.bounded_http import SYSTEM_ANCHORS, BoundedHttp, HttpError, Limits, tls_context
from bfcerts.purge import purge
from inventory.actors import Actor
from inventory.choices import SecurityCategory, SecuritySource, Severity
from inventory.errors import TransitionRefusedError
from inventory.jobs.periodic import duty
from inventory.services.command import command
from inventory.services.security_events import record_security_event
from provisioning.models import PoolPush, PoolWebhook
from provisioning.pools import telling, webhooks
from provisioning.pools.choices import SENT_TO_OEM, PoolEvent, PushState
from provisioning.pools.errors import PoolError
from provisioning.pools.webhooks import WebhookSecretError

logger = logging.getLogger(__name__)

LIMITS: Final = Limits(connect_seconds=3.0, read_seconds=5.0, total_seconds=10.0, largest_body=16384)
LEASE: Final = timedelta(seconds=60)
TURN: Final = timedelta(seconds=20)
"""How long one webhook is served before the others get their turn."""
FIRST_BACK_OFF: Final = timedelta(seconds=30)
MOST_BACK_OFF: Final = timedelta(hours=1)
GIVEN_UP_AFTER: Final = timedelta(days=3)
KEPT: Final = timedelta(days=30)
AT_ONCE: Final = 4
"""Webhooks that one worker process serves at the same time."""
_REFUSED_FOR_GOOD: Final = frozenset({400, 410, 422})
"""The receiver has read it and will not have it; OPCP names 400."""
_PUSHING: Final = Actor.system("pools")

_places = threading.BoundedSemaphore(AT_ONCE)


@dataclass(frozen=True, slots=True)
class Held:
    """A webhook that this worker may serve now; the token proves it."""

    webhook: PoolWebhook
    token: uuid.UUID


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one attempt.

    :ivar status: of the HTTP answer; None without one.
    """

    status: int | None
    detail: str

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        return self.status in _REFUSED_FOR_GOOD


def signatures(secret: str, body: bytes) -> dict[str, str]:
    """The headers under all names that the documents have for the same HMAC-SHA256 of the body."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "payload-signature": digest,
        "X-Hubject-Signature": f"sha256={digest}",
        "X-Operator-Signature": f"sha256={digest}",
    }


@duty("pool-pushes", timedelta(seconds=2))
def push(now: datetime) -> int:
    """Begin to serve webhooks that have something due, each on a thread of its own.

    :returns: how many were begun.
    """
    begun = 0
    while _places.acquire(blocking=False):
        held = hold(now)
        if held is None:
            _places.release()
            break
        threading.Thread(target=_serve_beside, args=(held,), name="pool-push", daemon=True).start()
        begun += 1
    return begun


@duty("pool-pushes-kept", timedelta(hours=1))
def forget(now: datetime) -> int:
    """Drop what was delivered long ago, and give up what waits for a webhook that is gone."""
    gone = PoolPush.objects.filter(state=PushState.WAITING, webhook__removed_at__isnull=False)
    gone.update(state=PushState.DEAD, ended_at=now, detail="The webhook was deleted.")
    return purge("provisioning_poolpush", "state = 'delivered' AND ended_at < %s", now - KEPT, order="ended_at")


def hold(now: datetime) -> Held | None:
    """Take a lease of one webhook that has something due and that nobody serves; the longest waiting first."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE provisioning_poolwebhook SET lease_until = %(lease)s, lease_token = %(token)s
            WHERE id = (
                SELECT hook.id FROM provisioning_poolwebhook hook
                CROSS JOIN LATERAL (
                    SELECT next_run_at FROM provisioning_poolpush push
                    WHERE push.webhook_id = hook.id AND push.state = 'waiting' AND push.next_run_at <= %(now)s
                    ORDER BY next_run_at LIMIT 1) AS due
                WHERE hook.enabled AND hook.removed_at IS NULL
                  AND (hook.paused_until IS NULL OR hook.paused_until <= %(now)s)
                  AND (hook.lease_until IS NULL OR hook.lease_until <= %(now)s)
                ORDER BY due.next_run_at LIMIT 1 FOR UPDATE OF hook SKIP LOCKED)
            RETURNING id, lease_token
            """,
            {"now": now, "lease": now + LEASE, "token": uuid.uuid4()},
        )
        row = cursor.fetchone()
    if row is None:
        return None
    return Held(PoolWebhook.objects.select_related("node").get(pk=row[0]), row[1])


def serve(held: Held, clock: Callable[[], datetime], *, most: int | None = None) -> int:
    """Send what is due for a webhook, one after the other, until its turn is over or one fails.

    :param most: how many pushes at most; by its turn's length without it.
    :returns: how many were tried.
    """
    ends, tried = clock() + TURN, 0
    try:
        while (most is None or tried < most) and clock() < ends:
            found = _next(held, clock())
            if found is None:
                break
            tried += 1
            result = send(held.webhook, bytes(found.body))
            if not _record(held, found, result, clock()):
                break
    finally:
        PoolWebhook.objects.filter(pk=held.webhook.pk, lease_token=held.token).update(lease_until=None)
    return tried


def send(webhook: PoolWebhook, body: bytes) -> Result:
    """One signed call, to an address that is still allowed; whatever goes wrong is the result."""
    try:
        url = webhooks.checked_url(webhook.url)
        headers = {"Content-Type": "application/json", **signatures(webhooks.secret_of(webhook), body)}
        answer = _http(url).call("POST", urlsplit(url).path or "/", headers=headers, body=body)
    except (PoolError, HttpError) as error:
        return Result(None, error.message)
    except (WebhookSecretError, ValueError, OSError) as error:
        return Result(None, str(error))
    return Result(answer.status, "" if 200 <= answer.status < 300 else f"It answered {answer.status}.")


def send_again(*, push: PoolPush, actor: Actor, reason: str, now: datetime | None = None) -> PoolPush:
    """Send a push once more that was given up, under its own event id."""
    with command(actor, "provisioning.resend_poolpush", reason):
        current = PoolPush.objects.select_for_update(of=("self",)).select_related("webhook").get(pk=push.pk)
        if current.state != PushState.DEAD:
            raise TransitionRefusedError("Only what was given up is sent again; this one is not.")
        if current.webhook.removed_at is not None or not current.webhook.enabled:
            raise TransitionRefusedError("Its webhook is switched off or deleted; have it switched on first.")
        moment = now or timezone.now()
        current.state, current.next_run_at, current.created_at = PushState.WAITING, moment, moment
        current.attempts, current.ended_at, current.detail = 0, None, f"Sent again by {actor.name}: {reason}"[:400]
        current.save()
        PoolWebhook.objects.filter(pk=current.webhook_id).update(failures=0, paused_until=None)
    return current


def _serve_beside(held: Held) -> None:
    """On a thread of its own, with a connection of its own."""
    try:
        serve(held, timezone.now)
    except Exception:  # the lease ends by itself, and whatever it was is in the log
        logger.exception("serving webhook %s failed", held.webhook.pk)
    finally:
        close_old_connections()
        connection.close()
        _places.release()


def _next(held: Held, now: datetime) -> PoolPush | None:
    """The next push of a webhook, its attempt counted; None where the lease is another's or nothing is due."""
    with transaction.atomic():
        kept = PoolWebhook.objects.filter(
            pk=held.webhook.pk, lease_token=held.token, enabled=True, removed_at__isnull=True
        ).update(lease_until=now + LEASE)
        due = PoolPush.objects.filter(webhook=held.webhook, state=PushState.WAITING, next_run_at__lte=now)
        found = due.order_by("next_run_at", "pk").first() if kept else None
        if found is not None:
            found.attempts += 1
            # Whoever dies in the call has another try after this; with an answer it is set anew.
            PoolPush.objects.filter(pk=found.pk).update(attempts=F("attempts") + 1, next_run_at=now + LEASE)
    return found


def _record(held: Held, push: PoolPush, result: Result, now: datetime) -> bool:
    """Store what became of an attempt.

    :returns: whether the webhook may be tried with the next one.
    """
    with transaction.atomic():
        waiting = PoolPush.objects.filter(pk=push.pk, state=PushState.WAITING)
        hook = PoolWebhook.objects.filter(pk=held.webhook.pk)
        if result.delivered:
            if waiting.update(state=PushState.DELIVERED, ended_at=now, status=result.status, detail=""):
                _tell_sender(push, SENT_TO_OEM.get(push.event_type), now)
            hook.update(failures=0, paused_until=None)
            held.webhook.failures = 0
            return True
        told = {"status": result.status, "detail": result.detail[:400]}
        if result.refused or push.created_at <= now - GIVEN_UP_AFTER:
            if waiting.update(state=PushState.DEAD, ended_at=now, **told):
                _tell_given_up(held.webhook, push, result, now)
                _tell_sender(push, PoolEvent.REJECTED if push.event_type in SENT_TO_OEM else None, now)
        else:
            waiting.update(next_run_at=now + _back_off(push.attempts), **told)
        if result.refused:
            hook.update(failures=0, paused_until=None)
            return True
        failures = held.webhook.failures + 1
        hook.update(failures=failures, paused_until=now + _back_off(failures))
        return False


def _back_off(times: int) -> timedelta:
    return min(FIRST_BACK_OFF * (1 << min(max(times, 1) - 1, 12)), MOST_BACK_OFF)


def _tell_sender(push: PoolPush, event: str | None, now: datetime) -> None:
    if event is None or push.tells_id is None:
        return
    envelope: dict[str, Any] = orjson.loads(bytes(push.body))
    telling.of_operator(PoolEvent(event), push.tells_id, envelope["xsdMsgDefNamespace"], envelope["payload"], now)


def _tell_given_up(webhook: PoolWebhook, push: PoolPush, result: Result, now: datetime) -> None:
    record_security_event(
        "PoolPushGivenUp",
        category=SecurityCategory.OTHER,
        severity=Severity.WARNING,
        source=SecuritySource.BROKER,
        message=f"{webhook.node} was not told of “{push.get_event_type_display()}”: {result.detail} It stands among "
        "the pushes that were given up, and can be sent again from there.",
        now=now,
        dedupe_key=f"pool-push-dead:{webhook.pk}:{now:%Y%m%d}",
    )


def _http(url: str) -> BoundedHttp:
    parts = urlsplit(url)
    configuration = settings.CONFIGURATION
    context = _context(configuration.pool_push_ca_bundle) if parts.scheme == "https" else None
    base = f"{parts.scheme}://{parts.netloc}"
    return BoundedHttp(base, context, limits=LIMITS, public_only=not configuration.pool_push_private)


@lru_cache(maxsize=4)
def _context(bundle: Path | None) -> Any:
    return tls_context(SYSTEM_ANCHORS if bundle is None else bundle.read_text(encoding="ascii"))
