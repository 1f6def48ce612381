"""A request sent twice has its effect once: the memory behind Idempotency-Key and the admin's forms."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils.crypto import constant_time_compare, salted_hmac

from bfcerts.purge import purge
from inventory.errors import InventoryError
from inventory.jobs.periodic import duty
from inventory.models import IdempotencyKey

REMEMBERED_FOR = timedelta(hours=24)


class StillRunningError(InventoryError):
    """The same request is at work in another process."""

    code = "idempotency_conflict"


class KeyReusedError(InventoryError):
    """A key came back with another request."""

    code = "idempotency_mismatch"
    status = 422


class AnsweredOnceError(InventoryError):
    """A repeat of a request whose answer was a secret, shown once and not kept."""

    code = "answered_once"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered; `body` is plain JSON. Only what took effect is remembered."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def took_effect(self) -> bool:
        return 200 <= self.status < 300


def digest_of(*parts: bytes) -> str:
    """The keyed digest of a request: it tells requests apart and gives away nothing of what they carry."""
    joined = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return salted_hmac("inventory.services.repeats", joined, algorithm="sha256").hexdigest()


def once(*, user: User, key: str, digest: str, now: datetime, work: Callable[[], Answer]) -> tuple[Answer, bool]:
    """Do the work, or give the answer that it had before. Work and memory commit together or not at all.

    A refused request changed nothing, so it is not remembered and may be repeated with its key.

    :returns: the answer, and whether it is an earlier one.
    :raises StillRunningError: while the same key is at work elsewhere.
    :raises KeyReusedError: when the key belongs to another request.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [f"{user.pk}:{key}"])
            (locked,) = cursor.fetchone()
        if not locked:
            raise StillRunningError(
                "The same request is still being worked on. Wait for it to finish, then send yours again."
            )
        known = IdempotencyKey.objects.filter(user=user, key=key, created_at__gt=now - REMEMBERED_FOR).first()
        if known is not None:
            if not constant_time_compare(known.request_digest, digest):
                raise KeyReusedError(
                    "This Idempotency-Key was used for another request. Use a new key for a new request."
                )
            stored = known.answer or {}
            return Answer(known.status or 200, stored.get("body"), stored.get("headers", {})), True
        answer = work()
        if answer.took_effect:
            IdempotencyKey.objects.update_or_create(
                user=user,
                key=key,
                defaults={
                    "request_digest": digest,
                    "status": answer.status,
                    "answer": {"body": answer.body, "headers": answer.headers},
                    "created_at": now,
                },
            )
        return answer, False


@duty("forget-answers", timedelta(hours=1))
def forget(now: datetime) -> int:
    """Drop what is older than the memory reaches.

    :returns: how many answers were dropped.
    """
    return purge("inventory_idempotencykey", "created_at <= %s", now - REMEMBERED_FOR, order="created_at")
