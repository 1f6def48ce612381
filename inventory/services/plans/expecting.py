"""How long the work of a plan is expected to take, and what that rests on: what was seen of others, or assumed."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Final

from django.db.models import Count

from bfcerts.console.presentation import exact_span
from inventory.models import LifecyclePolicy, Plan, PlannedAbsence, PlanTarget
from inventory.services import caps
from inventory.words import counted

LOOKED_AT: Final = 500
"""Of what ended last, how much is looked at: a bound that does not grow with the fleet."""
LATELY: Final = timedelta(days=30)
LEAST: Final = 3
"""So many must have been seen before their median says something."""
MOST_SITES: Final = 5_000
"""Those with the most chargers; a site with few is never what many wait for."""
OWN_TIME: Final = "a charger itself"
"""What is waited for where no limit makes anybody wait."""
Seen = tuple[str, timedelta]
"""The name of a family, and how long one of its chargers took."""


@dataclass(frozen=True, slots=True)
class Expected:
    """How long something takes, and why we think so."""

    duration: timedelta
    basis: str
    """In sentences, for people."""


@dataclass(frozen=True, slots=True)
class Observed:
    """How long one charger takes: by what was seen of its family, else of all families, else as assumed."""

    assumed: timedelta
    number: int
    """How many were seen."""
    everybody: timedelta | None
    by_family: Mapping[str, timedelta]

    def typical(self, families: Iterable[tuple[str, int]]) -> timedelta:
        """One charger of a mixture of families.

        :param families: each with how many chargers.
        """
        total, chargers = timedelta(0), 0
        for family, number in families:
            total += number * self.by_family.get(family, self.everybody or self.assumed)
            chargers += number
        return _whole_seconds(total / chargers) if chargers else self.everybody or self.assumed

    @property
    def rests_on(self) -> str:
        """What it rests on, in words that follow a colon."""
        if self.everybody is None:
            return "assumed, as fewer than three were seen lately"
        return f"the median of the last {counted(self.number, 'charger')}, of its own family where there were enough"


def observed(seen: Iterable[Seen], assumed: timedelta) -> Observed:
    """The medians of what was seen, for all and by family."""
    by_family: dict[str, list[timedelta]] = defaultdict(list)
    for family, taken in seen:
        by_family[family].append(taken)
    everything = [taken for several in by_family.values() for taken in several]
    return Observed(
        assumed=assumed,
        number=len(everything),
        everybody=_median(everything),
        by_family={family: found for family, several in by_family.items() if (found := _median(several)) is not None},
    )


def absences(kind: str, assumed: timedelta, now: datetime) -> Observed:
    """How long chargers were away lately for one kind of work, from the moment they could leave until they were back.

    :param kind: what stands before the colon of the places that this work takes, as `renewal`.
    """
    ended = PlannedAbsence.objects.filter(ended_at__gt=now - LATELY, kind__startswith=f"{kind}:").order_by("-pk")
    rows = ended.values_list("identity__family__name", "started_at", "ended_at")[:LOOKED_AT]
    return observed(
        ((family or "", ended_at - started_at) for family, started_at, ended_at in rows if ended_at), assumed
    )


def at_most_by_policy(purpose: str, assumed: timedelta) -> timedelta:
    """An assumption, but no longer than the general policy of a purpose gives a charger to come back."""
    general = LifecyclePolicy.objects.filter(
        purpose=purpose, enabled=True, mode="", program="", family__isnull=True, cohort__isnull=True
    ).first()
    return min(assumed, general.cut_over_deadline) if general is not None else assumed


@dataclass(frozen=True, slots=True)
class Bound:
    """One thing that work cannot be quicker than, and what it is called."""

    taken: timedelta
    name: str


def slowest(bounds: Iterable[Bound]) -> Bound:
    """What the work waits for longest; nothing where there is none."""
    return max(bounds, key=lambda bound: bound.taken, default=Bound(timedelta(0), OWN_TIME))


def in_turns(chargers: int, at_once: int | None, one: timedelta, name: str) -> Bound:
    """So many at once, one turn after the other; `at_once` is None where nothing limits it."""
    turns = min(1, chargers) if at_once is None else -(-chargers // max(1, at_once))
    return Bound(turns * one, name if turns > 1 else OWN_TIME)


def at_rate(number: int, per_second: float, name: str) -> Bound:
    """One after the other at a rate."""
    return Bound(timedelta(seconds=number / per_second), name)


def of_sites(plan: Plan, one: timedelta, own_limit: int | None = None) -> Bound:
    """By what each site can spare at once; the slowest of them.

    :param one: how long one charger is away.
    :param own_limit: how many of a site the work itself takes at once.
    """
    included = PlanTarget.objects.filter(plan=plan, included=True).order_by().values_list("site")
    sites = list(included.annotate(number=Count("pk")).order_by("-number", "site")[:MOST_SITES])
    most_away = caps.most_away_of([site for site, _ in sites])
    return slowest(_of_site(site, number, most_away[site], own_limit, one) for site, number in sites)


def _of_site(site: str, number: int, most_away: int | None, own_limit: int | None, one: timedelta) -> Bound:
    # Chargers that name no site are not together because of that.
    limits = [limit for limit in (most_away, own_limit if site else None) if limit is not None]
    at_once = min(limits) if limits else None
    return in_turns(number, at_once, one, f"{site_words(site)}, of which {at_once} may be away at once")


def site_words(site: str) -> str:
    """A site in a sentence."""
    return f"site {site}" if site else "the chargers without a site"


def families_of(plan: Plan) -> list[tuple[str, int]]:
    """The families that a plan includes, each with how many chargers."""
    included = PlanTarget.objects.filter(plan=plan, included=True).order_by().values_list("family_name")
    return list(included.annotate(number=Count("pk")))


def expected(bounds: Iterable[Bound], one: str) -> Expected:
    """What all of it takes together: as long as its slowest bound.

    :param one: what is reckoned for one charger and on what that rests, in a sentence.
    """
    found = slowest(bounds)
    return Expected(_whole_seconds(found.taken), f"{one} The longest wait is for {found.name}.".strip())


def for_one(taken: timedelta, seen: Observed, doing: str) -> str:
    """What is reckoned for one charger, in a sentence."""
    return f"A charger is reckoned with {exact_span(taken)} {doing}: {seen.rests_on}."


def _median(several: list[timedelta]) -> timedelta | None:
    if len(several) < LEAST:
        return None
    return timedelta(seconds=round(median(taken.total_seconds() for taken in several)))


def _whole_seconds(value: timedelta) -> timedelta:
    return timedelta(seconds=round(value.total_seconds()))
