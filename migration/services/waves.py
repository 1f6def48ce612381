"""Starting waves in their order, and judging their gates.

Rows of a rollout and its waves are locked here, and no identity is: whoever starts a charger locks its wave after its
identity, so the two never wait for each other in a circle.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import partial

from django.db import connection, transaction
from django.db.models import QuerySet

from inventory.actors import Actor
from inventory.audit import attributed
from inventory.jobs import setbacks
from inventory.words import agreeing, part_of
from migration.models import MigrationCase, MigrationRollout, Wave
from migration.services import breakers, gates, retrying, tallies
from migration.services.gates import Counts, Thresholds
from migration.services.tallies import ENDED, Standing
from migration.states import CaseState, RolloutState, Verdict, WaveState

MIGRATION = Actor.system("migration")
S = CaseState


def judge(now: datetime) -> None:
    """Judge the waves of every running rollout, and start what may start."""
    running = MigrationRollout.objects.filter(state=RolloutState.RUNNING).order_by("pk")
    for rollout_id in setbacks.without(running, "migration-gates", now).values_list("pk", flat=True):
        setbacks.apart("migration-gates", rollout_id, now, partial(_judge_rollout, rollout_id, now))


def _judge_rollout(rollout_id: int, now: datetime) -> None:
    with transaction.atomic(), attributed(MIGRATION, "The gates of its waves were looked at"):
        rollout = lock_rollout(rollout_id)
        if rollout.state == RolloutState.RUNNING and not retrying.is_under_way(rollout, now):
            _judge(rollout, now)


def lock_rollout(rollout_id: int) -> MigrationRollout:
    """A rollout, locked until the end of the transaction; whoever moves one of its waves has it."""
    return MigrationRollout.objects.select_for_update(of=("self",)).get(pk=rollout_id)


def hold_rollout_of(wave_id: int) -> MigrationRollout:
    """The rollout of a wave as it stays until the end of the transaction: whoever pauses or stops it waits for that."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM migration_migrationrollout "
            "WHERE id = (SELECT rollout_id FROM migration_wave WHERE id = %s) FOR SHARE",
            [wave_id],
        )
        (rollout_id,) = cursor.fetchone()
    return MigrationRollout.objects.get(pk=rollout_id)


def reopen(rollout_id: int) -> None:
    """A complete rollout runs again, for a charger of it that was released in this transaction.

    Locked even where it runs: so its gates are not judged, and it is not completed, before the release is seen.
    """
    rollout = lock_rollout(rollout_id)
    if rollout.state == RolloutState.COMPLETE:
        rollout.run()
        rollout.save()


def _judge(rollout: MigrationRollout, now: datetime) -> None:
    waves = list(rollout.waves.order_by("position"))
    standing = [wave for wave in waves if wave.state in (WaveState.RUNNING, WaveState.PASSED)]
    tallies.put_together(standing)
    counted = counts(standing, accepted_until=rollout.ended_at)
    for wave in standing:
        wave.rollout = rollout
        _judge_wave(wave, counted[wave.pk], now)
        if rollout.state != RolloutState.RUNNING:
            return
    if not any(wave.state == WaveState.RUNNING for wave in waves):
        _advance(rollout, waves, sum(item.open for item in counted.values()), now)


def counts(waves: Sequence[Wave], *, accepted_until: datetime | None = None) -> dict[int, Counts]:
    """How the chargers of these waves stand, from what the database has counted; of the failed, some are looked at.

    The failures of a family or site that a breaker has stopped alone close no gate for the others; they are no
    successes either.

    :param accepted_until: chargers that had failed by then were there when their rollout was complete, and do not close
        its gates again now that it runs for those that were released.
    """
    stopped = breakers.open_now()
    found = tallies.of_waves(
        waves, stopped_families=stopped.families, stopped_sites=stopped.sites, accepted_until=accepted_until
    )
    return {wave.pk: _counts(wave, found[wave.pk]) for wave in waves}


def _counts(wave: Wave, found: Counter[Standing]) -> Counts:
    succeeded = ended = retrying = given_up = 0
    for standing, number in found.items():
        if standing.state == S.ACTIVE:
            succeeded += number
        elif standing.passed_over or (standing.state in ENDED and not standing.failed):
            given_up += number
        elif standing.state in ENDED:
            ended += number
        elif standing.failed:
            retrying += number
    return Counts(
        total=found.total() if wave.total is None else wave.total,
        succeeded=succeeded,
        failed=ended + retrying,
        given_up=given_up,
        retrying=retrying,
    )


