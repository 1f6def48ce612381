"""Why a plan cannot be made or applied."""

from inventory.errors import InventoryError


class PlanError(InventoryError):
    """Base of every refusal that concerns plans."""

    code = "plan_refused"


class NothingToPlanError(PlanError):
    """Nobody is concerned: the cohort is empty, or everybody is excluded."""

    code = "nothing_to_plan"


class PlanNotReadyError(PlanError):
    """It is still being prepared, or was cancelled."""

    code = "plan_not_ready"


class PlanExpiredError(PlanError):
    """It was looked at too long ago."""

    code = "plan_expired"


class WrongDigestError(PlanError):
    """The digest names another plan than the one that is there."""

    code = "wrong_digest"


class PlanBeingAppliedError(PlanError):
    """Somebody applies it already, and it is not decided yet."""

    code = "plan_being_applied"


class ComparedTooLongError(PlanError):
    """Comparing it took so long that what was found first may be true no longer."""

    code = "plan_compared_too_long"
