"""Who is away has a place of its site until it is seen again, and one charger that is really there always stays."""

from datetime import timedelta

import pytest
from pytest_django.fixtures import DjangoAssertNumQueries

from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.models import OutboxCommand, StationSession
from inventory.audit import attributed
from inventory.choices import JobState
from inventory.models import CertificateJob, ChargerFamily, ManagedIdentity
from inventory.services import absences, caps, lifecycle, station_commands
from inventory.services.locking import lock_identity
from migration.models import Breaker, MigrationRollout
from migration.services import driving, rollouts
from migration.services.why import why
from tests.migration import rotating
from tests.migration.fleet import Fleet, Station, capable_family, cohort, roll_out
from tests.support import OPERATOR, ControlPlane

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


@pytest.fixture
def fleet(plane: ControlPlane) -> Fleet:
    return Fleet(plane)


def of_one_site(fleet: Fleet, number: int = 2) -> list[Station]:
    made = fleet.add(number, family=capable_family(), site="Depot", returns="")
    fleet.confirm_anchors()
    return made


def away(*stations: Station) -> list[Station]:
    open_sessions = set(StationSession.objects.filter(closed_at=None).values_list("station_id", flat=True))
    return [station for station in stations if station.identity.authoritative_identifier not in open_sessions]


def asks_for_a_place(identity: ManagedIdentity, plane: ControlPlane) -> bool:
    locked = lock_identity(identity.pk)
    return caps.take(locked, "renewal:4711", plane.clock() + HOUR, plane.clock())


def test_a_charger_that_has_not_returned_keeps_its_place_past_its_deadline(fleet: Fleet, plane: ControlPlane) -> None:
    first, second = of_one_site(fleet)
    roll_out(plane, cohort("One", [first.identity]))
    fleet.settle(6)
    assert away(first, second) == [first]
    deadline = first.case.deadline
    assert deadline is not None
    plane.clock.now = deadline + timedelta(seconds=1)

    assert not asks_for_a_place(second.identity, plane), "before its silence is handled"
    driving.drive(plane.clock())
    assert first.case.state == "rollback"
    assert not asks_for_a_place(second.identity, plane), "after it"

    first.connect(2)
    assert caps.away("Depot", plane.clock()) == 0
    assert asks_for_a_place(second.identity, plane)


def test_a_rollout_does_not_follow_a_charger_that_never_came_back_with_the_last_of_its_site(
    fleet: Fleet, plane: ControlPlane
) -> None:
    """Its place was given back with its quarantine, but it is known to be missing."""
    stations = of_one_site(fleet)
    roll_out(plane, cohort("All", [station.identity for station in stations]), retry_budget=0)
    fleet.settle(6)
    (gone,) = away(*stations)
    (last,) = [station for station in stations if station is not gone]
    for hours in (5, 25):
        plane.clock.advance(hours=hours)
        fleet.settle(4)

    assert (gone.case.state, gone.case.reason_code) == ("quarantine", "never_returned")
    assert caps.away("Depot", plane.clock()) == 0
    assert away(*stations) == [gone]
    assert last.case.reason_code == "site_full"
    assert "is the last of site Depot that is connected; missing are " in last.case.why
    assert gone.identity.authoritative_identifier in last.case.why

    plane.clock.advance(seconds=absences.LOST_AFTER.total_seconds())
    last.returns = "3"
    fleet.settle(6)
    assert last.case.state == "active", "nobody waits for ever for one that is lost"


def test_a_charger_that_an_operator_takes_in_hand_holds_no_place(fleet: Fleet, plane: ControlPlane) -> None:
    first, second, third = of_one_site(fleet, 3)
    roll_out(plane, cohort("One", [first.identity]))
    fleet.settle(6)
    assert not asks_for_a_place(second.identity, plane)

    rollouts.cancel(case=first.case, actor=OPERATOR, reason="seen to on site", now=plane.clock())

    assert asks_for_a_place(second.identity, plane), "the third one is there and stays"
    third.close()
    caps.give_back(second.identity, plane.clock())
    assert not asks_for_a_place(second.identity, plane)


def test_a_charger_that_a_breaker_stops_while_it_is_away_keeps_its_place(fleet: Fleet, plane: ControlPlane) -> None:
    """Automation has left it alone, and nobody has it in hand yet."""
    first, second, _ = of_one_site(fleet, 3)
    roll_out(plane, cohort("One", [first.identity]))
    fleet.settle(6)
    assert away(first) == [first]
    breaker = Breaker(
        kind="site",
        site="Depot",
        rollout=MigrationRollout.objects.get(),
        failures=3,
        opened_at=plane.clock(),
        why="Too many failed.",
    )
    with attributed(OPERATOR, "test"):
        breaker.save()

    driving.drive(plane.clock())
    assert first.case.state == "quarantine"
    assert not asks_for_a_place(second.identity, plane)

    rollouts.approve_exception(case=first.case, actor=OPERATOR, reason="a new one is ordered", now=plane.clock())
    assert asks_for_a_place(second.identity, plane)


