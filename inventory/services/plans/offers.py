"""What this operator may do now with a plan, and what it would mean: for the console and for programs."""

from datetime import datetime

from inventory.actors import Actor
from inventory.choices import OPEN_PLAN_STATES, PlanRun, PlanState
from inventory.models import Plan
from inventory.services.actions import AvailableAction
from inventory.services.plans.kinds import kind_named, kinds
from inventory.words import counted


def plannable(actor: Actor) -> list[str]:
    """The keys of the kinds that this operator may plan."""
    return [kind.key for kind in kinds() if actor.may(kind.permission)]


def for_plan(plan: Plan, actor: Actor, now: datetime) -> list[AvailableAction]:
    """The verbs of a plan."""
    permission = kind_named(plan.kind).permission
    lacking = "" if actor.may(permission) else f"You lack the permission “{permission}”."
    running = plan.run in (PlanRun.RUNNING, PlanRun.PAUSED)
    return [
        _offer(
            "apply",
            "Apply",
            f"{counted(plan.included, 'target')}, as shown, if nothing has changed since; otherwise it is refused, "
            "with the difference.",
            _not_applicable(plan, now),
            lacking,
            dangerous=True,
        ),
        _offer(
            "cancel",
            "Cancel the plan",
            "The plan is put away and can no longer be applied. Nothing has been done by it.",
            "" if plan.state in OPEN_PLAN_STATES else "Only before the plan is applied.",
            lacking,
        ),
        _offer(
            "pause",
            "Pause",
            "No further target starts until the plan is resumed. What was started goes on.",
            "" if plan.run == PlanRun.RUNNING else "Only while the plan is running.",
            lacking,
        ),
        _offer(
            "resume",
            "Resume",
            "The plan goes on with the targets that have not started.",
            "" if plan.run == PlanRun.PAUSED else "Only while the plan is paused.",
            lacking,
        ),
        _offer(
            "stop",
            "Stop",
            "No further target starts, ever. What was started goes on. This cannot be undone; make a new plan.",
            "" if running else "Only while the plan is running or paused.",
            lacking,
            dangerous=True,
        ),
    ]


def _not_applicable(plan: Plan, now: datetime) -> str:
    match plan.state:
        case PlanState.PLANNED if plan.expires_at <= now:
            return "The plan was looked at too long ago; make a new one."
        case PlanState.PLANNED if not plan.included:
            return "The plan includes nobody."
        case PlanState.PLANNED:
            return ""
        case PlanState.LAPSED:
            return "The plan has lapsed: nobody applied it, and its targets were dropped. Make a new one."
        case PlanState.PREPARING:
            return "The plan is still being prepared."
        case _:
            return f"The plan is {plan.get_state_display().lower()}."


def _offer(
    verb: str, label: str, explanation: str, obstacle: str, lacking: str, *, dangerous: bool = False
) -> AvailableAction:
    why_not = obstacle or lacking
    return AvailableAction(verb, label, not why_not, why_not, explanation, dangerous)
