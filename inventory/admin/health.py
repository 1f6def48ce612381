"""Whether the parts of the system run: each gateway node, and the workers of each queue, by their last beats."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Max, Q

from bfcerts.console.presentation import Badge, exact_span
from bfcerts.ocpp.gateway.node import BEAT_SECONDS
from bfcerts.ocpp.models import GatewayNode
from inventory.choices import JobQueue
from inventory.jobs import periodic
from inventory.models import CertificateJob, PeriodicTask, QueueBeat
from inventory.words import agreeing, counted

BEATS_MISSED = 2.5
"""After so many beats that did not come, a gateway node counts as away; one late beat is no news."""
NODE_SILENT_AFTER = timedelta(seconds=BEAT_SECONDS * BEATS_MISSED)
QUEUE_SILENT_AFTER = timedelta(seconds=30)
"""A worker beats when a pulse begins, and may then work off a batch for longer than a pulse is meant to last."""
SHOWN = 20
DUTY_LATE_AFTER = timedelta(minutes=10)
"""A recurring duty that is overdue for so long does not run; a worker that died is replaced within five minutes."""
COUNTED = 1000
"""Jobs that wait for a queue are counted so far, and no further."""

_COMMANDS = {JobQueue.GENERAL: "worker", JobQueue.PKI: "pki_worker"}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the system: whether it runs, when it was last heard of, and what to do where it is away."""

    name: str
    badge: Badge
    beat_at: datetime | None
    words: str

    @property
    def away(self) -> bool:
        return self.badge.tone == "danger"


def parts(may: Callable[[str], bool], now: datetime) -> list[Part]:
    """The parts that somebody may see."""
    found: list[Part] = []
    if may("ocpp.view_stationsession"):
        found += _gateway(now)
    if may("inventory.view_certificatejob"):
        found += _workers(now)
        found += _duties(now)
    return found


def _gateway(now: datetime) -> list[Part]:
    nodes = list(GatewayNode.objects.order_by("name")[:SHOWN])
    if not nodes:
        advice = "No charger can connect. Start one with “python manage.py gateway”."
        return [Part("Gateway", Badge("No node is running", "danger"), None, advice)]
    return [_node(node, now, alone=len(nodes) == 1) for node in nodes]


def _node(node: GatewayNode, now: datetime, *, alone: bool) -> Part:
    name = f"Gateway node {node.name}"
    if now - node.beat_at <= NODE_SILENT_AFTER:
        return Part(
            name, Badge("Running", "success"), min(node.beat_at, now), f"Since {node.started_at:%Y-%m-%d %H:%M} UTC"
        )
    lost = "no charger can connect" if alone else "its chargers come back on the other nodes"
    advice = f"The node has stopped, or cannot reach the database; {lost}. Look at its log, then start it again."
    return Part(name, Badge("Away", "danger"), node.beat_at, advice)


def _workers(now: datetime) -> list[Part]:
    alive = Count("pk", filter=Q(beat_at__gte=now - QUEUE_SILENT_AFTER))
    beats = QueueBeat.objects.values("queue").annotate(last=Max("beat_at"), alive=alive).order_by()
    known = {row["queue"]: (row["last"], row["alive"]) for row in beats}
    return [_queue(queue, *known.get(queue.value, (None, 0)), now) for queue in JobQueue]


def _duties(now: datetime) -> list[Part]:
    """The recurring duties of the general worker, where one has been set up at all."""
    known = [item.name for item in periodic.known_duties()]
    rows = list(PeriodicTask.objects.filter(name__in=known).order_by("name"))
    if not rows:
        return []
    last = max((row.last_succeeded_at for row in rows if row.last_succeeded_at), default=None)
    late = [row.name for row in rows if row.next_run_at < now - DUTY_LATE_AFTER]
    failing = [row for row in rows if row.last_error and row.name not in late]
    name = "Recurring duties"
    if late:
        advice = (
            f"More than {exact_span(DUTY_LATE_AFTER)} overdue: {', '.join(late[:SHOWN])}. Renewals, deadlines and "
            "sweeps wait for them. Look at the general worker's log, then start it again."
        )
        return [Part(name, Badge("Stalled", "danger"), last, advice)]
    if failing:
        told = "; ".join(f"{row.name} ({row.last_error.splitlines()[0][:120]})" for row in failing[:SHOWN])
        advice = f"Tried again each time: {told}. The general worker's log says more."
        return [Part(name, Badge("Failing", "danger"), last, advice)]
    return [Part(name, Badge("Running", "success"), min(last or now, now), f"All {len(rows)} at their times")]


def _queue(queue: JobQueue, last: datetime | None, alive: int, now: datetime) -> Part:
    if alive:
        words = "1 process" if alive == 1 else f"{alive} processes"
        return Part(queue.label, Badge("Running", "success"), min(last or now, now), words)
    waiting = CertificateJob.objects.due(now, queue).order_by().values("pk")[:COUNTED].count()
    jobs = (
        "no job waits for it yet"
        if not waiting
        else f"{counted(waiting, 'job')} {agreeing(waiting, 'waits', 'wait')} for it"
    )
    stopped = "Stopped" if last else "Has never run"
    advice = (
        f"Its queue is not worked off: {jobs}. Start it with “python manage.py {_COMMANDS[queue]}”; where it should be "
        "running, look at its log."
    )
    return Part(queue.label, Badge(stopped, "danger"), last, advice)
