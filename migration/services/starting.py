"""Starting the chargers of a wave, within its rate, its concurrency, and its limits by family and site.

A few at a time are judged and started in one transaction, under their locks and that of their wave: what has to be
known of them is asked about all of them at once. One that cannot be judged or started keeps no other waiting.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

from django.db import transaction
from django.db.models import Count

from inventory.actors import Actor
from inventory.audit import attributed
from inventory.jobs import setbacks
from inventory.models import CertificateRecord
from inventory.services import lifecycle, rate_limits
from inventory.services.locking import lock_identities
from migration.models import MigrationCase, Wave
from migration.services import arrivals, cases, holding, waves
from migration.services.cutting_over import usable_records
from migration.states import IN_FLIGHT, STARTING_WAVES, CaseState, ReasonCode, RolloutState, Stage

logger = logging.getLogger(__name__)

MIGRATION = Actor.system("migration")
WHY = "Its wave is running and every readiness check passed"
WORK = "migration-start"
BATCH = 200
"""Chargers of one wave looked at in one round, so that no wave keeps the others waiting."""
TOGETHER = 25
"""Chargers of one transaction: so few that nobody waits long for a lock of theirs."""
AFTER_A_REFUSAL = timedelta(minutes=5)
S = CaseState


def start_pending(now: datetime) -> int:
    """Start the chargers of running waves, within rate, concurrency, and limits by family and site.

    :returns: how many were started.
    """
    started = 0
    running = Wave.objects.filter(state__in=STARTING_WAVES, rollout__state=RolloutState.RUNNING)
    found = setbacks.without(running, "migration-wave", now)
    for wave in found.order_by("rollout_id", "position"):
        started += setbacks.apart("migration-wave", wave.pk, now, partial(_start_wave, wave, now)) or 0
    return started


def _start_wave(wave: Wave, now: datetime) -> int:
    started = looked_at = 0
    while looked_at < BATCH:
        candidates = _candidates(wave, now)
        looked_at += len(candidates)
        outcome = _at_once(wave, candidates, now) if candidates else _Outcome()
        started += outcome.started
        if not outcome.goes_on:
            break
    return started


@dataclass(slots=True)
class _Outcome:
    """What became of a few candidates."""

    started: int = 0
    settled: int = 0
    """Started, or told why not: none of these is a candidate any more."""
    at_the_rate: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether there may be others that can be started in this round."""
        return bool(self.settled) and not self.at_the_rate


@dataclass(slots=True)
class _Room:
    """How many chargers of a wave are on their way, and whether one more may be."""

    wave: Wave
    by_family: Counter[int | None] = field(default_factory=Counter)
    by_site: Counter[str] = field(default_factory=Counter)
    moving: int = 0

    @classmethod
    def of(cls, wave: Wave) -> "_Room":
        """As it is now: under the lock of the wave, so that no two take the same place."""
        room = cls(wave)
        found = MigrationCase.objects.filter(wave=wave, state__in=IN_FLIGHT).order_by()
        for family_id, site, number in found.values_list("family_id", "site").annotate(Count("pk")):
            room.take(family_id, site, number)
        return room

    def take(self, family_id: int | None, site: str, number: int = 1) -> None:
        self.by_family[family_id] += number
        self.by_site[site] += number
        self.moving += number

    def has(self, family_id: int | None, site: str) -> bool:
        limits = (
            (self.wave.concurrency, self.moving),
            (self.wave.per_family, self.by_family[family_id]),
            (self.wave.per_site, self.by_site[site]),
        )
        return all(limit is None or present < limit for limit, present in limits)

    def full_families(self) -> list[int | None]:
        most = self.wave.per_family
        return [key for key, number in self.by_family.items() if most is not None and number >= most]

    def full_sites(self) -> list[str]:
        most = self.wave.per_site
        return [key for key, number in self.by_site.items() if most is not None and number >= most]


def _candidates(wave: Wave, now: datetime) -> dict[int, int]:
    """Cases that are to be looked at next, by their identities."""
    room = _Room.of(wave)
    if room.moving >= wave.concurrency:
        return {}
    found = MigrationCase.objects.filter(wave=wave, state=S.PENDING, next_look_at__lte=now)
    found = setbacks.without(found, WORK, now)
    families, sites = room.full_families(), room.full_sites()
    if known := [key for key in families if key is not None]:
        found = found.exclude(family_id__in=known)
    if None in families:
        found = found.exclude(family__isnull=True)
    if sites:
        found = found.exclude(site__in=sites)
    return dict(found.order_by("next_look_at", "pk").values_list("identity_id", "pk")[:TOGETHER])


