"""Applying a plan: only as it was looked at, only once.

Everybody is judged anew before anything is done, a batch at a time. What a plan comes to within one batch is known when
`apply` returns; a larger one is `applying` meanwhile, and a worker goes on with it from where it stands, whoever ends.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import transaction
from django.utils.crypto import constant_time_compare

from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import OPEN_PLAN_STATES, PlanState
from inventory.errors import InventoryError
from inventory.jobs.periodic import duty
from inventory.models import Plan
from inventory.services.command import command
from inventory.services.plans.comparing import add_up, compare_batch, refusal_of
from inventory.services.plans.errors import (
    ComparedTooLongError,
    NothingToPlanError,
    PlanBeingAppliedError,
    PlanError,
    PlanExpiredError,
    PlanNotReadyError,
    WrongDigestError,
)
from inventory.services.plans.kinds import kind_named
from inventory.services.plans.turns import take_turns

LONGEST_COMPARISON = timedelta(hours=1)
"""From `apply` until the last batch is compared."""


def apply(*, plan: Plan, digest: str, actor: Actor, reason: str, now: datetime) -> Plan:
    """Do what a plan says. Applied a second time with the same digest, it is the applied plan, and nothing is done.

    :returns: the plan, applied; or `applying`, where it concerns more than one batch: a worker applies or refuses it.
    :raises NotPermittedError: without the permission of what is planned.
    :raises WrongDigestError: when the digest is not this plan's.
    :raises PlanNotReadyError: while it is being prepared, or when it was cancelled.
    :raises PlanBeingAppliedError: while it is applied already.
    :raises PlanExpiredError: when it was looked at too long ago.
    :raises NothingToPlanError: when it includes nobody.
    :raises PlanChangedError: when anything has changed since; with the difference.
    """
    kind = kind_named(plan.kind)
    actor.require(kind.permission)
    # Looked at without a lock first: a worker may hold that for a while.
    _refuse_while_applying(Plan.objects.get(pk=plan.pk))
    with command(actor, kind.permission, reason):
        locked = Plan.objects.select_for_update(of=("self",)).get(pk=plan.pk)
        _refuse_while_applying(locked)
        if locked.state not in (PlanState.PLANNED, PlanState.APPLIED):
            raise _not_to_be_applied(locked)
        if not constant_time_compare(locked.digest, digest.strip().lower()):
            raise WrongDigestError(
                f"The digest is not that of plan {locked.pk}, “{locked}”. Look at the plan again and use its digest."
            )
        if locked.state == PlanState.APPLIED:
            return locked
        if locked.expires_at <= now:
            raise _not_to_be_applied(locked)
        if not locked.included:
            raise NothingToPlanError("The plan includes nobody: there is nothing to apply. Its exclusions say why.")
        locked.state, locked.check_cursor, locked.checked = PlanState.APPLYING, 0, 0
        locked.applying_since = now
        locked.applied_by, locked.applied_user, locked.applied_reason = actor.name, actor.user, reason.strip()
        locked.difference, locked.refusal = {}, {}
        locked.save()
        refusal = _go_on(locked, now)
    # Only now, so that what it was refused for is kept.
    if refusal is not None:
        raise refusal
    return locked


def check(*, plan: Plan, now: datetime, progress: Callable[[int], None] | None = None) -> Plan:
    """Go on applying a plan until it is applied; two who do it at once help each other.

    :param progress: is told how many were judged anew.
    :raises InventoryError: when it is refused; with the difference where things have changed.
    """
    while True:
        with transaction.atomic():
            current = Plan.objects.select_for_update(of=("self",)).get(pk=plan.pk)
            refusal = _go_on_in_its_name(current, now) if current.state == PlanState.APPLYING else None
        if refusal is not None:
            raise refusal
        if current.state == PlanState.APPLIED:
            return current
        if current.state != PlanState.APPLYING:
            raise _refused_by_another(current)
        if progress is not None:
            progress(current.checked)


@duty("plan-checks", timedelta(milliseconds=500))
def check_waiting(now: datetime) -> None:
    """Go on with the plans that somebody applies at a page or by the API."""
    applying = Plan.objects.filter(state=PlanState.APPLYING).order_by("pk")
    take_turns("plan-checks", applying, lambda plan_id: _check_batch(plan_id, now), now)


def _check_batch(plan_id: int, now: datetime) -> bool:
    """
    :returns: whether there is more to do. Whoever else is at it just now goes on alone.
    """
    with transaction.atomic():
        waiting = Plan.objects.select_for_update(of=("self",), skip_locked=True).filter(pk=plan_id)
        plan = waiting.filter(state=PlanState.APPLYING).first()
        if plan is None:
            return False
        _go_on_in_its_name(plan, now)
        return plan.state == PlanState.APPLYING


def cancel(*, plan: Plan, actor: Actor, reason: str) -> Plan:
    """Put a plan away that was not applied.

    :raises PlanNotReadyError: when it was applied, or is over.
    """
    with command(actor, kind_named(plan.kind).permission, reason):
        locked = Plan.objects.select_for_update(of=("self",)).get(pk=plan.pk)
        if locked.state not in OPEN_PLAN_STATES:
            raise PlanNotReadyError(
                f"Plan {locked.pk} is {locked.get_state_display().lower()}; only one that was not applied can be "
                "cancelled."
            )
        locked.state = PlanState.CANCELLED
        locked.save()
    return locked


def _refuse_while_applying(plan: Plan) -> None:
    if plan.state == PlanState.APPLYING:
        raise PlanBeingAppliedError(
            f"Plan {plan.pk} is being applied already: {plan.checked:,} of {plan.candidates:,} were compared with how "
            "things stand now. Look at it again until it is applied, or refused with the difference."
        )


def _not_to_be_applied(plan: Plan) -> PlanError:
    if plan.state == PlanState.PREPARING:
        return PlanNotReadyError(f"Plan {plan.pk} is still being prepared; wait until it has a digest.")
    if plan.state == PlanState.CANCELLED:
        return PlanNotReadyError(f"Plan {plan.pk} was cancelled; make a new one.")
    if plan.state == PlanState.LAPSED:
        return PlanExpiredError(
            f"Plan {plan.pk} has lapsed: nobody applied it, and its targets are not kept any more. Make a new one and "
            "look at it."
        )
    return PlanExpiredError(
        f"Plan {plan.pk} could be applied until {plan.expires_at:%Y-%m-%d %H:%M} UTC; make a new one and look at it."
    )


def _refused_by_another(plan: Plan) -> InventoryError:
    """Why a plan is not applied that a worker came to the end of, or somebody put away."""
    if plan.state != PlanState.PLANNED:
        return _not_to_be_applied(plan)
    if "changed_targets" in plan.refusal:
        return refusal_of(plan.refusal)
    return PlanError(str(plan.refusal["sentence"]))


def _go_on_in_its_name(plan: Plan, now: datetime) -> InventoryError | None:
    with attributed(plan.applier, plan.applied_reason, plan.correlation_id):
        return _go_on(plan, now)


def _go_on(plan: Plan, now: datetime) -> InventoryError | None:
    """Compare the next batch of a locked plan; after the last, apply or refuse it.

    :returns: why it is refused.
    """
    kind = kind_named(plan.kind)
    try:
        with transaction.atomic():
            _refuse_stale(plan, now)
            compared = compare_batch(kind, plan, plan.check_cursor, now)
            plan.check_cursor, plan.checked = compared.until, plan.checked + compared.looked_at
            plan.difference = add_up(kind, plan.difference, compared)
            if not compared.complete:
                # How far it has come means nothing to the audit; what comes of it does.
                fields = ("check_cursor", "checked", "difference")
                Plan.objects.filter(pk=plan.pk).update(**{name: getattr(plan, name) for name in fields})
                return None
            if plan.difference:
                raise refusal_of(plan.difference)
            plan.applier.require(kind.permission)
            plan.state, plan.applied_at = PlanState.APPLIED, now
            kind.apply(plan, plan.applier, plan.applied_reason, now)
            plan.save()
    except InventoryError as error:
        _refuse(plan, error, now)
        return error
    return None


def _refuse_stale(plan: Plan, now: datetime) -> None:
    """What was compared first is not looked at again before it is applied, so comparing may not go on for ever."""
    if plan.applying_since is not None and now - plan.applying_since > LONGEST_COMPARISON:
        minutes = LONGEST_COMPARISON.total_seconds() / 60
        raise ComparedTooLongError(
            f"Plan {plan.pk} was being compared for more than {minutes:.0f} minutes, so what was found first may be "
            "true no longer. Nothing was done. See that a worker runs, then apply it again."
        )


def _refuse(plan: Plan, error: InventoryError, now: datetime) -> None:
    """Leave a plan as it was before, with the reason for whoever looks at it; it can be applied again."""
    plan.refresh_from_db()
    plan.refusal = {
        "code": error.code,
        "sentence": str(error),
        "at": now.isoformat(),
        "by": plan.applied_by,
        **error.extra,
    }
    plan.state, plan.difference = PlanState.PLANNED, {}
    plan.applied_by, plan.applied_user, plan.applied_reason = "", None, ""
    plan.applying_since = None
    plan.save()
