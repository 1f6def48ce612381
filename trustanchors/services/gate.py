"""The gate: first enrolments and cut-overs of a cohort wait until its anchors are where they should be (A-FR-004).

It is asked by `inventory.seams`. Routine renewals are never asked: a charger that works goes on working.
"""

from datetime import datetime

from inventory.choices import SubjectKind
from inventory.models import ManagedIdentity
from inventory.models.cohort import containing
from inventory.purposes import purpose
from inventory.seams import Gated
from trustanchors.choices import GATING_PURPOSES, RolloutState
from trustanchors.models import BundleInstallation, BundleRollout


def gate(action: Gated, identity: ManagedIdentity, now: datetime) -> str | None:
    """Why this identity may not be enrolled or cut over now; None where nothing is in the way."""
    return why_closed(identity, now) if identity.kind == SubjectKind.CHARGER else None


def why_closed(identity: ManagedIdentity, now: datetime) -> str | None:
    """Why the gate is closed for an identity, as a sentence.

    A charger that no bundle was ever released to is not held back here; a migration asks `readiness` first.
    """
    current = _current(identity)
    for key in GATING_PURPOSES:
        why = _closed_by(current[key]) if key in current else _not_yet_taken_in(identity, key)
        if why is not None:
            return why
    return None


def readiness(identity: ManagedIdentity, now: datetime) -> str | None:
    """What a migration to Profile 3 still lacks: confirmed anchors of both purposes, and open gates."""
    current = _current(identity)
    for key in GATING_PURPOSES:
        if key not in current:
            return (
                _not_yet_taken_in(identity, key)
                or f"No {purpose(key).label} anchors were ever released to {identity.authoritative_identifier}; "
                "release a bundle to a cohort that it belongs to."
            )
    return why_closed(identity, now)


def _current(identity: ManagedIdentity) -> dict[str, BundleInstallation]:
    installations = BundleInstallation.objects.filter(
        identity=identity, current=True, purpose__in=GATING_PURPOSES
    ).select_related("rollout__bundle", "rollout__cohort")
    return {installation.purpose: installation for installation in installations}


def _closed_by(installation: BundleInstallation) -> str | None:
    rollout = installation.rollout
    if rollout.state == RolloutState.WITHDRAWN:
        return f"{rollout.bundle} is withdrawn. Release another version to {rollout.cohort}."
    if rollout.replaced_at is not None:
        return f"A newer version of {rollout.bundle.get_purpose_display()} anchors is on its way to {rollout.cohort}."
    if not rollout.gate_open:
        return (
            f"{rollout} is {rollout.get_state_display().lower()}: {rollout.confirmed} of {rollout.targets} chargers "
            f"have confirmed their anchors, and {rollout.needed} are needed ({rollout.threshold_percent} %)."
        )
    if not installation.is_confirmed:
        detail = f" {installation.detail}" if installation.detail else ""
        return f"Its own anchors are not confirmed ({installation.get_state_display().lower()}).{detail}"
    return None


def _not_yet_taken_in(identity: ManagedIdentity, key: str) -> str | None:
    """A member of a cohort whose rollout has not reached it: it is new, or the bundle was withdrawn before."""
    newest = list(
        BundleRollout.objects.filter(purpose=key, replaced_at=None).select_related("bundle", "cohort").order_by("pk")
    )
    reaching = containing(identity, [rollout.cohort for rollout in newest]) if newest else set()
    rollout = next((one for one in newest if one.cohort_id in reaching), None)
    if rollout is None:
        return None
    if rollout.state == RolloutState.WITHDRAWN:
        return f"{rollout.bundle} is withdrawn. Release another version to {rollout.cohort}."
    return f"{rollout} has not reached it yet; it is taken in within minutes while that rollout runs."
