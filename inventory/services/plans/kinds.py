"""What a bulk action has to say so that it can be planned, and the registry of those that do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from django.db.models import Model, QuerySet

from inventory.actors import Actor
from inventory.choices import TargetOutcome
from inventory.errors import InvalidInputError
from inventory.models import CertificateJob, ManagedIdentity, Plan, PlanTarget
from inventory.services.plans.expecting import Expected


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a bulk action would do to one identity.

    A step is a short code, `renew:4711`; what stands before the colon has its words in the kind's `words`. Anything
    that must not change unnoticed between looking and doing belongs into the steps.
    """

    included: bool
    reason_code: str = ""
    reason: str = ""
    steps: tuple[str, ...] = ()


def included(*steps: str) -> Verdict:
    """This identity takes these steps."""
    return Verdict(True, steps=steps)


def excluded(reason_code: str, reason: str) -> Verdict:
    """This identity is left out, and why in a sentence."""
    return Verdict(False, reason_code, reason)


@dataclass(frozen=True, slots=True)
class PlanCounts:
    """What a plan came to."""

    candidates: int
    included: int
    excluded: Mapping[str, int]
    """By reason code."""
    steps: Mapping[str, int]
    """By what stands before the colon of each step."""


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter of a kind, for the doors that ask for it."""

    name: str
    label: str
    help: str = ""
    required: bool = False
    default: str = ""
    choices: Sequence[tuple[str, str]] = ()
    many: bool = False
    """A list of texts; the command line repeats it, a form takes one a line."""


class PlanKind(Protocol):
    """A bulk action that is planned before it is done."""

    key: str
    label: str
    permission: str
    """The verb's own, as for one object: `revoke_certificaterecord`, or `migration.start_rollout`."""
    fields: Sequence[Field]
    words: Mapping[str, str]
    """What the codes of steps and of reasons are called."""

    def validate(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters, checked and completed, in a form that JSON keeps: the same meaning is the same value.

        :raises InvalidInputError: naming what is wrong.
        """

    def candidates(self, parameters: Mapping[str, Any]) -> QuerySet[ManagedIdentity]:
        """Everybody who could be meant, without an order; each is either included or excluded with a reason."""

    def judge(
        self, parameters: Mapping[str, Any], identities: Sequence[ManagedIdentity], now: datetime
    ) -> Sequence[Verdict]:
        """A verdict for each identity, in their order, in a number of queries that does not grow with theirs.

        The identities come with their family.
        """

    def expected(self, plan: Plan, counts: PlanCounts, now: datetime) -> Expected:
        """How long it takes if it is applied now, by limits, quotas and what was seen of others (`expecting`)."""

    def apply(self, plan: Plan, actor: Actor, reason: str, now: datetime) -> None:
        """Start what the plan says, in the transaction that marks it as applied; the plan is locked.

        Nothing slow, and no identity is locked here: what concerns one charger is done by what this starts.
        """


@dataclass(frozen=True, slots=True)
class Started:
    """What came of starting one target."""

    outcome: TargetOutcome
    detail: str = ""
    job: CertificateJob | None = field(default=None)
    """Where the work goes on; the target ends as it does."""


@runtime_checkable
class RunningPlanKind(PlanKind, Protocol):
    """A kind whose targets are started from the plan itself, one after the other."""

    def per_minute(self, parameters: Mapping[str, Any]) -> float | None:
        """How many targets are started in a minute; None for as many as can be."""

    def departures(self, plan: Plan, targets: Sequence[PlanTarget], now: datetime) -> Sequence[str]:
        """How each of these targets, whose turn it is, is not as the plan has it any more; empty where it may start.

        In their order, in a number of queries that does not grow with theirs; their identities are locked. Plans run
        for hours, and nothing is done to a target but what was looked at.
        """

    def start(self, plan: Plan, target: PlanTarget, actor: Actor, now: datetime) -> Started:
        """Start one target, which is as planned and whose identity is locked, under the plan's attribution.

        :raises InventoryError: when it cannot be; the target is then failed with that sentence.
        """


@runtime_checkable
class BatchedPlanKind(RunningPlanKind, Protocol):
    """A kind that starts many targets in one transaction, because what it does takes effect at once or not at all."""

    def start_many(self, plan: Plan, targets: Sequence[PlanTarget], actor: Actor, now: datetime) -> Sequence[Started]:
        """As `start`, of several targets whose identities are all locked; what came of each, in their order.

        :raises InventoryError: when one of them cannot be; each is then started alone.
        """


@runtime_checkable
class GroupedPlanKind(PlanKind, Protocol):
    """A kind some of whose steps stand for groups of targets, as waves do: each group is counted by itself."""

    groups: Sequence[str]
    """What stands before the colon of such steps."""


@dataclass(frozen=True, slots=True)
class Stand:
    """How one target of an applied plan stands now."""

    label: str
    tone: str
    """Of the badge: `success`, `info`, `warning`, `danger` or `default`."""
    detail: str = ""


@runtime_checkable
class FollowedPlanKind(PlanKind, Protocol):
    """A kind whose plan makes something that goes on by itself, so that its targets have no outcome of their own."""

    def made(self, plan: Plan) -> Sequence[tuple[str, Model]]:
        """What an applied plan has made, each with what it is called."""

    def standing(self, plan: Plan, targets: Sequence[PlanTarget]) -> Mapping[int, Stand]:
        """How these targets stand, by identity, in a number of queries that does not grow with theirs."""


_kinds: dict[str, PlanKind] = {}


def register(kind: PlanKind) -> None:
    """Add a kind; called once for each, when its app is ready."""
    _kinds[kind.key] = kind


def kinds() -> list[PlanKind]:
    """Every kind there is."""
    return list(_kinds.values())


def kind_named(key: str) -> PlanKind:
    """The kind with this key.

    :raises InvalidInputError: when there is none.
    """
    found = _kinds.get(key)
    if found is None:
        raise InvalidInputError(f"{key!r} is no kind of plan; use one of {', '.join(sorted(_kinds))}.")
    return found


def words_for(kind: PlanKind, code: str) -> str:
    """What a step or a reason is called."""
    name, _, rest = code.partition(":")
    words = kind.words.get(name, name.replace("_", " "))
    return f"{words} {rest}" if rest else words