def _at_once(wave: Wave, found: Mapping[int, int], now: datetime) -> _Outcome:
    try:
        return _start(wave, found, now)
    except Exception:  # whatever it is: one by one it is found, and that charger set aside
        logger.info("%s chargers are started one by one, as it failed for one of them", len(found), exc_info=True)
    total = _Outcome()
    for identity_id, case_id in found.items():
        alone = partial(_start, wave, {identity_id: case_id}, now)
        outcome = setbacks.apart(WORK, case_id, now, alone, identity_id=identity_id)
        # One that failed is set aside, and so no candidate any more either.
        total.settled += outcome.settled if outcome is not None else 1
        if outcome is not None:
            total.started += outcome.started
            total.at_the_rate |= outcome.at_the_rate
    return total


def _start(wave: Wave, found: Mapping[int, int], now: datetime) -> _Outcome:
    """
    :param found: cases by their identities.
    """
    with transaction.atomic(), attributed(MIGRATION, WHY):
        identities = lock_identities(found)
        locked = cases.lock_cases(identities, found.values())
        # Held, so that neither is paused or closed between this look and the commit; in the order of whoever does that.
        rollout = waves.hold_rollout_of(wave.pk)
        wave = Wave.objects.select_for_update(of=("self",), no_key=True).get(pk=wave.pk)
        wave.rollout = rollout
        waiting = [case for case in locked if case.state == S.PENDING and case.wave_id == wave.pk]
        for case in waiting:
            case.wave = wave
        waiting.sort(key=lambda case: (case.next_look_at, case.pk))
        holds = holding.holds(waiting, now)
        outcome = _Outcome(settled=len(locked) - len(waiting))
        room, free = _Room.of(wave), []
        for case in waiting:
            hold = holds[case.pk]
            if hold is not None:
                cases.say(case, hold.code, hold.why, look_again_at=hold.look_again_at)
                outcome.settled += 1
            elif room.has(case.family_id, case.site):
                room.take(case.family_id, case.site)
                free.append(case)
        rate = wave.per_minute / 60
        taken = (
            rate_limits.take_some(f"wave:{wave.pk}", len(free), per_second=rate, burst=_burst(rate), now=now)
            if free
            else 0
        )
        outcome.at_the_rate = taken < len(free)
        outcome.started = _begin(free[:taken], wave, now)
        outcome.settled += taken
    return outcome


def _burst(per_second: float) -> float:
    """What may start at once after a pause: as many as a few rounds of the duty."""
    return max(1.0, per_second * 5)


def _begin(starting: Sequence[MigrationCase], wave: Wave, now: datetime) -> int:
    """
    :returns: how many are on their way now; the others were refused a certificate, and say so.
    """
    if not starting:
        return 0
    records = usable_records([case.identity for case in starting], now)
    deadline = now + wave.rollout.case_deadline
    without = [case for case in starting if not _has_one_already(case, records.get(case.identity_id), deadline, now)]
    if not without:
        return len(starting)
    own = {case.identity_id: uuid4().hex for case in without}
    opened = lifecycle.issue_each(
        [case.identity for case in without],
        actor=MIGRATION,
        reason=f"{wave} moves it to Profile 3",
        correlation_ids=own,
        now=now,
    )
    issuing = [case for case in without if case.identity_id in opened.jobs]
    for case in issuing:
        case.issue_job = opened.jobs[case.identity_id]
    cases.issuing_each(issuing, now, deadline=deadline, correlation_ids=own)
    for case in without:
        if case.identity_id in opened.refused:
            why = str(opened.refused[case.identity_id])
            cases.say(case, ReasonCode.ISSUE_FAILED, why, look_again_at=now + AFTER_A_REFUSAL)
    return len(starting) - len(opened.refused)


def _has_one_already(case: MigrationCase, record: CertificateRecord | None, deadline: datetime, now: datetime) -> bool:
    """Whether a charger needs no certificate: it has come by itself, or has installed one to come with."""
    if record is None:
        return False
    with attributed(MIGRATION, WHY, uuid4().hex):
        if arrivals.is_on_profile_3(case.identity, record):
            arrivals.arrived(case, record, now)
        else:
            cases.installing(case, now, stage=Stage.ISSUING, deadline=deadline)
            cases.ready(case, record, now)
    return True
