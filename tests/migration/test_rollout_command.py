"""`manage.py rollout`: plans by default, and does only what was looked at."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from inventory.audit import attributed
from inventory.models import Plan
from inventory.services import identities
from migration.models import Breaker, MigrationCase, MigrationRollout
from tests.admin import given
from tests.migration.fleet import Fleet, capable_family, cohort
from tests.support import OPERATOR, ControlPlane

pytestmark = pytest.mark.django_db


@pytest.fixture
def fleet(plane: ControlPlane) -> Fleet:
    given.administrator("maria")
    found = Fleet(plane)
    found.add(2, family=capable_family(can_lower_profile=False))
    found.confirm_anchors()
    cohort("All", [station.identity for station in found.stations])
    return found


def run(*arguments: str, **options: Any) -> str:
    said = StringIO()
    call_command("rollout", *arguments, stdout=said, stderr=StringIO(), **options)
    return said.getvalue()


def test_it_plans_by_default_and_applies_by_the_digest(fleet: Fleet) -> None:
    said = run("--cohort", "All", "--param", "retry_budget=2", "--as", "maria", "--reason", "Look")
    plan = Plan.objects.get()
    assert "2 of 2 targets are included" in said
    assert f"Digest {plan.digest}" in said
    assert not MigrationRollout.objects.exists()

    run("apply", plan.digest, "--as", "maria", "--reason", "Go")
    rollout = MigrationRollout.objects.get()
    assert (rollout.retry_budget, rollout.state, MigrationCase.objects.count()) == (2, "running", 2)
    with pytest.raises(CommandError, match="no plan with the digest"):
        run("--apply", "0" * 64, "--as", "maria", "--reason", "Go")


def test_it_tells_how_a_rollout_stands_and_why_a_charger_waits(fleet: Fleet) -> None:
    assert "There is no rollout yet" in run("status")
    run("plan", "--cohort", "All", "--as", "maria", "--reason", "Look")
    run("--apply", Plan.objects.get().digest, "--as", "maria", "--reason", "Go")
    rollout = MigrationRollout.objects.get()

    assert "Next: Wait for the waves before it" in run("why", "CS-0000")
    assert rollout.name in run("status")
    assert "2  Pending" in run("status", str(rollout.pk))
    fleet.settle(10)
    assert "2  Active on Profile 3" in run("status", str(rollout.pk))
    assert "is active on Profile 3" in run("why", "CS-0000")
    with pytest.raises(CommandError, match="no charger"):
        run("why", "CS-nobody")


def test_it_pauses_resumes_stops_and_rolls_back(fleet: Fleet) -> None:
    run("--cohort", "All", "--as", "maria", "--reason", "Look")
    run("--apply", Plan.objects.get().digest, "--as", "maria", "--reason", "Go")
    fleet.settle(1)

    assert "paused" in run("pause", "--as", "maria", "--reason", "Wait")
    assert "running" in run("resume", "--as", "maria", "--reason", "Go on")
    fleet.settle(10)
    rollout = MigrationRollout.objects.get()
    wanted = ("rollback", str(rollout.pk), "--wave", "1", "--as", "maria", "--reason", "Back")
    said = run(*wanted)
    assert "Back to Profile 2: 0 chargers." in said
    assert "Stay on Profile 3: 2 chargers.\n  CS-0000 stays on Profile 3" in said
    assert "Nothing is changed yet" in said
    rollout.refresh_from_db()
    assert (rollout.state, rollout.waves.get().state) == ("complete", "passed")
    assert "is rolled back" in run(*wanted, "--apply")
    assert rollout.waves.get().state == "rolled_back"
    assert "was rolled back already" in run(*wanted)
    with pytest.raises(CommandError, match="has no digest"):
        run(*wanted, "--apply", "0" * 64)
    assert "stopped" in run("stop", str(rollout.pk), "--as", "maria", "--reason", "Enough")
    with pytest.raises(CommandError, match="only one that is running can be paused"):
        run("pause", str(rollout.pk), "--as", "maria", "--reason", "Again")


def test_who_does_it_has_to_be_named_and_permitted(fleet: Fleet) -> None:
    given.person("viewer", *given.view_permissions())
    with pytest.raises(CommandError, match="name one with --as"):
        run("pause", "1")
    with pytest.raises(CommandError, match="permission"):
        run("--cohort", "All", "--as", "viewer", "--reason", "Look")
    with pytest.raises(CommandError, match="There is no rollout"):
        run("pause", "--as", "maria", "--reason", "x")


def started(fleet: Fleet) -> MigrationRollout:
    run("--cohort", "All", "--as", "maria", "--reason", "Look")
    run("--apply", Plan.objects.get().digest, "--as", "maria", "--reason", "Go")
    return MigrationRollout.objects.get()


def test_applied_twice_it_says_so_and_names_the_rollout_and_what_to_do_next(fleet: Fleet) -> None:
    run("--cohort", "All", "--as", "maria", "--reason", "Look")
    digest = Plan.objects.get().digest

    first = run("apply", digest, "--as", "maria", "--reason", "Go")
    rollout = MigrationRollout.objects.get()
    again = run("apply", digest, "--as", "maria", "--reason", "Go")

    assert "applied." in first
    assert "was applied before, by maria at" in again
    assert "nothing was done" in again
    for said in (first, again):
        assert f"The plan began rollout {rollout.pk}, “{rollout.name}”: running." in said
        assert f"Next: manage.py rollout status {rollout.pk}" in said


def test_one_charger_is_quarantined_released_excepted_and_cancelled(fleet: Fleet) -> None:
    rollout = started(fleet)
    assert "No charger is in quarantine" in run("quarantined")

    assert "CS-0000 is in quarantine." in run("quarantine", "CS-0000", "--as", "maria", "--reason", "Cable cut")
    said = run("quarantined", str(rollout.pk))
    assert "CS-0000  Eagle" in said
    assert "Cable cut" in said
    assert "CS-0001" not in said
    assert run("release", "CS-0000", "--as", "maria", "--reason", "Cable mended").strip() == (
        "CS-0000 is released. CS-0000 is tried again when its turn comes, with a whole retry budget."
    )
    run("quarantine", "CS-0000", "--as", "maria", "--reason", "Cable cut again")
    assert "stays as it is" in run("except", "CS-0000", "--as", "maria", "--reason", "Leaves in May")
    assert "is out of the migration" in run("cancel", "CS-0000", "--as", "maria", "--reason", "It stays after all")
    assert MigrationCase.objects.get(identity__authoritative_identifier="CS-0000").state == "cancelled"


def test_a_charger_on_its_way_is_brought_back(fleet: Fleet) -> None:
    fleet.stations[1].silent = True
    started(fleet)
    fleet.settle(3, seconds=60)

    said = run("bring-back", "CS-0001", "--as", "maria", "--reason", "Needed tonight")

    assert "CS-0001 is brought back to Profile 2." in said
    # It never left Profile 2, so that it is back at once.
    assert MigrationCase.objects.get(identity__authoritative_identifier="CS-0001").state in ("rollback", "pending")


def test_a_breaker_is_listed_and_closed(fleet: Fleet) -> None:
    rollout = started(fleet)
    assert "No family or site is stopped." in run("breakers")
    family = fleet.stations[0].identity.family
    with attributed(OPERATOR, "test"):
        breaker = Breaker.objects.create(
            kind="family", family=family, rollout=rollout, failures=3, why="3 failed.", opened_at=fleet.plane.clock()
        )

    assert f"{breaker.pk}  Family Eagle" in run("breakers")
    assert f"Breaker {breaker.pk}, stopped: Family Eagle. 3 failed." in run("status", str(rollout.pk))
    said = run("close", str(breaker.pk), "--as", "maria", "--reason", "New firmware")
    assert "Family Eagle: its chargers are moved again." in said
    assert "No family or site is stopped." in run("breakers")
    with pytest.raises(CommandError, match="was closed by maria already"):
        run("close", str(breaker.pk), "--as", "maria", "--reason", "Again")
    with pytest.raises(CommandError, match="There is no breaker '0'"):
        run("close", "0", "--as", "maria", "--reason", "Again")


@pytest.mark.parametrize("verb", ["release", "except", "quarantine", "bring-back", "cancel"])
def test_what_is_done_with_a_charger_needs_a_person_a_permission_and_a_reason(fleet: Fleet, verb: str) -> None:
    started(fleet)
    given.person("viewer", *given.view_permissions())
    with pytest.raises(CommandError, match="name one with --as"):
        run(verb, "CS-0000", "--reason", "x")
    with pytest.raises(CommandError, match="permission"):
        run(verb, "CS-0000", "--as", "viewer", "--reason", "x")
    with pytest.raises(CommandError, match="reason"):
        run(verb, "CS-0000", "--as", "maria")
    with pytest.raises(CommandError, match=f"Name the charger: manage.py rollout {verb} CHARGER"):
        run(verb, "--as", "maria", "--reason", "x")


def test_why_names_the_charger_once_and_what_it_is(fleet: Fleet) -> None:
    assert run("why", "CS-0000").startswith("CS-0000 is ready, and in no rollout. [not_planned]")
    identities.create(kind="vehicle", authoritative_identifier="VEHICLE-1", actor=OPERATOR, reason="test")
    assert run("why", "VEHICLE-1") == "VEHICLE-1 is a vehicle; only chargers move to Profile 3.\n"
    with pytest.raises(CommandError, match="VEHICLE-1 is in no migration"):
        run("cancel", "VEHICLE-1", "--as", "maria", "--reason", "x")
