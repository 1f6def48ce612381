"""Plan, then apply: what was looked at is done, once, and nothing else."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import DatabaseError, connection, transaction
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from inventory.actors import Actor
from inventory.choices import PlanState
from inventory.errors import InvalidInputError, NotPermittedError
from inventory.models import Cohort, ManagedIdentity, Plan, PlanTarget
from inventory.services import catalogue, plans
from inventory.services.plans import judging, lapsing, offers, planner
from inventory.services.plans.expecting import Expected
from tests.inventory.records import sql
from tests.support import OPERATOR, Clock, charger

pytestmark = pytest.mark.django_db

applied: list[int] = []


class Painting:
    """A bulk action of the tests: every charger of a site gets the colour that its name asks for."""

    key = "painting"
    label = "Painting"
    permission = "change_managedidentity"
    fields: Sequence[plans.Field] = (plans.Field("site", "Site"),)
    words: Mapping[str, str] = {"paint": "paint", "rusty": "rusty"}

    def validate(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        if not parameters.get("site"):
            raise InvalidInputError("Name a site.")
        return {"site": parameters["site"]}

    def candidates(self, parameters: Mapping[str, Any]) -> QuerySet[ManagedIdentity]:
        return ManagedIdentity.objects.filter(site=parameters["site"])

    def judge(
        self, parameters: Mapping[str, Any], identities: Sequence[ManagedIdentity], now: datetime
    ) -> list[plans.Verdict]:
        return [
            plans.excluded("rusty", f"{identity} is rusty.")
            if "rusty" in identity.tags
            else plans.included(f"paint:{identity.owner or 'white'}")
            for identity in identities
        ]

    def expected(self, plan: Plan, counts: plans.PlanCounts, now: datetime) -> Expected:
        return Expected(timedelta(minutes=counts.included), "A minute each.")

    def apply(self, plan: Plan, actor: Actor, reason: str, now: datetime) -> None:
        applied.append(plan.pk)


@pytest.fixture(autouse=True)
def _painting() -> None:
    applied.clear()
    plans.register(Painting())


def plan_of(clock: Clock, site: str = "Depot", actor: Actor = OPERATOR) -> Plan:
    return plans.make(kind="painting", parameters={"site": site}, actor=actor, reason="spring", now=clock())


def apply(plan: Plan, clock: Clock, digest: str = "", actor: Actor = OPERATOR) -> Plan:
    return plans.apply(plan=plan, digest=digest or plan.digest, actor=actor, reason="looks right", now=clock())


def change(identity: ManagedIdentity, **values: Any) -> None:
    ManagedIdentity.objects.filter(pk=identity.pk).update(**values)


def test_a_plan_says_whom_it_concerns_and_why_not_others(clock: Clock) -> None:
    charger("CS-1", site="Depot")
    charger("CS-2", site="Depot", tags=["rusty"])
    charger("CS-3", site="Elsewhere")

    plan = plan_of(clock)

    assert (plan.state, plan.candidates, plan.included) == (PlanState.PLANNED, 2, 1)
    assert plan.excluded == {"rusty": 1}
    assert plan.steps == {"paint": 1}
    assert (plan.expected_duration, plan.expected_basis) == (timedelta(minutes=1), "A minute each.")
    assert plan.risk["sites"] == [{"name": "Depot", "included": 1, "chargers": 2}]
    painted, left_out = plan.targets.order_by("position")
    assert (painted.identity.authoritative_identifier, painted.steps) == ("CS-1", ["paint:white"])
    assert (left_out.included, left_out.reason) == (False, "CS-2 is rusty.")


def test_the_same_targets_and_steps_have_the_same_digest_and_others_another(clock: Clock) -> None:
    first = charger("CS-1", site="Depot")
    plan = plan_of(clock)

    assert plan_of(clock).digest == plan.digest

    change(first, owner="green")
    assert plan_of(clock).digest != plan.digest


def test_what_was_planned_is_applied_once(clock: Clock) -> None:
    charger("CS-1", site="Depot")
    plan = plan_of(clock)

    first, second = apply(plan, clock), apply(plan, clock)

    assert first.state == second.state == PlanState.APPLIED
    assert second.applied_by == OPERATOR.name
    assert applied == [plan.pk]


@pytest.mark.parametrize(
    ("what", "change_of"), [("1 gone", "gone"), ("1 new", "new"), ("1 changed", "steps"), ("1 changed", "left out")]
)
def test_what_changed_since_is_refused_with_the_difference(what: str, change_of: str, clock: Clock) -> None:
    first = charger("CS-1", site="Depot")
    charger("CS-2", site="Depot")
    plan = plan_of(clock)
    match change_of:
        case "gone":
            change(first, site="Elsewhere")
        case "new":
            charger("CS-9", site="Depot")
        case "steps":
            change(first, owner="green")
        case "left out":
            change(first, tags=["rusty"])

    with pytest.raises(plans.PlanChangedError, match=what) as refused:
        apply(plan, clock)

    (target,) = refused.value.targets
    assert target.identifier == ("CS-9" if change_of == "new" else "CS-1")
    assert sum(refused.value.counts.values()) == 1
    assert applied == []
    plan.refresh_from_db()
    assert plan.state == PlanState.PLANNED


def test_the_difference_names_what_was_planned_and_what_is(clock: Clock) -> None:
    first = charger("CS-1", site="Depot")
    plan = plan_of(clock)
    change(first, owner="green")

    with pytest.raises(plans.PlanChangedError, match="CS-1: was paint white, is now paint green"):
        apply(plan, clock)


def test_a_long_difference_is_counted_and_its_first_part_named(clock: Clock) -> None:
    charger("CS-1", site="Depot")
    plan = plan_of(clock)
    for number in range(60):
        charger(f"CS-new-{number}", site="Depot")

    with pytest.raises(plans.PlanChangedError) as refused:
        apply(plan, clock)

    assert refused.value.counts[plans.Change.NEW] == 60
    assert len(refused.value.targets) == 50


def test_a_wrong_digest_is_refused(clock: Clock) -> None:
    charger("CS-1", site="Depot")
    plan = plan_of(clock)

    with pytest.raises(plans.WrongDigestError):
        apply(plan, clock, digest="0" * 64)
    apply(plan, clock)
    with pytest.raises(plans.WrongDigestError):
        apply(plan, clock, digest="0" * 64)


def test_a_plan_is_true_for_a_day(clock: Clock) -> None:
    charger("CS-1", site="Depot")
    plan = plan_of(clock)
    clock.advance(hours=24)

    with pytest.raises(plans.PlanExpiredError, match="make a new one"):
        apply(plan, clock)
    assert planner.expire(clock()) == 1
    plan.refresh_from_db()
    assert plan.state == PlanState.EXPIRED
    with pytest.raises(plans.PlanExpiredError):
        apply(plan, clock)


def test_a_plan_that_nobody_applied_lapses_with_its_targets_and_says_so(clock: Clock) -> None:
    charger("CS-1", site="Depot")
    forgotten, cancelled, applied_one = plan_of(clock), plan_of(clock), apply(plan_of(clock), clock)
    plans.cancel(plan=cancelled, actor=OPERATOR, reason="not now")
    clock.advance(days=1)
    planner.expire(clock())

    clock.advance(days=29)
    assert lapsing.lapse(clock()) == 0
    assert PlanTarget.objects.filter(plan=forgotten).exists()
    clock.advance(days=1)
    assert lapsing.lapse(clock()) == 2
    assert lapsing.lapse(clock()) == 0

    assert not PlanTarget.objects.filter(plan__in=[forgotten, cancelled]).exists()
    assert PlanTarget.objects.filter(plan=applied_one).exists()
    forgotten.refresh_from_db()
    assert (forgotten.state, forgotten.included) == (PlanState.LAPSED, 1)
    assert forgotten.history.latest().actor == "system:planner"
    with pytest.raises(plans.PlanExpiredError, match="has lapsed: nobody applied it, and its targets are not kept"):
        apply(forgotten, clock)
    offered = {action.verb: action for action in offers.for_plan(forgotten, OPERATOR, clock())}
    assert not offered["apply"].allowed
    assert offered["apply"].why_not.startswith("The plan has lapsed")


def test_the_setting_says_how_long_the_targets_of_unapplied_plans_are_kept(clock: Clock, settings: Settings) -> None:
    charger("CS-1", site="Depot")
    settings.CONFIGURATION = settings.CONFIGURATION.model_copy(update={"keep_unapplied_plans_days": 2})
    plan_of(clock)
    clock.advance(days=1)
    planner.expire(clock())
    assert lapsing.lapse(clock.advance(hours=47)) == 0
    assert lapsing.lapse(clock.advance(hours=1)) == 1


def test_an_applied_plan_stays_applied_when_its_day_is_over(clock: Clock) -> None:
    charger("CS-1", site="Depot")
    plan = apply(plan_of(clock), clock)
    clock.advance(hours=25)

    assert planner.expire(clock()) == 0
    assert apply(plan, clock).state == PlanState.APPLIED


def test_a_cancelled_plan_is_not_applied(clock: Clock) -> None:
    charger("CS-1", site="Depot")
    plan = plan_of(clock)

    plans.cancel(plan=plan, actor=OPERATOR, reason="not now")

    with pytest.raises(plans.PlanNotReadyError, match="cancelled"):
        apply(plan, clock)
    with pytest.raises(plans.PlanNotReadyError, match="only one that was not applied"):
        plans.cancel(plan=plan, actor=OPERATOR, reason="again")


def test_nobody_to_plan_for_is_said_at_once(clock: Clock) -> None:
    with pytest.raises(plans.NothingToPlanError, match="Nobody is concerned"):
        plan_of(clock)

    assert not Plan.objects.exists()


def test_a_plan_that_includes_nobody_is_not_applied(clock: Clock) -> None:
    charger("CS-1", site="Depot", tags=["rusty"])
    plan = plan_of(clock)

    with pytest.raises(plans.NothingToPlanError, match="includes nobody"):
        apply(plan, clock)


def test_an_empty_cohort_has_no_plan(clock: Clock) -> None:
    catalogue.save(entry=Cohort(name="Empty"), actor=OPERATOR, reason="test")

    with pytest.raises(plans.NothingToPlanError):
        plans.start(kind="bulk_renewal", parameters={"cohort": "Empty"}, actor=OPERATOR, reason="test", now=clock())


def test_planning_and_applying_take_the_permission_of_the_verb(clock: Clock) -> None:
    charger("CS-1", site="Depot")
    user = User.objects.create_user("maria")
    nobody = Actor.person(user)
    plan = plan_of(clock)

    attempts: tuple[Callable[[], Plan], ...] = (
        lambda: plan_of(clock, actor=nobody),
        lambda: apply(plan, clock, actor=nobody),
        lambda: plans.cancel(plan=plan, actor=nobody, reason="no"),
    )
    for attempt in attempts:
        with pytest.raises(NotPermittedError, match="change_managedidentity"):
            attempt()

    user.user_permissions.add(Permission.objects.get(codename="change_managedidentity"))
    allowed = Actor.person(User.objects.get(pk=user.pk))
    assert apply(plan_of(clock, actor=allowed), clock, actor=allowed).applied_user == user


def test_a_plan_needs_a_reason_and_a_kind_that_there_is(clock: Clock) -> None:
    charger("CS-1", site="Depot")

    with pytest.raises(InvalidInputError, match="reason"):
        plans.make(kind="painting", parameters={"site": "Depot"}, actor=OPERATOR, reason=" ", now=clock())
    with pytest.raises(InvalidInputError, match="'nonsense' is no kind of plan"):
        plans.make(kind="nonsense", parameters={}, actor=OPERATOR, reason="test", now=clock())


# -- preparing in batches ----------------------------------------------------------------------------------------------


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
