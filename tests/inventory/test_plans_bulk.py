"""The bulk actions of the lifecycle: renewal at a rate, revocation at once, both as planned."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from bfcerts.ocpp.registry import Admission, Refusal
from inventory.actors import Actor
from inventory.choices import JobAction, PlanRun, PlanState, RecordState, TargetOutcome
from inventory.errors import InvalidInputError, InventoryError, NotPermittedError
from inventory.models import CertificateJob, CertificateRecord, Cohort, ManagedIdentity, Plan
from inventory.services import catalogue, identities, jobs, lifecycle, plans
from inventory.services.door import CertificateDoor
from inventory.services.plans import running
from tests.inventory.attempts import certificate_attempt
from tests.support import OPERATOR, ControlPlane, charger

pytestmark = pytest.mark.django_db


def enrolled(plane: ControlPlane, *names: str) -> list[CertificateRecord]:
    return [plane.enrol(charger(name, region="North")) for name in names]


def planned(plane: ControlPlane, kind: str, actor: Actor = OPERATOR, **parameters: Any) -> Plan:
    return plans.make(
        kind=kind, parameters={"region": "North", **parameters}, actor=actor, reason="test", now=plane.clock()
    )


def applied(plane: ControlPlane, kind: str, actor: Actor = OPERATOR, **parameters: Any) -> Plan:
    plan = planned(plane, kind, actor, **parameters)
    return plans.apply(plan=plan, digest=plan.digest, actor=actor, reason="all of them", now=plane.clock())


def run(plane: ControlPlane) -> None:
    running.run_plans(plane.clock())


def outcomes(plan: Plan) -> list[str]:
    return list(plan.targets.order_by("position").values_list("outcome", flat=True))


def renewals() -> int:
    return CertificateJob.objects.filter(action=JobAction.RENEW).count()


def states(records: Sequence[CertificateRecord]) -> list[str]:
    return [CertificateRecord.objects.get(pk=record.pk).state for record in records]


def test_a_renewal_plan_says_who_has_nothing_to_renew(plane: ControlPlane) -> None:
    (record, disabled, busy) = enrolled(plane, "CS-1", "CS-2", "CS-3")
    charger("CS-4", region="North")
    charger("CS-5", region="South")
    identities.set_enabled(identity=disabled.identity, enabled=False, actor=OPERATOR, reason="test")
    lifecycle.renew(record=busy, actor=OPERATOR, reason="test", now=plane.clock())

    plan = planned(plane, "bulk_renewal")

    assert plan.excluded == {"disabled": 1, "no_active_certificate": 1, "under_way": 1}
    assert plan.targets.get(included=True).steps == [f"renew:{record.pk}"]
    assert plan.parameters == {"region": ["North"], "purpose": "charger_identity", "per_minute": 300}


def test_only_what_expires_before_a_day_is_renewed_where_one_is_named(plane: ControlPlane) -> None:
    (record,) = enrolled(plane, "CS-1")
    assert record.not_after is not None
    day = record.not_after.date()

    later = planned(plane, "bulk_renewal", expires_before=(day + timedelta(days=1)).isoformat())
    sooner = planned(plane, "bulk_renewal", expires_before=day.isoformat())

    assert (later.included, sooner.included) == (1, 0)
    assert sooner.excluded == {"expires_later": 1}


def test_renewals_start_at_the_rate_of_the_plan(plane: ControlPlane) -> None:
    enrolled(plane, *(f"CS-{number}" for number in range(5)))
    plan = applied(plane, "bulk_renewal", per_minute=12)
    assert outcomes(plan) == ["waiting"] * 5
    assert plan.expected_duration == timedelta(minutes=1)
    assert "A charger is reckoned with 1 minute from the delivery" in plan.expected_basis

    run(plane)
    assert renewals() == 2, "a burst is what ten seconds allow"
    run(plane)
    assert renewals() == 2
    plane.clock.advance(seconds=5)
    run(plane)
    assert renewals() == 3
    plane.clock.advance(seconds=10)
    run(plane)

    assert outcomes(plan) == ["started"] * 5
    plan.refresh_from_db()
    assert plan.run == PlanRun.RUNNING


def test_a_target_ends_as_its_job_does_and_the_plan_with_the_last(plane: ControlPlane) -> None:
    first, second = enrolled(plane, "CS-1", "CS-2")
    plan = applied(plane, "bulk_renewal")
    run(plane)
    plane.work()
    while plane.play_station(first.identity):
        pass

    job = CertificateJob.objects.get(identity=second.identity, action=JobAction.RENEW)
    jobs.cancel(job=job, actor=OPERATOR, reason="not this one", now=plane.clock())
    run(plane)

    assert outcomes(plan) == ["done", "failed"]
    plan.refresh_from_db()
    assert (plan.run, plan.finished_at) == (PlanRun.FINISHED, plane.clock())


def test_the_jobs_of_a_plan_carry_who_applied_it_and_why(plane: ControlPlane) -> None:
    enrolled(plane, "CS-1")
    plan = applied(plane, "bulk_renewal")

    run(plane)

    job = CertificateJob.objects.get(action=JobAction.RENEW)
    assert (job.actor, job.reason, job.correlation_id) == (OPERATOR.name, "all of them", plan.correlation_id)
    assert plan.targets.get().job == job


def test_a_target_that_cannot_start_any_more_is_skipped_with_the_reason(plane: ControlPlane) -> None:
    first, _ = enrolled(plane, "CS-1", "CS-2")
    plan = applied(plane, "bulk_renewal")
    lifecycle.revoke(record=first, actor=OPERATOR, reason="test", now=plane.clock())

    run(plane)

    assert outcomes(plan) == ["skipped", "started"]
    assert "CS-1 has no active certificate to renew" in plan.targets.order_by("position")[0].detail


def test_a_paused_plan_starts_nothing_and_goes_on_when_it_is_resumed(plane: ControlPlane) -> None:
    enrolled(plane, "CS-1")
    plan = applied(plane, "bulk_renewal")

    plans.pause(plan=plan, actor=OPERATOR, reason="lunch")
    run(plane)
    assert renewals() == 0
    with pytest.raises(InventoryError, match="only one that is running can be paused"):
        plans.pause(plan=plan, actor=OPERATOR, reason="again")

    plans.resume(plan=plan, actor=OPERATOR, reason="back")
    run(plane)
    assert renewals() == 1


def test_a_stopped_plan_skips_what_has_not_started(plane: ControlPlane) -> None:
    enrolled(plane, "CS-1", "CS-2", "CS-3")
    plan = applied(plane, "bulk_renewal", per_minute=1)
    run(plane)

    plans.stop(plan=plan, actor=OPERATOR, reason="enough", now=plane.clock())
    plane.clock.advance(hours=1)
    run(plane)

    assert outcomes(plan) == ["started", "skipped", "skipped"]
    plan.refresh_from_db()
    assert (plan.run, plan.run_note) == (PlanRun.STOPPED, "enough")
    with pytest.raises(InventoryError, match="is stopped"):
        plans.resume(plan=plan, actor=OPERATOR, reason="again")


def test_a_plan_pauses_when_who_applied_it_may_no_longer(plane: ControlPlane) -> None:
    enrolled(plane, "CS-1")
    user = User.objects.create_user("maria")
    user.user_permissions.add(Permission.objects.get(codename="renew_certificaterecord"))
    plan = applied(plane, "bulk_renewal", Actor.person(User.objects.get(pk=user.pk)))
    user.user_permissions.clear()

    run(plane)

    plan.refresh_from_db()
    assert (renewals(), plan.run) == (0, PlanRun.PAUSED)
    assert "maria no longer has the permission" in plan.run_note


@pytest.mark.parametrize(
    ("kind", "other"),
    [("bulk_renewal", "revoke_certificaterecord"), ("bulk_revocation", "renew_certificaterecord")],
)
def test_each_kind_takes_the_permission_of_its_verb(plane: ControlPlane, kind: str, other: str) -> None:
    enrolled(plane, "CS-1")
    user = User.objects.create_user("maria")
    user.user_permissions.add(Permission.objects.get(codename=other))

    with pytest.raises(NotPermittedError):
        planned(plane, kind, Actor.person(User.objects.get(pk=user.pk)))


# -- revocation --------------------------------------------------------------------------------------------------------


def test_a_revocation_bites_in_one_run_and_the_authority_is_told_by_jobs(plane: ControlPlane) -> None:
    records = enrolled(plane, *(f"CS-{number}" for number in range(4)))
    (kept,) = [plane.enrol(charger("CS-other", region="South"))]
    door = CertificateDoor()
    plan = applied(plane, "bulk_revocation", revocation_reason="keyCompromise")

    run(plane)

    attempts = [certificate_attempt(record, plane.clock()) for record in [*records, kept]]
    assert [type(answer) for answer in door.decide(attempts)] == [Refusal] * 4 + [Admission]
    assert states(records) == [RecordState.REVOKED] * 4
    assert outcomes(plan) == ["done"] * 4
    plan.refresh_from_db()
    assert plan.run == PlanRun.FINISHED
    at_authority = CertificateJob.objects.filter(action=JobAction.REVOKE)
    assert at_authority.count() == 4
    assert CertificateRecord.objects.get(pk=records[0].pk).revocation_reason == "keyCompromise"


def test_a_revocation_plan_names_every_certificate_and_who_is_locked_out(plane: ControlPlane) -> None:
    first, _ = enrolled(plane, "CS-1", "CS-2")
    charger("CS-3", region="North")
    job = lifecycle.renew(record=first, actor=OPERATOR, reason="test", now=plane.clock())
    second = plane.complete(job)
    ManagedIdentity.objects.filter(pk=first.identity_id).update(security_profile=3)
    ManagedIdentity.objects.exclude(pk=first.identity_id).update(security_profile=2)

    plan = planned(plane, "bulk_revocation")

    target = plan.targets.get(identity=first.identity)
    assert target.steps == [f"revoke:{first.pk}", f"revoke:{second.pk}", "locks_out"]
    assert plan.steps == {"revoke": 3, "locks_out": 1}
    assert plan.excluded == {"no_certificate": 1}


def test_a_certificate_issued_after_the_plan_is_a_change(plane: ControlPlane) -> None:
    (record,) = enrolled(plane, "CS-1")
    plan = planned(plane, "bulk_revocation")
    plane.complete(lifecycle.renew(record=record, actor=OPERATOR, reason="test", now=plane.clock()))

    with pytest.raises(plans.PlanChangedError, match="1 changed"):
        plans.apply(plan=plan, digest=plan.digest, actor=OPERATOR, reason="test", now=plane.clock())

    assert Plan.objects.get(pk=plan.pk).state == PlanState.PLANNED


def test_a_worker_that_vanished_between_targets_is_followed_by_another(plane: ControlPlane) -> None:
    records = enrolled(plane, "CS-1", "CS-2")
    plan = applied(plane, "bulk_revocation")
    kind = plans.kind_named("bulk_revocation")
    assert isinstance(kind, plans.RunningPlanKind)
    first = plan.targets.order_by("position")[0]
    assert running._start(plan, kind, {first.pk: first.identity_id}, OPERATOR, plane.clock())

    run(plane)
    run(plane)

    assert states(records) == [RecordState.REVOKED] * 2
    assert CertificateJob.objects.filter(action=JobAction.REVOKE).count() == 2
    assert outcomes(plan) == [TargetOutcome.DONE] * 2


# -- whom it is about --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({}, "in one way"),
        ({"cohort": "A", "site": "B"}, "in one way"),
        ({"cohort": "missing"}, "no cohort 'missing'"),
        ({"identifiers": ["CS-missing"]}, "no identity with the identifier CS-missing"),
        ({"identifiers": [f"CS-{number}" for number in range(1001)]}, "make a cohort"),
        ({"site": [1]}, "site needs a text or a list of texts"),
        ({"sites": "Depot"}, "no parameter sites"),
        ({"site": "Depot", "per_minute": "fast"}, "whole number"),
        ({"site": "Depot", "per_minute": 0}, "whole number"),
        ({"site": "Depot", "purpose": "nonsense"}, "nonsense"),
        ({"site": "Depot", "slot": "x"}, "no slots"),
        ({"site": "Depot", "expires_before": "soon"}, "no date"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_reason(
    plane: ControlPlane, parameters: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InventoryError, match=sentence):
        plans.start(kind="bulk_renewal", parameters=parameters, actor=OPERATOR, reason="test", now=plane.clock())


def test_a_revocation_reason_is_one_of_the_list(plane: ControlPlane) -> None:
    with pytest.raises(InvalidInputError, match="no revocation reason"):
        planned(plane, "bulk_revocation", revocation_reason="boredom")


@pytest.mark.parametrize("selection", ["cohort", "tag", "site", "identifiers", "static cohort"])
def test_the_same_chargers_are_found_by_every_way_of_naming_them(plane: ControlPlane, selection: str) -> None:
    charger("CS-1", site="Depot", tags=["pilot"])
    charger("CS-2", site="Depot", tags=["pilot", "new"])
    charger("CS-3", site="Harbour")
    identities.create(
        kind="vehicle", authoritative_identifier="V-1", site="Depot", tags=["pilot"], actor=OPERATOR, reason="test"
    )
    cohort = catalogue.save(
        entry=Cohort(name="Pilots", kind="filter", filter={"tag": "pilot"}), actor=OPERATOR, reason="test"
    )
    listed = catalogue.save(entry=Cohort(name="Listed"), actor=OPERATOR, reason="test")
    catalogue.add_members(cohort=listed, identifiers=["CS-1", "CS-2"], actor=OPERATOR, reason="test")
    ways: dict[str, dict[str, Any]] = {
        "cohort": {"cohort": cohort.name},
        "static cohort": {"cohort": listed.name},
        "tag": {"tag": "pilot"},
        "site": {"site": ["Depot", "Depot"]},
        "identifiers": {"identifiers": ["CS-2", "CS-1"]},
    }

    plan = plans.make(kind="bulk_renewal", parameters=ways[selection], actor=OPERATOR, reason="test", now=plane.clock())

    named = plan.targets.order_by("position").values_list("identity__authoritative_identifier", flat=True)
    assert list(named) == ["CS-1", "CS-2"]


@pytest.mark.parametrize("kind", ["bulk_renewal", "bulk_revocation"])
def test_judging_takes_a_number_of_queries_that_does_not_grow(plane: ControlPlane, kind: str) -> None:
    enrolled(plane, "CS-1", "CS-2", "CS-3")
    judge = plans.kind_named(kind).judge
    parameters = planned(plane, kind).parameters
    everybody = list(ManagedIdentity.objects.all())

    with CaptureQueriesContext(connection) as one:
        judge(parameters, everybody[:1], plane.clock())
    with CaptureQueriesContext(connection) as three:
        judge(parameters, everybody, plane.clock())

    assert len(one) == len(three) <= 2