def test_the_wait_names_who_is_away_and_for_what(fleet: Fleet, plane: ControlPlane) -> None:
    first, second = of_one_site(fleet)
    roll_out(plane, cohort("All", [first.identity, second.identity]))
    fleet.settle(6)
    (gone,) = away(first, second)
    waiting = first if gone is second else second

    reason = why(waiting.identity, plane.clock())
    assert reason is not None
    assert reason.sentence.startswith(
        f"{waiting.identity} waits for a free place: site Depot can spare no other while away are {gone.identity} (for "
        "its move between Profiles 2 and 3, since 20"
    )
    assert reason.sentence.endswith(" UTC, not connected).")


def test_a_charger_that_is_not_connected_holds_up_nobody(fleet: Fleet, plane: ControlPlane) -> None:
    """It is told the beginning of its cut-over, and takes a place only when it could leave."""
    first, second, _ = of_one_site(fleet, 3)
    roll_out(plane, cohort("One", [first.identity]))
    while first.case.stage != "ready":
        fleet.turn()
    first.silent = True
    first.close()
    fleet.turn()

    assert first.case.state == "pending_activation"
    assert caps.away("Depot", plane.clock()) == 0
    assert asks_for_a_place(second.identity, plane)

    first.silent, first.returns = False, "3"
    first.connect(2)
    fleet.settle(2)
    job = CertificateJob.objects.get(action="cut_over")
    assert job.waiting_for.startswith(f"its turn: site Depot can spare no other while away are {second.identity} (for ")
    assert len(job.waiting_for) <= 200
    assert not OutboxCommand.objects.filter(action=Action.RESET).exists()

    caps.give_back(second.identity, plane.clock())
    fleet.settle(4)
    assert first.case.state == "active"


# -- the cut-over of one charger ---------------------------------------------------------------------------------------


def with_certificate(station: Station) -> Station:
    lifecycle.issue(
        identity=station.identity,
        purpose="charger_identity",
        actor=OPERATOR,
        reason="test",
        now=station.plane.clock(),
    )
    station.plane.work()
    station.serve()
    return station


def cut_over(station: Station) -> CertificateJob:
    return station_commands.cut_over(
        identity=station.identity, actor=OPERATOR, reason="test", override_forecast=True, now=station.plane.clock()
    )


def test_single_cut_overs_of_a_site_follow_one_another(fleet: Fleet, plane: ControlPlane) -> None:
    stations = [with_certificate(station) for station in of_one_site(fleet)]
    jobs = [cut_over(station) for station in stations]
    plane.work()
    for _ in range(3):
        for station in stations:
            station.serve()
        plane.clock.advance(minutes=1)
        plane.work()
    (gone,) = away(*stations)
    (other,) = [station for station in stations if station is not gone]

    waiting = CertificateJob.objects.get(identity=other.identity, action="cut_over")
    assert waiting.step == "send_security_profile"
    assert f"{gone.identity} (for its cut-over to Profile 3, since " in waiting.waiting_for

    other.returns = "3"
    gone.connect(3)
    plane.clock.advance(minutes=1)
    plane.work()
    other.serve()
    states = CertificateJob.objects.filter(pk__in=[job.pk for job in jobs]).values_list("state", flat=True)
    assert set(states) == {JobState.SUCCEEDED}
    assert caps.away("Depot", plane.clock()) == 0


def test_a_single_cut_over_that_finds_no_place_ends_with_who_was_away(fleet: Fleet, plane: ControlPlane) -> None:
    first, second = of_one_site(fleet)
    with_certificate(first)
    until = plane.clock() + timedelta(days=9)
    assert caps.take(lock_identity(second.identity.pk), "key:1", until, plane.clock())
    job = cut_over(first)
    plane.work()
    first.serve()
    for _ in range(4):
        plane.clock.advance(days=1)
        plane.work()

    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert f"was not sent to Profile 3: site Depot can spare no other while away are {second.identity}" in job.outcome
    assert away(first, second) == []


def test_a_cut_over_that_failed_keeps_the_place_of_a_charger_that_is_away(fleet: Fleet, plane: ControlPlane) -> None:
    first, second = of_one_site(fleet)
    with_certificate(first)
    job = cut_over(first)
    plane.work()
    first.serve()
    assert away(first, second) == [first]
    plane.clock.advance(hours=5)
    plane.work()
    job.refresh_from_db()
    assert job.state == JobState.FAILED

    assert not asks_for_a_place(second.identity, plane)
    first.connect(2)
    assert asks_for_a_place(second.identity, plane)


