"""Running one django-q2 cluster that carries nothing but this process's own pulse, and watching that it beats.

The PKI cluster signs its queue with a key that no other process knows and has no scheduler, so that nothing another
process can store makes it run anything: queue payloads are pickles, and a schedule row names any function.
"""

import logging
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.conf import settings
from django.db import close_old_connections, connections
from django.utils import timezone
from django_q.brokers import Broker, get_broker
from django_q.cluster import Cluster
from django_q.tasks import async_task

from bfcerts.ocpp.answering import AnsweringThreads
from bfcerts.setting_kinds import QueueBroker
from inventory.choices import JobQueue
from inventory.jobs import clocks, periodic
from inventory.jobs.pulse import PULSE_SECONDS, stopping
from inventory.models import QueueBeat

logger = logging.getLogger(__name__)

PULSE = "inventory.jobs.pulse.pulse"
KEEP_SECONDS = 0.5
SILENCE = timedelta(seconds=45)
"""A cluster whose workers have not beaten for this long is hung, and ends itself to be started again."""
STOP_SECONDS = 10.0
OLD_BEATS = timedelta(days=1)
UNCOUNTED_SECONDS = PULSE_SECONDS * 0.8
"""Where the queue cannot be counted, each worker is sent a pulse in this time: a little before its last one ends."""
UNCOUNTED_LIMIT = 4
"""Pulses for each worker that may wait then; SQS miscounts, but not for long."""


class ClusterHungError(Exception):
    """The cluster's workers stopped running pulses."""


class QueueUnavailableError(Exception):
    """The broker that carries the pulse cannot be used; the message says what to check."""


class Pulses:
    """Keeps one pulse waiting behind the ones that run.

    :raises QueueUnavailableError: here and later, when the broker does not answer.
    """

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._sent_at = -math.inf
        self._failures, self._check = _broker_failures()
        with self._named():
            self._broker: Broker = get_broker()
            self._broker.ping()

    def keep(self) -> None:
        """Send one where one is missing."""
        with self._named():
            if self._one_is_missing():
                async_task(PULSE, self._queue, broker=self._broker, timeout=60)
                self._sent_at = time.monotonic()

    def _one_is_missing(self) -> bool:
        if settings.CONFIGURATION.queue_broker != QueueBroker.SQS:
            return bool(self._broker.queue_size() == 0)
        workers = settings.CONFIGURATION.worker_processes
        if time.monotonic() - self._sent_at < UNCOUNTED_SECONDS / workers:
            return False
        return bool(self._broker.queue_size() < UNCOUNTED_LIMIT * workers)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except self._failures as error:
            raise QueueUnavailableError(
                f"The queue of this process cannot be used: {str(error).rstrip('.')}. Check {self._check}."
            ) from None


def _broker_failures() -> tuple[tuple[type[Exception], ...], str]:
    """What the configured broker raises when it does not answer, and what to look at then."""
    match settings.CONFIGURATION.queue_broker:
        case QueueBroker.REDIS:
            from redis.exceptions import RedisError

            return (RedisError, ValueError), "BFCERTS_REDIS_URL, and that Redis runs there"
        case QueueBroker.SQS:
            from inventory.jobs.sqs import FAILURES

            return FAILURES, "BFCERTS_SQS_REGION, the credentials of this process and its rights on the queue"
    return (), ""


def run(queue: str) -> None:
    """Run the cluster until SIGTERM or SIGINT.

    :raises ClusterHungError: when its workers no longer run pulses; the supervisor starts the process again.
    :raises QueueUnavailableError: when there is no queue to begin with.
    :raises WrongClockError: when this machine's clock cannot be worked by.
    """
    os.environ["BFCERTS_CLUSTER"] = f"{queue}:{socket.gethostname()}:{os.getpid()}"
    started = timezone.now()
    clocks.check(started)
    if queue == JobQueue.GENERAL:
        periodic.ensure_rows(started)
    QueueBeat.objects.filter(beat_at__lt=started - OLD_BEATS).delete()
    pulses = Pulses(queue)
    connections.close_all()  # the cluster forks: no connection may be shared with its children
    cluster = Cluster()
    try:
        cluster.start()
    except RuntimeError as error:
        raise ClusterHungError(f"its processes did not start ({error})") from None
    stop = threading.Event()

    def on_signal(signum: int, frame: object) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    # In this process, where no job and no evidence is worked on; after the fork, which takes no threads along.
    answering = AnsweringThreads(timezone.now) if queue == JobQueue.GENERAL else None
    if answering is not None:
        answering.start()
    parent = os.getppid()
    while not stop.wait(KEEP_SECONDS):
        try:
            _keep(pulses, cluster, started)
        except ClusterHungError:
            _kill_group()
            raise
        except QueueUnavailableError as error:
            logger.warning("%s Trying again.", error)
            started = timezone.now()  # its workers cannot beat; their silence counts from when they can again
            stop.wait(KEEP_SECONDS)
        except Exception:  # the database may be away for a while; the cluster outlives that
            logger.warning("the pulse could not be looked after; trying again", exc_info=True)
            connections.close_all()
            stop.wait(KEEP_SECONDS)
        if os.getppid() != parent:
            break
    if answering is not None:
        answering.stop()
    _stop(cluster)


def _stop(cluster: Cluster) -> None:
    """Let the running pulse end its round; then, or when django-q2 does not manage to stop, end the whole group.

    A signal to the group kills the sentinel inside a lock that stopping needs; the timer does not depend on it.
    """
    stopping.value = True
    timer = threading.Timer(STOP_SECONDS, os.killpg, (os.getpgrp(), signal.SIGKILL))
    timer.daemon = True
    timer.start()
    if cluster.sentinel.is_alive():
        cluster.stop()
    timer.cancel()


def _keep(pulses: Pulses, cluster: Cluster, started: datetime) -> None:
    """Keep pulses coming, and see that they run."""
    close_old_connections()
    pulses.keep()
    if not cluster.sentinel.is_alive():
        raise ClusterHungError("the django-q2 sentinel has died")
    beat = QueueBeat.objects.filter(cluster=os.environ["BFCERTS_CLUSTER"]).values_list("beat_at", flat=True).first()
    if timezone.now() - max(beat or started, started) > SILENCE:
        raise ClusterHungError(f"no worker of the {settings.CONFIGURATION.process} process has run for {SILENCE}")


def _kill_group() -> None:
    """End orphans too: they are in our process group, and killing the main process alone would leave them."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(os.getpgrp(), signal.SIGTERM)
