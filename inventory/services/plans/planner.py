"""Making a plan: batch by batch, each in a transaction of its own, so that it can be taken up after any end."""

import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import OPEN_PLAN_STATES, PlanState
from inventory.errors import InventoryError
from inventory.jobs.periodic import duty
from inventory.models import Plan, PlanTarget
from inventory.services.command import command
from inventory.services.plans import summary
from inventory.services.plans.errors import NothingToPlanError
from inventory.services.plans.judging import BATCH, Judged, digest_of, next_batch
from inventory.services.plans.kinds import kind_named
from inventory.services.plans.turns import take_turns

LIFETIME = timedelta(hours=24)
"""How long a plan may be applied after it was asked for."""
PLANNER = Actor.system("planner")


def start(
    *,
    kind: str,
    parameters: Mapping[str, Any],
    actor: Actor,
    reason: str,
    now: datetime,
    title: str = "",
) -> Plan:
    """Ask for a plan; a worker prepares it, or the caller does by `prepare`.

    :raises NotPermittedError: without the permission of what is planned.
    :raises InvalidInputError: when a parameter cannot be used, or a reason is missing.
    :raises NothingToPlanError: when nobody is concerned.
    """
    chosen = kind_named(kind)
    with command(actor, chosen.permission, reason):
        checked = chosen.validate(parameters)
        if not chosen.candidates(checked).exists():
            raise NothingToPlanError(
                "Nobody is concerned: the cohort is empty, or nothing matches. Correct whom it is about."
            )
        plan = Plan(
            kind=chosen.key,
            title=(title.strip() or summary.title(chosen, checked))[:200],
            parameters=checked,
            actor=actor.name,
            reason=reason.strip(),
            correlation_id=uuid.uuid4().hex,
            created_at=now,
            expires_at=now + LIFETIME,
        )
        plan.save()
    return plan


def ask(*, kind: str, parameters: Mapping[str, Any], actor: Actor, reason: str, now: datetime, title: str = "") -> Plan:
    """As `start`, for doors that do not wait long: a small plan is ready at once, a larger one is for a worker."""
    plan = start(kind=kind, parameters=parameters, actor=actor, reason=reason, now=now, title=title)
    return prepare_batch(plan.pk, now)


def make(
    *,
    kind: str,
    parameters: Mapping[str, Any],
    actor: Actor,
    reason: str,
    now: datetime,
    title: str = "",
    progress: Callable[[int], None] | None = None,
) -> Plan:
    """As `start`, and prepare it here and now."""
    plan = start(kind=kind, parameters=parameters, actor=actor, reason=reason, now=now, title=title)
    return prepare(plan=plan, now=now, progress=progress)


def prepare(*, plan: Plan, now: datetime, progress: Callable[[int], None] | None = None) -> Plan:
    """Go on preparing a plan until it is complete; two who do it at once help each other.

    :param progress: is told how many were looked at.
    """
    while (current := prepare_batch(plan.pk, now)).state == PlanState.PREPARING:
        if progress is not None:
            progress(current.candidates)
    return current


def prepare_batch(plan_id: int, now: datetime) -> Plan:
    """Look at the next candidates of a plan; when there are no more, complete it.

    :returns: the plan as it is then.
    """
    with transaction.atomic():
        plan = Plan.objects.select_for_update().get(pk=plan_id)
        if plan.state != PlanState.PREPARING:
            return plan
        batch = next_batch(kind_named(plan.kind), plan, plan.cursor, now)
        if batch:
            _store(plan, batch)
        if len(batch) < BATCH:
            _complete(plan, now)
        return plan


def _store(plan: Plan, batch: list[Judged]) -> None:
    PlanTarget.objects.bulk_create(
        [
            PlanTarget(
                plan=plan,
                identity_id=identity.pk,
                position=position,
                included=verdict.included,
                reason_code=verdict.reason_code,
                reason=verdict.reason,
                steps=list(verdict.steps),
                family_name=identity.family.name if identity.family else "",
                site=identity.site,
            )
            for position, (identity, verdict) in enumerate(batch, start=plan.candidates + 1)
        ]
    )
    plan.cursor, plan.candidates = batch[-1][0].pk, plan.candidates + len(batch)
    plan.included += sum(verdict.included for _, verdict in batch)
    # How far it has come means nothing to the audit; that it is complete does.
    Plan.objects.filter(pk=plan.pk).update(cursor=plan.cursor, candidates=plan.candidates, included=plan.included)


def _complete(plan: Plan, now: datetime) -> None:
    counts = summary.counts(plan)
    plan.excluded, plan.steps = dict(counts.excluded), dict(counts.steps)
    plan.risk = summary.risk(plan)
    expected = kind_named(plan.kind).expected(plan, counts, now)
    plan.expected_duration, plan.expected_basis = expected.duration, expected.basis
    plan.digest = digest_of(plan)
    plan.state, plan.prepared_at = PlanState.PLANNED, now
    with attributed(PLANNER, plan.reason, plan.correlation_id):
        plan.save()


@duty("plan-preparation", timedelta(milliseconds=500))
def prepare_waiting(now: datetime) -> None:
    """Prepare the plans that somebody asked for at a page or by the API."""
    waiting = Plan.objects.filter(state=PlanState.PREPARING, expires_at__gt=now).order_by("pk")
    take_turns("plan-preparation", waiting, lambda plan_id: _prepare_further(plan_id, now), now)


def _prepare_further(plan_id: int, now: datetime) -> bool:
    """
    :returns: whether there is more to prepare.
    """
    try:
        return prepare_batch(plan_id, now).state == PlanState.PREPARING
    except InventoryError as error:
        give_up(plan_id, str(error))
        return False


def give_up(plan_id: int, why: str) -> None:
    """End the preparation of a plan that cannot be completed, because its cohort is gone for example."""
    with transaction.atomic():
        plan = Plan.objects.select_for_update().get(pk=plan_id)
        if plan.state != PlanState.PREPARING:
            return
        plan.state, plan.run_note = PlanState.CANCELLED, why
        with attributed(PLANNER, why, plan.correlation_id):
            plan.save()


@duty("plan-expiry", timedelta(minutes=1))
def expire(now: datetime) -> int:
    """Mark the plans whose time is over; from that time on they cannot be applied, whether or not this has run.

    :returns: how many.
    """
    expired = 0
    for plan_id in Plan.objects.filter(state__in=OPEN_PLAN_STATES, expires_at__lte=now).values_list("pk", flat=True)[
        :500
    ]:
        with transaction.atomic():
            plan = Plan.objects.select_for_update().get(pk=plan_id)
            if plan.state not in OPEN_PLAN_STATES:
                continue
            plan.state = PlanState.EXPIRED
            with attributed(PLANNER, "Not applied in time", plan.correlation_id):
                plan.save()
            expired += 1
    return expired
