"""The one answer to “why is this charger not active on Profile 3”: for the console, the API and the command line."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from inventory.choices import SubjectKind
from inventory.models import CertificateRecord, ManagedIdentity
from inventory.services import lockouts
from migration.models import MigrationCase
from migration.services import holding, readiness, renewal_door
from migration.services.readiness import PROFILE_3
from migration.states import ENDED_CASES, WHAT_NEXT, CaseState, ReasonCode


@dataclass(frozen=True, slots=True)
class Why:
    """Why a charger is not active, and what somebody can do next."""

    code: ReasonCode
    sentence: str
    what_next: str


def why(identity: ManagedIdentity, now: datetime) -> Why | None:
    """The answer for one; None where it is active on Profile 3, or is no charger."""
    return whys([identity], now)[identity.pk]


def whys(identities: Sequence[ManagedIdentity], now: datetime) -> dict[int, Why | None]:
    """The answer for each, by identity, in a number of queries that does not grow with theirs."""
    newest: dict[int, MigrationCase] = {}
    related = MigrationCase.objects.select_related("identity__family", "family", "wave__rollout")
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
    last = renewal_door.last_used(names)
    return {key: Why(ReasonCode.CERTIFICATE_LOST, *_lost(name, last.get(key), now)) for key, name in names.items()}


def _lost(name: str, last: CertificateRecord | None, now: datetime) -> tuple[str, str]:
    """Why a charger cannot connect on Profile 3, by the certificate that it used last, and what to do next."""
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
    if case.state == CaseState.PENDING:
        code, sentence = (hold.code, hold.why) if hold else holding.waits_only_for_its_turn(case, now)
    else:
        code, sentence = ReasonCode(case.reason_code), case.why
    return _answer(code, sentence)


def _without_case(identity: ManagedIdentity, checks: list[readiness.Check] | None) -> Why | None:
    if checks is None:
        return None
    failing = readiness.first_failure(checks)
    if failing is not None:
        return _answer(failing.code, failing.sentence)
    return _answer(ReasonCode.NOT_PLANNED, f"{identity.authoritative_identifier} is ready, and in no rollout.")


def _answer(code: ReasonCode, sentence: str) -> Why:
    return Why(code, sentence, WHAT_NEXT[code])
