"""Breakers: a family or a site whose failures cross its limit is stopped, and nothing else is.

What counts are failures since the breaker was last closed. While it is open, its chargers on the way are quarantined
and its pending ones wait, in whatever rollout: the cause is in the family or at the site. A person closes it.
"""

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

from django.db import transaction
from django.db.models import Count, Max, Q, QuerySet
from django.utils import timezone

from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import SecurityCategory, SecuritySource, Severity
from inventory.errors import TransitionRefusedError
from inventory.jobs import setbacks
from inventory.services.command import command
from inventory.services.locking import lock_identity
from inventory.services.security_events import record_security_event
from inventory.words import actor_words, counted
from migration.models import Breaker, MigrationCase, MigrationRollout
from migration.services import cases, returning
from migration.states import IN_FLIGHT, BreakerKind, CaseState, ReasonCode, RolloutState

MIGRATION = Actor.system("migration")
BATCH = 200
Name = TypeVar("Name", int, str)


@dataclass(frozen=True, slots=True)
class OpenBreakers:
    """Which families and sites are stopped now, and why."""

    families: dict[int, Breaker]
    sites: dict[str, Breaker]

    def stopping(self, case: MigrationCase) -> Breaker | None:
        """The breaker that stops a case, by what it was planned as."""
        by_family = self.families.get(case.family_id) if case.family_id is not None else None
        return by_family or self.sites.get(case.site)


def open_now() -> OpenBreakers:
    """Every open breaker, in one query."""
    found = list(Breaker.objects.filter(closed_at__isnull=True).select_related("family"))
    return OpenBreakers(
        {item.family_id: item for item in found if item.family_id is not None},
        {item.site: item for item in found if item.kind == BreakerKind.SITE},
    )


def open_where_needed(now: datetime) -> int:
    """Open the breakers of families and sites whose failures have reached their rollout's limit.

    :returns: how many.
    """
    opened = 0
    for rollout in MigrationRollout.objects.filter(state__in=[RolloutState.RUNNING, RolloutState.PAUSED]):
        by_family, by_site = _failures(rollout)
        stopped = open_now()
        for family_id in _reaching(by_family, rollout.family_failure_limit, stopped.families):
            failures = _since_the_last(rollout, BreakerKind.FAMILY, Q(family_id=family_id))
            if failures >= rollout.family_failure_limit:
                opened += _open(rollout, BreakerKind.FAMILY, family_id, "", failures, now)
        for site in _reaching(by_site, rollout.site_failure_limit, stopped.sites):
            failures = _since_the_last(rollout, BreakerKind.SITE, Q(site=site))
            if failures >= rollout.site_failure_limit:
                opened += _open(rollout, BreakerKind.SITE, None, site, failures, now)
    return opened


def _failures(rollout: MigrationRollout) -> tuple[Counter[int], Counter[str]]:
    """Failures of a rollout by family and by site, from the index of the failed alone."""
    by_family: Counter[int] = Counter()
    by_site: Counter[str] = Counter()
    counted = _failed(rollout).order_by().values_list("family_id", "site").annotate(Count("pk"))
    for family_id, site, number in counted:
        if family_id is not None:
            by_family[family_id] += number
        if site:
            by_site[site] += number
    return by_family, by_site


def _failed(rollout: MigrationRollout) -> QuerySet[MigrationCase]:
    return MigrationCase.objects.failed().filter(wave__in=list(rollout.waves.values_list("pk", flat=True)))


def _reaching(counted: Counter[Name], limit: int, stopped: Container[Name]) -> list[Name]:
    return [name for name, number in counted.items() if number >= limit and name not in stopped]


def _since_the_last(rollout: MigrationRollout, kind: BreakerKind, of: Q) -> int:
    """Failures of one family or site since its last breaker was closed."""
    closed = Breaker.objects.filter(of, kind=kind).aggregate(last=Max("closed_at"))["last"]
    failed = _failed(rollout).filter(of)
    return (failed if closed is None else failed.filter(failed_at__gt=closed)).count()


