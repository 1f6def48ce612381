"""The pulse: the one task that django-q2 carries. It runs what is due, and listens for what becomes due.

The job table and the inbox are the truth; a pulse that is lost, repeated or killed loses nothing. A pulse lasts some
seconds and sleeps on PostgreSQL notifications in between, so work starts within milliseconds with any broker.
"""

import logging
import os
import socket
import time
from collections.abc import Callable
from ctypes import c_bool
from datetime import datetime, timedelta
from multiprocessing.sharedctypes import RawValue

import psycopg
from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections, connection
from django.utils import timezone

from bfcerts.connections import connection_parameters
from bfcerts.ocpp import inbox
from bfcerts.ocpp.notify import Channel
from inventory.choices import JobQueue
from inventory.jobs import clocks, engine, periodic
from inventory.models import QueueBeat

logger = logging.getLogger(__name__)

PULSE_SECONDS = 5.0
IDLE_SECONDS = 1.0
DUTIES_SECONDS = 0.25
"""How often a pulse asks at most whether a recurring duty is due: it has rounds by the hundred each second."""
"""How long a pulse sleeps at most before it looks at the tables again: notifications only make it quicker."""

stopping = RawValue(c_bool, False)
"""Set by the cluster's main process before it stops its workers, which inherit it: no pulse begins another round then.
Without a lock, because a worker may be killed at any time."""

_CHANNELS = {JobQueue.GENERAL: Channel.WORK, JobQueue.PKI: Channel.PKI_WORK}


def cluster_name() -> str:
    """The name under which this cluster's canary is kept; workers inherit it from the cluster's main process."""
    return os.environ.get("BFCERTS_CLUSTER") or f"{socket.gethostname()}:{os.getpid()}"


def run_due_work(queue: str, clock: Callable[[], datetime], *, duties: bool = True) -> bool:
    """Run one batch of everything that is due for a queue.

    :param duties: the recurring duties too, where this queue has them.
    :returns: whether there may be more.
    """
    limit = settings.CONFIGURATION.job_batch_size
    lease = timedelta(seconds=settings.CONFIGURATION.job_lease_seconds)
    taken = 0
    if queue == JobQueue.GENERAL:
        taken += inbox.process_due(now=clock(), limit=limit, lease=lease)
    taken += engine.run_due(queue=queue, clock=clock, limit=limit, lease=lease)
    if duties and queue == JobQueue.GENERAL:
        periodic.run_due(clock)
    return taken > 0


def beat(queue: str, now: datetime) -> None:
    """The canary: says that a worker of this cluster really ran."""
    QueueBeat.objects.update_or_create(
        cluster=cluster_name(),
        defaults={"queue": queue, "beat_at": now},
        create_defaults={"queue": queue, "beat_at": now, "started_at": now},
    )


def pulse(queue: str, clock: Callable[[], datetime] = timezone.now) -> None:
    """Run due work of a queue for some seconds. This, and nothing else, is what django-q2 executes.

    Under a clock that is wrong it does nothing, and does not beat: the cluster ends, and does not start again so.
    """
    if queue != _own_queue():
        logger.error("a pulse for queue %s was refused: this process serves %s", queue, _own_queue())
        return
    close_old_connections()
    ends = time.monotonic() + PULSE_SECONDS
    try:
        with _listener(queue) as listener:
            clocks.check(clock())
            beat(queue, clock())
            duties_from = 0.0
            while (began := time.monotonic()) < ends and not stopping.value:
                duties = began >= duties_from
                taken = run_due_work(queue, clock, duties=duties)
                if duties:
                    duties_from = time.monotonic() + DUTIES_SECONDS
                if not taken:
                    wake_at = min(ends, time.monotonic() + IDLE_SECONDS if duties else duties_from)
                    _sleep(listener, max(0.0, wake_at - time.monotonic()))
    except clocks.WrongClockError as error:
        logger.error("%s", error)
    except (OperationalError, InterfaceError, psycopg.OperationalError) as error:
        logger.warning("the database is away; the next pulse tries again: %s", error)
        connection.close()


def _own_queue() -> str:
    return JobQueue.PKI if settings.CONFIGURATION.process == "pki" else JobQueue.GENERAL


def _listener(queue: str) -> psycopg.Connection[tuple[object, ...]]:
    listener = psycopg.connect(autocommit=True, **connection_parameters(f"bfcerts {queue} work"))
    listener.execute(f"LISTEN {_CHANNELS[JobQueue(queue)]}")
    return listener


def _sleep(listener: psycopg.Connection[tuple[object, ...]], seconds: float) -> None:
    for _ in listener.notifies(timeout=seconds, stop_after=1):
        pass
