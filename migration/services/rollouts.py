"""What operators do with rollouts, waves and single chargers: one function a verb, each with its own permission."""

from datetime import datetime

from django.db.models import Count, QuerySet
from django.utils import timezone

from inventory.actors import Actor
from inventory.errors import TransitionRefusedError
from inventory.services.command import command
from inventory.services.locking import lock_identity
from inventory.words import actor_words
from migration.models import MigrationCase, MigrationRollout, Wave
from migration.services import cases, lowering, retrying, returning, waves
from migration.states import CaseState, ReasonCode, RolloutState, WaveState

DEFAULT_TRIES = 1
S = CaseState


def pause(*, rollout: MigrationRollout, actor: Actor, reason: str, now: datetime | None = None) -> MigrationRollout:
    """Start nobody new; whoever is on the way goes on to its end."""
    now = now or timezone.now()
    with command(actor, "migration.pause_migrationrollout", reason):
        locked = _locked(rollout, "paused", RolloutState.RUNNING)
        locked.note = reason.strip()
        locked.pause()
        locked.save()
    return locked


def resume(*, rollout: MigrationRollout, actor: Actor, reason: str, now: datetime | None = None) -> MigrationRollout:
    """Go on. A wave that was paused or had failed is judged anew, with all of its patience.

    Failures still count: retry the failed first, or its gate says the same again.
    """
    now = now or timezone.now()
    with command(actor, "migration.resume_migrationrollout", reason):
        locked = _locked(rollout, "resumed", RolloutState.PAUSED)
        held = locked.waves.filter(state__in=[WaveState.PAUSED, WaveState.FAILED]).order_by("position").first()
        if held is not None:
            held.rollout = locked
            closed = waves.why_gate_closed(held)
            if closed:
                raise TransitionRefusedError(f"{held} cannot go on. {closed}")
            held.deadline = now + held.patience
            held.run()
            held.save()
        locked.note = ""
        locked.run()
        locked.save()
    return locked


def stop(*, rollout: MigrationRollout, actor: Actor, reason: str, now: datetime | None = None) -> MigrationRollout:
    """Start nobody new, for good. Whoever is on the way goes on to its end; the rest can be planned again."""
    now = now or timezone.now()
    with command(actor, "migration.stop_migrationrollout", reason):
        locked = _locked(rollout, "stopped", RolloutState.PLANNED, RolloutState.RUNNING, RolloutState.PAUSED)
        for wave in locked.waves.filter(
            state__in=[WaveState.PENDING, WaveState.RUNNING, WaveState.PAUSED, WaveState.FAILED]
        ):
            wave.stop()
            wave.save()
        locked.note, locked.ended_at = reason.strip(), now
        locked.retry_wanted_at, locked.retry_wanted_by, locked.retry_reason = None, "", ""
        locked.stop()
        locked.save()
    return locked


def start_next(*, rollout: MigrationRollout, actor: Actor, reason: str, now: datetime | None = None) -> Wave:
    """Start the next wave. The one before must have passed: nobody can open a gate below its threshold.

    :raises TransitionRefusedError: while it may not start, with why.
    """
    now = now or timezone.now()
    with command(actor, "migration.advance_migrationrollout", reason):
        locked = _locked(rollout, "advanced", RolloutState.RUNNING)
        wave = locked.waves.filter(state=WaveState.PENDING).order_by("position").first()
        if wave is None:
            raise TransitionRefusedError(f"Rollout “{locked.name}” has no further wave to start.")
        wave.rollout = locked
        why = waves.start(wave, now)
        if why:
            raise TransitionRefusedError(f"{wave} cannot start. {why}")
    return wave


def retry_failed(*, rollout: MigrationRollout, actor: Actor, reason: str, now: datetime | None = None) -> int:
    """Release the quarantined chargers of a rollout and try its failed ones anew, each with a whole retry budget.

    They are marked as one here, and tried anew one by one by the duty (`retrying`). Those that a breaker has stopped
    stay, until it is closed. A complete rollout runs again until the others have arrived or failed.

    :returns: how many are to be tried anew.
    """
    now = now or timezone.now()
    with command(actor, "migration.retry_migrationrollout", reason):
        locked = _locked(rollout, "retried", RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.COMPLETE)
        locked.retry_wanted_at, locked.retry_wanted_by, locked.retry_reason = now, actor.name, reason.strip()
        number = retrying.wanted(locked).count()
        if number:
            if locked.state == RolloutState.COMPLETE:
                locked.run()
            locked.save()
    return number


def why_no_next(rollout: MigrationRollout) -> str:
    """Why no further wave may start now; empty where one may."""
    wave = rollout.waves.filter(state=WaveState.PENDING).order_by("position").first()
    if wave is None:
        return f"Rollout “{rollout.name}” has no further wave to start."
    wave.rollout = rollout
    return waves.why_not_start(wave)


