"""What a charger was asked on its way is kept as long as it may be asked again under the same key."""

import pytest

from bfcerts.ocpp.models import OutboxCommand
from inventory.services.retention import delete_what_ended
from migration.models import MigrationCase
from migration.services import rollouts
from tests.migration.fleet import Fleet, capable_family, cohort, roll_out
from tests.support import OPERATOR, ControlPlane

pytestmark = pytest.mark.django_db


def test_the_commands_of_an_open_case_are_kept_and_go_with_its_end(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    (station,) = fleet.add(1, family=capable_family(), returns="2")
    fleet.confirm_anchors()
    roll_out(plane, cohort("All", [station.identity]), retry_budget=0)
    fleet.settle(turns=4)
    case = MigrationCase.objects.get()
    rollouts.roll_back_case(case=case, actor=OPERATOR, reason="test", now=plane.clock())
    commands = OutboxCommand.objects.filter(reference=f"migration:{case.pk}:priority")
    assert (case.state, commands.count()) == ("pending_activation", 1)
    OutboxCommand.objects.update(state="answered", finished_at=plane.clock())

    delete_what_ended(plane.clock.advance(days=400))
    assert MigrationCase.objects.get().state == "quarantine"
    assert commands.exists()

    rollouts.cancel(case=case, actor=OPERATOR, reason="test", now=plane.clock())
    delete_what_ended(plane.clock())
    assert not commands.exists()
