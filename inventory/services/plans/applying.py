"""Applying a plan: only as it was looked at, only once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.utils.crypto import constant_time_compare

from inventory.actors import Actor
from inventory.choices import PlanState
from inventory.models import ManagedIdentity, Plan, PlanTarget
from inventory.services.command import command
from inventory.services.plans.errors import (
    NothingToPlanError,
    PlanError,
    PlanExpiredError,
    PlanNotReadyError,
    WrongDigestError,
)
from inventory.services.plans.judging import Judged, judged, stored
from inventory.services.plans.kinds import PlanKind, kind_named, words_for

NAMED = 50
"""Changed targets that a refusal names; the rest is counted."""


class Change(StrEnum):
    """How a target differs from the plan."""

    GONE = "gone"
    NEW = "new"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class ChangedTarget:
    """One identity that is no longer as the plan has it."""

    identity_id: int
    identifier: str
    change: Change
    planned: str
    present: str

    def __str__(self) -> str:
        match self.change:
            case Change.GONE:
                return f"{self.identifier} is no longer concerned (was: {self.planned})"
            case Change.NEW:
                return f"{self.identifier} is new ({self.present})"
            case _:
                return f"{self.identifier}: was {self.planned}, is now {self.present}"


class PlanChangedError(PlanError):
    """The targets, or what would be done to them, have changed since the plan was made."""

    code = "plan_changed"

    def __init__(self, counts: dict[Change, int], targets: Sequence[ChangedTarget]) -> None:
        self.counts, self.targets = counts, list(targets)
        words = {Change.GONE: "gone", Change.NEW: "new", Change.CHANGED: "changed"}
        said = ", ".join(f"{counts[change]} {words[change]}" for change in Change if counts[change])
        super().__init__(
            f"The plan is no longer true: {said}. First: {'; '.join(map(str, self.targets[:3]))}. "
            "Make the plan again and look at it."
        )

    @property
    def extra(self) -> dict[str, Any]:
        """The difference for programs."""
        return {
            "changes": {change.value: number for change, number in self.counts.items()},
            "changed_targets": [
                {
                    "identity": target.identity_id,
                    "identifier": target.identifier,
                    "change": target.change.value,
                    "planned": target.planned,
                    "present": target.present,
                }
                for target in self.targets
            ],
        }


def apply(*, plan: Plan, digest: str, actor: Actor, reason: str, now: datetime) -> Plan:
    """Do what a plan says. Applied a second time with the same digest, it is the applied plan, and nothing is done.

    :raises NotPermittedError: without the permission of what is planned.
    :raises WrongDigestError: when the digest is not this plan's.
    :raises PlanNotReadyError: while it is being prepared, or when it was cancelled.
    :raises PlanExpiredError: when it was looked at too long ago.
    :raises NothingToPlanError: when it includes nobody.
    :raises PlanChangedError: when anything has changed since; with the difference.
    """
    kind = kind_named(plan.kind)
    with command(actor, kind.permission, reason):
        locked = Plan.objects.select_for_update(of=("self",)).get(pk=plan.pk)
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
        _refuse_what_changed(kind, locked, now)
        locked.state, locked.applied_at = PlanState.APPLIED, now
        locked.applied_by, locked.applied_user, locked.applied_reason = actor.name, actor.user, reason.strip()
        kind.apply(locked, actor, reason.strip(), now)
        locked.save()
    return locked


def cancel(*, plan: Plan, actor: Actor, reason: str) -> Plan:
    """Put a plan away that was not applied.

    :raises PlanNotReadyError: when it was applied, or is over.
    """
    with command(actor, kind_named(plan.kind).permission, reason):
        locked = Plan.objects.select_for_update(of=("self",)).get(pk=plan.pk)
        if locked.state not in (PlanState.PREPARING, PlanState.PLANNED):
            raise PlanNotReadyError(
                f"Plan {locked.pk} is {locked.get_state_display().lower()}; only one that was not applied can be "
                "cancelled."
            )
        locked.state = PlanState.CANCELLED
        locked.save()
    return locked


def _not_to_be_applied(plan: Plan) -> PlanError:
    if plan.state == PlanState.PREPARING:
        return PlanNotReadyError(f"Plan {plan.pk} is still being prepared; wait until it has a digest.")
    if plan.state == PlanState.CANCELLED:
        return PlanNotReadyError(f"Plan {plan.pk} was cancelled; make a new one.")
    return PlanExpiredError(
        f"Plan {plan.pk} could be applied until {plan.expires_at:%Y-%m-%d %H:%M} UTC; make a new one and look at it."
    )


def _refuse_what_changed(kind: PlanKind, plan: Plan, now: datetime) -> None:
    """Judge everybody anew beside what is stored, both in order of their ids: memory holds one batch of each."""
    totals = dict.fromkeys(Change, 0)
    named: list[tuple[PlanTarget | None, Judged | None]] = []
    for target, fresh in _side_by_side(stored(plan), judged(kind, plan, now)):
        change = _change(target, fresh)
        if change is None:
            continue
        totals[change] += 1
        if len(named) < NAMED:
            named.append((target, fresh))
    if not named:
        return
    identifiers = ManagedIdentity.objects.in_bulk(
        [target.identity_id for target, fresh in named if target is not None and fresh is None]
    )
    raise PlanChangedError(totals, [_described(kind, target, fresh, identifiers) for target, fresh in named])


def _side_by_side(
    targets: Iterator[PlanTarget], verdicts: Iterator[Judged]
) -> Iterator[tuple[PlanTarget | None, Judged | None]]:
    target, fresh = next(targets, None), next(verdicts, None)
    while target is not None or fresh is not None:
        if fresh is None or (target is not None and target.identity_id < fresh[0].pk):
            yield target, None
            target = next(targets, None)
        elif target is None or fresh[0].pk < target.identity_id:
            yield None, fresh
            fresh = next(verdicts, None)
        else:
            yield target, fresh
            target, fresh = next(targets, None), next(verdicts, None)


def _change(target: PlanTarget | None, fresh: Judged | None) -> Change | None:
    if fresh is None:
        return Change.GONE
    if target is None:
        return Change.NEW
    verdict = fresh[1]
    planned = (target.included, target.reason_code, tuple(target.steps))
    return None if planned == (verdict.included, verdict.reason_code, tuple(verdict.steps)) else Change.CHANGED


def _described(
    kind: PlanKind, target: PlanTarget | None, fresh: Judged | None, identities: dict[int, ManagedIdentity]
) -> ChangedTarget:
    identity = fresh[0] if fresh is not None else identities[target.identity_id] if target is not None else None
    change = _change(target, fresh)
    if identity is None or change is None:
        raise ValueError("a difference names an identity")
    planned = _in_words(kind, target.included, target.reason, target.steps) if target is not None else ""
    verdict = fresh[1] if fresh is not None else None
    present = _in_words(kind, verdict.included, verdict.reason, verdict.steps) if verdict is not None else ""
    return ChangedTarget(identity.pk, identity.authoritative_identifier, change, planned, present)


def _in_words(kind: PlanKind, included: bool, reason: str, steps: Sequence[str]) -> str:
    if not included:
        return f"excluded: {reason}".rstrip(".")
    return ", ".join(words_for(kind, step) for step in steps) or "included"
