"""Opening the cases of an applied migration plan, a batch at a time; whoever dies in between is followed by another.

A plan is compared before it is applied, but a large one takes a while, and others move chargers meanwhile. So what
counts is how each charger stands when its case is opened: its identity is locked and judged once more, and one that is
not as planned any more is left out, with the difference at its target.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from django.db import transaction

from inventory.audit import attributed, current_attribution
from inventory.choices import EventType, PlanState, TargetOutcome
from inventory.errors import NotPermittedError
from inventory.jobs.periodic import duty
from inventory.models import DomainEvent, ManagedIdentity, Plan, PlanTarget
from inventory.services.locking import lock_identities
from inventory.services.plans import PlanKind, kind_named
from inventory.services.plans.comparing import departure_of, left_out, verdicts_now
from inventory.services.plans.turns import take_turns
from migration.models import MigrationCase, MigrationRollout, Wave
from migration.services import cases, waves
from migration.states import ReasonCode, RolloutState
from trustanchors.choices import GATING_PURPOSES
from trustanchors.models import BundleInstallation

BATCH = 2_000
"""Chargers whose cases are opened in one transaction."""


@duty("migration-filling", timedelta(milliseconds=500))
def fill_waiting(now: datetime) -> None:
    """Go on with the rollouts whose cases are not all open yet."""
    fill(now)


def fill(now: datetime, limit: int = BATCH) -> None:
    """Open cases, each rollout in its turn, until all are open or a slice of time is over.

    :param limit: how many in one transaction.
    """
    waiting = Plan.objects.filter(state=PlanState.APPLIED, migration_rollout__state=RolloutState.PLANNED).order_by("pk")
    take_turns("migration-filling", waiting, lambda plan_id: _go_on(plan_id, now, limit), now)


def _go_on(plan_id: int, now: datetime, limit: int) -> bool:
    plan = Plan.objects.select_related("applied_user").get(pk=plan_id)
    kind = kind_named(plan.kind)
    try:
        plan.applier.require(kind.permission)
    except NotPermittedError as error:
        note = f"Its chargers are not taken in: {error} Or stop it, and plan again."
        MigrationRollout.objects.filter(plan=plan, state=RolloutState.PLANNED).update(note=note)
        raise
    with transaction.atomic(), attributed(plan.applier, plan.applied_reason, plan.correlation_id):
        return fill_batch(plan, kind, now, limit)


def fill_batch(plan: Plan, kind: PlanKind, now: datetime, limit: int = BATCH) -> bool:
    """Open the next cases of a plan's rollout; after the last, let its first wave start.

    Two who do it at once follow each other. The caller has opened a transaction and an attribution.

    :returns: whether there is more to do.
    """
    seen = MigrationRollout.objects.get(plan=plan)
    following = PlanTarget.objects.filter(plan=plan, included=True, identity_id__gt=seen.filled_to)
    targets = list(following.order_by("identity_id")[:limit])
    # Identities first, as everywhere; what was read before is looked at again once they are ours.
    identities = lock_identities([target.identity_id for target in targets])
    rollout = waves.lock_rollout(seen.pk)
    if rollout.state != RolloutState.PLANNED:
        return False
    if rollout.filled_to != seen.filled_to:
        return True
    if targets:
        standing = _as_planned(plan, kind, targets, identities, now)
        _open(rollout, standing, identities, now)
        rollout.filled_to = targets[-1].identity_id
    if len(targets) == limit:
        MigrationRollout.objects.filter(pk=rollout.pk).update(filled_to=rollout.filled_to)
        return True
    rollout.note = ""
    rollout.run()
    rollout.save()
    return False


def _as_planned(
    plan: Plan, kind: PlanKind, targets: Sequence[PlanTarget], identities: Mapping[int, ManagedIdentity], now: datetime
) -> list[PlanTarget]:
    """The targets that are as the plan has them; what became of the others is stored with each."""
    for target in targets:
        target.identity = identities[target.identity_id]
    standing, changed = [], []
    for target, verdict in zip(targets, verdicts_now(kind, plan, targets, now), strict=True):
        departure = departure_of(kind, target, verdict)
        if departure:
            target.outcome, target.detail = TargetOutcome.SKIPPED, left_out(departure)
            changed.append(target)
        else:
            standing.append(target)
    PlanTarget.objects.bulk_update(changed, ["outcome", "detail"])
    return standing


def _open(
    rollout: MigrationRollout,
    targets: Sequence[PlanTarget],
    identities: Mapping[int, ManagedIdentity],
    now: datetime,
) -> None:
    by_position = {wave.position: wave for wave in rollout.waves.all()}
    for wave in by_position.values():
        wave.rollout = rollout
    wave_of = {target.identity_id: by_position[_position(target)] for target in targets}
    live = MigrationCase.objects.live().select_for_update(of=("self",)).filter(identity__in=list(wave_of))
    known = {case.identity_id: case for case in live.order_by("pk")}
    new: list[MigrationCase] = []
    taken: list[MigrationCase] = []
    for identity_id, wave in wave_of.items():
        identity = identities[identity_id]
        case = known.get(identity_id) or MigrationCase(identity=identity, entered_state_at=now, opened_at=now)
        case.identity = identity
        case.wave, case.family_id, case.site = wave, identity.family_id, identity.site
        case.tries_left, case.failed_at, case.last_failure, case.next_look_at = rollout.retry_budget, None, "", now
        case.reason_code = ReasonCode.WAVE_NOT_STARTED
        case.why = f"{identity.authoritative_identifier} moves with {wave}, which has not started yet."
        (new if case._state.adding else taken).append(case)
    MigrationCase.objects.bulk_create(new)
    if taken:
        MigrationCase.objects.bulk_update(taken, _TAKEN_OVER)
    _tell(new, now)
    _depend_on_anchors(by_position.values(), wave_of)


def _position(target: PlanTarget) -> int:
    return next(int(step.partition(":")[2]) for step in target.steps if step.startswith("wave:"))


def _tell(new: Sequence[MigrationCase], now: datetime) -> None:
    attribution = current_attribution()
    DomainEvent.objects.bulk_create(
        DomainEvent(
            type=EventType.MIGRATION_STATE_CHANGED,
            occurred_at=now,
            actor=attribution.actor.name,
            reason=attribution.reason,
            correlation_id=attribution.correlation_id,
            identity_id=case.identity_id,
            resulting_state=case.state,
            payload=cases.event_payload(case, ""),
        )
        for case in new
    )


def _depend_on_anchors(of: Iterable[Wave], wave_of: Mapping[int, Wave]) -> None:
    """The gates of what these chargers have installed must be open for their waves to start."""
    anchors: dict[int, set[int]] = {}
    for identity_id, rollout_id in BundleInstallation.objects.filter(
        identity__in=list(wave_of), current=True, purpose__in=GATING_PURPOSES
    ).values_list("identity_id", "rollout_id"):
        anchors.setdefault(wave_of[identity_id].pk, set()).add(rollout_id)
    for wave in of:
        if wave.pk in anchors:
            wave.anchor_rollouts.add(*anchors[wave.pk])


_TAKEN_OVER = [
    "wave",
    "family",
    "site",
    "tries_left",
    "failed_at",
    "last_failure",
    "next_look_at",
    "reason_code",
    "why",
]
