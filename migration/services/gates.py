"""What the gate of a wave says: a pure function of counts, thresholds and time. Three-valued, and it fails closed."""

from dataclasses import dataclass

from inventory.words import agreeing, part_of
from migration.states import Verdict


@dataclass(frozen=True, slots=True)
class Counts:
    """How the chargers of a wave stand."""

    total: int
    """All of them, as they were when the wave started: silence does not make them fewer."""
    succeeded: int
    failed: int
    """Whose last try failed; it counts at once, until the charger is active after all or a person starts it anew."""
    given_up: int = 0
    """Cancelled without having failed: no success, and nothing more will come."""
    retrying: int = 0
    """Of the failed, those that have a try left: they count as failed, and may still come."""

    @property
    def decided(self) -> int:
        return self.succeeded + self.failed + self.given_up

    @property
    def undecided(self) -> int:
        return self.total - self.decided

    @property
    def open(self) -> int:
        """Of whom something may still come."""
        return self.undecided + self.retrying


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a gate opens, and when it closes."""

    success_percent: int
    failure_percent: int
    minimum_sample: int


def needed(total: int, percent: int) -> int:
    """How many successes a percentage asks for, rounded up."""
    return -(-total * percent // 100)


def verdict(counts: Counts, thresholds: Thresholds, *, past_deadline: bool) -> Verdict:
    """Whether the next wave may start.

    A failure rate beyond the threshold fails, whatever else; it is a rate of those decided, of whom there must be the
    minimum sample, or all where nothing more will come. What cannot be understood is inconclusive, and so is what is
    undecided at the deadline or can no longer be decided.
    """
    if not _make_sense(counts, thresholds):
        return Verdict.INCONCLUSIVE
    sampled = counts.decided >= thresholds.minimum_sample or counts.open == 0
    if sampled and counts.failed * 100 > thresholds.failure_percent * counts.decided:
        return Verdict.FAIL
    if counts.succeeded >= needed(counts.total, thresholds.success_percent):
        return Verdict.PASS
    return Verdict.INCONCLUSIVE if past_deadline or counts.open == 0 else Verdict.UNDECIDED


def _make_sense(counts: Counts, thresholds: Thresholds) -> bool:
    return (
        counts.total > 0
        and min(counts.succeeded, counts.failed, counts.given_up, counts.retrying) >= 0
        and counts.retrying <= counts.failed
        and counts.decided <= counts.total
        and 1 <= thresholds.success_percent <= 100
        and 0 <= thresholds.failure_percent <= 100 - thresholds.success_percent
        and thresholds.minimum_sample >= 1
    )


def explain(found: Verdict, counts: Counts, thresholds: Thresholds, *, past_deadline: bool) -> str:
    """The verdict in a sentence for the operator.

    A decision is told with its figures as they were when it was taken: chargers go on afterwards, and the sentence
    stays.
    """
    asked = needed(counts.total, thresholds.success_percent) if counts.total else 0
    if found == Verdict.UNDECIDED:
        return (
            f"Not yet decided: {_of_all(counts)} {agreeing(counts.succeeded, 'is', 'are')} active, {counts.failed} "
            f"failed, {counts.undecided} {agreeing(counts.undecided, 'is', 'are')} undecided; {asked} "
            f"{agreeing(asked, 'is', 'are')} needed."
        )
    standing = (
        f"{_of_all(counts)} {agreeing(counts.succeeded, 'was', 'were')} active, {counts.failed} had failed and "
        f"{counts.undecided} {agreeing(counts.undecided, 'was', 'were')} undecided"
    )
    if found == Verdict.PASS:
        return f"Passed when {standing}; {asked} {agreeing(asked, 'was', 'were')} needed."
    if found == Verdict.FAIL:
        return (
            f"Failed when {standing}: more than {thresholds.failure_percent} % of the {counts.decided} decided. "
            "Find the cause, retry the failed, then resume."
        )
    if not _make_sense(counts, thresholds):
        return f"Inconclusive: its counts or thresholds make no sense ({standing}). Stop the rollout and plan it again."
    because = "its deadline had passed" if past_deadline else "nothing more was to come"
    return (
        f"Inconclusive when {standing}: {asked} {agreeing(asked, 'was', 'were')} needed, and {because}. See why the "
        "others are not active, retry the failed, then resume; or stop the rollout and plan the rest again."
    )


def _of_all(counts: Counts) -> str:
    return part_of(counts.succeeded, counts.total, "charger")
