"""The duties towards endpoints that are under way: go on, hold deadlines, ask again, and end what is withdrawn."""

from datetime import datetime, timedelta
from functools import partial

from inventory.jobs.periodic import duty
from trustanchors.choices import (
    CONFIRMED_STATES,
    UNFINISHED_STATES,
    BundleState,
    InstallationState,
    RolloutState,
    StepKind,
)
from trustanchors.models import BundleInstallation
from trustanchors.services import canaries, installations, returns, sequence, stepping
from trustanchors.services.apart import each

_S = InstallationState


@duty("anchors-go-on", timedelta(seconds=10))
def go_on_due(now: datetime) -> None:
    """Try again what was not answered, and ask canaries to restart that do not come back by themselves."""
    due = BundleInstallation.objects.filter(next_run_at__lte=now)

    def go_on(installation: BundleInstallation) -> None:
        waits = installation.next_run_at is not None and installation.next_run_at <= now
        if waits and not installation.awaiting and not installations.is_over(installation):
            stepping.go_on(installation, now)

    each("anchors-go-on", due, "Its next step is due", go_on, now, due="next_run_at")


@duty("anchors-deadlines", timedelta(seconds=30))
def hold_deadlines(now: datetime) -> None:
    """Silence is failure: what is not done by its deadline has failed, and says what it was waiting for."""
    overdue = BundleInstallation.objects.filter(deadline__lte=now)
    each("anchors-deadlines", overdue, "Its deadline has passed", partial(_overdue, now=now), now, due="deadline")


def _overdue(installation: BundleInstallation, now: datetime) -> None:
    if installation.deadline is None or installation.deadline > now:
        return
    turn = sequence.present(installation.steps)
    waited = sequence.describe(turn[1]) if turn else "go on"
    said = f" It last said: {turn[1]['detail']}." if turn and turn[1]["detail"] else ""
    name = installation.identity.authoritative_identifier
    may_fail = installation.state in (*UNFINISHED_STATES, *CONFIRMED_STATES)
    if may_fail and canaries.is_lost(installation):
        canaries.lost(installation, now)
    elif installation.state in UNFINISHED_STATES:
        installations.failed(installation, "silent", f"{name} did not {waited} in time.{said}", now)
    elif installation.state in CONFIRMED_STATES and installation.canary and not returns.is_back(installation):
        installations.failed(
            installation,
            "did_not_return",
            f"{name} is the first of its family and did not come back after its anchors were changed. See whether it "
            "still connects before another one is begun.",
            now,
        )
    else:
        # What is intended is confirmed; only what was replaced or withdrawn may still be there.
        installations.stop_asking(installation, now)
        installation.deadline = None
        if turn is not None and turn[1]["kind"] in (StepKind.DELETE, StepKind.LIST):
            installation.detail = f"The charger did not {waited} in time; what was replaced may still be installed."
        if installation.state in CONFIRMED_STATES:
            installation.next_check_at = now + installation.rollout.check_interval
        installation.save()


@duty("anchors-check", timedelta(minutes=1))
def check_due(now: datetime) -> None:
    """Ask endpoints again what they have installed."""
    due = BundleInstallation.objects.filter(
        next_check_at__lte=now, current=True, state__in=[*CONFIRMED_STATES, _S.MISMATCHED]
    )

    def ask(installation: BundleInstallation) -> None:
        is_due = installation.next_check_at is not None and installation.next_check_at <= now
        if not is_due or not installation.current:
            return
        if installation.deadline is None and not installation.awaiting and installation.identity.enabled:
            stepping.check(installation, now)
        else:
            installation.next_check_at = now + timedelta(hours=1)
            installation.save()

    each("anchors-check", due, "It is time to ask what is installed", ask, now, due="next_check_at")


@duty("anchors-withdrawn", timedelta(seconds=10))
def end_withdrawn(now: datetime) -> None:
    """Follow a withdrawal on every endpoint: nothing more is sent, and in an emergency the anchors are deleted."""
    left = BundleInstallation.objects.filter(rollout__state=RolloutState.WITHDRAWN, current=True).exclude(
        state=_S.WITHDRAWN
    )

    def end(installation: BundleInstallation) -> None:
        bundle = installation.rollout.bundle
        if installation.state == _S.WITHDRAWN or bundle.state != BundleState.WITHDRAWN:
            return
        was_sent = installation.started_at is not None
        installations.withdrawn(installation, f"{bundle} was withdrawn.", now)
        if bundle.emergency and was_sent:
            stepping.clear_after_withdrawal(installation, now)

    each("anchors-withdrawn", left, "Its bundle was withdrawn", end, now)
