"""How long a migration takes: by the rates and limits of its waves, the CA's quota, what sites may spare, their hours.

What can be known is counted; how long one charger takes is what was seen of others, or assumed. Waves run one after the
other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from inventory.services.plans.expecting import OWN_TIME, Bound, at_rate, in_turns, site_words, slowest
from migration.services.windows import Calendar

ON_THE_WAY: Final = timedelta(minutes=4)
"""What is assumed of one charger from its start to its return on Profile 3: request, certificate, installation and
cut-over."""
AWAY: Final = timedelta(minutes=2)
"""Of that, how long it is assumed to be away from its site: told, restarted, back."""


@dataclass(frozen=True, slots=True)
class SiteLoad:
    """The chargers of one site in one wave."""

    site: str
    chargers: int
    away_at_once: int | None
    """How many of the site may be away at once; None where nothing caps it."""


@dataclass(frozen=True, slots=True)
class WaveLoad:
    """What one wave has to do, and its limits."""

    chargers: int
    per_minute: int
    concurrency: int
    per_family: int | None = None
    per_site: int | None = None
    families: Sequence[int] = ()
    """How many chargers of each family."""
    sites: Sequence[SiteLoad] = ()
    on_the_way: timedelta = ON_THE_WAY
    away: timedelta = AWAY
    """How long one charger takes, and how much of that it is away."""


def duration(waves: Sequence[WaveLoad], *, issued_per_second: float, calendar: Calendar, now: datetime) -> Bound:
    """From now until the last charger is back, if none of them fails; and what the longest wave waits for."""
    at, longest = now, Bound(timedelta(0), OWN_TIME)
    for wave in waves:
        if wave.chargers:
            found = _taken_by(wave, issued_per_second, calendar, at)
            at += found.taken
            longest = slowest((longest, found))
    return Bound(at - now, longest.name)


def _taken_by(wave: WaveLoad, issued_per_second: float, calendar: Calendar, begun: datetime) -> Bound:
    work = of_all(wave, issued_per_second)
    largest = max(wave.sites, key=lambda site: site.chargers, default=None)
    found = [work]
    if largest is not None and all(calendar.restrict(site.site) for site in wave.sites):
        # Nobody can be moved outside of any hours, so the rates are used in them only.
        until = calendar.finished(largest.site, begun, work.taken)
        found.append(Bound(until - begun, f"the hours of work at {site_words(largest.site)}"))
    longest: dict[object, tuple[Bound, str]] = {}
    for site in wave.sites:
        needed = at_site(site, wave)
        alike = calendar.same_as(site.site)
        if alike not in longest or longest[alike][0].taken < needed.taken:
            longest[alike] = (needed, site.site)
    for needed, site_name in longest.values():
        taken = calendar.finished(site_name, begun, needed.taken) - begun
        hours = f"the hours of work at {site_words(site_name)}"
        found.append(Bound(taken, hours if taken > needed.taken else needed.name))
    return slowest(found)


def of_all(wave: WaveLoad, issued_per_second: float) -> Bound:
    """By what holds for all chargers of a wave: its rate, the CA's quota, its limits at once and by family."""
    by_family = max(wave.families, default=0) if wave.per_family is not None else 0
    return slowest(
        (
            at_rate(wave.chargers, wave.per_minute / 60, f"their starts, {wave.per_minute:,} a minute"),
            at_rate(wave.chargers, issued_per_second, f"the CA, which issues {issued_per_second:g} a second"),
            in_turns(wave.chargers, wave.concurrency, wave.on_the_way, f"the {wave.concurrency:,} that move at once"),
            in_turns(by_family, wave.per_family, wave.on_the_way, f"the {wave.per_family} of a family at once"),
        )
    )


def at_site(site: SiteLoad, wave: WaveLoad) -> Bound:
    """By what one site can spare at once, and the wave's limit by site."""
    where = site_words(site.site)
    return slowest(
        (
            in_turns(site.chargers, wave.per_site, wave.on_the_way, f"{where}, of which {wave.per_site} move at once"),
            in_turns(
                site.chargers,
                site.away_at_once,
                wave.away,
                f"{where}, of which {site.away_at_once} may be away at once",
            ),
        )
    )
