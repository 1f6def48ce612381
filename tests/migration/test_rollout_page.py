"""The live pages of a rollout and of a wave: what they show, which figures agree, and what they cost."""

from html import unescape
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from inventory.audit import attributed
from migration.models import Breaker, MigrationCase, MigrationRollout, Wave
from migration.services import rollouts
from tests.admin import given
from tests.migration import given as moving
from tests.migration.fleet import Fleet, capable_family, cohort, plan_of, roll_out
from tests.support import OPERATOR, ControlPlane, charger

pytestmark = pytest.mark.django_db


@pytest.fixture
def fleet(plane: ControlPlane) -> Fleet:
    return Fleet(plane)


def page_of(target: Model) -> str:
    return reverse(f"admin:migration_{target._meta.model_name}_change", args=[target.pk])


def shown(client: Client, target: Model) -> str:
    response = client.get(page_of(target))
    assert response.status_code == 200
    return " ".join(unescape(response.content.decode()).split())


def cost(client: Client, target: Model) -> int:
    with CaptureQueriesContext(connection) as queries:
        shown(client, target)
    return len(queries)


def two_waves(plane: ControlPlane, fleet: Fleet, late: int = 0) -> MigrationRollout:
    """Four chargers of which one wave has brought three there, one late, and a second wave that has not started."""
    family = capable_family()
    first = fleet.add(3, family=family) + fleet.add(1, family=family, returns="" if late else "3")
    second = fleet.add(2, family=family)
    fleet.confirm_anchors()
    rollout = roll_out(
        plane,
        cohort("First", [station.identity for station in first]),
        cohort("Second", [station.identity for station in second]),
        success_threshold_percent=75,
        advance_automatically="no",
        case_deadline_minutes=90,
    )
    fleet.settle(8)
    return rollout


def test_a_rollout_shows_its_waves_with_progress_and_what_their_gates_said(
    plane: ControlPlane, fleet: Fleet, console: Client
) -> None:
    rollout = two_waves(plane, fleet, late=1)

    page = shown(console, rollout)

    assert 'data-live-status data-state="live"' in page
    assert "Passed when 3 of 4 chargers were active, 0 had failed and 1 was undecided; 3 were needed." in page
    assert '<span class="c-strong">3</span> of 4 active, 3 needed' in page
    assert "1 on the way, 0 failed" in page
    assert "It has not started." in page
    assert "1 hour 30 minutes" in page
    assert "1:30:00" not in page
    assert reverse("admin:migration_wave_do", args=[rollout.waves.get(position=1).pk, "roll_back"]) in page
    assert reverse("admin:inventory_plan_change", args=[rollout.plan_id]) in page


def test_after_the_gate_has_passed_the_counts_go_on_and_what_it_said_stays(
    plane: ControlPlane, fleet: Fleet, console: Client
) -> None:
    rollout = two_waves(plane, fleet, late=1)
    first = rollout.waves.get(position=1)
    for station in fleet.stations[:4]:
        station.returns = "3"
    fleet.stations[3].connect(3)
    fleet.settle(2)

    page = shown(console, first)

    assert "Passed when 3 of 4 chargers were active" in page
    assert '<span class="c-strong">4</span> of 4 are active now, 3 were needed' in page


def test_every_state_leads_to_the_list_of_its_chargers(plane: ControlPlane, fleet: Fleet, console: Client) -> None:
    rollout = two_waves(plane, fleet, late=1)

    figures = {figure.label: figure for figure in console.get(page_of(rollout)).context["figures"]}

    assert {label: figure.value for label, figure in figures.items()} == {
        "Pending": 2,
        "Cut over, not yet back": 1,
        "Active on Profile 3": 3,
    }
    for figure in figures.values():
        listed = console.get(figure.url).context["cl"].result_list
        assert len(listed) == figure.value, urlsplit(figure.url).query


def test_why_the_others_are_not_there_leads_to_them(plane: ControlPlane, fleet: Fleet, console: Client) -> None:
    rollout = two_waves(plane, fleet)

    (found, url), *others = console.get(page_of(rollout)).context["waiting"]

    assert (found.code, found.count, others) == ("wave_not_started", 2, [])
    assert {case.wave.position for case in console.get(url).context["cl"].result_list} == {2}
    assert found.what_next in shown(console, rollout)


def test_a_family_that_was_stopped_is_shown_with_why_and_the_way_to_close_its_breaker(
    plane: ControlPlane, fleet: Fleet, console: Client
) -> None:
    rollout = two_waves(plane, fleet)
    other = moving.breaker()
    with attributed(OPERATOR, "given"):
        breaker = Breaker.objects.create(
            kind="family",
            family=fleet.stations[0].identity.family,
            rollout=other.rollout,
            failures=3,
            why="3 chargers failed in another rollout.",
            opened_at=plane.clock(),
        )

    page = shown(console, rollout)

    assert "Family Eagle" in page
    assert "3 chargers failed in another rollout." in page
    assert str(other) not in page
    assert reverse("admin:migration_breaker_do", args=[breaker.pk, "close"]) in page


