"""What holds a pending charger back: one reason at a time, the same for whoever starts it and whoever asks why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from inventory.models import ManagedIdentity
from migration.models import MigrationCase
from migration.services import breakers, readiness, windows
from migration.services.breakers import OpenBreakers
from migration.services.readiness import Check
from migration.services.windows import Calendar
from migration.states import ReasonCode, RolloutState, WaveState

SOON = timedelta(seconds=30)
NOT_SO_SOON = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a charger is not started now, and when to look again."""

    code: ReasonCode
    why: str
    look_again_at: datetime


def holds(cases: Sequence[MigrationCase], now: datetime) -> dict[int, Hold | None]:
    """What holds each of these pending cases back, by case; None where it may start.

    The cases come with identity, its family, wave and rollout; the queries do not grow with their number.
    """
    checks = readiness.check([case.identity for case in cases], now)
    stopped = breakers.open_now()
    calendar = windows.calendar_of(sorted({case.site for case in cases}), now)
    return {case.pk: _hold(case, checks[case.identity_id], stopped, calendar, now) for case in cases}


def _hold(
    case: MigrationCase, checks: list[Check], stopped: OpenBreakers, calendar: Calendar, now: datetime
) -> Hold | None:
    return (
        _ended(case, now)
        or _stopped(case, stopped, now)
        or _changed(case, now)
        or _unready(checks, now)
        or _not_its_turn(case, now)
        or _outside(case, calendar, now)
    )


def _ended(case: MigrationCase, now: datetime) -> Hold | None:
    wave = case.wave
    if wave is None:
        return None
    later = now + NOT_SO_SOON
    if wave.state == WaveState.ROLLED_BACK:
        return Hold(ReasonCode.WAVE_ENDED, f"{wave} was rolled back.", later)
    if wave.state == WaveState.STOPPED or wave.rollout.state == RolloutState.STOPPED:
        return Hold(ReasonCode.WAVE_ENDED, f"Rollout “{wave.rollout.name}” was stopped.", later)
    if wave.rollout.state == RolloutState.COMPLETE:
        return Hold(ReasonCode.WAVE_ENDED, f"Rollout “{wave.rollout.name}” is complete and starts nobody.", later)
    return None


def _stopped(case: MigrationCase, stopped: OpenBreakers, now: datetime) -> Hold | None:
    breaker = stopped.stopping(case)
    return Hold(ReasonCode.BREAKER_OPEN, breaker.why, now + SOON) if breaker is not None else None


def _changed(case: MigrationCase, now: datetime) -> Hold | None:
    why = family_change(case)
    return Hold(ReasonCode.FAMILY_CHANGED, why, now + NOT_SO_SOON) if why else None


def family_change(case: MigrationCase) -> str:
    """How a charger has become another one than was planned; empty where it has not."""
    identity = case.identity
    if case.wave_id is None or case.family_id == identity.family_id:
        return ""
    return (
        f"{identity.authoritative_identifier} was planned as one of family {case.family or 'unknown'} and is one of "
        f"{identity.family or 'no known family'} now (firmware {identity.firmware_version or 'not reported'})."
    )


def _unready(checks: list[Check], now: datetime) -> Hold | None:
    failing = readiness.first_failure(checks)
    return Hold(failing.code, failing.sentence, now + SOON) if failing is not None else None


def _not_its_turn(case: MigrationCase, now: datetime) -> Hold | None:
    wave = case.wave
    if wave is None:
        return Hold(ReasonCode.NOT_PLANNED, in_no_rollout(case.identity), now + NOT_SO_SOON)
    name = wave.rollout.name
    if wave.rollout.state == RolloutState.PAUSED:
        because = f": {wave.rollout.note}" if wave.rollout.note else "."
        return Hold(ReasonCode.ROLLOUT_PAUSED, f"Rollout “{name}” is paused{because}", now + SOON)
    if wave.state in (WaveState.PAUSED, WaveState.FAILED):
        return Hold(
            ReasonCode.ROLLOUT_PAUSED, f"{wave} is {wave.get_state_display().lower()}: {wave.verdict}", now + SOON
        )
    if wave.state == WaveState.PENDING:
        because = f": {wave.verdict}" if wave.verdict else "."
        return Hold(ReasonCode.WAVE_NOT_STARTED, f"{wave} has not started{because}", now + SOON)
    return None


def in_no_rollout(identity: ManagedIdentity) -> str:
    """What is said of a charger that could move and that nobody has planned."""
    return f"{identity.authoritative_identifier} is ready, and in no rollout."


def _outside(case: MigrationCase, calendar: Calendar, now: datetime) -> Hold | None:
    closed = calendar.closed(case.site, now)
    return Hold(ReasonCode.WINDOW_CLOSED, closed.why, closed.look_again_at) if closed is not None else None


def waits_only_for_its_turn(case: MigrationCase, now: datetime) -> tuple[ReasonCode, str]:
    """What is said of a pending charger that nothing holds back."""
    who = case.identity.authoritative_identifier
    if case.failed_at is not None:
        when = f" from {case.next_look_at:%H:%M:%S} UTC on" if case.next_look_at > now else ""
        return ReasonCode.RETRYING, f"The last try of {who} failed: {case.last_failure} It is tried again{when}."
    if case.reason_code == ReasonCode.ISSUE_FAILED:
        return ReasonCode.ISSUE_FAILED, case.why
    return ReasonCode.TURN, f"{who} is ready and waits for a free place in its wave."


def not_ready_for_cut_over(identities: Sequence[ManagedIdentity], now: datetime) -> dict[int, Check]:
    """What stands in the way of chargers that have their certificates, of what can have changed since they started.

    :returns: by the identity's key; whom nothing holds back has no entry. The queries do not grow with them.
    """
    relevant = (ReasonCode.DISABLED, ReasonCode.KEY_NOT_ROTATED, ReasonCode.ANCHORS_MISSING)
    found = {
        pk: readiness.first_failure([item for item in checks if item.code in relevant])
        for pk, checks in readiness.check(identities, now).items()
    }
    return {pk: failing for pk, failing in found.items() if failing is not None}
