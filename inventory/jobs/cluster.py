"""Running one django-q2 cluster that carries nothing but this process's own pulse, and watching that it beats.

The PKI cluster signs its queue with a key that no other process knows and has no scheduler, so that nothing another
process can store makes it run anything: queue payloads are pickles, and a schedule row names any function.
"""

import logging
import os
import signal
import socket
import threading
import time
from datetime import datetime, timedelta

from django.conf import settings
from django.db import close_old_connections, connections
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.cluster import Cluster
from django_q.tasks import async_task

from inventory.choices import JobQueue
from inventory.jobs import periodic
from inventory.models import QueueBeat

logger = logging.getLogger(__name__)

PULSE = "inventory.jobs.pulse.pulse"
KEEP_SECONDS = 0.5
SILENCE = timedelta(seconds=45)
"""A cluster whose workers have not beaten for this long is hung, and ends itself to be started again."""
STOP_SECONDS = 10.0
OLD_BEATS = timedelta(days=1)


class ClusterHungError(Exception):
    """The cluster's workers stopped running pulses."""


def run(queue: str) -> None:
    """Run the cluster until SIGTERM or SIGINT.

    :raises ClusterHungError: when its workers no longer run pulses; the supervisor starts the process again.
    """
    os.environ["BFCERTS_CLUSTER"] = f"{queue}:{socket.gethostname()}:{os.getpid()}"
    started = timezone.now()
    if queue == JobQueue.GENERAL:
        periodic.ensure_rows(started)
    QueueBeat.objects.filter(beat_at__lt=started - OLD_BEATS).delete()
    connections.close_all()  # the cluster forks: no connection may be shared with its children
    cluster = Cluster()
    cluster.start()
    stop = threading.Event()

    def on_signal(signum: int, frame: object) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    parent = os.getppid()
    while not stop.wait(KEEP_SECONDS):
        try:
            _keep(queue, cluster, started)
        except ClusterHungError:
            _kill_group()
            raise
        except Exception:  # the database may be away for a while; the cluster outlives that
            logger.warning("the pulse could not be looked after; trying again", exc_info=True)
            connections.close_all()
            time.sleep(KEEP_SECONDS)
        if os.getppid() != parent:
            break
    _stop(cluster)


def _stop(cluster: Cluster) -> None:
    """Let the running pulse end; then, or when django-q2 does not manage to stop, end the whole group.

    A signal to the group kills the sentinel inside a lock that stopping needs; the timer does not depend on it.
    """
    timer = threading.Timer(STOP_SECONDS, os.killpg, (os.getpgrp(), signal.SIGKILL))
    timer.daemon = True
    timer.start()
    if cluster.sentinel.is_alive():
        cluster.stop()
    timer.cancel()


def _keep(queue: str, cluster: Cluster, started: datetime) -> None:
    """Keep one pulse waiting behind the ones that run, and see that they run."""
    close_old_connections()
    broker = get_broker()
    if broker.queue_size() == 0:
        async_task(PULSE, queue, broker=broker, timeout=60)
    if not cluster.sentinel.is_alive():
        raise ClusterHungError("the django-q2 sentinel has died")
    beat = QueueBeat.objects.filter(cluster=os.environ["BFCERTS_CLUSTER"]).values_list("beat_at", flat=True).first()
    if timezone.now() - (beat or started) > SILENCE:
        raise ClusterHungError(f"no worker of the {settings.CONFIGURATION.process} process has run for {SILENCE}")


def _kill_group() -> None:
    """End orphans too: they are in our process group, and killing the main process alone would leave them."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(os.getpgrp(), signal.SIGTERM)
