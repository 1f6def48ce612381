"""The failed of a rollout are tried anew by the duty, a batch at a time; who asks waits for none of them."""

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from inventory.errors import TransitionRefusedError
from inventory.models import Setback
from migration.models import MigrationCase, MigrationRollout
from migration.services import breakers, driving, offered, retrying, rollouts, waves
from tests.migration.fleet import Fleet, capable_family, cohort, roll_out
from tests.support import OPERATOR, ControlPlane

pytestmark = pytest.mark.django_db


@pytest.fixture
def fleet(plane: ControlPlane) -> Fleet:
    return Fleet(plane)


def quarantined(plane: ControlPlane, fleet: Fleet, count: int) -> MigrationRollout:
    """A rollout all of whose chargers are in quarantine."""
    stations = fleet.add(count, family=capable_family())
    fleet.confirm_anchors()
    rollout = roll_out(plane, cohort("All", [station.identity for station in stations]))
    for station in stations:
        rollouts.quarantine(case=station.case, actor=OPERATOR, reason="test", now=plane.clock())
    plane.clock.advance(seconds=1)
    return rollout


def retry(plane: ControlPlane, rollout: MigrationRollout, reason: str = "Mended") -> int:
    return rollouts.retry_failed(rollout=rollout, actor=OPERATOR, reason=reason, now=plane.clock())


def states(of: MigrationRollout) -> list[str]:
    found = MigrationCase.objects.filter(wave__rollout=of).order_by("identity_id")
    return list(found.values_list("state", flat=True))


def why_no_retry(rollout: MigrationRollout) -> str:
    rollout.refresh_from_db()
    return next(item.why_not for item in offered.for_rollout(rollout, OPERATOR) if item.verb == "retry_failed")


def test_asking_costs_the_same_for_few_and_for_many(plane: ControlPlane, fleet: Fleet) -> None:
    stations = fleet.add(11, family=capable_family())
    fleet.confirm_anchors()
    few, many = (
        roll_out(plane, cohort(name, [station.identity for station in some]))
        for name, some in (("Few", stations[:2]), ("Many", stations[2:]))
    )
    for station in stations:
        rollouts.quarantine(case=station.case, actor=OPERATOR, reason="test", now=plane.clock())

    with CaptureQueriesContext(connection) as two:
        assert retry(plane, few) == 2
    with CaptureQueriesContext(connection) as nine:
        assert retry(plane, many) == 9

    assert len(two) == len(nine)
    assert set(states(few)) == set(states(many)) == {"quarantine"}


def test_the_duty_goes_on_in_batches_in_the_name_of_who_asked(plane: ControlPlane, fleet: Fleet) -> None:
    rollout = quarantined(plane, fleet, 3)
    assert retry(plane, rollout) == 3

    assert retrying.go_on(plane.clock(), limit=2) == 2
    assert states(rollout) == ["pending", "pending", "quarantine"]
    assert why_no_retry(rollout) == "They are being tried anew: 1 charger to go."
    assert retrying.go_on(plane.clock(), limit=2) == 1

    assert states(rollout) == ["pending"] * 3
    rollout.refresh_from_db()
    assert rollout.retry_wanted_at is None
    assert why_no_retry(rollout) == "None of its chargers has failed."
    entry = MigrationCase.objects.filter(wave__rollout=rollout)[0]
    assert entry.decided_by == OPERATOR.name


def test_a_worker_that_dies_in_between_is_followed_by_another(plane: ControlPlane, fleet: Fleet) -> None:
    rollout = quarantined(plane, fleet, 2)
    retry(plane, rollout)
    with transaction.atomic():
        retrying.go_on(plane.clock())
        transaction.set_rollback(True)
    assert states(rollout) == ["quarantine"] * 2

    assert retrying.go_on(plane.clock()) == 2
    assert retrying.go_on(plane.clock()) == 0


def test_no_gate_is_judged_by_failures_that_are_being_forgiven(plane: ControlPlane, fleet: Fleet) -> None:
    rollout = quarantined(plane, fleet, 3)
    waves.judge(plane.clock())
    fleet.settle(1)
    rollout.refresh_from_db()
    assert rollout.state == "paused"

    retry(plane, rollout)
    rollouts.resume(rollout=rollout, actor=OPERATOR, reason="Mended", now=plane.clock())
    waves.judge(plane.clock())
    rollout.refresh_from_db()
    assert rollout.state == "running"

    fleet.settle(10)
    rollout.refresh_from_db()
    assert (set(states(rollout)), rollout.state) == ({"active"}, "complete")


def test_what_fails_after_somebody_asked_is_not_tried_by_that(plane: ControlPlane, fleet: Fleet) -> None:
    rollout = quarantined(plane, fleet, 2)
    retry(plane, rollout)
    retrying.go_on(plane.clock(), limit=1)
    plane.clock.advance(seconds=1)
    again = MigrationCase.objects.filter(wave__rollout=rollout, state="pending").get()
    rollouts.quarantine(case=again, actor=OPERATOR, reason="not this one", now=plane.clock())

    for _ in range(3):
        retrying.go_on(plane.clock())

    assert states(rollout) == ["quarantine", "pending"]
    rollout.refresh_from_db()
    assert rollout.retry_wanted_at is None


def test_whom_a_breaker_has_stopped_stays(plane: ControlPlane, fleet: Fleet) -> None:
    rollout = quarantined(plane, fleet, 3)
    MigrationCase.objects.update(failed_at=plane.clock())
    breakers.open_where_needed(plane.clock())

    assert retry(plane, rollout) == 0
    retrying.go_on(plane.clock())

    assert states(rollout) == ["quarantine"] * 3


@pytest.mark.sets_defects_aside
def test_a_charger_that_cannot_be_tried_anew_holds_up_neither_others_nor_the_gate(
    plane: ControlPlane, fleet: Fleet
) -> None:
    rollout = quarantined(plane, fleet, 3)
    broken, *others = fleet.stations
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken'; END $$; "
            "CREATE TRIGGER broken BEFORE UPDATE ON migration_migrationcase FOR EACH ROW "
            f"WHEN (NEW.id = {broken.case.pk}) EXECUTE FUNCTION broken();"
        )
    retry(plane, rollout)

    assert retrying.go_on(plane.clock()) == 2

    assert [station.case.state for station in others] == ["pending"] * 2
    assert Setback.objects.get(work="migration-retry").identity == broken.identity
    rollout.refresh_from_db()
    assert not retrying.is_under_way(rollout, plane.clock())
    assert rollout.retry_wanted_at is not None

    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER broken ON migration_migrationcase; DROP FUNCTION broken()")
    plane.clock.advance(minutes=1)
    driving.drive(plane.clock())
    assert broken.case.state != "quarantine"


def test_a_rollout_that_was_stopped_tries_nobody(plane: ControlPlane, fleet: Fleet) -> None:
    rollout = quarantined(plane, fleet, 2)
    retry(plane, rollout)
    rollouts.stop(rollout=rollout, actor=OPERATOR, reason="Enough", now=plane.clock())

    assert retrying.go_on(plane.clock()) == 0
    with pytest.raises(TransitionRefusedError, match="only one that is running or paused or complete can be retried"):
        retry(plane, rollout)

    assert states(rollout) == ["quarantine"] * 2
