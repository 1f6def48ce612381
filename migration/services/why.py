"""The one answer to “why is this charger not active on Profile 3”: for the console, the API and the command line."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from inventory.choices import JobState, SubjectKind
from inventory.models import CertificateRecord, ManagedIdentity
from inventory.services import lockouts
from inventory.words import step_words
from migration.models import MigrationCase
from migration.services import holding, readiness, renewal_door
from migration.services.readiness import PROFILE_3
from migration.states import ENDED_CASES, WHAT_NEXT, WHAT_NEXT_IN_QUARANTINE, CaseState, ReasonCode, Stage


@dataclass(frozen=True, slots=True)
class Why:
    """Why a charger is not active, and what somebody can do next."""

    code: ReasonCode
    sentence: str
    what_next: str


def why(identity: ManagedIdentity, now: datetime) -> Why | None:
    """The answer for one; None where it is active on Profile 3, or is no charger."""
    return whys([identity], now)[identity.pk]


def not_moving(identity: ManagedIdentity) -> str:
    """What is said of one that `why` has no answer for: it is where it should be, or is nothing that moves."""
    who = identity.authoritative_identifier
    if identity.kind != SubjectKind.CHARGER:
        return f"{who} is a {identity.get_kind_display().lower()}; only chargers move to Profile 3."
    return f"{who} is active on Profile 3."


def why_of(case: MigrationCase, now: datetime) -> Why | None:
    """The answer for one case: an ended one says why it ended, whatever has become of its charger since."""
    return whys_of([case], now)[case.pk]


def whys_of(cases: Sequence[MigrationCase], now: datetime) -> dict[int, Why | None]:
    """The answer for each case, by case, in as few queries as `whys`."""
    live = {case.identity_id: case.identity for case in cases if case.state not in ENDED_CASES}
    answers = whys(list(live.values()), now) if live else {}
    return {case.pk: _of_ended(case) if case.state in ENDED_CASES else answers[case.identity_id] for case in cases}


def _of_ended(case: MigrationCase) -> Why:
    code = ReasonCode(case.reason_code)
    there = case.identity.security_profile >= PROFILE_3
    return Why(code, case.why, "Nothing: it is on Profile 3." if there else WHAT_NEXT[code])


def whys(identities: Sequence[ManagedIdentity], now: datetime) -> dict[int, Why | None]:
    """The answer for each, by identity, in a number of queries that does not grow with theirs."""
    newest: dict[int, MigrationCase] = {}
    related = MigrationCase.objects.select_related("identity__family", "family", "wave__rollout", "issue_job")
    for case in related.filter(identity__in=identities).order_by("identity_id", "pk"):
        known = newest.get(case.identity_id)
        # A live one says how things stand now, whichever was opened last.
        if known is None or known.state in ENDED_CASES:
            newest[case.identity_id] = case
    pending = [case for case in newest.values() if case.state == CaseState.PENDING]
    holds = holding.holds(pending, now) if pending else {}
    without = [item for item in identities if item.pk not in newest and _should_move(item)]
    checks = readiness.check(without, now) if without else {}
    lost = _locked_out(identities, now)
    return {
        identity.pk: (
            _of_case(newest[identity.pk], holds.get(newest[identity.pk].pk), now)
            if identity.pk in newest
            else _without_case(identity, checks.get(identity.pk))
        )
        or lost.get(identity.pk)
        for identity in identities
    }


def _locked_out(identities: Sequence[ManagedIdentity], now: datetime) -> dict[int, Why]:
    """Those that have arrived on Profile 3, and cannot connect there any more."""
    arrived = [identity.pk for identity in identities if identity.security_profile >= PROFILE_3]
    if not arrived:
        return {}
    found = lockouts.locked_out(ManagedIdentity.objects.filter(pk__in=arrived), now)
    names = dict(found.values_list("pk", "authoritative_identifier"))
    if not names:
        return {}
    last = renewal_door.last_known(names)
    return {key: Why(ReasonCode.CERTIFICATE_LOST, *_lost(name, last.get(key), now)) for key, name in names.items()}


def _lost(name: str, last: CertificateRecord | None, now: datetime) -> tuple[str, str]:
    """Why a charger cannot connect on Profile 3, by the certificate that it came with last, and what to do next."""
    if last is None:
        return f"{name} is on Profile 3 and has no certificate that works: it cannot connect.", _FRESH_KEY
    if last.renewal_only_until is not None and last.renewal_only_until > now:
        return (
            f"A narrow door lets {name} in with its expired certificate {last.pk} until "
            f"{last.renewal_only_until:%Y-%m-%d %H:%M} UTC, only to renew it.",
            "Wait for its renewal. If it does not come in, it may have lost that certificate: close the door, and open "
            "one with a fresh key.",
        )
    unfit = renewal_door.why_unfit(last, now)
    if unfit:
        return f"{name} is on Profile 3 and its certificate {last.pk} {unfit}: it cannot connect.", _FRESH_KEY
    return (
        f"{name} is on Profile 3 and its certificate {last.pk} expired on {last.not_after:%Y-%m-%d}: it cannot "
        "connect.",
        "Open a narrow door for its renewal, by which that certificate lets it in once more. If it has lost that, "
        "open one with a fresh key.",
    )


_FRESH_KEY: Final = "Open a narrow door with a fresh key for it, or give a request that was taken on site."


def _should_move(identity: ManagedIdentity) -> bool:
    return identity.kind == SubjectKind.CHARGER and identity.security_profile < PROFILE_3


def _of_case(case: MigrationCase, hold: holding.Hold | None, now: datetime) -> Why | None:
    if case.state == CaseState.ACTIVE:
        return None
    if case.state in ENDED_CASES and case.identity.security_profile >= PROFILE_3:
        # Its migration ended, and it got there all the same.
        return None
    if case.state == CaseState.PENDING:
        code, sentence = (hold.code, hold.why) if hold else holding.waits_only_for_its_turn(case, now)
    else:
        code, sentence = ReasonCode(case.reason_code), case.why
    if case.state == CaseState.INSTALLING and case.stage == Stage.ISSUING and code == ReasonCode.ISSUING:
        sentence = _being_issued(case)
    if case.state == CaseState.ROLLBACK and case.deadline is not None:
        back = "Told to go back to" if case.stage == Stage.LOWERING else "Expected back on"
        sentence = f"{sentence} {back} Profile 2 by {case.deadline:%Y-%m-%d %H:%M} UTC."
    return Why(code, sentence, what_next(CaseState(case.state), code))


def _being_issued(case: MigrationCase) -> str:
    """How far its certificate is, as its job says."""
    who, job = case.identity.authoritative_identifier, case.issue_job
    if job is None or not job.is_open:
        return f"{who} gets its certificate: {case.why}"
    if job.state == JobState.WAITING and job.waiting_until is not None:
        until = f"{job.waiting_until:%Y-%m-%d %H:%M} UTC"
        return f"{who} gets its certificate: job {job.pk} waits for {job.waiting_for}, until {until} at most."
    return f"{who} gets its certificate: job {job.pk} is at “{step_words(job.step)}”."


def what_next(state: CaseState, code: ReasonCode) -> str:
    """What somebody can do next with a case in this state, for this reason: only what its state allows."""
    match state:
        case CaseState.ROLLBACK:
            return "Wait: it is on its way back to Profile 2, and is quarantined if it does not come back in time."
        case CaseState.PENDING if code == ReasonCode.ISSUE_FAILED:
            return "Mend the cause; it is tried again by itself."
        case CaseState.PENDING if code == ReasonCode.BREAKER_OPEN:
            return "Find the cause of the failures, then close the breaker; the charger is then started by itself."
        case CaseState.QUARANTINE:
            return WHAT_NEXT_IN_QUARANTINE.get(code, WHAT_NEXT[code])
    return WHAT_NEXT[code]


def _without_case(identity: ManagedIdentity, checks: list[readiness.Check] | None) -> Why | None:
    if checks is None:
        return None
    failing = readiness.first_failure(checks)
    if failing is not None:
        return _answer(failing.code, failing.sentence)
    return _answer(ReasonCode.NOT_PLANNED, holding.in_no_rollout(identity))


def _answer(code: ReasonCode, sentence: str) -> Why:
    return Why(code, sentence, WHAT_NEXT[code])
