"""Applying a plan of more than one batch: judged anew in a worker, a batch at a time, then applied or refused."""

import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from inventory.actors import Actor
from inventory.choices import PlanState
from inventory.errors import NotPermittedError
from inventory.models import Cohort, ManagedIdentity, Plan, Setback
from inventory.services import catalogue, plans
from inventory.services.plans import applying, comparing, judging, planner, turns
from tests.inventory.painting import Painting
from tests.support import OPERATOR, PATIENCE_SECONDS, Clock, ControlPlane, charger, in_threads

BATCH = judging.BATCH
applied: list[int] = []


class Glazing(Painting):
    """A bulk action that says by what it was applied, and refuses at the end where a charger is fragile."""

    key = "glazing"

    def apply(self, plan: Plan, actor: Actor, reason: str, now: datetime) -> None:
        if ManagedIdentity.objects.filter(site=plan.parameters["site"], owner="fragile").exists():
            raise plans.NothingToPlanError("One of them is fragile. Leave it out.")
        applied.append(plan.pk)


@pytest.fixture(autouse=True)
def _glazing() -> None:
    applied.clear()
    plans.register(Glazing())


def many(count: int, prefix: str = "CS", **values: Any) -> None:
    ManagedIdentity.objects.bulk_create(
        [
            ManagedIdentity(
                kind="charger", authoritative_identifier=f"{prefix}-{number}", **{"site": "Depot", **values}
            )
            for number in range(count)
        ],
        batch_size=1_000,
    )


def large(clock: Clock, count: int = BATCH + 5, actor: Actor = OPERATOR) -> Plan:
    many(count)
    return plans.make(kind="glazing", parameters={"site": "Depot"}, actor=actor, reason="spring", now=clock())


def apply(plan: Plan, clock: Clock, actor: Actor = OPERATOR) -> Plan:
    return plans.apply(plan=plan, digest=plan.digest, actor=actor, reason="looks right", now=clock())


@pytest.mark.django_db
def test_a_large_plan_is_compared_first_and_applied_by_a_worker(clock: Clock) -> None:
    plan = large(clock)

    answer = apply(plan, clock)

    assert (answer.state, answer.checked, answer.applied_at, applied) == (PlanState.APPLYING, BATCH, None, [])
    clock.advance(seconds=2)
    applying.check_waiting(clock())
    plan.refresh_from_db()
    assert (plan.state, plan.checked, plan.applied_at) == (PlanState.APPLIED, BATCH + 5, clock())
    assert (plan.applied_by, plan.applied_reason, applied) == (OPERATOR.name, "looks right", [plan.pk])
    assert apply(plan, clock).state == PlanState.APPLIED
    applying.check_waiting(clock())
    assert applied == [plan.pk]


@pytest.mark.django_db
def test_a_second_apply_meanwhile_is_refused_with_how_far_it_is(clock: Clock) -> None:
    plan = large(clock)
    apply(plan, clock)

    with pytest.raises(plans.PlanBeingAppliedError, match=r"is being applied already: 2,000 of 2,005 were compared"):
        apply(plan, clock)


@pytest.mark.django_db
@pytest.mark.parametrize("by", ["a worker", "who waits for it"])
def test_what_changed_is_kept_with_the_plan_and_it_can_be_applied_again(by: str, clock: Clock) -> None:
    plan = large(clock)
    first, last = ManagedIdentity.objects.order_by("pk")[0], ManagedIdentity.objects.order_by("-pk")[0]
    ManagedIdentity.objects.filter(pk=first.pk).update(owner="green")
    ManagedIdentity.objects.filter(pk=last.pk).update(site="Elsewhere")

    apply(plan, clock)
    if by == "a worker":
        applying.check_waiting(clock())
    else:
        with pytest.raises(plans.PlanChangedError, match="1 gone, 1 changed"):
            plans.check(plan=plan, now=clock())

    plan.refresh_from_db()
    assert (plan.state, plan.applied_by, applied) == (PlanState.PLANNED, "", [])
    assert (plan.refusal["code"], plan.refusal["by"]) == ("plan_changed", OPERATOR.name)
    assert plan.refusal["changes"] == {"gone": 1, "new": 0, "changed": 1}
    assert [item["identifier"] for item in plan.refusal["changed_targets"]] == [
        first.authoritative_identifier,
        last.authoritative_identifier,
    ]
    with pytest.raises(plans.PlanChangedError, match="1 gone, 1 changed"):
        applying.check(plan=plan, now=clock())

    ManagedIdentity.objects.filter(pk=first.pk).update(owner="")
    ManagedIdentity.objects.filter(pk=last.pk).update(site="Depot")
    apply(plan, clock)
    assert plans.check(plan=plan, now=clock()).state == PlanState.APPLIED
    plan.refresh_from_db()
    assert (plan.refusal, applied) == ({}, [plan.pk])


