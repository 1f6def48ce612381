"""Running an applied plan from its targets: at its rate, paused and stopped at once.

A target has a transaction of its own, unless its kind starts many together.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from django.db import connection, transaction

from bfcerts.conflicts import repeated_on_conflict
from bfcerts.rows import update_all
from inventory import seams
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import JobState, PlanRun, TargetOutcome
from inventory.errors import InventoryError
from inventory.jobs import setbacks
from inventory.jobs.periodic import duty
from inventory.models import CertificateJob, Plan, PlanTarget
from inventory.services import rate_limits
from inventory.services.command import command
from inventory.services.locking import lock_identities
from inventory.services.plans.comparing import left_out
from inventory.services.plans.errors import PlanError
from inventory.services.plans.kinds import BatchedPlanKind, RunningPlanKind, Started, kind_named

BATCH = 200
"""Targets that are read at a time."""
TOGETHER = 100
"""Targets that share a transaction, where their kind starts many at once: few enough that nobody waits long."""
SLICE_SECONDS = 3.0
"""How long a worker runs plans at a stretch, so that it does its other duties too."""
PLANNER = Actor.system("planner")
IN_A_PLAN = "in_a_plan"
"""The parameter of a job that says that a plan's target waits for its end."""

logger = logging.getLogger(__name__)


def begin(plan: Plan) -> None:
    """Let an applied plan run: for kinds whose targets start from it. The plan is locked, and saved by the caller."""
    plan.run = PlanRun.RUNNING
    PlanTarget.objects.filter(plan=plan, included=True).update(outcome=TargetOutcome.WAITING)


def pause(*, plan: Plan, actor: Actor, reason: str) -> Plan:
    """Start no further target until the plan is resumed; from the moment this returns."""
    return _turn(plan, PlanRun.PAUSED, "paused", (PlanRun.RUNNING,), actor, reason)


def resume(*, plan: Plan, actor: Actor, reason: str) -> Plan:
    """Go on with a paused plan."""
    return _turn(plan, PlanRun.RUNNING, "resumed", (PlanRun.PAUSED,), actor, reason)


def stop(*, plan: Plan, actor: Actor, reason: str, now: datetime) -> Plan:
    """Start no further target, ever; what was started goes on."""
    with transaction.atomic():
        locked = _turn(plan, PlanRun.STOPPED, "stopped", (PlanRun.RUNNING, PlanRun.PAUSED), actor, reason)
        waiting = PlanTarget.objects.filter(plan=locked, outcome=TargetOutcome.WAITING)
        waiting.update(outcome=TargetOutcome.SKIPPED, detail=f"The plan was stopped: {reason.strip()}")
        locked.finished_at = now
        with attributed(actor, reason.strip(), locked.correlation_id):
            locked.save()
    return locked


def _turn(plan: Plan, run: PlanRun, verb: str, allowed: tuple[PlanRun, ...], actor: Actor, reason: str) -> Plan:
    with command(actor, kind_named(plan.kind).permission, reason):
        locked = Plan.objects.select_for_update(of=("self",)).get(pk=plan.pk)
        if locked.run not in allowed:
            names = " or ".join(item.label.lower() for item in allowed)
            raise PlanError(
                f"Plan {locked.pk} is {PlanRun(locked.run).label.lower()}; only one that is {names} can be {verb}."
            )
        locked.run = run
        locked.run_note = reason.strip() if run != PlanRun.RUNNING else ""
        locked.save()
    return locked


@duty("plan-runs", timedelta(milliseconds=200))
def run_plans(now: datetime) -> None:
    """Start targets of the plans that run, each in its turn, until a slice of time is over."""
    ends = time.monotonic() + SLICE_SECONDS
    running = setbacks.without(Plan.objects.filter(run=PlanRun.RUNNING), "plan-runs", now)
    plans = list(running.select_related("applied_user").order_by("pk"))
    for position, plan in enumerate(plans):
        share = (ends - time.monotonic()) / (len(plans) - position)
        setbacks.apart("plan-runs", plan.pk, now, partial(_run, plan, now, time.monotonic() + share))


