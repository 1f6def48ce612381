"""How each family of a bundle's rollout stands: its canary, since when and until when it is waited for, and what then.

For the page of the rollout; in a number of queries that does not grow with its chargers or its families.
"""

from dataclasses import dataclass
from datetime import datetime

from trustanchors.choices import RolloutState
from trustanchors.models import BundleInstallation, BundleRollout, RolloutFamily
from trustanchors.services import sequence


@dataclass(frozen=True, slots=True)
class FamilyStanding:
    """One family of a rollout."""

    group: RolloutFamily
    label: str
    tone: str
    sentence: str
    what_next: str = ""
    canary: BundleInstallation | None = None
    """The charger that is waited for, or that did not come."""


def of(rollout: BundleRollout, now: datetime) -> list[FamilyStanding]:
    """Every family of a rollout, in their order."""
    canaries = {
        installation.group_id: installation
        for installation in BundleInstallation.objects.filter(
            group__rollout=rollout, canary=True, current=True
        ).select_related("identity")
    }
    groups = rollout.families.select_related("family").order_by("pk")
    return [_standing(rollout, group, canaries.get(group.pk), now) for group in groups]


def _standing(
    rollout: BundleRollout, group: RolloutFamily, canary: BundleInstallation | None, now: datetime
) -> FamilyStanding:
    if group.halted_by:
        return FamilyStanding(
            group,
            "Stopped",
            "danger",
            group.halted_by,
            "Mend what is named, then retry the failed, or allow the family to go on.",
            canary,
        )
    if group.stopped:
        return FamilyStanding(
            group,
            "Stopped",
            "danger",
            f"{group.failed} of its chargers failed.",
            "See why they failed, then retry the failed, or allow the family further failures.",
        )
    if group.confirmed + group.withdrawn >= group.targets > 0:
        return FamilyStanding(group, "Confirmed", "success", "All of its chargers have confirmed their anchors.")
    if group.proven_at is not None:
        came = f"Its canary came back on {group.proven_at:%Y-%m-%d %H:%M} UTC; its others follow."
        return FamilyStanding(group, *_pace(rollout), came)
    if canary is None:
        label, tone = _pace(rollout)
        first = "Its first charger, the canary, is begun when its turn comes; until it is back no other is begun."
        return FamilyStanding(group, "Waits" if label == "Goes on" else label, tone, first)
    return _waits_for(group, canary, now)


def _pace(rollout: BundleRollout) -> tuple[str, str]:
    if rollout.state == RolloutState.RUNNING:
        return "Goes on", "success"
    return RolloutState(rollout.state).label, "default"


def _waits_for(group: RolloutFamily, canary: BundleInstallation, now: datetime) -> FamilyStanding:
    who = canary.identity.authoritative_identifier
    since = f" since {canary.started_at:%Y-%m-%d %H:%M} UTC" if canary.started_at is not None else ""
    turn = sequence.present(canary.steps)
    step = sequence.describe(turn[1]) if turn is not None else "come back"
    if canary.deadline is None or canary.deadline <= now:
        return FamilyStanding(
            group,
            "Waits for its canary",
            "warning",
            f"{who} is its canary{since}, and has not come back in its time. No other of the family is begun.",
            f"See whether {who} connects.",
            canary,
        )
    return FamilyStanding(
        group,
        "Waits for its canary",
        "info",
        f"{who} is its canary{since}: it has to {step}. It is waited for until {canary.deadline:%Y-%m-%d %H:%M} UTC; "
        "if it has not come back by then, it has failed, and no other of the family is begun.",
        f"Wait, or see whether {who} connects.",
        canary,
    )
