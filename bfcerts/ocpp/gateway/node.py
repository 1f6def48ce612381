"""Gateway nodes: the beat that says that one is alive, and clearing up after those that are not."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import connection, transaction

from bfcerts.ocpp.gateway.commands import release
from bfcerts.ocpp.models import GatewayNode, StationSession
from bfcerts.ocpp.notify import Channel, notify

BEAT_SECONDS: Final = 10.0
SILENCE: Final = timedelta(seconds=45)
"""A node that has not beaten for so long is gone; its sessions are closed and its commands sent again."""

LOST: Final = "its gateway node is gone"
_REAPER_LOCK: Final = 0x62666365_72747302


class NodeReplacedError(Exception):
    """Another gateway process has started under this node's name."""


@transaction.atomic
def start(name: str, run: UUID, now: datetime) -> None:
    """Take the node's name; what an earlier process under this name left open is closed."""
    GatewayNode.objects.update_or_create(name=name, defaults={"run": run, "started_at": now, "beat_at": now})
    _close_all(list(StationSession.objects.filter(node=name, closed_at__isnull=True).values_list("pk", flat=True)), now)


def beat(name: str, run: UUID, now: datetime) -> None:
    """Say that this process is alive.

    :raises NodeReplacedError: when another process took the name; this one must end.
    """
    if GatewayNode.objects.filter(name=name, run=run).update(beat_at=now):
        return
    _, created = GatewayNode.objects.get_or_create(name=name, defaults={"run": run, "started_at": now, "beat_at": now})
    if not created:
        raise NodeReplacedError(
            f"another gateway process runs under the name {name}; give each its own BFCERTS_GATEWAY_NODE"
        )


@transaction.atomic
def stop(name: str, run: UUID) -> None:
    """Give the name back at a regular end."""
    GatewayNode.objects.filter(name=name, run=run).delete()


@transaction.atomic
def reap(now: datetime) -> int:
    """Close the sessions of nodes that are gone, and put back what was sent on them. One node at a time does it.

    :returns: how many sessions were closed.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_REAPER_LOCK])
        (ours,) = cursor.fetchone()
    if not ours:
        return 0
    alive = list(GatewayNode.objects.filter(beat_at__gte=now - SILENCE).values_list("name", flat=True))
    orphans = StationSession.objects.filter(closed_at__isnull=True).exclude(node__in=alive)
    closed = _close_all(list(orphans.values_list("pk", flat=True)), now)
    GatewayNode.objects.filter(beat_at__lt=now - SILENCE).delete()
    return closed


def _close_all(session_ids: list[UUID], now: datetime) -> int:
    """Close these sessions; a node that holds one after all, because it only slept, hears of it."""
    if not session_ids:
        return 0
    rows = StationSession.objects.select_for_update().filter(pk__in=session_ids, closed_at__isnull=True)
    closed = list(rows.order_by("station_id").values_list("pk", flat=True))
    StationSession.objects.filter(pk__in=closed).update(closed_at=now, close_reason=LOST)
    release(closed, now)
    for session_id in closed:
        notify(Channel.SESSION_CLOSE, f"{session_id} {LOST}")
    return len(closed)
