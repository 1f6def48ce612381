"""Many certificates are revoked in one transaction, and each of them as it would have been alone."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inventory import seams
from inventory.actors import Actor
from inventory.choices import EventType, JobAction, JobState, PlanRun, RecordState
from inventory.errors import InventoryError, NotPermittedError
from inventory.models import CertificateJob, CertificateRecord, DomainEvent, Plan
from inventory.services import lifecycle, plans
from inventory.services.plans import running
from tests.inventory.records import bring_to, record_of
from tests.support import OPERATOR, ControlPlane, charger

pytestmark = pytest.mark.django_db


def active(count: int, prefix: str = "CS", **fields: Any) -> list[CertificateRecord]:
    records = [record_of(charger(f"{prefix}-{number}", region="North", **fields)) for number in range(count)]
    for record in records:
        bring_to(record, "active")
    return list(CertificateRecord.objects.filter(pk__in=[record.pk for record in records]).order_by("pk"))


def revoke(plane: ControlPlane, records: Sequence[CertificateRecord], actor: Actor = OPERATOR) -> list[int]:
    revoked = lifecycle.revoke_many(
        record_ids=[record.pk for record in records],
        actor=actor,
        reason="stolen",
        revocation_reason="keyCompromise",
        now=plane.clock(),
    )
    return [record.pk for record in revoked]


def applied(plane: ControlPlane) -> Plan:
    plan = plans.make(
        kind="bulk_revocation", parameters={"region": "North"}, actor=OPERATOR, reason="test", now=plane.clock()
    )
    return plans.apply(plan=plan, digest=plan.digest, actor=OPERATOR, reason="stolen", now=plane.clock())


def test_each_of_many_has_what_one_alone_has(plane: ControlPlane) -> None:
    alone, *together = (plane.enrol(charger(f"CS-{number}")) for number in range(4))
    lifecycle.revoke(
        record=alone, actor=OPERATOR, reason="stolen", revocation_reason="keyCompromise", now=plane.clock()
    )

    assert revoke(plane, together) == [record.pk for record in together]

    def told(record: CertificateRecord) -> dict[str, Any]:
        stored = CertificateRecord.objects.get(pk=record.pk)
        event = DomainEvent.objects.get(record=record, type=EventType.CERTIFICATE_REVOKED)
        entry = stored.history.latest()
        job = CertificateJob.objects.get(record=record, action=JobAction.REVOKE)
        own = {"certificateRecordId", "managedIdentityId", "notBefore", "notAfter"}
        return {
            "record": (stored.state, stored.revoked_at, stored.revocation_reason, stored.rollback_until),
            "history": (entry.history_type, entry.state, entry.actor, entry.history_change_reason, entry.revoked_at),
            "event": (event.actor, event.reason, event.resulting_state, event.occurred_at),
            "payload": {name: value for name, value in event.payload.items() if name not in own},
            "job": (job.state, job.step, job.queue, job.purpose, job.actor, job.reason, job.next_run_at),
            "job's keys": (job.target == f"record:{record.pk}", job.idempotency_key == f"revoke:{record.pk}"),
            "job's history": [(item.history_type, item.state, item.actor) for item in job.history.all()],
            "payload's ids": (event.payload["certificateRecordId"], event.payload["managedIdentityId"])
            == (record.pk, record.identity_id),
        }

    assert [told(record) for record in together] == [told(alone)] * 3
    plane.work()
    assert set(CertificateJob.objects.filter(action=JobAction.REVOKE).values_list("state", flat=True)) == {
        JobState.SUCCEEDED
    }


def test_what_works_on_a_certificate_that_is_revoked_with_others_ends(plane: ControlPlane) -> None:
    records = [record_of(charger(f"CS-{number}")) for number in range(2)]
    for record in records:
        bring_to(record, "issued")
    lifecycle.install(record=records[0], actor=OPERATOR, reason="again", now=plane.clock())

    revoke(plane, records)

    job = CertificateJob.objects.get(action=JobAction.INSTALL)
    assert (job.state, job.outcome) == (JobState.FAILED, f"Certificate {records[0].pk} was revoked: stolen")


def test_what_was_revoked_before_stays_as_it_was(plane: ControlPlane) -> None:
    before, other = active(2)
    lifecycle.revoke(record=before, actor=OPERATOR, reason="earlier", now=plane.clock())
    plane.clock.advance(hours=1)

    assert revoke(plane, [before, other]) == [other.pk]

    before.refresh_from_db()
    assert before.revocation_reason == "unspecified"
    assert DomainEvent.objects.filter(record=before, type=EventType.CERTIFICATE_REVOKED).count() == 1


def test_it_takes_the_permission_of_the_verb(plane: ControlPlane) -> None:
    records = active(2)

    with pytest.raises(NotPermittedError, match="revoke_certificaterecord"):
        revoke(plane, records, Actor.person(User.objects.create_user("nobody")))

    assert CertificateRecord.objects.filter(state=RecordState.REVOKED).count() == 0


def test_the_number_of_queries_does_not_grow_with_the_certificates(plane: ControlPlane) -> None:
    few, many = active(2, "few"), active(40, "many")

    with CaptureQueriesContext(connection) as small:
        revoke(plane, few)
    with CaptureQueriesContext(connection) as large:
        revoke(plane, many)

    assert len(large) == len(small) <= 20


def test_a_plan_takes_as_many_queries_for_a_batch_of_any_size(plane: ControlPlane) -> None:
    counts = []
    for size in (2, running.TOGETHER):
        active(size, f"of-{size}")
        plan = applied(plane)
        assert plan.included == size
        with CaptureQueriesContext(connection) as captured:
            running.run_plans(plane.clock())
        counts.append(len(captured))
        plan.refresh_from_db()
        assert plan.run == PlanRun.FINISHED

    assert counts[0] == counts[1]


def test_a_floor_above_hears_of_them_together(plane: ControlPlane) -> None:
    records = active(3)
    heard: list[list[int]] = []
    seams.on_records_moved(lambda moved, _: heard.append([record.pk for record in moved]))

    revoke(plane, records)

    assert heard == [[record.pk for record in records]]


def test_one_that_cannot_be_told_of_holds_none_of_the_others_up(plane: ControlPlane) -> None:
    """A floor above refuses one charger: only that target fails, with the sentence."""
    records = active(3)

    def refusing(moved: Sequence[CertificateRecord], now: datetime) -> None:
        if records[1].pk in [record.pk for record in moved]:
            raise InventoryError("Not this one.")

    seams.on_records_moved(refusing)
    plan = applied(plane)

    running.run_plans(plane.clock())

    targets = list(plan.targets.order_by("position").values_list("outcome", "detail"))
    assert [outcome for outcome, _ in targets] == ["done", "failed", "done"]
    assert targets[1][1] == "Not this one."
    assert [CertificateRecord.objects.get(pk=record.pk).state for record in records] == ["revoked", "active", "revoked"]
    assert DomainEvent.objects.filter(type=EventType.CERTIFICATE_REVOKED).count() == 2


def test_a_target_whose_certificate_was_revoked_meanwhile_holds_up_none_of_the_others(plane: ControlPlane) -> None:
    first, second = active(2)
    plan = applied(plane)
    lifecycle.revoke(record=first, actor=OPERATOR, reason="sooner", now=plane.clock())

    running.run_plans(plane.clock())

    skipped, done = plan.targets.order_by("position").values_list("outcome", "detail")
    assert skipped[0] == "skipped"
    assert "CS-0 has no certificate that could be revoked" in skipped[1]
    assert done == ("done", f"Revoked: {second.pk}. The CA is told by a job for each.")
