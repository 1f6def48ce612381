"""Plan, then apply: what was looked at is done, once, and nothing else."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from pytest_django import Settings

from inventory.actors import Actor
from inventory.choices import PlanState
from inventory.errors import InvalidInputError, NotPermittedError
from inventory.models import Cohort, Plan, PlanTarget
from inventory.services import catalogue, plans
from inventory.services.plans import lapsing, offers, planner
from tests.inventory.painting import Painting, applied, apply, change, plan_of
from tests.support import OPERATOR, Clock, charger

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _painting() -> None:
    applied.clear()
    plans.register(Painting())


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
