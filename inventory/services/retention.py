"""The recurring duties that keep the working tables short. Nothing that is audited is ever deleted.

Records, jobs, events, evidence and history stay: nothing here names their tables.
"""

import logging
from collections.abc import Set
from datetime import datetime, timedelta

from django.conf import settings

from bfcerts.ocpp import retention
from bfcerts.purge import purge
from inventory.jobs.periodic import duty
from inventory.models import CertificateJob

logger = logging.getLogger(__name__)

KEEP_LIMITS = timedelta(days=1)
"""Every limit has all its tokens again long before; a bucket that is gone is a full one."""

_keepers: dict[str, retention.StillNeeded] = {}


def keep_commands_of(kind: str, still_needed: retention.StillNeeded) -> None:
    """Keep the commands whose reference begins with `kind` and a colon, as long as the work they belong to is open.

    :param still_needed: is given what follows the colon of each, and returns those whose work is open.
    """
    _keepers[kind] = still_needed


def _of_open_jobs(references: Set[str]) -> Set[str]:
    """A reference of a job goes on with its id and, after another colon, its step."""
    jobs = {reference: reference.partition(":")[0] for reference in references}
    identifiers = [int(job) for job in jobs.values() if job.isdigit()]
    still_open = set(CertificateJob.objects.open().filter(pk__in=identifiers).values_list("pk", flat=True))
    return {reference for reference, job in jobs.items() if job.isdigit() and int(job) in still_open}


keep_commands_of("job", _of_open_jobs)


def _still_needed(references: Set[str]) -> Set[str]:
    by_kind: dict[str, set[str]] = {}
    for reference in references:
        kind, _, rest = reference.partition(":")
        by_kind.setdefault(kind, set()).add(rest)
    return {
        f"{kind}:{rest}"
        for kind, still_needed in _keepers.items()
        if kind in by_kind
        for rest in still_needed(by_kind[kind])
    }


@duty("retention", timedelta(minutes=1))
def delete_what_ended(now: datetime) -> None:
    """Delete what the wire has kept long enough, and people's ended sign-ins."""
    configuration = settings.CONFIGURATION

    def before(days: int) -> datetime:
        return now - timedelta(days=days)

    deleted = {
        "inbox rows": retention.purge_messages(
            done_before=before(configuration.keep_messages_days),
            failed_before=before(configuration.keep_failed_messages_days),
        ),
        "commands": retention.purge_commands(
            ended_before=before(configuration.keep_commands_days), still_needed=_still_needed
        ),
        "questions of stations": retention.purge_questions(asked_before=before(configuration.keep_questions_days)),
        "station sessions": retention.purge_sessions(closed_before=before(configuration.keep_sessions_days)),
        "sign-ins": purge("django_session", "expire_date < %s", now, order="expire_date", key="session_key"),
    }
    said = ", ".join(f"{count} {what}" for what, count in deleted.items() if count)
    if said:
        logger.info("deleted what was kept long enough: %s", said)


@duty("retention-of-limits", timedelta(hours=1))
def delete_full_limits(now: datetime) -> int:
    """Delete the buckets of limits that nobody met for a day, and tokens that have expired.

    These tables hold a row for each charger or token at most and have no index on the time: once in an hour is enough.

    :returns: how many rows were deleted.
    """
    return purge("inventory_ratebucket", "updated_at < %s", now - KEEP_LIMITS, order="updated_at", key="name") + purge(
        "knox_authtoken", "expiry < %s", now, order="expiry", key="digest"
    )
