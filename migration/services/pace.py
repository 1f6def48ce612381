"""How long a migration takes: by the rates and limits of its waves, the CA's quota, what sites may spare, their hours.

What can be known is counted; how long one charger takes is assumed, the same for all. Waves run one after the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from migration.services.windows import Calendar

ON_THE_WAY: Final = timedelta(minutes=10)
"""One charger from its start to its return on Profile 3: request, certificate, installation and cut-over."""
AWAY: Final = timedelta(minutes=5)
"""Of that, how long it is away from its site: told, restarted, back."""


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


def duration(waves: Sequence[WaveLoad], *, issued_per_second: float, calendar: Calendar, now: datetime) -> timedelta:
    """From now until the last charger is back, if none of them fails."""
    at = now
    for wave in waves:
        if wave.chargers:
            at = _end_of(wave, issued_per_second, calendar, at)
    return at - now


def _end_of(wave: WaveLoad, issued_per_second: float, calendar: Calendar, begun: datetime) -> datetime:
    work = of_all(wave, issued_per_second)
    largest = max(wave.sites, key=lambda site: site.chargers, default=None)
    ends = [begun + work]
    if largest is not None and all(calendar.restrict(site.site) for site in wave.sites):
        # Nobody can be moved outside of any hours, so the rates are used in them only.
        ends.append(calendar.finished(largest.site, begun, work))
    longest: dict[object, tuple[timedelta, str]] = {}
    for site in wave.sites:
        needed = at_site(site, wave.per_site)
        alike = calendar.same_as(site.site)
        if alike not in longest or longest[alike][0] < needed:
            longest[alike] = (needed, site.site)
    ends += [calendar.finished(site, begun, needed) for needed, site in longest.values()]
    return max(ends)


def of_all(wave: WaveLoad, issued_per_second: float) -> timedelta:
    """By what holds for all chargers of a wave: its rate, the CA's quota, its limits at once and by family."""
    rate = min(wave.per_minute / 60, issued_per_second)
    by_family = max(wave.families, default=0) if wave.per_family is not None else 0
    return max(
        timedelta(seconds=wave.chargers / rate),
        _turns(wave.chargers, wave.concurrency) * ON_THE_WAY,
        _turns(by_family, wave.per_family or 1) * ON_THE_WAY,
    )


def at_site(site: SiteLoad, per_site: int | None) -> timedelta:
    """By what one site can spare at once, and the wave's limit by site."""
    by_cap = _turns(site.chargers, site.away_at_once) * AWAY if site.away_at_once is not None else AWAY
    by_limit = _turns(site.chargers, per_site) * ON_THE_WAY if per_site is not None else ON_THE_WAY
    return max(by_cap, by_limit)


def _turns(chargers: int, at_once: int) -> int:
    return -(-chargers // max(1, at_once))