def roll_back(*, wave: Wave, actor: Actor, reason: str, now: datetime | None = None) -> Wave:
    """Take a wave back: those on the way return, and so do the active ones whose family can lower its profile.

    The work is done by the duty, one charger after the other, within the caps. `lowering.cannot_go_back` lists those
    that stay.
    """
    now = now or timezone.now()
    with command(actor, "migration.rollback_migrationrollout", reason):
        rollout = waves.lock_rollout(wave.rollout_id)
        locked = rollout.waves.get(pk=wave.pk)
        if locked.state == WaveState.ROLLED_BACK:
            raise TransitionRefusedError(f"{locked} was rolled back already.")
        locked.verdict = f"Rolled back by {actor_words(actor.name)}: {reason.strip()}"
        locked.roll_back()
        locked.save()
        if rollout.state in (RolloutState.RUNNING, RolloutState.COMPLETE):
            rollout.note = locked.verdict
            rollout.pause()
            rollout.save()
    return locked


def roll_back_case(*, case: MigrationCase, actor: Actor, reason: str, now: datetime | None = None) -> MigrationCase:
    """Take one charger back to Profile 2.

    :raises TransitionRefusedError: when it is not on its way, or its family cannot lower its profile.
    """
    now = now or timezone.now()
    with command(actor, "migration.rollback_migrationcase", reason):
        locked = _lock_case(case)
        if locked.state == S.ACTIVE:
            lowering.lower(locked, reason.strip(), now)
        else:
            _check(locked, "taken back", S.INSTALLING, S.PENDING_ACTIVATION)
            returning.bring_back(locked, ReasonCode.OPERATOR, reason.strip(), now, failed=False)
    return locked


def quarantine(*, case: MigrationCase, actor: Actor, reason: str, now: datetime | None = None) -> MigrationCase:
    """Stop the automation of one charger; its certificate and its access stay as they are."""
    now = now or timezone.now()
    with command(actor, "migration.quarantine_migrationcase", reason):
        locked = _lock_case(case)
        _check(locked, "quarantined", S.PENDING, S.INSTALLING, S.PENDING_ACTIVATION, S.ROLLBACK)
        why = f"Quarantined by {actor_words(actor.name)}: {reason.strip()}"
        cases.quarantined(locked, ReasonCode.OPERATOR, why, now)
        returning.leave_alone(locked, why, now)
        returning.take_in_hand(locked, now)
    return locked


def release(*, case: MigrationCase, actor: Actor, reason: str, now: datetime | None = None) -> MigrationCase:
    """Let a quarantined charger be tried again, with a whole retry budget.

    Its rollout runs again for it where that was complete. Where it was stopped or its wave was rolled back, the charger
    waits for another plan.
    """
    now = now or timezone.now()
    with command(actor, "migration.release_migrationcase", reason):
        locked = _lock_case(case)
        _check(locked, "released", S.QUARANTINE)
        tries = locked.wave.rollout.retry_budget if locked.wave is not None else DEFAULT_TRIES
        cases.released(locked, now, tries=tries)
        returning.take_in_hand(locked, now)
        if locked.wave is not None:
            waves.reopen(locked.wave.rollout_id)
    return locked


def approve_exception(*, case: MigrationCase, actor: Actor, reason: str, now: datetime | None = None) -> MigrationCase:
    """Approve that a quarantined charger stays as it is."""
    now = now or timezone.now()
    with command(actor, "migration.except_migrationcase", reason):
        locked = _lock_case(case)
        _check(locked, "excepted", S.QUARANTINE)
        cases.excepted(locked, reason.strip(), now)
        returning.take_in_hand(locked, now)
    return locked


def cancel(*, case: MigrationCase, actor: Actor, reason: str, now: datetime | None = None) -> MigrationCase:
    """Take a charger out of the migration; its certificate and its access stay as they are."""
    now = now or timezone.now()
    with command(actor, "migration.cancel_migrationcase", reason):
        locked = _lock_case(case)
        _check(locked, "cancelled", S.PENDING, S.INSTALLING, S.PENDING_ACTIVATION, S.ROLLBACK, S.QUARANTINE, S.EXCEPTED)
        cases.cancelled(locked, reason.strip(), now)
        returning.leave_alone(locked, locked.why, now)
        returning.take_in_hand(locked, now)
    return locked


def standing(rollout: MigrationRollout) -> dict[str, int]:
    """How many chargers of a rollout are in each state."""
    states = MigrationCase.objects.filter(wave__rollout=rollout).order_by().values_list("state")
    return dict(states.annotate(Count("pk")))


def stuck(rollout: MigrationRollout) -> QuerySet[MigrationCase]:
    """The chargers of a rollout that need a person."""
    return MigrationCase.objects.filter(wave__rollout=rollout, state=S.QUARANTINE).select_related("identity")


def _locked(rollout: MigrationRollout, verb: str, *allowed: RolloutState) -> MigrationRollout:
    locked = waves.lock_rollout(rollout.pk)
    if locked.state not in allowed:
        names = " or ".join(state.label.lower() for state in allowed)
        raise TransitionRefusedError(
            f"Rollout “{locked.name}” is {locked.get_state_display().lower()}; only one that is {names} can be {verb}."
        )
    return locked


def _lock_case(case: MigrationCase) -> MigrationCase:
    return cases.lock_case(lock_identity(case.identity_id), case.pk)


def _check(case: MigrationCase, verb: str, *allowed: CaseState) -> None:
    if case.state not in allowed:
        names = " or ".join(state.label.lower() for state in allowed)
        raise TransitionRefusedError(
            f"The migration of {case.identity.authoritative_identifier} is {case.get_state_display().lower()}; only "
            f"one that is {names} can be {verb}."
        )
