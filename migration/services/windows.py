"""When chargers of a site may be moved: windows and blackouts, in the site's own time zone."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

from django.db.models import Q

from inventory.actors import Actor
from inventory.services.command import command
from migration.models import Blackout, MigrationWindow

Entry = TypeVar("Entry", bound=Blackout | MigrationWindow)

LOOK_AHEAD_DAYS = 15
"""How far the next opening is looked for; whatever opens later is looked for again by then."""


GRAIN = timedelta(minutes=5)
"""How exactly the end of work is told that goes on only in open hours."""
FAR_AHEAD = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Closed:
    """Why nothing is moved at a site now, and when to look again."""

    why: str
    look_again_at: datetime


@dataclass(frozen=True, slots=True)
class Calendar:
    """The windows and blackouts of some sites, read once."""

    windows: dict[str, list[MigrationWindow]] = field(default_factory=dict)
    blackouts: dict[str, list[Blackout]] = field(default_factory=dict)

    def closed(self, site: str, now: datetime) -> Closed | None:
        """Why the site is closed now; None while it is open.

        A window that spans midnight belongs to the day on which it opens. Local times that a change of the clocks
        leaves out or repeats are read as Python does: the first time they occur.
        """
        windows, blackouts = self._windows_of(site), self._blackouts_of(site)
        out = _blacked_out(blackouts, now)
        if out is None and (not windows or any(_is_open(window, now) for window in windows)):
            return None
        opens = self._next_opening(windows, blackouts, now)
        place = f"site {site}" if site else "chargers without a site"
        if out is not None:
            why = f"Nothing is moved at {place} until the end of {out.last_day}" + (
                f" ({out.note})" if out.note else ""
            )
        else:
            why = f"Nothing is moved at {place} outside of the hours for work there"
        when = (
            f"; work there may begin on {opens:%Y-%m-%d at %H:%M} UTC."
            if opens is not None
            else "; no window opens soon."
        )
        return Closed(why + when, opens or now + timedelta(days=1))

    def restrict(self, site: str) -> bool:
        """Whether any hours or days are closed at a site."""
        return bool(self._windows_of(site) or self._blackouts_of(site))

    def finished(self, site: str, begun: datetime, work: timedelta) -> datetime:
        """When work that goes on at a site only while it is open would be done, to `GRAIN`; at most `FAR_AHEAD` on."""
        moment, latest = begun, begun + FAR_AHEAD
        while work > timedelta(0) and moment < latest:
            shut = self.closed(site, moment)
            if shut is not None:
                moment = shut.look_again_at
                continue
            step = min(work, GRAIN)
            moment, work = moment + step, work - step
        return min(moment, latest)

    def _windows_of(self, site: str) -> list[MigrationWindow]:
        return self.windows.get(site) or self.windows.get("", [])

    def _blackouts_of(self, site: str) -> list[Blackout]:
        return self.blackouts.get(site, []) + (self.blackouts.get("", []) if site else [])

    def same_as(self, site: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Equal for sites with the same hours and days."""
        return (
            tuple(item.pk for item in self._windows_of(site)),
            tuple(item.pk for item in self._blackouts_of(site)),
        )

    def _next_opening(
        self, windows: list[MigrationWindow], blackouts: list[Blackout], now: datetime
    ) -> datetime | None:
        candidates = [_end(blackout) for blackout in blackouts]
        candidates += [
            opening
            for window in windows
            for offset in range(-1, LOOK_AHEAD_DAYS)
            if (opening := _opening(window, now.astimezone(ZoneInfo(window.time_zone)).date() + timedelta(days=offset)))
        ]
        for moment in sorted(candidate for candidate in candidates if candidate > now):
            if _blacked_out(blackouts, moment) is None and (
                not windows or any(_is_open(window, moment) for window in windows)
            ):
                return moment
        return None


def calendar_of(sites: Sequence[str], now: datetime) -> Calendar:
    """What concerns these sites; two queries, however many they are."""
    concerned = Q(site__in={*sites, ""})
    windows: dict[str, list[MigrationWindow]] = defaultdict(list)
    for window in MigrationWindow.objects.filter(concerned, enabled=True):
        windows[window.site].append(window)
    blackouts: dict[str, list[Blackout]] = defaultdict(list)
    for blackout in Blackout.objects.filter(concerned, enabled=True, last_day__gte=(now - timedelta(days=2)).date()):
        blackouts[blackout.site].append(blackout)
    return Calendar(dict(windows), dict(blackouts))


def save(*, entry: Entry, actor: Actor, reason: str) -> Entry:
    """Store a new or changed window or blackout.

    :raises NotPermittedError: without `add_…` or `change_…` of its model.
    :raises django.core.exceptions.ValidationError: when a value cannot be.
    """
    verb = "add" if entry._state.adding else "change"
    with command(actor, f"migration.{verb}_{entry._meta.model_name}", reason):
        entry.full_clean()
        entry.save()
    return entry


def _opening(window: MigrationWindow, day: date) -> datetime | None:
    if day.isoweekday() not in window.weekdays:
        return None
    return datetime.combine(day, window.opens, ZoneInfo(window.time_zone)).astimezone(UTC)


def _is_open(window: MigrationWindow, now: datetime) -> bool:
    zone = ZoneInfo(window.time_zone)
    today = now.astimezone(zone).date()
    for day in (today - timedelta(days=1), today):
        opens = _opening(window, day)
        if opens is None:
            continue
        last = day if window.closes > window.opens else day + timedelta(days=1)
        if opens <= now < datetime.combine(last, window.closes, zone).astimezone(UTC):
            return True
    return False


def _blacked_out(blackouts: list[Blackout], now: datetime) -> Blackout | None:
    for blackout in blackouts:
        day = now.astimezone(ZoneInfo(blackout.time_zone)).date()
        if blackout.first_day <= day <= blackout.last_day:
            return blackout
    return None


def _end(blackout: Blackout) -> datetime:
    following = blackout.last_day + timedelta(days=1)
    return datetime.combine(following, datetime.min.time(), ZoneInfo(blackout.time_zone)).astimezone(UTC)
