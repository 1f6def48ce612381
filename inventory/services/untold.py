"""Telling again what a listener failed to take in: that a job ended (`inventory.seams`)."""

import logging
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction

from bfcerts.conflicts import is_conflict, repeated_on_conflict
from inventory import seams
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.jobs.periodic import duty
from inventory.models import UntoldJobEnd
from inventory.services.locking import lock_identity, lock_job_of

logger = logging.getLogger(__name__)

SLICE = 200
MOST_BACK_OFF = timedelta(hours=1)


@duty("untold-job-ends", timedelta(seconds=10))
def tell_again(now: datetime) -> None:
    """Tell what is due, the longest due first, each in a transaction of its own.

    What fails again goes to the end of the queue with a longer back-off, so it keeps nobody else waiting. A listener
    that this process does not have is left to one that has it.
    """
    due = UntoldJobEnd.objects.filter(next_run_at__lte=now, listener__in=seams.job_listeners())
    for key, identity_id in due.order_by("next_run_at", "pk").values_list("pk", "job__identity_id")[:SLICE]:
        repeated_on_conflict(partial(_tell, key, identity_id, now))


def _tell(key: int, identity_id: int, now: datetime) -> None:
    with transaction.atomic():
        identity = lock_identity(identity_id)
        untold = UntoldJobEnd.objects.select_for_update().filter(pk=key).first()
        if untold is None:
            return
        job = lock_job_of(identity, untold.job_id)
        try:
            with attributed(Actor(name=job.actor), job.reason, job.correlation_id), transaction.atomic():
                seams.job_listeners()[untold.listener](job, now)
        except Exception as error:  # a defect above: it stays visible in the row, and is tried again
            if is_conflict(error):
                raise
            logger.exception("job %s: its end could still not be told to %s", job.pk, untold.listener)
            untold.tries += 1
            untold.next_run_at = now + min(MOST_BACK_OFF, seams.FIRST_AGAIN * 2 ** min(untold.tries, 12))
            untold.last_error = f"{type(error).__name__}: {error}"[:1000]
            untold.save()
        else:
            untold.delete()
