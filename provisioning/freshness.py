"""How far a piece of evidence can be relied on: the one answer for pages, API and transitions."""

from dataclasses import dataclass
from datetime import datetime

from provisioning.choices import ADVERSE, FRESH_FOR, Outcome, Standing
from provisioning.models import ProvisioningEvidence


@dataclass(frozen=True, slots=True)
class Stands:
    """How a piece of evidence stands now."""

    standing: Standing
    sentence: str

    @property
    def valid(self) -> bool:
        return self.standing is Standing.VALID


def standing(evidence: ProvisioningEvidence, now: datetime) -> Stands:
    """How far this can be relied on now. What is stale is never valid, and what speaks against it stays so."""
    if evidence.outcome in (*ADVERSE, Outcome.REFUSED):
        return Stands(Standing.ADVERSE, f"{evidence.get_outcome_display()}; this does not end by itself.")
    if evidence.fresh_until <= now:
        return Stands(
            Standing.STALE,
            f"Stale since {evidence.fresh_until:%Y-%m-%d %H:%M} UTC: ask {evidence.get_system_display()} again.",
        )
    if evidence.outcome in (Outcome.IN_PROGRESS, Outcome.INFORMATIVE):
        return Stands(Standing.UNFINISHED, f"{evidence.get_outcome_display()}.")
    if not evidence.authoritative:
        return Stands(Standing.NOT_AUTHORITATIVE, "Not said by whoever decides on this path: it moves nothing.")
    return Stands(Standing.VALID, f"Fresh until {evidence.fresh_until:%Y-%m-%d %H:%M} UTC.")


def fresh_until(
    kind: str, *, observed_at: datetime, asked: datetime | None = None, not_after: datetime | None = None
) -> datetime:
    """Until when evidence of this kind says something about now: never after its certificate has expired.

    :param asked: the source's own limit, as the nextUpdate of an OCSP answer; it only shortens.
    """
    limits = [observed_at + FRESH_FOR[kind], *(limit for limit in (asked, not_after) if limit is not None)]
    return max(observed_at, min(limits))
