"""The gate: first enrolments and cut-overs of a cohort wait until its anchors are where they should be (A-FR-004).

It is asked by `inventory.seams`. Routine renewals are never asked: a charger that works goes on working.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import QuerySet

from inventory.choices import SubjectKind
from inventory.models import ManagedIdentity
from inventory.models.cohort import containing_each
from inventory.purposes import purpose
from inventory.seams import Gated
from inventory.words import agreeing, part_of
from trustanchors.choices import GATING_PURPOSES, RolloutState
from trustanchors.models import BundleInstallation, BundleRollout

_HOLD = """
SELECT 1 FROM trustanchors_bundlerollout WHERE id IN (
    SELECT rollout_id FROM trustanchors_bundleinstallation
    WHERE identity_id = ANY(%s) AND current AND purpose = ANY(%s)
) ORDER BY id FOR SHARE
"""


def gate(action: Gated, identities: Sequence[ManagedIdentity], now: datetime) -> dict[int, str]:
    """Why these identities may not be enrolled or cut over now, by their keys; no entry where nothing is in the way.

    What is said of a cut-over holds until the end of the transaction: a withdrawal waits until then, or was seen.
    """
    chargers = [identity for identity in identities if identity.kind == SubjectKind.CHARGER]
    if not chargers:
        return {}
    if action == Gated.CUT_OVER:
        with connection.cursor() as cursor:
            cursor.execute(_HOLD, [[charger.pk for charger in chargers], list(GATING_PURPOSES)])
    standing = _Standing.of(chargers)
    found = {charger.pk: standing.why_closed(charger.pk) for charger in chargers}
    return {pk: why for pk, why in found.items() if why is not None}


def why_closed(identity: ManagedIdentity, now: datetime) -> str | None:
    """Why the gate is closed for an identity, as a sentence.

    A charger that no bundle was ever released to is not held back here; a migration asks `readiness` first.
    """
    standing = _Standing.of([identity])
    return standing.why_closed(identity.pk)


def readiness(identity: ManagedIdentity, now: datetime) -> str | None:
    """As `readiness_of`, of one."""
    return readiness_of([identity], now).get(identity.pk)


def readiness_of(identities: Sequence[ManagedIdentity], now: datetime) -> dict[int, str]:
    """What a migration to Profile 3 still lacks: confirmed anchors of both purposes, and open gates.

    :returns: a sentence by the identity's key; whose anchors do has no entry. The queries do not grow with them.
    """
    standing = _Standing.of(identities)
    found = {
        identity.pk: standing.why_not_released(identity) or standing.why_closed(identity.pk) for identity in identities
    }
    return {pk: why for pk, why in found.items() if why is not None}


@dataclass(frozen=True, slots=True)
class _Standing:
    """What is intended for chargers, and what is on its way to those whom it has not reached."""

    current: Mapping[int, Mapping[str, BundleInstallation]]
    """By identity and purpose."""
    on_its_way: Mapping[tuple[int, str], BundleRollout]

    @classmethod
    def of(cls, identities: Sequence[ManagedIdentity]) -> "_Standing":
        pks = [identity.pk for identity in identities]
        current: dict[int, dict[str, BundleInstallation]] = {pk: {} for pk in pks}
        installations = list(
            BundleInstallation.objects.filter(identity_id__in=pks, current=True, purpose__in=GATING_PURPOSES).only(
                "identity_id", "purpose", "state", "detail", "rollout_id", "current"
            )
        )
        # A rollout stands for thousands of chargers: it is read once, not with each of them.
        rollouts = _rollouts().in_bulk({installation.rollout_id for installation in installations})
        for installation in installations:
            installation.rollout = rollouts[installation.rollout_id]
            current[installation.identity_id][installation.purpose] = installation
        lacking = [pk for pk in pks if len(current[pk]) < len(GATING_PURPOSES)]
        return cls(current, _on_its_way(lacking))

    def why_closed(self, pk: int) -> str | None:
        for key in GATING_PURPOSES:
            why = _closed_by(self.current[pk][key]) if key in self.current[pk] else self._why_not_yet(pk, key)
            if why is not None:
                return why
        return None

    def why_not_released(self, identity: ManagedIdentity) -> str | None:
        """Where no bundle was ever released to a charger, a migration does not trust that it has what it needs."""
        for key in GATING_PURPOSES:
            if key not in self.current[identity.pk]:
                return (
                    self._why_not_yet(identity.pk, key)
                    or f"No {purpose(key).label} anchors were ever released to {identity.authoritative_identifier}; "
                    "release a bundle to a cohort that it belongs to."
                )
        return None

    def _why_not_yet(self, pk: int, key: str) -> str | None:
        """A member of a cohort whose rollout has not reached it: it is new, or the bundle was withdrawn before."""
        rollout = self.on_its_way.get((pk, key))
        if rollout is None:
            return None
        if rollout.state == RolloutState.WITHDRAWN:
            return f"{rollout.bundle} is withdrawn. Release another version to {rollout.cohort}."
        return f"{rollout} has not reached it yet; it is taken in within minutes while that rollout runs."


def _rollouts() -> "QuerySet[BundleRollout]":
    return BundleRollout.objects.select_related("bundle", "cohort")


def _on_its_way(identity_ids: Collection[int]) -> dict[tuple[int, str], BundleRollout]:
    """The rollout of each identity and purpose whose cohort it is a member of now; the oldest of several."""
    if not identity_ids:
        return {}
    newest = list(_rollouts().filter(purpose__in=GATING_PURPOSES, replaced_at=None).order_by("-pk"))
    if not newest:
        return {}
    reaching = containing_each(identity_ids, list({rollout.cohort_id: rollout.cohort for rollout in newest}.values()))
    return {
        (pk, rollout.purpose): rollout for rollout in newest for pk in identity_ids if rollout.cohort_id in reaching[pk]
    }


def _closed_by(installation: BundleInstallation) -> str | None:
    rollout = installation.rollout
    if rollout.state == RolloutState.WITHDRAWN:
        return f"{rollout.bundle} is withdrawn. Release another version to {rollout.cohort}."
    if rollout.replaced_at is not None:
        return f"A newer version of {rollout.bundle.get_purpose_display()} anchors is on its way to {rollout.cohort}."
    if not rollout.gate_open:
        return (
            f"{rollout} is {rollout.get_state_display().lower()}: "
            f"{part_of(rollout.confirmed, rollout.targets, 'charger')} "
            f"{agreeing(rollout.confirmed, 'has', 'have')} confirmed their anchors, and {rollout.needed} "
            f"{agreeing(rollout.needed, 'is', 'are')} needed ({rollout.threshold_percent} %)."
        )
    if not installation.is_confirmed:
        detail = f" {installation.detail}" if installation.detail else ""
        return f"Its own anchors are not confirmed ({installation.get_state_display().lower()}).{detail}"
    return None