@pytest.mark.django_db
def test_a_difference_of_any_size_is_counted_and_its_first_part_named(clock: Clock) -> None:
    plan = large(clock, 2 * BATCH + 5)
    ManagedIdentity.objects.update(site="Elsewhere")
    many(BATCH + 7, "new")

    apply(plan, clock)
    with pytest.raises(plans.PlanChangedError) as refused:
        plans.check(plan=plan, now=clock())

    assert refused.value.counts == {"gone": 2 * BATCH + 5, "new": BATCH + 7, "changed": 0}
    assert len(refused.value.targets) == comparing.NAMED


@pytest.mark.django_db
def test_what_the_kind_refuses_at_the_end_leaves_it_planned(clock: Clock) -> None:
    plan = large(clock)
    ManagedIdentity.objects.order_by("pk").filter(pk=ManagedIdentity.objects.order_by("pk")[0].pk).update(
        owner="fragile"
    )
    plan = plans.make(kind="glazing", parameters={"site": "Depot"}, actor=OPERATOR, reason="x", now=clock())
    apply(plan, clock)

    applying.check_waiting(clock())

    plan.refresh_from_db()
    assert (plan.state, plan.run) == (PlanState.PLANNED, "")
    assert (plan.refusal["code"], plan.refusal["sentence"]) == (
        "nothing_to_plan",
        "One of them is fragile. Leave it out.",
    )


@pytest.mark.django_db
def test_who_lost_the_permission_meanwhile_applies_nothing(clock: Clock) -> None:
    user = User.objects.create_user("maria")
    user.user_permissions.add(Permission.objects.get(codename="change_managedidentity"))
    plan = large(clock)
    apply(plan, clock, Actor.person(User.objects.get(pk=user.pk)))
    user.user_permissions.clear()

    applying.check_waiting(clock())

    plan.refresh_from_db()
    assert (plan.state, plan.refusal["code"], applied) == (PlanState.PLANNED, "not_permitted", [])
    with pytest.raises(NotPermittedError):
        apply(plan, clock, Actor.person(User.objects.get(pk=user.pk)))


@pytest.mark.django_db
def test_a_plan_whose_applier_has_no_account_any_more_is_refused(clock: Clock) -> None:
    user = User.objects.create_user("maria")
    user.user_permissions.add(Permission.objects.get(codename="change_managedidentity"))
    plan = large(clock)
    apply(plan, clock, Actor.person(User.objects.get(pk=user.pk)))
    Plan.objects.filter(pk=plan.pk).update(applied_user=None)

    applying.check_waiting(clock())

    plan.refresh_from_db()
    assert (plan.state, plan.refusal["code"], applied) == (PlanState.PLANNED, "not_permitted", [])
    assert plan.refusal["sentence"] == (
        "maria has no account any more, so nothing is done in that name. Have somebody with the permission "
        "“inventory.change_managedidentity” do it."
    )


@pytest.mark.django_db
def test_what_was_compared_too_long_ago_is_not_applied(clock: Clock) -> None:
    plan = large(clock)
    apply(plan, clock)
    clock.advance(hours=1, seconds=1)

    applying.check_waiting(clock())

    plan.refresh_from_db()
    assert (plan.state, plan.refusal["code"], applied) == (PlanState.PLANNED, "plan_compared_too_long", [])
    assert "for more than 60 minutes" in plan.refusal["sentence"]
    apply(plan, clock)
    clock.advance(minutes=59)
    applying.check_waiting(clock())
    plan.refresh_from_db()
    assert plan.state == PlanState.APPLIED


@pytest.mark.django_db
def test_a_cohort_that_goes_away_while_it_is_compared_is_the_refusal(clock: Clock) -> None:
    cohort = Cohort(name="Passing", kind="filter", filter={"site": "Depot"})
    catalogue.save(entry=cohort, actor=OPERATOR, reason="test")
    many(BATCH + 5)
    plan = plans.make(
        kind="bulk_revocation", parameters={"cohort": "Passing"}, actor=OPERATOR, reason="test", now=clock()
    )
    Plan.objects.filter(pk=plan.pk).update(state=PlanState.APPLYING, applied_by=OPERATOR.name)
    cohort.name = "Renamed"
    catalogue.save(entry=cohort, actor=OPERATOR, reason="test")

    applying.check_waiting(clock())

    plan.refresh_from_db()
    assert plan.state == PlanState.PLANNED
    assert "no cohort 'Passing'" in plan.refusal["sentence"]


