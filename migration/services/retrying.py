"""Trying the failed chargers of a rollout anew: asked for at once, done by the duty of waves a batch at a time.

Whoever asks marks the rollout, whatever it has of failed chargers. The duty takes each of them in a transaction of its
own, in the order of chargers; whoever dies in between is followed by another. Nobody judges a gate of the rollout
meanwhile, so that no failure that is forgiven closes it again.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import partial

from django.db import transaction
from django.db.models import Q, QuerySet

from inventory.actors import Actor
from inventory.audit import attributed
from inventory.jobs import setbacks
from inventory.services.locking import lock_identity
from migration.models import MigrationCase, MigrationRollout
from migration.services import breakers, cases, returning
from migration.states import CaseState, ReasonCode

WORK = "migration-retry"
BATCH = 200
"""Chargers of a rollout that are tried anew in one round of the duty."""
S = CaseState


def failed(rollout: MigrationRollout) -> QuerySet[MigrationCase]:
    """The chargers of a rollout that can be tried anew."""
    return MigrationCase.objects.filter(wave__rollout=rollout).filter(
        Q(state=S.QUARANTINE) | Q(state=S.PENDING, failed_at__isnull=False)
    )


def wanted(rollout: MigrationRollout) -> QuerySet[MigrationCase]:
    """Those that are still to be tried anew: not what failed after somebody asked, nor whom a breaker has stopped."""
    asked = rollout.retry_wanted_at
    if asked is None:
        return MigrationCase.objects.none()
    stopped = breakers.open_now()
    before = Q(state=S.QUARANTINE, entered_state_at__lte=asked) | Q(state=S.PENDING, failed_at__lte=asked)
    found = failed(rollout).filter(before)
    return found.exclude(family_id__isnull=False, family_id__in=list(stopped.families)).exclude(
        site__in=list(stopped.sites)
    )


def is_under_way(rollout: MigrationRollout, now: datetime) -> bool:
    """Whether the duty is still at it; what it has set aside is no longer waited for."""
    return rollout.retry_wanted_at is not None and setbacks.without(wanted(rollout), WORK, now).exists()


def go_on(now: datetime, limit: int = BATCH) -> int:
    """Try a batch of each rollout anew whose failed chargers somebody wants tried.

    :param limit: how many of each.
    :returns: how many were.
    """
    retried = 0
    for rollout in MigrationRollout.objects.filter(retry_wanted_at__isnull=False).order_by("pk"):
        due = setbacks.without(wanted(rollout), WORK, now).order_by("identity_id")
        retried += _batch(rollout, due.values_list("pk", "identity_id")[:limit], now)
        _finish(rollout)
    return retried


def _batch(rollout: MigrationRollout, found: Iterable[tuple[int, int]], now: datetime) -> int:
    retried = 0
    for case_id, identity_id in list(found):
        step = partial(_retry, rollout, case_id, identity_id, now)
        retried += setbacks.apart(WORK, case_id, now, step, identity_id=identity_id) or False
    return retried


def _retry(rollout: MigrationRollout, case_id: int, identity_id: int, now: datetime) -> bool:
    """
    :returns: whether it was; not, where somebody has moved it meanwhile.
    """
    with transaction.atomic(), attributed(Actor.named(rollout.retry_wanted_by), rollout.retry_reason):
        case = cases.lock_case(lock_identity(identity_id), case_id)
        if not wanted(rollout).filter(pk=case_id).exists():
            return False
        if case.state == S.QUARANTINE:
            cases.released(case, now, tries=rollout.retry_budget)
            returning.take_in_hand(case, now)
        else:
            case.failed_at, case.last_failure, case.tries_left = None, "", rollout.retry_budget
            why = f"{case.identity.authoritative_identifier} is tried anew and waits for its turn."
            cases.say(case, ReasonCode.TURN, why, look_again_at=now)
            case.save(update_fields=["failed_at", "last_failure", "tries_left"])
    return True


def _finish(rollout: MigrationRollout) -> None:
    """Take the mark away once nobody is left, set aside or not; a mark that was made again since stays."""
    if not wanted(rollout).exists():
        marked = MigrationRollout.objects.filter(pk=rollout.pk, retry_wanted_at=rollout.retry_wanted_at)
        marked.update(retry_wanted_at=None, retry_wanted_by="", retry_reason="")
