"""Plan, then apply: every bulk action is looked at before it is done, and done only as it was looked at.

A kind says whom it concerns and what it would do to each; `make` stores that as a plan with a digest; `apply` names the
digest, judges everybody anew, and refuses with the difference when anything has changed. Both go on in a worker where
more than a batch is concerned. Kinds are registered when
their app is ready.
"""

from inventory.services.plans.applying import apply, cancel, check
from inventory.services.plans.comparing import Change, ChangedTarget, PlanChangedError
from inventory.services.plans.errors import (
    NothingToPlanError,
    PlanBeingAppliedError,
    PlanError,
    PlanExpiredError,
    PlanNotReadyError,
    WrongDigestError,
)
from inventory.services.plans.kinds import (
    Field,
    PlanCounts,
    PlanKind,
    RunningPlanKind,
    Started,
    Verdict,
    excluded,
    included,
    kind_named,
    kinds,
    register,
)
from inventory.services.plans.planner import ask, make, prepare, start
from inventory.services.plans.running import pause, resume, stop

__all__ = [
    "Change",
    "ChangedTarget",
    "Field",
    "NothingToPlanError",
    "PlanBeingAppliedError",
    "PlanChangedError",
    "PlanCounts",
    "PlanError",
    "PlanExpiredError",
    "PlanKind",
    "PlanNotReadyError",
    "RunningPlanKind",
    "Started",
    "Verdict",
    "WrongDigestError",
    "apply",
    "ask",
    "cancel",
    "check",
    "excluded",
    "included",
    "kind_named",
    "kinds",
    "make",
    "pause",
    "prepare",
    "register",
    "resume",
    "start",
    "stop",
]