def test_a_wave_shows_the_limits_that_hold_and_whose_they_are(
    plane: ControlPlane, fleet: Fleet, console: Client
) -> None:
    rollout = two_waves(plane, fleet)
    first = rollout.waves.get(position=1)
    with attributed(OPERATOR, "given"):
        first.failure_threshold_percent = 7
        first.save()

    page = shown(console, first)

    assert "75 % are active (as its rollout says)" in page
    assert "more than 7 % of the decided have failed (its own)" in page
    assert "3 days" in page
    assert "Empty:" not in page
    assert "Trust anchors that it waits for" in page


def test_what_cannot_be_done_says_why(plane: ControlPlane, fleet: Fleet, console: Client) -> None:
    rollout = two_waves(plane, fleet)

    offered = {offer["action"].verb: offer["action"] for offer in console.get(page_of(rollout)).context["actions"]}

    assert offered["next"].allowed
    assert offered["retry_failed"].why_not == "None of its chargers has failed."
    rollouts.start_next(rollout=rollout, actor=OPERATOR, reason="Go on")
    offered = {offer["action"].verb: offer["action"] for offer in console.get(page_of(rollout)).context["actions"]}
    assert offered["next"].why_not == f"Rollout “{rollout.name}” has no further wave to start."


def test_a_stopped_wave_says_that_it_never_decided(plane: ControlPlane, fleet: Fleet, console: Client) -> None:
    rollout = two_waves(plane, fleet)
    rollouts.stop(rollout=rollout, actor=OPERATOR, reason="Enough")

    assert "Wave 2 was stopped before its gate had decided." in shown(console, rollout)
    assert "Stopped: Enough" in shown(console, rollout)


def test_the_pages_cost_the_same_with_many_waves_and_chargers_as_with_few(
    plane: ControlPlane, fleet: Fleet, console: Client
) -> None:
    rollout = two_waves(plane, fleet, late=1)
    shown(console, rollout)
    few = cost(console, rollout), cost(console, rollout.waves.get(position=1))
    template = rollout.waves.get(position=2)
    for position in range(3, 10):
        wave = Wave(rollout=rollout, position=position, cohort=template.cohort)
        with attributed(OPERATOR, "given"):
            wave.save()
        wave.anchor_rollouts.set(template.anchor_rollouts.all())
        for _ in range(3):
            case = moving.migration_case(charger())
            MigrationCase.objects.filter(pk=case.pk).update(wave=wave)

    assert (cost(console, rollout), cost(console, rollout.waves.get(position=1))) == few == (15, 10)


def test_who_may_only_see_rollouts_is_led_nowhere_else(plane: ControlPlane, fleet: Fleet) -> None:
    rollout = two_waves(plane, fleet)
    client = Client()
    client.force_login(given.person("viewer", "migration.view_migrationrollout"))

    page = shown(client, rollout)

    assert "Active on Profile 3" in page
    for hidden in ("migration_migrationcase_changelist", "migration_wave_changelist", "migration_breaker_changelist"):
        assert reverse(f"admin:{hidden}") not in page
    assert "/do/roll_back/" not in page


def test_an_applied_plan_leads_to_its_rollout_and_says_how_its_chargers_stand(
    plane: ControlPlane, fleet: Fleet, console: Client
) -> None:
    rollout = two_waves(plane, fleet, late=1)
    assert rollout.plan is not None

    response = console.get(reverse("admin:inventory_plan_change", args=[rollout.plan.pk]))
    page = " ".join(unescape(response.content.decode()).split())

    assert rollout.plan.steps == {"cut_over": 6, "issue": 6, "wave:1": 4, "wave:2": 2}
    assert response.context["steps"][-2:] == [("wave 1", 4), ("wave 2", 2)]
    assert page_of(rollout) in page
    assert "Can be applied until" not in page
    stands = [str(badge.text) for _, _, badge, _ in response.context["targets"]]
    assert sorted(stands) == ["Active on Profile 3"] * 3 + ["Cut over, not yet back"] + ["Pending"] * 2
    assert " moves with Wave 2" in page


def test_a_plan_that_was_not_applied_has_no_empty_column(plane: ControlPlane, fleet: Fleet, console: Client) -> None:
    members = fleet.add(1, family=capable_family())
    fleet.confirm_anchors()
    plan = plan_of(plane, cohort("All", [station.identity for station in members]))

    page = unescape(console.get(reverse("admin:inventory_plan_change", args=[plan.pk])).content.decode())

    assert "Can be applied until" in page
    assert "How it stands" not in page
