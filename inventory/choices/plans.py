"""Plans of bulk actions, and their targets."""

from django.db import models


class PlanState(models.TextChoices):
    """The life of a plan. Only a planned one can be applied; one that is refused then is planned again."""

    PREPARING = "preparing", "Being prepared"
    PLANNED = "planned", "Planned"
    APPLYING = "applying", "Being applied"
    APPLIED = "applied", "Applied"
    EXPIRED = "expired", "Expired"
    CANCELLED = "cancelled", "Cancelled"
    LAPSED = "lapsed", "Lapsed"


PLAN_TRANSITIONS: dict[str, frozenset[str]] = {
    PlanState.PREPARING: frozenset({PlanState.PLANNED, PlanState.EXPIRED, PlanState.CANCELLED}),
    PlanState.PLANNED: frozenset({PlanState.APPLYING, PlanState.EXPIRED, PlanState.CANCELLED}),
    PlanState.APPLYING: frozenset({PlanState.APPLIED, PlanState.PLANNED, PlanState.EXPIRED, PlanState.CANCELLED}),
    PlanState.APPLIED: frozenset(),
    PlanState.EXPIRED: frozenset({PlanState.LAPSED}),
    PlanState.CANCELLED: frozenset({PlanState.LAPSED}),
    PlanState.LAPSED: frozenset(),
}
"""The database's trigger is built from the same."""

OPEN_PLAN_STATES = (PlanState.PREPARING, PlanState.PLANNED, PlanState.APPLYING)
"""Nothing has been done yet, and may still be."""

PLAN_COLOURS: dict[str, str] = {
    PlanState.PREPARING: "info",
    PlanState.PLANNED: "warning",
    PlanState.APPLYING: "info",
    PlanState.APPLIED: "success",
    PlanState.EXPIRED: "default",
    PlanState.CANCELLED: "default",
    PlanState.LAPSED: "default",
}


class PlanRun(models.TextChoices):
    """How the work of an applied plan stands, for the kinds that run from their plan."""

    NONE = "", "Not run from the plan"
    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    STOPPED = "stopped", "Stopped"
    FINISHED = "finished", "Finished"


class TargetOutcome(models.TextChoices):
    """How one target of an applied plan stands."""

    NONE = "", "Not run from the plan"
    WAITING = "waiting", "Waiting"
    STARTED = "started", "Started"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    SKIPPED = "skipped", "Skipped"


TARGET_COLOURS: dict[str, str] = {
    TargetOutcome.NONE: "default",
    TargetOutcome.WAITING: "info",
    TargetOutcome.STARTED: "warning",
    TargetOutcome.DONE: "success",
    TargetOutcome.FAILED: "danger",
    TargetOutcome.SKIPPED: "default",
}
