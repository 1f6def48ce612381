"""What this operator may do now with a rollout, a wave, a charger on its way or a breaker, and what it would mean."""

from inventory.actors import Actor
from inventory.services.actions import AvailableAction
from inventory.words import actor_words, agreeing, counted
from migration.models import Breaker, MigrationCase, MigrationRollout, Wave
from migration.services import breakers, lowering, retrying, rollouts
from migration.states import CaseState, RolloutState, WaveState

R, W, C = RolloutState, WaveState, CaseState


def for_rollout(rollout: MigrationRollout, actor: Actor) -> list[AvailableAction]:
    """The verbs of a rollout."""
    state = R(rollout.state)
    return [
        _offer(
            "pause",
            "Pause",
            "Nobody new is started. Whoever is on the way goes on to its end.",
            _only("The rollout", state, R.RUNNING),
            actor,
            "pause_migrationrollout",
        ),
        _offer(
            "resume",
            "Resume",
            "Chargers are started again. A wave that was paused or had failed is judged anew; failures still count, "
            "so retry the failed first.",
            _only("The rollout", state, R.PAUSED),
            actor,
            "resume_migrationrollout",
        ),
        _offer(
            "next",
            "Start the next wave",
            "The next wave starts, if the one before has passed and its trust anchors are confirmed.",
            _only("The rollout", state, R.RUNNING) or rollouts.why_no_next(rollout),
            actor,
            "advance_migrationrollout",
        ),
        _offer(
            "retry_failed",
            "Retry the failed",
            "Its quarantined chargers are released and its failed ones tried anew, each with a whole retry budget. "
            "Those of a stopped family or site stay. A complete rollout runs again for them.",
            _only("The rollout", state, R.RUNNING, R.PAUSED, R.COMPLETE) or _why_no_retry(rollout),
            actor,
            "retry_migrationrollout",
        ),
        _offer(
            "stop",
            "Stop",
            "Nobody new is started, for good. Whoever is on the way goes on to its end; the rest can be planned again. "
            "This cannot be undone.",
            _only("The rollout", state, R.PLANNED, R.RUNNING, R.PAUSED),
            actor,
            "stop_migrationrollout",
            dangerous=True,
        ),
    ]


def _why_no_retry(rollout: MigrationRollout) -> str:
    if not retrying.failed(rollout).exists():
        return "None of its chargers has failed."
    left = retrying.wanted(rollout).count()
    return f"They are being tried anew: {counted(left, 'charger')} to go." if left else ""


def for_wave(wave: Wave, actor: Actor) -> list[AvailableAction]:
    """The verbs of a wave."""
    staying = lowering.cannot_go_back(wave).count()
    stays = agreeing(staying, "stays", "stay")
    stay = f" {staying:,} of its active chargers {stays}, because no family of theirs can lower its profile."
    return [
        _offer(
            "roll_back",
            "Roll back",
            "Its chargers on the way return to Profile 2, and so do the active ones whose family can lower its "
            f"profile, one after the other.{stay if staying else ''} This cannot be undone; plan them again to move "
            "them.",
            f"{wave} was rolled back already." if wave.state == W.ROLLED_BACK else "",
            actor,
            "rollback_migrationrollout",
            dangerous=True,
        )
    ]


def for_case(case: MigrationCase, actor: Actor) -> list[AvailableAction]:
    """The verbs of a charger on its way."""
    state, who = C(case.state), case.identity.authoritative_identifier
    moving = (C.PENDING, C.INSTALLING, C.PENDING_ACTIVATION, C.ROLLBACK)
    return [
        _offer(
            "release",
            "Release",
            what_release_means(case),
            _only(_migration_of(case), state, C.QUARANTINE),
            actor,
            "release_migrationcase",
        ),
        _offer(
            "approve_exception",
            "Approve an exception",
            f"{who} stays as it is, and no longer waits for anybody.",
            _only(_migration_of(case), state, C.QUARANTINE),
            actor,
            "except_migrationcase",
        ),
        _offer(
            "quarantine",
            "Quarantine",
            f"Automation stops for {who}. Its certificate and its access stay as they are.",
            _only(_migration_of(case), state, *moving),
            actor,
            "quarantine_migrationcase",
        ),
        _offer(
            "roll_back",
            "Bring back to Profile 2",
            f"What was asked of {who} is withdrawn, and it is brought back to Profile 2.",
            _why_not_back(case, state),
            actor,
            "rollback_migrationcase",
            dangerous=True,
        ),
        _offer(
            "cancel",
            "Cancel its migration",
            f"{who} is taken out of the migration. Its certificate and its access stay as they are.",
            _only(_migration_of(case), state, *moving, C.QUARANTINE, C.EXCEPTED),
            actor,
            "cancel_migrationcase",
            dangerous=True,
        ),
    ]


def for_breaker(breaker: Breaker, actor: Actor) -> list[AvailableAction]:
    """The verbs of a breaker."""
    return [
        _offer(
            "close",
            "Close the breaker",
            "Its chargers are moved again, and failures are counted anew. Release its quarantined chargers afterwards.",
            f"The breaker was closed by {actor_words(breaker.closed_by)}." if breaker.closed_at else "",
            actor,
            "close_breaker",
        )
    ]


def what_release_means(case: MigrationCase) -> str:
    """What happens with a quarantined charger that is released now, and what else has to be done for it."""
    wave, who = case.wave, case.identity.authoritative_identifier
    if wave is None:
        return f"{who} waits for a rollout: plan one with a cohort that it belongs to."
    name = wave.rollout.name
    if wave.rollout.state == R.STOPPED or wave.state == W.STOPPED:
        return _starts_with_another(who, f"Rollout “{name}” was stopped")
    if wave.state == W.ROLLED_BACK:
        return _starts_with_another(who, f"{wave} was rolled back")
    breaker = breakers.open_now().stopping(case)
    if breaker is not None:
        stopped = breaker.subject
        return (
            f"{who} waits: the breaker of {stopped} is open, and no charger of it is moved until somebody closes "
            f"breaker {breaker.pk}. Find the cause, then close it; {who} is then started by itself, with a whole retry "
            "budget."
        )
    again = f"{who} is tried again when its turn comes, with a whole retry budget."
    if wave.rollout.state == R.COMPLETE:
        return f"{again} Rollout “{name}” is complete, and runs again until it has arrived or failed."
    if wave.rollout.state == R.PAUSED:
        return f"{again} Rollout “{name}” is paused: resume it."
    return again


def _starts_with_another(who: str, because: str) -> str:
    return f"{who} is not started by this: {because}. Plan another rollout with a cohort that {who} belongs to."


def _why_not_back(case: MigrationCase, state: CaseState) -> str:
    if state == C.ACTIVE:
        return lowering.why_it_cannot(case)
    return _only(_migration_of(case), state, C.INSTALLING, C.PENDING_ACTIVATION)


def _migration_of(case: MigrationCase) -> str:
    return f"The migration of {case.identity.authoritative_identifier}"


def _only(what: str, state: RolloutState | CaseState, *allowed: RolloutState | CaseState) -> str:
    if state in allowed:
        return ""
    return (
        f"{what} is {state.label.lower()}; this is for what is {' or '.join(item.label.lower() for item in allowed)}."
    )


def _offer(
    verb: str, label: str, explanation: str, obstacle: str, actor: Actor, permission: str, *, dangerous: bool = False
) -> AvailableAction:
    if not obstacle and not actor.may(f"migration.{permission}"):
        obstacle = f"You lack the permission “migration.{permission}”."
    return AvailableAction(verb, label, not obstacle, obstacle, explanation, dangerous)
