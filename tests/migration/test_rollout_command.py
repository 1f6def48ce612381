"""`manage.py rollout`: plans by default, and does only what was looked at."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from inventory.models import Plan
from migration.models import MigrationCase, MigrationRollout
from tests.admin import given
from tests.migration.fleet import Fleet, capable_family, cohort
from tests.support import ControlPlane

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
    assert "2 of 2 are included" in said
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
    said = run("rollback", str(rollout.pk), "--wave", "1", "--as", "maria", "--reason", "Back")
    assert "CS-0000 stays on Profile 3" in said
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