def _open(
    rollout: MigrationRollout, kind: BreakerKind, family_id: int | None, site: str, failures: int, now: datetime
) -> bool:
    with transaction.atomic(), attributed(MIGRATION, f"{counted(failures, 'failure')} in rollout “{rollout.name}”"):
        if _is_open(kind, family_id, site):
            return False
        breaker = Breaker(kind=kind, family_id=family_id, site=site, rollout=rollout, failures=failures, opened_at=now)
        breaker.why = (
            f"{counted(failures, 'charger')} of {breaker.subject} failed in rollout “{rollout.name}”. Its others are "
            "not moved, in whatever rollout, until somebody has found the cause and closes this breaker."
        )
        breaker.save()
        record_security_event(
            "MigrationBreakerOpened",
            category=SecurityCategory.INSTALLATION,
            severity=Severity.CRITICAL,
            source=SecuritySource.CONTROL_PLANE,
            message=breaker.why,
            now=now,
            payload={"breaker": breaker.pk, "rollout": rollout.pk, "kind": kind, "failures": failures},
            dedupe_key=f"breaker:{breaker.pk}",
        )
    return True


def _is_open(kind: BreakerKind, family_id: int | None, site: str) -> bool:
    return Breaker.objects.filter(kind=kind, family_id=family_id, site=site, closed_at__isnull=True).exists()


def quarantine_the_stopped(now: datetime) -> int:
    """Quarantine the chargers on the way of families and sites that are stopped.

    :returns: how many.
    """
    stopped = 0
    for breaker in Breaker.objects.filter(closed_at__isnull=True).select_related("family"):
        moving = setbacks.without(_on_the_way(breaker), "migration-quarantine", now)
        for case_id, identity_id in moving.values_list("pk", "identity_id")[:BATCH]:
            step = partial(_quarantine, breaker, case_id, identity_id, now)
            stopped += setbacks.apart("migration-quarantine", case_id, now, step, identity_id=identity_id) or False
    return stopped


def _on_the_way(breaker: Breaker) -> QuerySet[MigrationCase]:
    moving = MigrationCase.objects.filter(state__in=[state for state in IN_FLIGHT if state != CaseState.ROLLBACK])
    if breaker.kind == BreakerKind.FAMILY:
        return moving.filter(family_id=breaker.family_id)
    return moving.filter(site=breaker.site)


def _quarantine(breaker: Breaker, case_id: int, identity_id: int, now: datetime) -> bool:
    with transaction.atomic(), attributed(MIGRATION, f"The breaker of {breaker.subject} is open"):
        identity = lock_identity(identity_id)
        case = cases.lock_case(identity, case_id)
        if case.state not in (CaseState.INSTALLING, CaseState.PENDING_ACTIVATION):
            return False
        cases.quarantined(case, ReasonCode.BREAKER_OPEN, breaker.why, now)
        returning.leave_alone(case, breaker.why, now)
    return True


def close(*, breaker: Breaker, actor: Actor, reason: str, now: datetime | None = None) -> Breaker:
    """Let the chargers of a family or a site be moved again; failures are counted anew from now on.

    :raises TransitionRefusedError: when it is closed already.
    """
    now = now or timezone.now()
    with command(actor, "migration.close_breaker", reason):
        locked = Breaker.objects.select_for_update(of=("self",)).get(pk=breaker.pk)
        if locked.closed_at is not None:
            raise TransitionRefusedError(f"This breaker was closed by {actor_words(locked.closed_by)} already.")
        locked.closed_at, locked.closed_by = now, actor.name
        locked.save()
        _waiting_for(locked).filter(next_look_at__gt=now).update(next_look_at=now)
    return locked


def _waiting_for(breaker: Breaker) -> QuerySet[MigrationCase]:
    """Those that say that they wait for this breaker: whoever closes it wants to see them move now."""
    waiting = MigrationCase.objects.filter(state=CaseState.PENDING, reason_code=ReasonCode.BREAKER_OPEN)
    if breaker.kind == BreakerKind.FAMILY:
        return waiting.filter(family=breaker.family_id)
    return waiting.filter(site=breaker.site)
