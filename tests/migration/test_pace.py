"""How long a migration takes, as its plan says before anything is done."""

from datetime import UTC, date, datetime, time, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from inventory.models import PlannedAbsence, SitePolicy
from inventory.services import catalogue
from inventory.services.plans.expecting import Bound
from migration.models import Blackout, MigrationWindow
from migration.services import pace, windows
from migration.services.pace import AWAY, ON_THE_WAY, SiteLoad, WaveLoad
from migration.services.windows import Calendar
from tests.admin import given
from tests.migration.fleet import Fleet, capable_family, cohort, plan_of
from tests.support import OPERATOR, ControlPlane

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
QUOTA = 25.0


def wave(chargers: int, *, per_minute: int = 100_000, concurrency: int = 100_000, **limits: Any) -> WaveLoad:
    return WaveLoad(chargers=chargers, per_minute=per_minute, concurrency=concurrency, **limits)


def taken(*waves: WaveLoad, calendar: Calendar | None = None) -> timedelta:
    return found(*waves, calendar=calendar).taken


def found(*waves: WaveLoad, calendar: Calendar | None = None) -> Bound:
    return pace.duration(waves, issued_per_second=QUOTA, calendar=calendar or Calendar(), now=NOON)


def test_the_slowest_of_rate_quota_and_limits_counts() -> None:
    assert taken(wave(0)) == timedelta(0)
    assert taken(wave(90_000)) == HOUR
    assert taken(wave(60_000, per_minute=100)) == 10 * HOUR
    assert taken(wave(100, concurrency=10)) == 10 * ON_THE_WAY
    assert taken(wave(101, concurrency=10)) == 11 * ON_THE_WAY
    assert taken(wave(100, per_family=5, families=[60, 40])) == 12 * ON_THE_WAY
    assert taken(wave(90_000), wave(60_000, per_minute=100)) == 11 * HOUR


def test_the_plan_says_what_the_longest_wave_waits_for() -> None:
    assert found(wave(1)).name == "a charger itself"
    assert found(wave(90_000)).name == "the CA, which issues 25 a second"
    assert found(wave(90_000), wave(60_000, per_minute=100)).name == "their starts, 100 a minute"
    assert found(wave(100, concurrency=10)).name == "the 10 that move at once"
    assert found(wave(100, per_family=5, families=[100])).name == "the 5 of a family at once"
    assert found(wave(100, sites=[SiteLoad("Depot", 100, 2)])).name == "site Depot, of which 2 may be away at once"
    nights = Calendar({"Depot": [MigrationWindow(pk=1, site="Depot", opens=time(22), closes=time(2))]})
    assert found(wave(1, sites=[SiteLoad("Depot", 1, 1)]), calendar=nights).name == "the hours of work at site Depot"


def test_a_charger_is_reckoned_with_what_its_wave_takes() -> None:
    quick = wave(100, concurrency=10, on_the_way=timedelta(seconds=30), away=timedelta(seconds=5))
    assert taken(quick) == 10 * timedelta(seconds=30)
    at_site = wave(100, sites=[SiteLoad("Depot", 100, 2)], on_the_way=timedelta(seconds=30), away=timedelta(seconds=5))
    assert taken(at_site) == 50 * timedelta(seconds=5)


def test_a_site_lets_go_of_no_more_than_it_can_spare() -> None:
    depot, small = SiteLoad("Depot", 100, away_at_once=2), SiteLoad("Small", 3, away_at_once=1)
    assert taken(wave(103, sites=[depot, small])) == 50 * AWAY
    assert taken(wave(103, sites=[depot, small], per_site=1)) == 100 * ON_THE_WAY
    assert taken(wave(100, sites=[SiteLoad("", 100, away_at_once=None)])) == ON_THE_WAY


