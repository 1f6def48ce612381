"""How a rollout stands now, wave by wave, in a number of queries that does not grow with its chargers or its waves."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Exists, OuterRef, Q

from migration.models import Breaker, MigrationCase, MigrationRollout, Wave
from migration.services import gates, tallies, waves
from migration.services.gates import Counts
from migration.states import WHAT_NEXT, BreakerKind, CaseState, ReasonCode, Verdict, WaveState

S = CaseState
GONE = (S.ACTIVE, S.CANCELLED, S.EXCEPTED)
"""Of whom nobody asks any more why they are not there yet."""


@dataclass(frozen=True, slots=True)
class WaveProgress:
    """One wave as it stands now."""

    wave: Wave
    states: Mapping[str, int]
    """How many of its chargers are in each state."""
    counts: Counts
    """The same as its gate counts them."""
    verdict: Verdict | None
    """What its gate says; None where it has not started, or was ended by a person."""
    said: str
    """The verdict in a sentence; where it has decided, with the figures as they were then."""

    @property
    def needed(self) -> int:
        """How many have to be active before it passes."""
        return gates.needed(self.counts.total, self.wave.success_percent)

    @property
    def active(self) -> int:
        return self.states.get(S.ACTIVE, 0)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why so many of a rollout are not active, and what somebody can do."""

    code: ReasonCode
    count: int
    what_next: str


def of_waves(found: Sequence[Wave], now: datetime) -> list[WaveProgress]:
    """How these waves stand; they come with their rollout."""
    states: dict[int, Counter[str]] = {wave.pk: Counter() for wave in found}
    for wave_id, tally in tallies.of_waves(found).items():
        for standing, number in tally.items():
            states[wave_id][standing.state] += number
    counted = waves.counts(found)
    return [_progress(wave, states[wave.pk], counted[wave.pk], now) for wave in found]


def _progress(wave: Wave, states: Mapping[str, int], counts: Counts, now: datetime) -> WaveProgress:
    thresholds = waves.thresholds_of(wave)
    past_deadline = wave.deadline is None or wave.deadline <= now
    verdict: Verdict | None = None
    said = wave.verdict
    match wave.state:
        case WaveState.RUNNING:
            verdict = gates.verdict(counts, thresholds, past_deadline=past_deadline)
            said = gates.explain(verdict, counts, thresholds, past_deadline=past_deadline)
        case WaveState.PASSED:
            now_found = gates.verdict(counts, thresholds, past_deadline=past_deadline)
            verdict = Verdict.FAIL if now_found == Verdict.FAIL else Verdict.PASS
        case WaveState.FAILED:
            verdict = Verdict.FAIL
        case WaveState.PAUSED:
            verdict = Verdict.INCONCLUSIVE
        case WaveState.STOPPED if wave.decided_at is None:
            said = f"Wave {wave.position} was stopped before its gate had decided."
    return WaveProgress(wave, states, counts, verdict, said)


def waiting(cases: Q) -> list[Waiting]:
    """Why chargers are not active, the most frequent reason first, as each was last looked at.

    :param cases: whose.
    """
    left = MigrationCase.objects.filter(cases).exclude(state__in=GONE).exclude(reason_code=ReasonCode.NONE)
    grouped = left.order_by().values_list("reason_code").annotate(number=Count("pk")).order_by("-number", "reason_code")
    return [Waiting(ReasonCode(code), number, WHAT_NEXT.get(code, "")) for code, number in grouped]


def breakers_of(rollout: MigrationRollout) -> list[Breaker]:
    """Who was stopped by this rollout, and who of this rollout was stopped by another one; the open ones first."""
    concerned = MigrationCase.objects.filter(wave__rollout=rollout)
    here = Q(rollout=rollout) | Q(closed_at__isnull=True) & (
        Q(kind=BreakerKind.FAMILY) & Exists(concerned.filter(family_id=OuterRef("family_id")))
        | Q(kind=BreakerKind.SITE) & Exists(concerned.filter(site=OuterRef("site")))
    )
    found = Breaker.objects.filter(here).select_related("family", "rollout").order_by("-pk")
    return sorted(found, key=lambda breaker: breaker.closed_at is not None)
