"""Steering a rollout: pause, resume, stop, retry what failed, let a stopped family go on."""

from datetime import datetime

from django.utils import timezone

from inventory.actors import Actor
from inventory.errors import InvalidInputError, TransitionRefusedError
from inventory.services.command import command
from trustanchors.choices import FAILED_STATES, RolloutState
from trustanchors.models import BundleInstallation, BundleRollout, RolloutFamily
from trustanchors.services.releasing import lock_rollout

CONTROL = "trustanchors.control_bundlerollout"


def pause(*, rollout: BundleRollout, actor: Actor, reason: str, now: datetime | None = None) -> BundleRollout:
    """Begin no further charger; those that were begun are seen through."""
    with command(actor, CONTROL, reason):
        locked = _source(rollout, "paused", RolloutState.RUNNING)
        locked.pause()
        locked.outcome = f"Paused: {reason.strip()}"
        locked.save()
    return locked


def resume(*, rollout: BundleRollout, actor: Actor, reason: str, now: datetime | None = None) -> BundleRollout:
    """Go on with a rollout that was paused or stopped."""
    with command(actor, CONTROL, reason):
        locked = _source(rollout, "resumed", RolloutState.PAUSED, RolloutState.STOPPED)
        locked.run()
        locked.outcome = ""
        locked.save()
    return locked


def stop(*, rollout: BundleRollout, actor: Actor, reason: str, now: datetime | None = None) -> BundleRollout:
    """End a rollout before its end. Its gate closes; what is installed stays, and is still asked about."""
    with command(actor, CONTROL, reason):
        locked = _source(rollout, "stopped", RolloutState.PLANNED, RolloutState.RUNNING, RolloutState.PAUSED)
        locked.stop()
        locked.outcome = f"Stopped: {reason.strip()}"
        locked.save()
    return locked


def _source(rollout: BundleRollout, verb: str, *allowed: RolloutState) -> BundleRollout:
    locked = lock_rollout(rollout.pk)
    if locked.replaced_at is not None:
        raise TransitionRefusedError(f"{locked} is replaced by a newer release; it cannot be {verb}.")
    if locked.state not in allowed:
        names = " or ".join(state.label.lower() for state in allowed)
        raise TransitionRefusedError(
            f"{locked} is {locked.get_state_display().lower()}; only one that is {names} can be {verb}."
        )
    return locked


def retry(
    *, installation: BundleInstallation, actor: Actor, reason: str, now: datetime | None = None
) -> BundleInstallation:
    """Have one endpoint begun anew that failed or does not have what it should; a duty does it right after.

    :raises TransitionRefusedError: when it did not fail, or its rollout does not stand any more.
    """
    with command(actor, CONTROL, reason):
        locked = BundleInstallation.objects.select_for_update(of=("self",)).get(pk=installation.pk)
        if locked.state not in FAILED_STATES:
            raise TransitionRefusedError(
                f"{locked} is {locked.get_state_display().lower()}; only what failed or is mismatched is begun anew."
            )
        if not locked.current or not locked.rollout.is_standing:
            raise TransitionRefusedError(f"{locked.rollout} does not stand any more; release a newer version instead.")
        locked.retry_asked_at = now or timezone.now()
        locked.save(update_fields=["retry_asked_at", "updated_at"])
    return locked


def retry_failed(*, rollout: BundleRollout, actor: Actor, reason: str, now: datetime | None = None) -> BundleRollout:
    """Have every endpoint begun anew that failed by now or does not have what it should; a duty does it, one by one.

    :raises TransitionRefusedError: when nothing failed, or the rollout does not stand any more.
    """
    with command(actor, CONTROL, reason):
        locked = lock_rollout(rollout.pk)
        if not locked.is_standing:
            raise TransitionRefusedError(f"{locked} does not stand any more; release a newer version instead.")
        if not locked.failed:
            raise TransitionRefusedError(f"Nothing of {locked} failed; there is nothing to begin anew.")
        locked.retry_asked_at = now or timezone.now()
        _wake(locked)
        locked.save()
    return locked


def allow_family(
    *,
    rollout: BundleRollout,
    family_id: int,
    further_failures: int,
    actor: Actor,
    reason: str,
    now: datetime | None = None,
) -> RolloutFamily:
    """Let a family go on that its failures have stopped, until so many more fail.

    :param family_id: of the `RolloutFamily`.
    :raises InvalidInputError: for a number that allows nothing, or a family that the rollout does not have.
    :raises TransitionRefusedError: when it is not stopped.
    """
    with command(actor, CONTROL, reason):
        if not 1 <= further_failures <= 10_000:
            raise InvalidInputError("Allow 1 to 10,000 further failures.")
        locked = lock_rollout(rollout.pk)
        family = RolloutFamily.objects.select_for_update(of=("self",)).filter(rollout=locked, pk=family_id).first()
        if family is None:
            raise InvalidInputError(f"{locked} has no family {family_id}; its page lists those that it has.")
        if not family.stopped:
            raise TransitionRefusedError(f"{family} is not stopped; there is nothing to allow.")
        family.failure_limit = family.failed + further_failures
        family.save(update_fields=["failure_limit"])
        if locked.is_standing:
            _wake(locked)
        # Saved in any case: its history then shows who allowed this, and why.
        locked.save()
    return family


def _wake(rollout: BundleRollout) -> None:
    """A rollout that had nothing left to do has something again. The caller saves it."""
    if rollout.state in (RolloutState.COMPLETE, RolloutState.STOPPED):
        rollout.run()
        rollout.outcome = ""
