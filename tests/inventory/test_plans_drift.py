"""What a plan does to a charger is what was looked at: one that is another by the time of its turn is left out."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inventory.choices import JobAction, PlanRun, RecordState
from inventory.models import CertificateJob, CertificateRecord, ChargerFamily, Cohort, ManagedIdentity, Plan, PlanTarget
from inventory.services import catalogue, identities, lifecycle, plans
from inventory.services.plans import running
from tests.support import OPERATOR, ControlPlane, charger

pytestmark = pytest.mark.django_db


def family(name: str) -> ChargerFamily:
    return catalogue.save(entry=ChargerFamily(name=name, vendor=name, model=name), actor=OPERATOR, reason="test")


def enrolled(plane: ControlPlane, *names: str, **fields: Any) -> list[CertificateRecord]:
    return [plane.enrol(charger(name, **{"region": "North", **fields})) for name in names]


def applied(plane: ControlPlane, kind: str, **parameters: Any) -> Plan:
    plan = plans.make(
        kind=kind, parameters=parameters or {"region": "North"}, actor=OPERATOR, reason="test", now=plane.clock()
    )
    return plans.apply(plan=plan, digest=plan.digest, actor=OPERATOR, reason="all of them", now=plane.clock())


def after_its_turn(plane: ControlPlane, plan: Plan) -> list[PlanTarget]:
    running.run_plans(plane.clock())
    return list(plan.targets.filter(included=True).order_by("position"))


def renewed(plane: ControlPlane, record: CertificateRecord) -> CertificateRecord:
    return plane.complete(lifecycle.renew(record=record, actor=OPERATOR, reason="by hand", now=plane.clock()))


def begun() -> int:
    return CertificateJob.objects.filter(action=JobAction.RENEW).count()


# -- renewal -----------------------------------------------------------------------------------------------------------


def test_a_certificate_that_was_renewed_meanwhile_is_not_renewed_again(plane: ControlPlane) -> None:
    first, second = enrolled(plane, "CS-1", "CS-2")
    plan = applied(plane, "bulk_renewal")
    newer = renewed(plane, first)

    left_out, started = after_its_turn(plane, plan)

    assert (left_out.outcome, started.outcome) == ("skipped", "started")
    assert left_out.detail == (
        "Left out, because it changed after the plan was compared: was renew certificate "
        f"{first.pk}, is now renew certificate {newer.pk}. Plan it again."
    )
    assert begun() == 2, "one by hand, and that of the other charger"
    assert started.job is not None
    assert started.job.parameters["replaces"] == second.pk


def test_whoever_gets_a_certificate_already_is_left_to_that(plane: ControlPlane) -> None:
    (record,) = enrolled(plane, "CS-1")
    plan = applied(plane, "bulk_renewal")
    job = lifecycle.renew(record=record, actor=OPERATOR, reason="by hand", now=plane.clock())

    (target,) = after_its_turn(plane, plan)

    assert (target.outcome, target.job) == ("skipped", None)
    assert "is now excluded: CS-1 is getting a new certificate already" in target.detail
    job.refresh_from_db()
    assert job.reason == "by hand"


def test_a_charger_that_was_disabled_meanwhile_gets_no_certificate(plane: ControlPlane) -> None:
    (record,) = enrolled(plane, "CS-1")
    plan = applied(plane, "bulk_renewal")
    identities.set_enabled(identity=record.identity, enabled=False, actor=OPERATOR, reason="stolen")

    (target,) = after_its_turn(plane, plan)

    assert (target.outcome, begun()) == ("skipped", 0)
    assert "is now excluded: CS-1 is disabled" in target.detail


@pytest.mark.parametrize("kind", ["bulk_renewal", "bulk_revocation"])
def test_whoever_is_not_concerned_any_more_is_left_alone(plane: ControlPlane, kind: str) -> None:
    (record,) = enrolled(plane, "CS-1")
    plan = applied(plane, kind)
    ManagedIdentity.objects.filter(pk=record.identity_id).update(region="South")

    (target,) = after_its_turn(plane, plan)

    assert target.outcome == "skipped"
    assert "it is no longer concerned" in target.detail
    record.refresh_from_db()
    assert (record.state, begun()) == (RecordState.ACTIVE, 0)
    plan.refresh_from_db()
    assert plan.run == PlanRun.FINISHED


def test_a_charger_of_another_family_than_was_planned_is_left_out(plane: ControlPlane) -> None:
    eagle, owl = family("Eagle"), family("Owl")
    first, _ = enrolled(plane, "CS-1", "CS-2", family=eagle)
    plan = applied(plane, "bulk_renewal")
    ManagedIdentity.objects.filter(pk=first.identity_id).update(family=owl)

    left_out, started = after_its_turn(plane, plan)

    assert (left_out.outcome, started.outcome) == ("skipped", "started")
    assert "was of family Eagle, is now of Owl" in left_out.detail


def test_a_family_that_was_only_renamed_is_the_same(plane: ControlPlane) -> None:
    eagle = family("Eagle")
    enrolled(plane, "CS-1", family=eagle)
    plan = applied(plane, "bulk_renewal")
    eagle.name = "Golden eagle"
    catalogue.save(entry=eagle, actor=OPERATOR, reason="test")

    (target,) = after_its_turn(plane, plan)

    assert target.outcome == "started"


def test_a_plan_whose_cohort_is_gone_pauses_and_says_so(plane: ControlPlane) -> None:
    enrolled(plane, "CS-1", tags=["pilot"])
    cohort = catalogue.save(
        entry=Cohort(name="Pilots", kind="filter", filter={"tag": "pilot"}), actor=OPERATOR, reason="test"
    )
    plan = applied(plane, "bulk_renewal", cohort="Pilots")
    cohort.name = "Others"
    catalogue.save(entry=cohort, actor=OPERATOR, reason="test")

    (target,) = after_its_turn(plane, plan)

    plan.refresh_from_db()
    assert (target.outcome, plan.run, begun()) == ("waiting", PlanRun.PAUSED, 0)
    assert "There is no cohort 'Pilots'; its name may have changed. Put that right and resume it" in plan.run_note

    cohort.name = "Pilots"
    catalogue.save(entry=cohort, actor=OPERATOR, reason="test")
    plans.resume(plan=plan, actor=OPERATOR, reason="put right")
    (target,) = after_its_turn(plane, plan)
    assert target.outcome == "started"


# -- revocation --------------------------------------------------------------------------------------------------------


def test_a_charger_that_got_another_certificate_meanwhile_is_planned_again(plane: ControlPlane) -> None:
    first, second = enrolled(plane, "CS-1", "CS-2")
    plan = applied(plane, "bulk_revocation")
    newer = renewed(plane, first)

    left_out, done = after_its_turn(plane, plan)

    assert (left_out.outcome, done.outcome) == ("skipped", "done")
    assert f"is now revoke certificate {first.pk}, revoke certificate {newer.pk}" in left_out.detail
    newer.refresh_from_db()
    second.refresh_from_db()
    assert (newer.state, second.state) == (RecordState.ACTIVE, RecordState.REVOKED)


def test_a_charger_that_would_be_locked_out_unlike_planned_is_left_alone(plane: ControlPlane) -> None:
    (record,) = enrolled(plane, "CS-1")
    ManagedIdentity.objects.filter(pk=record.identity_id).update(security_profile=2)
    plan = applied(plane, "bulk_revocation")
    ManagedIdentity.objects.filter(pk=record.identity_id).update(security_profile=3)

    (target,) = after_its_turn(plane, plan)

    record.refresh_from_db()
    assert (target.outcome, record.state) == ("skipped", RecordState.ACTIVE)
    assert "is locked out" in target.detail


def test_what_is_left_of_a_revocation_is_done(plane: ControlPlane) -> None:
    (former,) = enrolled(plane, "CS-1")
    present = renewed(plane, former)
    plan = applied(plane, "bulk_revocation")
    lifecycle.revoke(record=former, actor=OPERATOR, reason="by hand", now=plane.clock())

    (target,) = after_its_turn(plane, plan)

    present.refresh_from_db()
    assert (target.outcome, present.state) == ("done", RecordState.REVOKED)
    assert f"Out of use before this came to it: {former.pk}." in target.detail


def test_a_revocation_of_which_nothing_is_left_is_skipped(plane: ControlPlane) -> None:
    (record,) = enrolled(plane, "CS-1")
    plan = applied(plane, "bulk_revocation")
    lifecycle.revoke(record=record, actor=OPERATOR, reason="by hand", now=plane.clock())

    (target,) = after_its_turn(plane, plan)

    assert target.outcome == "skipped"
    assert "CS-1 has no certificate that could be revoked" in target.detail
    assert CertificateJob.objects.filter(action=JobAction.REVOKE).count() == 1


def test_a_family_is_nothing_to_a_revocation(plane: ControlPlane) -> None:
    (record,) = enrolled(plane, "CS-1", family=family("Eagle"))
    plan = applied(plane, "bulk_revocation")
    ManagedIdentity.objects.filter(pk=record.identity_id).update(family=family("Owl"))

    (target,) = after_its_turn(plane, plan)

    assert target.outcome == "done"


@pytest.mark.parametrize("kind", ["bulk_renewal", "bulk_revocation"])
def test_looking_again_takes_a_number_of_queries_that_does_not_grow(plane: ControlPlane, kind: str) -> None:
    enrolled(plane, "CS-1", "CS-2", "CS-3")
    plan = applied(plane, kind)
    found = plans.kind_named(kind)
    assert isinstance(found, plans.RunningPlanKind)
    targets = list(plan.targets.select_related("identity__family").order_by("position"))

    with CaptureQueriesContext(connection) as one:
        found.departures(plan, targets[:1], plane.clock())
    with CaptureQueriesContext(connection) as three:
        assert found.departures(plan, targets, plane.clock()) == ["", "", ""]

    assert len(one) == len(three) <= 3