def test_work_goes_on_only_in_the_hours_of_a_site() -> None:
    nights = MigrationWindow(pk=1, site="Depot", opens=time(22), closes=time(2))
    calendar = Calendar({"Depot": [nights]})
    at_night = SiteLoad("Depot", 180, away_at_once=1)
    assert at_night.chargers * AWAY == 6 * HOUR

    # Ten hours until it opens, four of work, twenty closed, two of work.
    assert taken(wave(180, sites=[at_night]), calendar=calendar) == 36 * HOUR
    elsewhere = SiteLoad("Elsewhere", 1, away_at_once=1)
    assert taken(wave(181, sites=[at_night, elsewhere]), calendar=calendar) == 36 * HOUR
    assert taken(wave(1, sites=[elsewhere]), calendar=calendar) == ON_THE_WAY

    away = Calendar({}, {"": [Blackout(pk=1, first_day=date(2026, 7, 1), last_day=date(2026, 7, 3))]})
    assert taken(wave(1, sites=[elsewhere]), calendar=away) == 60 * HOUR + ON_THE_WAY


def test_the_rates_are_used_in_open_hours_where_every_site_has_some() -> None:
    nights = MigrationWindow(pk=1, site="", opens=time(22), closes=time(2))
    sites = [SiteLoad(f"S{number}", 1, away_at_once=1) for number in range(600)]

    # Ten hours at a minute each: three nights of four, four and two hours.
    needed = taken(wave(600, per_minute=1, sites=sites), calendar=Calendar({"": [nights]}))

    assert needed == 10 * HOUR + 48 * HOUR + 2 * HOUR


def test_what_never_opens_is_told_as_far_ahead() -> None:
    never = Calendar({}, {"": [Blackout(pk=1, first_day=date(2026, 1, 1), last_day=date(2030, 1, 1))]})
    assert taken(wave(1, sites=[SiteLoad("Depot", 1, 1)]), calendar=never) == windows.FAR_AHEAD


@pytest.mark.django_db
def test_the_preview_shows_what_the_caps_of_a_site_cost(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    fleet.add(6, family=capable_family(), site="Depot")
    fleet.confirm_anchors()
    everybody = cohort("All", [station.identity for station in fleet.stations])
    given.administrator("maria")

    assert plan_of(plane, everybody).expected_duration == 6 * AWAY
    policy = SitePolicy(site="Depot", away_percent=50)
    catalogue.save(entry=policy, actor=OPERATOR, reason="It may spare half")
    assert plan_of(plane, everybody).expected_duration == max(2 * AWAY, ON_THE_WAY)
    assert plan_of(plane, everybody, per_site=1).expected_duration == 6 * ON_THE_WAY

    said = StringIO()
    parameters = ["cohorts=All", "per_site=1"]
    call_command("plan", "migration", param=parameters, user="maria", reason="Look", stdout=said, stderr=StringIO())
    assert (
        "Expected to take 24 minutes. A charger is reckoned with 2 minutes until its certificate is installed: "
        "assumed, as fewer than three were seen lately. A charger is reckoned with 2 minutes from its cut-over until "
        "it is back: assumed, as fewer than three were seen lately. The longest wait is for site Depot, of which 1 "
        "move at once."
    ) in said.getvalue()


@pytest.mark.django_db
def test_the_preview_reckons_with_what_was_seen_of_chargers_that_moved(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    quick, slow = capable_family("Quick"), capable_family("Slow")
    moved = fleet.add(3, family=quick)
    fleet.add(3, family=slow)
    fleet.confirm_anchors()
    everybody = cohort("All", [station.identity for station in fleet.stations])
    assert "assumed" in plan_of(plane, everybody).expected_basis

    now = plane.clock()
    for station in moved:
        PlannedAbsence.objects.create(
            identity=station.identity,
            kind="migration:1",
            started_at=now - timedelta(minutes=9),
            until=now,
            ended_at=now - timedelta(minutes=9) + timedelta(seconds=10),
        )

    plan = plan_of(plane, everybody)
    assert plan.expected_duration == timedelta(minutes=2, seconds=10)
    assert (
        "A charger is reckoned with 10 seconds from its cut-over until it is back: the median of the last 3 chargers"
        in plan.expected_basis
    )