# -- keys --------------------------------------------------------------------------------------------------------------


def approved_family(plane: ControlPlane) -> ChargerFamily:
    return rotating.family(
        reconnects_by_itself=True,
        key_path="two_slots_at_our_door",
        key_path_approved_at=plane.clock(),
        key_path_approved_by="test",
    )


def test_of_a_site_that_was_offline_one_after_the_other_takes_its_new_key(plane: ControlPlane) -> None:
    family = approved_family(plane)
    made = [rotating.station(plane, f"CS-{number}", family) for number in range(4)]
    ManagedIdentity.objects.update(site="Depot")
    for station in made:
        station.identity.refresh_from_db()
        station.disconnect()
        rotating.rotate(station)
    assert caps.away("Depot", plane.clock()) == 0

    rotating.go_on(plane, hours=1)
    for station in made:
        assert station.connect()
        plane.work()
    for turn in range(1, 5):
        rotating.go_on(plane, minutes=1, seconds=30)
        asked = [(station, command) for station in made if (command := station.next_command()) is not None]
        assert len(asked) == 1, f"turn {turn}"
        (station, command), *_ = asked
        assert command.action == Action.SET_AUTHORIZATION_KEY
        station.take(command)
        station.answer(command)
        station.disconnect()
        plane.clock.advance(hours=2)
        rotating.go_on(plane)
        assert not any(other.next_command() for other in made if other is not station), "it is still away"
        assert station.connect()
        plane.work()
    assert all(rotating.states(station) == ["retiring", "active"] for station in made)


def test_a_key_that_waits_says_for_whom(plane: ControlPlane) -> None:
    family = approved_family(plane)
    first, second = (rotating.station(plane, f"CS-{number}", family) for number in (1, 2))
    ManagedIdentity.objects.update(site="Depot")
    for station in (first, second):
        station.identity.refresh_from_db()
    rotating.rotate(first)
    key = rotating.rotate(second)

    detail = rotating.the_rotation(key).detail
    assert detail.startswith(
        "The charger waits for a free place: site Depot can spare no other while away are CS-1 (for its new "
    )


# -- places by themselves ----------------------------------------------------------------------------------------------


def test_sites_without_a_lost_neighbour_and_with_one(fleet: Fleet, plane: ControlPlane) -> None:
    first, second = of_one_site(fleet)
    assert asks_for_a_place(second.identity, plane)
    second.close()
    assert not asks_for_a_place(first.identity, plane)
    plane.clock.advance(seconds=absences.LOST_AFTER.total_seconds() - 1)
    assert not asks_for_a_place(first.identity, plane), "its place outlasts its time while it is away"

    plane.clock.advance(seconds=2)
    assert asks_for_a_place(first.identity, plane)
    assert caps.away("Depot", plane.clock()) == 1


def test_one_that_was_seen_since_is_away_on_its_own(fleet: Fleet, plane: ControlPlane) -> None:
    first, second, _ = of_one_site(fleet, 3)
    assert asks_for_a_place(second.identity, plane)
    second.close()
    plane.clock.advance(hours=2)
    second.connect(2)
    assert asks_for_a_place(first.identity, plane), "it is seen again, and its time is over"
    caps.give_back(first.identity, plane.clock())
    second.close()
    assert caps.away("Depot", plane.clock()) == 0


@pytest.mark.parametrize("number", [1, 3, 4, 6])
def test_up_to_three_are_named_and_then_a_number(fleet: Fleet, plane: ControlPlane, number: int) -> None:
    *others, last = of_one_site(fleet, 60)
    for station in others[:number]:
        until = plane.clock() + HOUR
        assert caps.take(lock_identity(station.identity.pk), "anchors:1", until, plane.clock())
        plane.clock.advance(seconds=1)

    sentence = absences.why_not(last.identity, "renewal:1", plane.clock())
    assert sentence.count("for the trial of its trust anchors") == min(number, 3)
    assert sentence.endswith(f" and {number - 3} more" if number > 3 else ")")
    assert len(absences.why_not(last.identity, "renewal:1", plane.clock(), longest=120)) <= 120


def test_a_place_costs_one_look_at_the_site(
    fleet: Fleet, plane: ControlPlane, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    first, _ = of_one_site(fleet)
    identity = lock_identity(first.identity.pk)
    with django_assert_num_queries(3):  # the lock, the look, the row
        assert caps.take(identity, "renewal:1", plane.clock() + HOUR, plane.clock())
