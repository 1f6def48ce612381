"""A plan is prepared in batches, and only a complete one is ever applied."""

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from inventory.choices import PlanState
from inventory.models import Cohort, ManagedIdentity, Plan, PlanTarget
from inventory.services import catalogue, plans
from inventory.services.plans import judging, planner
from tests.inventory.painting import Painting, applied, apply, plan_of
from tests.inventory.records import sql
from tests.support import OPERATOR, Clock, charger

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _painting() -> None:
    applied.clear()
    plans.register(Painting())


def many(number: int) -> None:
    ManagedIdentity.objects.bulk_create(
        [
            ManagedIdentity(kind="charger", authoritative_identifier=f"CS-{position}", site="Depot")
            for position in range(number)
        ]
    )


def started(clock: Clock) -> Plan:
    return plans.start(kind="painting", parameters={"site": "Depot"}, actor=OPERATOR, reason="test", now=clock())


def test_a_half_written_plan_is_not_applied_and_is_taken_up_where_it_ended(clock: Clock) -> None:
    many(judging.BATCH + 5)
    plan = started(clock)

    plan = planner.prepare_batch(plan.pk, clock())

    assert (plan.state, plan.candidates, plan.digest) == (PlanState.PREPARING, judging.BATCH, "")
    with pytest.raises(plans.PlanNotReadyError, match="still being prepared"):
        apply(plan, clock, digest="")
    planner.prepare_waiting(clock())
    plan.refresh_from_db()
    assert (plan.state, plan.candidates) == (PlanState.PLANNED, judging.BATCH + 5)
    assert plan.digest == plan_of(clock).digest
    assert list(plan.targets.order_by("position").values_list("position", flat=True)) == list(
        range(1, judging.BATCH + 6)
    )


def test_the_database_applies_no_plan_without_a_digest(clock: Clock) -> None:
    charger("CS-1", site="Depot")
    plan = started(clock)

    with pytest.raises(DatabaseError, match="complete_plan_has_digest"), transaction.atomic():
        Plan.objects.filter(pk=plan.pk).update(state=PlanState.PLANNED)
    with pytest.raises(DatabaseError, match="is no transition"), transaction.atomic():
        Plan.objects.filter(pk=plan.pk).update(state=PlanState.APPLIED)


def test_the_database_lets_nobody_change_what_was_planned(clock: Clock) -> None:
    first = charger("CS-1", site="Depot")
    late = charger("CS-2", site="Elsewhere")
    plan = plan_of(clock)
    target = plan.targets.get()

    for attempt in (
        lambda: Plan.objects.filter(pk=plan.pk).update(parameters={"site": "Elsewhere"}),
        lambda: Plan.objects.filter(pk=plan.pk).update(digest="0" * 64),
        lambda: PlanTarget.objects.filter(pk=target.pk).update(steps=["paint:black"]),
        lambda: PlanTarget.objects.create(plan=plan, identity=late, position=2, included=True),
        lambda: sql("DELETE FROM inventory_plan WHERE id = %s", plan.pk),
    ):
        refused = pytest.raises(DatabaseError, match=r"never changes|takes no more targets|never removed")
        with refused, transaction.atomic():
            attempt()
    assert first.pk == target.identity_id


def test_a_cohort_that_goes_away_while_it_is_looked_at_ends_the_plan(clock: Clock) -> None:
    cohort = Cohort(name="Passing", kind="filter", filter={"site": "Depot"})
    catalogue.save(entry=cohort, actor=OPERATOR, reason="test")
    charger("CS-1", site="Depot")
    plan = plans.start(
        kind="bulk_renewal", parameters={"cohort": "Passing"}, actor=OPERATOR, reason="test", now=clock()
    )
    cohort.name = "Renamed"
    catalogue.save(entry=cohort, actor=OPERATOR, reason="test")

    planner.prepare_waiting(clock())

    plan.refresh_from_db()
    assert plan.state == PlanState.CANCELLED
    assert "no cohort 'Passing'" in plan.run_note


def test_a_batch_costs_the_same_number_of_queries_whoever_is_in_it(clock: Clock) -> None:
    many(3)
    few = started(clock)
    with CaptureQueriesContext(connection) as small:
        planner.prepare_batch(few.pk, clock())
    many_more = [
        ManagedIdentity(kind="charger", authoritative_identifier=f"CS-more-{position}", site="Depot")
        for position in range(500)
    ]
    ManagedIdentity.objects.bulk_create(many_more)
    larger = started(clock)

    with CaptureQueriesContext(connection) as large:
        planner.prepare_batch(larger.pk, clock())

    assert len(large) == len(small)


def test_no_query_reads_more_than_a_batch(clock: Clock) -> None:
    many(judging.BATCH + 5)
    with CaptureQueriesContext(connection) as captured:
        plan = plan_of(clock)
        apply(plan, clock)
        plans.check(plan=plan, now=clock())

    selects = [query["sql"] for query in captured if query["sql"].startswith("SELECT")]
    of_targets = [
        sql for sql in selects if 'FROM "inventory_plantarget"' in sql and '"inventory_plantarget"."steps"' in sql
    ]
    of_identities = [sql for sql in selects if 'ORDER BY "inventory_managedidentity"."id"' in sql]
    assert len(of_targets) == 4  # two batches for the digest, two to compare with
    assert len(of_identities) == 4
    assert all(f"LIMIT {judging.BATCH}" in sql for sql in of_targets + of_identities)