def thresholds_of(wave: Wave) -> Thresholds:
    """When the gate of a wave opens and closes."""
    return Thresholds(wave.success_percent, wave.failure_percent, wave.sample)


def counts_of(wave: Wave) -> Counts:
    """How the chargers of a wave stand now."""
    return counts([wave])[wave.pk]


def _judge_wave(wave: Wave, standing: Counts, now: datetime) -> None:
    thresholds = thresholds_of(wave)
    past_deadline = wave.deadline is None or wave.deadline <= now
    found = gates.verdict(standing, thresholds, past_deadline=past_deadline)
    sentence = gates.explain(found, standing, thresholds, past_deadline=past_deadline)
    if wave.state == WaveState.PASSED:
        if found == Verdict.FAIL:
            _say(wave, sentence)
            _pause(wave.rollout, f"{wave} had passed and fails now. {sentence}")
        return
    closed = why_gate_closed(wave)
    if closed:
        _say(wave, closed)
        wave.pause()
        wave.save()
        _pause(wave.rollout, closed)
    elif found == Verdict.UNDECIDED:
        _say(wave, sentence)
    else:
        _decide(wave, found, sentence, now)


def _decide(wave: Wave, found: Verdict, sentence: str, now: datetime) -> None:
    wave.verdict, wave.decided_at = sentence, now
    if found == Verdict.PASS:
        wave.succeed()
        wave.save()
        return
    if found == Verdict.FAIL:
        wave.fail()
    else:
        wave.pause()
    wave.save()
    _pause(wave.rollout, f"{wave}: {sentence}")


def _say(wave: Wave, sentence: str) -> None:
    """What a gate says changes with every charger and is no change of the wave, so it makes no history."""
    if wave.verdict != sentence:
        wave.verdict = sentence
        Wave.objects.filter(pk=wave.pk).update(verdict=sentence)


def _pause(rollout: MigrationRollout, note: str) -> None:
    rollout.pause()
    rollout.note = note
    rollout.save()


def _advance(rollout: MigrationRollout, waves: list[Wave], still_open: int, now: datetime) -> None:
    following = next((wave for wave in waves if wave.state != WaveState.PASSED), None)
    if following is None:
        if still_open:
            return
        rollout.complete()
        rollout.ended_at = now
        rollout.save()
    elif following.state == WaveState.PENDING and (following.position == 1 or rollout.advance_automatically):
        following.rollout = rollout
        why = start(following, now)
        if why:
            _say(following, why)


def start(wave: Wave, now: datetime) -> str:
    """Start a wave of a locked rollout, fix how many chargers it has, and begin its deadline.

    :returns: why it cannot start now; empty where it has.
    """
    why = why_not_start(wave)
    if why:
        return why
    wave.total = targets_of(wave).count()
    wave.started_at, wave.deadline = now, now + wave.patience
    wave.verdict = ""
    wave.run()
    wave.save()
    return ""


def targets_of(wave: Wave) -> QuerySet[MigrationCase]:
    """The chargers that a wave starts with."""
    return MigrationCase.objects.filter(wave=wave).exclude(state=S.CANCELLED)


def why_not_start(wave: Wave) -> str:
    """Why a wave may not start now; the database refuses the same."""
    before = Wave.objects.filter(rollout=wave.rollout_id, position__lt=wave.position).exclude(state=WaveState.PASSED)
    unfinished = before.order_by("position").first()
    if unfinished is not None:
        return f"Wave {unfinished.position} has not passed but is {unfinished.get_state_display().lower()}."
    if not targets_of(wave).exists():
        return f"{wave} has no chargers left: cancel the rollout, or plan it again with another cohort."
    return why_gate_closed(wave)


def why_gate_closed(wave: Wave) -> str:
    """Which gate of trust anchors keeps a wave from going on; empty where none does."""
    closed = wave.anchor_rollouts.filter(gate_open=False).select_related("bundle", "cohort").first()
    if closed is None:
        return ""
    return (
        f"The gate of {closed} is closed: {part_of(closed.confirmed, closed.targets, 'charger')} "
        f"{agreeing(closed.confirmed, 'has', 'have')} confirmed their anchors, {closed.needed} "
        f"{agreeing(closed.needed, 'is', 'are')} needed ({closed.get_state_display().lower()})."
    )