def _run(plan: Plan, now: datetime, ends: float) -> None:
    kind = kind_named(plan.kind)
    if not isinstance(kind, RunningPlanKind):
        raise TypeError(f"plans of kind {plan.kind} do not run from their targets")
    actor = plan.applier
    if not actor.may(kind.permission):
        _pause(plan, f"{plan.applied_by} no longer has the permission “{kind.permission}”. Who has it can stop it.")
        return
    try:
        kind.candidates(plan.parameters)
    except InventoryError as error:
        _pause(plan, f"nobody can say any more whom it is about: {error} Put that right and resume it, or stop it.")
        return
    waiting = PlanTarget.objects.filter(plan=plan, outcome=TargetOutcome.WAITING).order_by("position")
    rate = kind.per_minute(plan.parameters)
    together = TOGETHER if rate is None and isinstance(kind, BatchedPlanKind) else 1
    ready = setbacks.without(waiting, "plan-targets", now)
    while batch := list(ready.values_list("pk", "identity_id")[:BATCH]):
        for first in range(0, len(batch), together):
            if time.monotonic() > ends or (rate is not None and _over(plan, rate, now)):
                return
            if not _start_apart(plan, kind, dict(batch[first : first + together]), actor, now):
                return
    _finish_if_all_ended(plan, now)


def _over(plan: Plan, rate: float, now: datetime) -> bool:
    """Whether the plan's rate allows no further start now; a burst is what ten seconds allow."""
    return rate_limits.take(f"plan:{plan.pk}", per_second=rate / 60, burst=max(1.0, rate / 6), now=now) is not None


def _start_apart(plan: Plan, kind: RunningPlanKind, chosen: Mapping[int, int], actor: Actor, now: datetime) -> bool:
    """Start targets together; where that fails unexpectedly, one by one, so that only those that fail are set aside.

    :returns: whether the plan still runs.
    """
    if len(chosen) > 1:
        try:
            return repeated_on_conflict(partial(_start, plan, kind, chosen, actor, now))
        except Exception:  # whichever of them it is: it shows when each is started alone
            logger.warning("plan %s: %s targets are started one by one", plan.pk, len(chosen), exc_info=True)
    for target_id, identity_id in chosen.items():
        step = partial(repeated_on_conflict, partial(_start, plan, kind, {target_id: identity_id}, actor, now))
        if setbacks.apart("plan-targets", target_id, now, step, identity_id=identity_id) is False:
            return False
    return True


def _start(plan: Plan, kind: RunningPlanKind, chosen: Mapping[int, int], actor: Actor, now: datetime) -> bool:
    """Start targets in one transaction.

    :param chosen: the ids of the targets, each with that of its identity.
    :returns: whether the plan still runs. Its row is locked for sharing, so that a pause waits for this start, and
        this start sees a pause.
    """
    with transaction.atomic(), attributed(actor, plan.applied_reason, plan.correlation_id):
        identities = lock_identities(chosen.values())
        if not still_runs(plan):
            return False
        found = PlanTarget.objects.select_for_update(of=("self",)).filter(pk__in=chosen).order_by("position")
        targets = [target for target in found if target.outcome == TargetOutcome.WAITING]
        for target in targets:
            target.identity = identities[target.identity_id]
        standing = _as_planned(plan, kind, targets, now)
        for target, started in zip(standing, _started(plan, kind, standing, actor, now), strict=True):
            target.outcome, target.detail, target.job = started.outcome, started.detail, started.job
            if started.job is not None and not started.job.is_open:
                target.outcome, target.detail = _outcome_of(started.job), started.job.outcome
        update_all(targets, ("outcome", "detail", "job_id"))
        _mark([target for target in targets if target.outcome == TargetOutcome.STARTED and target.job is not None])
    return True


