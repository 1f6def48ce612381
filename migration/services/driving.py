"""The round that brings chargers to Profile 3, and who was silent for too long.

Every step looks at one charger, or a few together, in one transaction under the locks of their identities, and decides
anew from what is stored: run twice, killed anywhere or overtaken by evidence, the outcome is as if it ran once. What
arrives from the wire is handled in `migration.services.arrivals`.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction

from inventory.actors import Actor
from inventory.audit import attributed
from inventory.jobs import setbacks
from inventory.jobs.periodic import duty
from inventory.services.locking import lock_identity
from migration.models import MigrationCase
from migration.services import breakers, cases, lowering, retrying, returning, waves
from migration.services.cutting_over import cut_over_the_ready
from migration.services.starting import start_pending
from migration.states import CaseState, ReasonCode

MIGRATION = Actor.system("migration")
BATCH = 200
"""Chargers looked at in one round of one step, so that no step keeps the others waiting."""
S = CaseState


@duty("migration", timedelta(seconds=2))
def drive(now: datetime) -> None:
    """One round. Breakers come before gates, and deadlines before both, so that nobody is started on stale counts."""
    end_silences(now)
    breakers.open_where_needed(now)
    breakers.quarantine_the_stopped(now)
    retrying.go_on(now)
    waves.judge(now)
    lowering.roll_back_waves(now)
    cut_over_the_ready(now)
    start_pending(now)


def _each(
    work: str, found: Iterable[tuple[int, int]], step: Callable[[int, int, datetime], bool], now: datetime
) -> int:
    """Run a step for each charger; what goes wrong with one is told, and keeps no other waiting."""
    done = 0
    for case_id, identity_id in found:
        taken = partial(step, case_id, identity_id, now)
        done += setbacks.apart(work, case_id, now, taken, identity_id=identity_id) or False
    return done


# -- silence -----------------------------------------------------------------------------------------------------------


def end_silences(now: datetime) -> int:
    """Silence past a deadline is failure: on the way up the charger goes back, on the way back it is quarantined.

    :returns: how many.
    """
    late = setbacks.without(MigrationCase.objects.past_deadline(now), "migration-silence", now).order_by("deadline")
    return _each("migration-silence", late.values_list("pk", "identity_id")[:BATCH], _end_silence, now)


def _end_silence(case_id: int, identity_id: int, now: datetime) -> bool:
    with transaction.atomic(), attributed(MIGRATION, "Its deadline passed"):
        identity = lock_identity(identity_id)
        case = cases.lock_case(identity, case_id)
        if case.deadline is None or case.deadline > now:
            return False
        if case.state == S.ROLLBACK:
            returning.never_came(case, now)
        elif case.state in (S.INSTALLING, S.PENDING_ACTIVATION):
            what = "install its certificate" if case.state == S.INSTALLING else "come back on Profile 3"
            by = f"{case.deadline:%Y-%m-%d %H:%M} UTC"
            why = f"{identity.authoritative_identifier} did not {what} by {by}, and silence is failure."
            returning.bring_back(case, ReasonCode.SILENT, why, now)
        else:
            return False
    return True
