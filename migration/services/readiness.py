"""What a charger must be before it moves to Profile 3: each check with its answer and the sentence for the operator.

Capabilities are those of the specification's readiness appendix; unknown is not capable. The queries do not grow with
the number of chargers that are asked about at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.conf import settings
from django.db.models import Q

from bfcerts.ocpp.models import StationSession
from inventory.choices import KeyPath, SubjectKind
from inventory.models import ChargerFamily, ManagedIdentity
from inventory.services import capabilities
from inventory.words import counted
from migration.services import rotation_need
from migration.states import ReasonCode
from trustanchors.services import gate

PROFILE_2, PROFILE_3 = 2, 3
R = ReasonCode


class Outcome(StrEnum):
    """What a check says; everything but a pass holds the charger back."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """One check of one charger."""

    code: ReasonCode
    """What stands in its way where the check does not pass."""
    outcome: Outcome
    sentence: str

    @property
    def passed(self) -> bool:
        return self.outcome == Outcome.PASSED


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is known of all of them, read at once."""

    missing: Mapping[int, Sequence[str]]
    doubted: dict[int, list[str]]
    """What single chargers cannot, by identity."""
    keys: Mapping[int, str]
    anchors: Mapping[int, str]
    seen: frozenset[str]
    days: int


def check(identities: Sequence[ManagedIdentity], now: datetime) -> dict[int, list[Check]]:
    """Every check of each of these chargers, by the identity's key. The identities come with their family."""
    families = {identity.family.pk: identity.family for identity in identities if identity.family is not None}
    facts = _Facts(
        missing=_missing_capabilities(list(families.values())),
        doubted={
            key: [str(capability.label) for capability in doubted]
            for key, doubted in capabilities.doubted_of(identities).items()
        },
        keys={key: need.sentence for key, need in rotation_need.needs_of(identities, now).items()},
        anchors=gate.readiness_of(identities, now),
        seen=_recently_seen(identities, now),
        days=settings.CONFIGURATION.migration_recent_days,
    )
    return {identity.pk: _checks(identity, facts) for identity in identities}


def check_one(identity: ManagedIdentity, now: datetime) -> list[Check]:
    """As `check`, of one."""
    return check([identity], now)[identity.pk]


def first_failure(checks: Sequence[Check]) -> Check | None:
    """What is named first where several checks do not pass: they stand in the order in which they are mended."""
    return next((item for item in checks if not item.passed), None)


def _checks(identity: ManagedIdentity, facts: _Facts) -> list[Check]:
    who, family = identity.authoritative_identifier, identity.family
    if identity.kind != SubjectKind.CHARGER:
        kind = identity.get_kind_display().lower()
        return [Check(R.NOT_A_CHARGER, Outcome.FAILED, f"{who} is a {kind}; only chargers move to Profile 3.")]
    return [
        _check(R.DISABLED, identity.enabled, f"{who} is enabled.", f"{who} is disabled."),
        _check(
            R.BELOW_PROFILE_2,
            identity.security_profile >= PROFILE_2,
            f"{who} has reached Profile {identity.security_profile}.",
            f"{who} has only reached Profile {identity.security_profile}; it moves to Profile 3 from Profile 2.",
        ),
        _family_check(identity),
        _capability_check(identity, facts),
        _key_path_check(family),
        _check(
            R.KEY_NOT_ROTATED,
            identity.pk not in facts.keys,
            f"{who} has an AuthorizationKey of its own that was rotated.",
            facts.keys.get(identity.pk, ""),
        ),
        _check(
            R.ANCHORS_MISSING,
            identity.pk not in facts.anchors,
            f"{who} has confirmed its trust anchors.",
            facts.anchors.get(identity.pk, ""),
        ),
        _check(
            R.NO_RECENT_CONNECTION,
            who in facts.seen,
            f"{who} was connected in the last {counted(facts.days, 'day')}.",
            f"{who} has not been connected for {counted(facts.days, 'day')}.",
        ),
    ]


def _check(code: ReasonCode, passed: bool, good: str, bad: str) -> Check:
    return Check(code, Outcome.PASSED if passed else Outcome.FAILED, good if passed else bad)


def _family_check(identity: ManagedIdentity) -> Check:
    if identity.family is None:
        who = identity.authoritative_identifier
        firmware = identity.firmware_version or "not reported"
        return Check(
            R.FAMILY_UNKNOWN,
            Outcome.UNKNOWN,
            f"No charger family is known for {who} (firmware {firmware}).",
        )
    return Check(R.FAMILY_UNKNOWN, Outcome.PASSED, f"Its family is {identity.family}.")


def _capability_check(identity: ManagedIdentity, facts: _Facts) -> Check:
    family = identity.family
    if family is None:
        return Check(R.CAPABILITIES_MISSING, Outcome.UNKNOWN, "What it can do is unknown, as its family is.")
    missing = facts.missing.get(family.pk, ())
    if not missing and (doubted := facts.doubted.get(identity.pk)):
        who = identity.authoritative_identifier
        return Check(
            R.CAPABILITIES_MISSING,
            Outcome.FAILED,
            f"{who} has shown that it cannot {', '.join(doubted)}, although its family {family} is taken for capable "
            "of it.",
        )
    return _check(
        R.CAPABILITIES_MISSING,
        not missing,
        f"Family {family} has every capability that Profile 3 asks for.",
        f"Family {family} is not known to have: {', '.join(missing)}.",
    )


def _key_path_check(family: ChargerFamily | None) -> Check:
    if family is None:
        return Check(R.KEY_PATH_UNAPPROVED, Outcome.UNKNOWN, "No key path can be approved while its family is unknown.")
    return _check(
        R.KEY_PATH_UNAPPROVED,
        family.key_path != KeyPath.UNAPPROVED,
        f"The key path of family {family} is approved.",
        f"The key path of family {family} is not approved: nobody has seen one of its chargers change its key.",
    )


def _missing_capabilities(families: Sequence[ChargerFamily]) -> dict[int, list[str]]:
    return {
        family_id: [str(capability.label) for capability in missing]
        for family_id, missing in capabilities.missing_of(families).items()
    }


def _recently_seen(identities: Sequence[ManagedIdentity], now: datetime) -> frozenset[str]:
    since = now - timedelta(days=settings.CONFIGURATION.migration_recent_days)
    stations = [identity.authoritative_identifier for identity in identities]
    recent = StationSession.objects.filter(station_id__in=stations).filter(
        Q(closed_at__isnull=True) | Q(closed_at__gte=since)
    )
    return frozenset(recent.order_by().values_list("station_id", flat=True).distinct())
