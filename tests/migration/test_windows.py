"""When chargers of a site may be moved, in the time of the site."""

from datetime import UTC, date, datetime, time
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from inventory.actors import Actor
from inventory.errors import NotPermittedError
from migration.models import Blackout, MigrationWindow
from migration.services import windows
from tests.admin import given
from tests.support import OPERATOR

pytestmark = pytest.mark.django_db


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


def window(**fields: Any) -> MigrationWindow:
    values = {"opens": time(22), "closes": time(4), "time_zone": "Europe/Berlin", **fields}
    return windows.save(entry=MigrationWindow(**values), actor=OPERATOR, reason="test")


def blackout(first: date, last: date, **fields: Any) -> Blackout:
    return windows.save(entry=Blackout(first_day=first, last_day=last, **fields), actor=OPERATOR, reason="test")


def closed(site: str, now: datetime) -> windows.Closed | None:
    return windows.calendar_of([site], now).closed(site, now)


def test_without_windows_every_hour_will_do() -> None:
    assert closed("Depot", at(2026, 7, 1, 12)) is None


def test_a_window_spans_midnight_in_the_time_of_its_site() -> None:
    window(site="Depot")
    # Summer time in Berlin is two hours ahead of UTC.
    assert closed("Depot", at(2026, 7, 1, 19, 59)) is not None
    assert closed("Depot", at(2026, 7, 1, 20)) is None
    assert closed("Depot", at(2026, 7, 2, 1, 59)) is None
    shut = closed("Depot", at(2026, 7, 2, 2))
    assert shut is not None
    assert shut.look_again_at == at(2026, 7, 2, 20)
    assert "may begin on 2026-07-02 at 20:00 UTC" in shut.why


def test_it_follows_the_clocks_when_they_change() -> None:
    window(site="Depot")
    shut = closed("Depot", at(2026, 10, 25, 12))
    assert shut is not None
    assert shut.look_again_at == at(2026, 10, 25, 21)


def test_a_site_with_windows_of_its_own_does_not_follow_those_of_all() -> None:
    window(site="")
    window(site="Depot", opens=time(8), closes=time(9), time_zone="UTC")
    assert closed("Depot", at(2026, 7, 1, 8, 30)) is None
    assert closed("Depot", at(2026, 7, 1, 21)) is not None
    assert closed("Elsewhere", at(2026, 7, 1, 21)) is None


def test_only_the_days_that_are_named_open() -> None:
    window(site="Depot", weekdays=[6, 7], opens=time(0), closes=time(23), time_zone="UTC")
    shut = closed("Depot", at(2026, 7, 1, 12))  # a Wednesday
    assert shut is not None
    assert shut.look_again_at == at(2026, 7, 4)
    assert closed("Depot", at(2026, 7, 4, 12)) is None


def test_a_blackout_beats_every_window() -> None:
    blackout(date(2026, 12, 24), date(2026, 12, 26), note="Christmas", time_zone="Europe/Berlin")
    shut = closed("Depot", at(2026, 12, 25, 12))
    assert shut is not None
    assert "Christmas" in shut.why
    assert shut.look_again_at == at(2026, 12, 26, 23)
    assert closed("Depot", at(2026, 12, 26, 23)) is None


def test_what_is_switched_off_says_nothing() -> None:
    window(site="Depot", enabled=False)
    blackout(date(2026, 7, 1), date(2026, 7, 1), enabled=False)
    assert closed("Depot", at(2026, 7, 1, 12)) is None


def test_a_time_zone_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValidationError, match="no time zone"):
        window(time_zone="Europe/Atlantis")


def test_days_that_end_before_they_begin_are_refused() -> None:
    with pytest.raises((ValidationError, IntegrityError)), transaction.atomic():
        blackout(date(2026, 7, 2), date(2026, 7, 1))


def test_who_may_not_add_windows_does_not() -> None:
    somebody = Actor.person(given.person("somebody"))
    with pytest.raises(NotPermittedError):
        windows.save(entry=MigrationWindow(opens=time(1), closes=time(2)), actor=somebody, reason="test")