@pytest.mark.django_db
def test_it_can_be_cancelled_or_expire_while_it_is_compared(clock: Clock) -> None:
    cancelled, expired = (
        large(clock),
        plans.make(kind="glazing", parameters={"site": "Depot"}, actor=OPERATOR, reason="x", now=clock()),
    )
    apply(cancelled, clock)
    apply(expired, clock)

    plans.cancel(plan=cancelled, actor=OPERATOR, reason="no")
    clock.advance(hours=25)
    assert planner.expire(clock()) == 1
    applying.check_waiting(clock())

    states = [Plan.objects.get(pk=plan.pk).state for plan in (cancelled, expired)]
    assert states == [PlanState.CANCELLED, PlanState.EXPIRED]
    assert applied == []
    for plan in (cancelled, expired):
        with pytest.raises(plans.PlanError, match="make a new one"):
            plans.check(plan=plan, now=clock())


@pytest.mark.django_db
def test_the_database_applies_no_plan_that_was_not_compared(clock: Clock) -> None:
    charger("CS-1", site="Depot")
    plan = plans.make(kind="glazing", parameters={"site": "Depot"}, actor=OPERATOR, reason="x", now=clock())

    for values in ({"state": PlanState.APPLIED}, {"state": PlanState.APPLYING, "applied_by": ""}):
        refused = pytest.raises(DatabaseError, match=r"is no transition|plan_being_applied_names_who")
        with refused, transaction.atomic():
            Plan.objects.filter(pk=plan.pk).update(**values)


@pytest.mark.django_db
def test_a_batch_is_compared_with_the_same_queries_whoever_is_in_it(clock: Clock) -> None:
    counts: list[int] = []
    for size in (3, BATCH - 3):
        many(size, f"of-{size}")
        plan = plans.make(kind="glazing", parameters={"site": "Depot"}, actor=OPERATOR, reason="x", now=clock())
        with CaptureQueriesContext(connection) as captured:
            assert apply(plan, clock).state == (PlanState.APPLIED if size == 3 else PlanState.APPLYING)
        comparing_queries = [
            query["sql"] for query in captured if "SELECT" in query["sql"] and f"LIMIT {BATCH}" in query["sql"]
        ]
        counts.append(len(comparing_queries))

    assert counts == [2, 2]


@pytest.mark.sets_defects_aside
@pytest.mark.django_db
def test_a_plan_that_meets_a_defect_holds_none_of_the_others_up(clock: Clock) -> None:
    many(1)
    asked: dict[str, Any] = {"kind": "glazing", "parameters": {"site": "Depot"}, "actor": OPERATOR, "reason": "x"}
    bad, *sound = [plans.make(**asked, now=clock()).pk for _ in range(3)]
    stepped: list[int] = []

    def step(plan_id: int) -> bool:
        stepped.append(plan_id)
        if plan_id == bad:
            raise ZeroDivisionError
        return stepped.count(plan_id) < 3

    turns.take_turns("plan-checks", Plan.objects.order_by("pk"), step, clock())

    assert stepped == [bad, *sound * 3]
    assert Setback.objects.get().key == bad
    turns.take_turns("plan-checks", Plan.objects.order_by("pk"), step, clock())
    assert stepped == [bad, *sound * 4], "it is left out until its back-off is over"


@pytest.mark.django_db(transaction=True)
def test_several_workers_at_one_plan_apply_it_once(control_plane: ControlPlane) -> None:
    clock = control_plane.clock
    plan = large(clock, 2 * BATCH + 5)
    apply(plan, clock)
    start = threading.Barrier(3)

    def working() -> str:
        start.wait(PATIENCE_SECONDS)
        for _ in range(4):
            applying.check_waiting(clock())
        return "worked"

    def waiting() -> str:
        start.wait(PATIENCE_SECONDS)
        return str(plans.check(plan=plan, now=clock()).state)

    said: Sequence[str] = in_threads(working, working, waiting)

    assert said[2] == PlanState.APPLIED
    assert applied == [plan.pk]
    plan.refresh_from_db()
    assert (plan.state, plan.checked) == (PlanState.APPLIED, 2 * BATCH + 5)
