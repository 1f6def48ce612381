"""Bringing chargers to Profile 3: who is started, and who was silent for too long.

Every step looks at one charger in one transaction, under its identity's lock, and decides anew from what is stored: run
twice, killed anywhere or overtaken by evidence, the outcome is as if it ran once. What arrives from the wire is handled
in `migration.services.arrivals`.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.db.models import Count, Q

from inventory.actors import Actor
from inventory.audit import attributed
from inventory.errors import InventoryError
from inventory.jobs import setbacks
from inventory.jobs.periodic import duty
from inventory.purposes import CHARGER_IDENTITY
from inventory.services import lifecycle, rate_limits
from inventory.services.locking import lock_identity
from migration.models import MigrationCase, Wave
from migration.services import arrivals, breakers, cases, holding, lowering, retrying, returning, waves
from migration.services.cutting_over import cut_over_the_ready, usable_records
from migration.states import IN_FLIGHT, STARTING_WAVES, CaseState, ReasonCode, RolloutState, Stage

MIGRATION = Actor.system("migration")
BATCH = 200
"""Chargers looked at in one round of one step, so that no step keeps the others waiting."""
AFTER_A_REFUSAL = timedelta(minutes=5)
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


# -- pending -> installing ---------------------------------------------------------------------------------------------


def start_pending(now: datetime) -> int:
    """Start the chargers of running waves, within rate, concurrency, and limits by family and site.

    :returns: how many were started.
    """
    started = 0
    running = Wave.objects.filter(state__in=STARTING_WAVES, rollout__state=RolloutState.RUNNING)
    found = setbacks.without(running, "migration-wave", now)
    for wave in found.select_related("rollout").order_by("rollout_id", "position"):
        started += setbacks.apart("migration-wave", wave.pk, now, partial(_start_wave, wave, now)) or 0
    return started


def _start_wave(wave: Wave, now: datetime) -> int:
    moving = MigrationCase.objects.filter(wave=wave, state__in=IN_FLIGHT).values_list("family_id", "site")
    by_family: Counter[int | None] = Counter()
    by_site: Counter[str] = Counter()
    for family_id, site in moving:
        by_family[family_id] += 1
        by_site[site] += 1
    free = wave.concurrency - by_family.total()
    started = 0
    candidates = list(_candidates(wave, by_family, by_site, now)[:BATCH]) if free > 0 else []
    held = _held(candidates, now) if candidates else {}
    for case in candidates:
        if case.pk not in held or started >= free or _at_limit(wave, case, by_family, by_site):
            continue
        hold = held[case.pk]
        if hold is not None:
            _hold_back(case, hold, now)
            continue
        if rate_limits.take(f"wave:{wave.pk}", per_second=wave.per_minute / 60, burst=_burst(wave), now=now):
            break
        if _each("migration-start", [(case.pk, case.identity_id)], _start, now):
            started += 1
            by_family[case.family_id] += 1
            by_site[case.site] += 1
    return started


def _held(candidates: list[MigrationCase], now: datetime) -> dict[int, holding.Hold | None]:
    """What holds each of them back. One of which that cannot be said is set aside, and keeps no other waiting."""
    try:
        with transaction.atomic():
            return holding.holds(candidates, now)
    except Exception:  # noqa: BLE001  # whatever it is: looked at one by one, it is found and told of below
        held: dict[int, holding.Hold | None] = {}
        for case in candidates:
            look = partial(holding.holds, [case], now)
            held |= setbacks.apart("migration-start", case.pk, now, look, identity_id=case.identity_id) or {}
        return held


def _burst(wave: Wave) -> float:
    """What may start at once after a pause: as many as a few rounds of the duty."""
    return max(1.0, wave.per_minute / 60 * 5)


def _candidates(
    wave: Wave, by_family: Counter[int | None], by_site: Counter[str], now: datetime
) -> "list[MigrationCase]":
    found = MigrationCase.objects.filter(wave=wave, state=S.PENDING, next_look_at__lte=now)
    found = setbacks.without(found, "migration-start", now)
    if wave.per_family is not None:
        full = [key for key, number in by_family.items() if number >= wave.per_family]
        known = [key for key in full if key is not None]
        found = found.exclude(family_id__in=known) if known else found
        found = found.exclude(family__isnull=True) if None in full else found
    if wave.per_site is not None and (
        full_sites := [key for key, number in by_site.items() if number >= wave.per_site]
    ):
        found = found.exclude(site__in=full_sites)
    related = found.select_related("identity__family", "family", "wave__rollout")
    return list(related.order_by("next_look_at", "pk")[:BATCH])


def _at_limit(wave: Wave, case: MigrationCase, by_family: Counter[int | None], by_site: Counter[str]) -> bool:
    family_full = wave.per_family is not None and by_family[case.family_id] >= wave.per_family
    return family_full or (wave.per_site is not None and by_site[case.site] >= wave.per_site)


def _hold_back(case: MigrationCase, hold: holding.Hold, now: datetime) -> None:
    """Say why, and look again later; nothing moves."""
    waiting = MigrationCase.objects.filter(pk=case.pk, state=S.PENDING, next_look_at__lte=now)
    waiting.update(reason_code=hold.code, why=hold.why, next_look_at=hold.look_again_at)


def _start(case_id: int, identity_id: int, now: datetime) -> bool:
    with transaction.atomic(), attributed(MIGRATION, "Its wave is running and every readiness check passed"):
        identity = lock_identity(identity_id)
        case = cases.lock_case(identity, case_id)
        if case.state != S.PENDING or case.wave_id is None:
            return False
        # Held, so that neither is paused or closed between this look and the commit; in the order of whoever does that.
        rollout = waves.hold_rollout_of(case.wave_id)
        wave = Wave.objects.select_for_update(of=("self",), no_key=True).get(pk=case.wave_id)
        wave.rollout, case.wave = rollout, wave
        hold = holding.holds([case], now)[case.pk]
        if hold is not None:
            cases.say(case, hold.code, hold.why, look_again_at=hold.look_again_at)
            return False
        return _has_room(wave, case) and _begin(case, wave, now)


def _has_room(wave: Wave, case: MigrationCase) -> bool:
    """Whether one more may be on its way; counted under the lock of the wave, so that no two take the same place."""
    moving = MigrationCase.objects.filter(wave=wave, state__in=IN_FLIGHT).aggregate(
        all=Count("pk"),
        family=Count("pk", filter=Q(family_id=case.family_id)),
        site=Count("pk", filter=Q(site=case.site)),
    )
    limits = ((wave.concurrency, "all"), (wave.per_family, "family"), (wave.per_site, "site"))
    return all(limit is None or moving[which] < limit for limit, which in limits)


def _begin(case: MigrationCase, wave: Wave, now: datetime) -> bool:
    identity = case.identity
    record = usable_records([identity], now).get(identity.pk)
    if record is not None and arrivals.is_on_profile_3(identity, record):
        arrivals.arrived(case, record, now)
        return True
    deadline = now + wave.rollout.case_deadline
    if record is not None:
        cases.installing(case, now, stage=Stage.ISSUING, deadline=deadline)
        cases.ready(case, record, now)
        return True
    try:
        with transaction.atomic():
            job = lifecycle.issue(
                identity=identity,
                purpose=CHARGER_IDENTITY.key,
                actor=MIGRATION,
                reason=f"{wave} moves it to Profile 3",
                now=now,
            )
    except InventoryError as error:
        cases.say(case, ReasonCode.ISSUE_FAILED, str(error), look_again_at=now + AFTER_A_REFUSAL)
        return False
    case.issue_job = job
    cases.installing(case, now, stage=Stage.ISSUING, deadline=deadline)
    return True


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