def _as_planned(plan: Plan, kind: RunningPlanKind, targets: Sequence[PlanTarget], now: datetime) -> list[PlanTarget]:
    """The targets that are as the plan has them; the others are marked as skipped, each with the difference."""
    if not targets:
        return []
    standing = []
    for target, departure in zip(targets, kind.departures(plan, targets, now), strict=True):
        if departure:
            target.outcome, target.detail = TargetOutcome.SKIPPED, left_out(departure)
        else:
            standing.append(target)
    return standing


def _started(
    plan: Plan, kind: RunningPlanKind, targets: Sequence[PlanTarget], actor: Actor, now: datetime
) -> Sequence[Started]:
    """Together where the kind can; one that cannot be started holds none of the others up."""
    if not targets:
        return []
    if len(targets) > 1 and isinstance(kind, BatchedPlanKind):
        try:
            with transaction.atomic():
                return kind.start_many(plan, targets, actor, now)
        except InventoryError:
            logger.info("plan %s: %s targets are started one by one", plan.pk, len(targets), exc_info=True)
    return [_started_alone(plan, kind, target, actor, now) for target in targets]


def _started_alone(plan: Plan, kind: RunningPlanKind, target: PlanTarget, actor: Actor, now: datetime) -> Started:
    try:
        with transaction.atomic():
            return kind.start(plan, target, actor, now)
    except InventoryError as error:
        return Started(TargetOutcome.FAILED, str(error))


def _mark(targets: Sequence[PlanTarget]) -> None:
    """Have jobs say themselves that a target waits for their end, so that the ends of all others cost no query.

    Their identities are locked, so none has ended meanwhile.
    """
    if not targets:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE inventory_certificatejob SET parameters = parameters || jsonb_build_object(%s::text, true) "
            "WHERE id = ANY(%s)",
            [IN_A_PLAN, [target.job_id for target in targets]],
        )


def still_runs(plan: Plan) -> bool:
    """Whether a plan runs, and does until the end of this transaction: whoever pauses or stops it waits for that."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT run FROM inventory_plan WHERE id = %s FOR SHARE", [plan.pk])
        return bool(cursor.fetchone()[0] == PlanRun.RUNNING)


def _pause(plan: Plan, because: str) -> None:
    why = f"Paused: {because}"
    with transaction.atomic(), attributed(PLANNER, why, plan.correlation_id):
        locked = Plan.objects.select_for_update(of=("self",)).get(pk=plan.pk)
        if locked.run == PlanRun.RUNNING:
            locked.run, locked.run_note = PlanRun.PAUSED, why
            locked.save()


def _outcome_of(job: CertificateJob) -> TargetOutcome:
    return TargetOutcome.DONE if job.state == JobState.SUCCEEDED else TargetOutcome.FAILED


def _is_in_a_plan(job: CertificateJob) -> bool:
    return bool(job.parameters.get(IN_A_PLAN))


def _job_ended(job: CertificateJob, now: datetime) -> None:
    """A target that works on in a job ends as the job does."""
    PlanTarget.objects.filter(job=job, outcome=TargetOutcome.STARTED).update(
        outcome=_outcome_of(job), detail=job.outcome
    )


def _finish_if_all_ended(plan: Plan, now: datetime) -> None:
    """A plan is finished when none of its targets waits or works any more."""
    unfinished = PlanTarget.objects.filter(plan=plan, outcome__in=[TargetOutcome.WAITING, TargetOutcome.STARTED])
    if unfinished.exists():
        return
    with transaction.atomic(), attributed(PLANNER, "All its targets ended", plan.correlation_id):
        locked = Plan.objects.select_for_update(of=("self",)).get(pk=plan.pk)
        if locked.run == PlanRun.RUNNING:
            locked.run, locked.finished_at = PlanRun.FINISHED, now
            locked.save()


def connect() -> None:
    """Called once, when the app is ready."""
    seams.on_job_ended("plans", _job_ended, concerns=_is_in_a_plan)
