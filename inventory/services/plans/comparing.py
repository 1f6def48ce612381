"""How things differ from what a plan says, a batch of identities at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from inventory.models import ChargerFamily, ManagedIdentity, Plan, PlanTarget
from inventory.services.plans.errors import PlanError
from inventory.services.plans.judging import BATCH, Judged, next_batch, stored_batch
from inventory.services.plans.kinds import PlanKind, Verdict, words_for

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

    identity: int
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

    def __init__(self, counts: Mapping[str, int], targets: Sequence[ChangedTarget]) -> None:
        self.counts, self.targets = dict(counts), list(targets)
        said = ", ".join(f"{counts[change]:,} {change.value}" for change in Change if counts[change])
        super().__init__(
            f"The plan is no longer true: {said}. First: {'; '.join(map(str, self.targets[:3]))}. "
            "Make the plan again and look at it."
        )

    @property
    def extra(self) -> dict[str, Any]:
        """The difference for programs."""
        return {
            "changes": {change.value: self.counts[change] for change in Change},
            "changed_targets": [asdict(target) for target in self.targets],
        }


@dataclass(frozen=True, slots=True)
class Compared:
    """What comparing one batch came to."""

    until: int
    """The last identity that was compared; those that follow it are still to be."""
    looked_at: int
    complete: bool
    """Whether nobody follows."""
    changed: list[tuple[PlanTarget | None, Judged | None]]


def compare_batch(kind: PlanKind, plan: Plan, after: int, now: datetime) -> Compared:
    """Judge the candidates that follow an identity anew, beside what is stored of the same identities.

    At most a batch of each is in memory, and at least one identity is compared where one is left.
    """
    fresh = {judged[0].pk: judged for judged in next_batch(kind, plan, after, now)}
    planned = {target.identity_id: target for target in stored_batch(plan, after)}
    # Of what follows the end of a full batch nothing is known yet.
    ends = [max(batch) for batch in (fresh, planned) if len(batch) == BATCH]
    until = min(ends) if ends else max([after, *fresh, *planned])
    concerned = sorted(identity for identity in fresh.keys() | planned.keys() if identity <= until)
    pairs = [(planned.get(identity), fresh.get(identity)) for identity in concerned]
    return Compared(until, len(pairs), not ends, [pair for pair in pairs if _change(*pair) is not None])


def add_up(kind: PlanKind, difference: Mapping[str, Any], compared: Compared) -> dict[str, Any]:
    """The difference so far with that of one more batch, in a form that JSON keeps; empty where there is none."""
    if not compared.changed:
        return dict(difference)
    counts = {change.value: int(difference.get("changes", {}).get(change.value, 0)) for change in Change}
    for pair in compared.changed:
        counts[_present(_change(*pair))] += 1
    named: list[dict[str, Any]] = list(difference.get("changed_targets", []))
    further = compared.changed[: NAMED - len(named)]
    gone = ManagedIdentity.objects.in_bulk(
        [target.identity_id for target, fresh in further if target is not None and fresh is None]
    )
    named += [asdict(_described(kind, target, fresh, gone)) for target, fresh in further]
    return {"changes": counts, "changed_targets": named}


def refusal_of(difference: Mapping[str, Any]) -> PlanChangedError:
    """The refusal that a difference is the reason of."""
    targets = [ChangedTarget(**{**item, "change": Change(item["change"])}) for item in difference["changed_targets"]]
    return PlanChangedError(difference["changes"], targets)


def _change(target: PlanTarget | None, fresh: Judged | None) -> Change | None:
    if fresh is None:
        return Change.GONE
    if target is None:
        return Change.NEW
    verdict = fresh[1]
    planned = (target.included, target.reason_code, tuple(target.steps))
    return None if planned == (verdict.included, verdict.reason_code, tuple(verdict.steps)) else Change.CHANGED


def _present(change: Change | None) -> Change:
    if change is None:
        raise ValueError("a difference is a change")
    return change


def _described(
    kind: PlanKind, target: PlanTarget | None, fresh: Judged | None, gone: Mapping[int, ManagedIdentity]
) -> ChangedTarget:
    identity = fresh[0] if fresh is not None else gone[target.identity_id] if target is not None else None
    if identity is None:
        raise ValueError("a difference names an identity")
    planned = _in_words(kind, target.included, target.reason, target.steps) if target is not None else ""
    verdict = fresh[1] if fresh is not None else None
    present = _in_words(kind, verdict.included, verdict.reason, verdict.steps) if verdict is not None else ""
    change = _present(_change(target, fresh))
    return ChangedTarget(identity.pk, identity.authoritative_identifier, change, planned, present)


def departure_of(kind: PlanKind, target: PlanTarget, present: Verdict | None) -> str:
    """How one target is not as the plan has it any more; empty where it still is.

    :param present: the verdict of now; None where the target is no candidate any more.
    """
    was = _in_words(kind, target.included, target.reason, target.steps)
    if present is None:
        return f"it is no longer concerned (was: {was})"
    if _change(target, (target.identity, present)) is None:
        return ""
    return f"was {was}, is now {_in_words(kind, present.included, present.reason, present.steps)}"


Judge = Callable[[Mapping[str, Any], Sequence[ManagedIdentity], datetime], Sequence[Verdict]]


def verdicts_now(
    kind: PlanKind, plan: Plan, targets: Sequence[PlanTarget], now: datetime, judge: Judge | None = None
) -> list[Verdict | None]:
    """The verdicts of now on targets whose identities are locked; None for one that is no candidate any more.

    The targets come with their identities, and those with their families. The queries do not grow with their number.

    :param judge: instead of the kind's own, where the plan itself must not count.
    """
    by_id = {target.identity_id: target.identity for target in targets}
    meant = list(kind.candidates(plan.parameters).filter(pk__in=by_id).order_by("pk").values_list("pk", flat=True))
    judged = (judge or kind.judge)(plan.parameters, [by_id[identity] for identity in meant], now) if meant else []
    verdicts = dict(zip(meant, judged, strict=True))
    return [verdicts.get(target.identity_id) for target in targets]


def departures_of(
    kind: PlanKind, plan: Plan, targets: Sequence[PlanTarget], now: datetime, judge: Judge | None = None
) -> list[str]:
    """How each of these targets is not as the plan has it any more, its family included; empty where it still is.

    As `verdicts_now` otherwise.
    """
    present = verdicts_now(kind, plan, targets, now, judge)
    moves = _moves(targets)
    return [
        departure_of(kind, target, verdict) or moves.get(target.identity_id, "")
        for target, verdict in zip(targets, present, strict=True)
    ]


def _moves(targets: Sequence[PlanTarget]) -> dict[int, str]:
    """Which chargers belong to another family than was planned, by identity. A family that was only renamed is none."""
    present = {target.identity_id: _family_name(target.identity) for target in targets}
    moved = [target for target in targets if target.family_name not in ("", present[target.identity_id])]
    names = {target.family_name for target in moved}
    still_there = set(ChargerFamily.objects.filter(name__in=names).values_list("name", flat=True)) if names else set()
    return {
        target.identity_id: f"was of family {target.family_name}, is now of "
        f"{present[target.identity_id] or 'no known family'}"
        for target in moved
        if target.family_name in still_there
    }


def _family_name(identity: ManagedIdentity) -> str:
    return identity.family.name if identity.family is not None else ""


def left_out(departure: str) -> str:
    """What is said of a target that is left out because of how it differs from the plan."""
    return f"Left out, because it changed after the plan was compared: {departure}. Plan it again."


def _in_words(kind: PlanKind, included: bool, reason: str, steps: Sequence[str]) -> str:
    if not included:
        return f"excluded: {reason}".rstrip(".")
    return ", ".join(words_for(kind, step) for step in steps) or "included"
