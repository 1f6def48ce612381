"""Deactivating, reactivating, deleting and revoking: what each does, and what it refuses."""

from datetime import timedelta

import pytest

from bfcerts.ocpp.canonical import Action
from inventory.choices import EventType, JobAction, JobState, RecordState
from inventory.errors import (
    InvalidInputError,
    LastCredentialError,
    TransitionRefusedError,
)
from inventory.models import (
    CertificateJob,
    CertificateRecord,
    ManagedIdentity,
)
from inventory.services import lifecycle
from tests.inventory.commanded import INSTALLED, events, register, seen
from tests.support import OPERATOR, ControlPlane, charger, request_for

pytestmark = pytest.mark.django_db


# -- deactivate, reactivate, delete ----------------------------------------------------------------------------------


def test_the_last_working_certificate_is_not_taken_by_accident(plane: ControlPlane) -> None:
    record = plane.enrol(charger("CS-1"))

    with pytest.raises(LastCredentialError) as refusal:
        lifecycle.deactivate(record=record, actor=OPERATOR, reason="test", now=plane.clock())

    assert str(refusal.value) == (
        f"Deactivating certificate {record.pk} would leave CS-1 without a working certificate. Renew it first, or "
        "force it if you mean to."
    )
    record.refresh_from_db()
    assert record.state == RecordState.ACTIVE
    lifecycle.deactivate(record=record, actor=OPERATOR, reason="test", force=True, now=plane.clock())
    record.refresh_from_db()
    assert record.state == RecordState.INACTIVE


def test_with_another_working_certificate_it_is_no_accident(plane: ControlPlane) -> None:
    old = plane.enrol(charger("CS-1"))
    new = plane.complete(lifecycle.renew(record=old, actor=OPERATOR, reason="test", now=plane.clock()))

    lifecycle.deactivate(record=new, actor=OPERATOR, reason="test", now=plane.clock())

    new.refresh_from_db()
    assert new.state == RecordState.INACTIVE
    assert events(new, EventType.CERTIFICATE_DEACTIVATED) == 1


def test_a_fallback_whose_window_is_over_does_not_count_as_working(plane: ControlPlane) -> None:
    old = plane.enrol(charger("CS-1"))
    new = plane.complete(lifecycle.renew(record=old, actor=OPERATOR, reason="test", now=plane.clock()))
    plane.clock.advance(days=8)

    with pytest.raises(LastCredentialError):
        lifecycle.deactivate(record=new, actor=OPERATOR, reason="test", now=plane.clock())


def test_a_retired_certificate_that_is_the_last_way_in_is_not_deleted_by_accident(plane: ControlPlane) -> None:
    old = plane.enrol(charger("CS-1"))
    new = plane.complete(lifecycle.renew(record=old, actor=OPERATOR, reason="test", now=plane.clock()))
    lifecycle.revoke(record=new, actor=OPERATOR, reason="test", now=plane.clock())

    with pytest.raises(LastCredentialError, match=f"Deleting certificate {old.pk} would leave CS-1 without"):
        lifecycle.delete(record=old, actor=OPERATOR, reason="test", now=plane.clock())
    plane.clock.advance(days=8)
    lifecycle.delete(record=old, actor=OPERATOR, reason="test", now=plane.clock())

    old.refresh_from_db()
    assert (old.state, old.deleted_at) == (RecordState.DELETED, plane.clock())


@pytest.mark.parametrize("state", ["active", "issued", "installed_pending_activation"])
def test_what_is_in_use_or_under_way_is_not_deleted(plane: ControlPlane, state: str) -> None:
    record = register(plane, charger("CS-1"), **({} if state == "issued" else INSTALLED))
    if state == "active":
        evidence = seen(plane, record)
        record = lifecycle.activate(record=record, evidence=evidence, actor=OPERATOR, reason="test", now=plane.clock())

    with pytest.raises(TransitionRefusedError, match="can be deleted"):
        lifecycle.delete(record=record, actor=OPERATOR, reason="test", force=True, now=plane.clock())


def test_a_certificate_that_a_job_works_on_is_not_deleted(plane: ControlPlane) -> None:
    record = plane.enrol(charger("CS-1"))
    lifecycle.revoke(record=record, actor=OPERATOR, reason="test", now=plane.clock())
    job = CertificateJob.objects.get(action=JobAction.REVOKE)

    with pytest.raises(TransitionRefusedError, match=f"Job {job.pk} \\(revoke at the ca\\) still works on"):
        lifecycle.delete(record=record, actor=OPERATOR, reason="test", now=plane.clock())
    plane.work()
    lifecycle.delete(record=record, actor=OPERATOR, reason="test", now=plane.clock())


def test_a_reactivated_certificate_is_active_again_only_on_fresh_evidence(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    record = plane.enrol(identity)
    before = seen(plane, record)
    plane.clock.advance(minutes=1)
    lifecycle.deactivate(record=record, actor=OPERATOR, reason="test", force=True, now=plane.clock())
    plane.clock.advance(minutes=1)
    lifecycle.reactivate(record=record, actor=OPERATOR, reason="test", now=plane.clock())
    record.refresh_from_db()
    assert (record.state, record.activation_evidence) == (RecordState.INSTALLED_PENDING_ACTIVATION, None)

    with pytest.raises(TransitionRefusedError, match=r"was observed before certificate \d+ was deactivated"):
        lifecycle.activate(record=record, evidence=before, actor=OPERATOR, reason="test", now=plane.clock())
    plane.connect(identity, record)
    plane.work()

    record.refresh_from_db()
    assert record.state == RecordState.ACTIVE
    assert events(record, EventType.CERTIFICATE_ACTIVATED) == 2
    assert events(record, EventType.CERTIFICATE_REACTIVATED) == 1


def test_a_connection_from_before_a_deactivation_does_not_bring_the_certificate_back(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    record = plane.enrol(identity)
    plane.connect(identity, record)
    plane.clock.advance(minutes=1)
    lifecycle.deactivate(record=record, actor=OPERATOR, reason="test", force=True, now=plane.clock())
    lifecycle.reactivate(record=record, actor=OPERATOR, reason="test", now=plane.clock())

    plane.work()

    record.refresh_from_db()
    assert record.state == RecordState.INSTALLED_PENDING_ACTIVATION


def test_an_expired_certificate_is_not_reactivated(plane: ControlPlane) -> None:
    record = plane.enrol(charger("CS-1"))
    lifecycle.deactivate(record=record, actor=OPERATOR, reason="test", force=True, now=plane.clock())
    plane.clock.advance(days=200)

    with pytest.raises(TransitionRefusedError, match="has expired; issue a new one instead"):
        lifecycle.reactivate(record=record, actor=OPERATOR, reason="test", now=plane.clock())


def test_a_reactivated_certificate_takes_the_place_of_the_one_that_took_its(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    first = plane.enrol(identity)
    lifecycle.deactivate(record=first, actor=OPERATOR, reason="test", force=True, now=plane.clock())
    ManagedIdentity.objects.update(fallback_until=plane.clock() + timedelta(days=1))  # it may come back by password
    second = plane.enrol(identity)
    plane.clock.advance(minutes=1)
    lifecycle.reactivate(record=first, actor=OPERATOR, reason="test", now=plane.clock())

    plane.connect(identity, first)
    plane.work()

    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, second.state) == (RecordState.ACTIVE, RecordState.RETIRED)


# -- revoke ----------------------------------------------------------------------------------------------------------


def test_a_revoked_certificate_never_comes_back(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    record = plane.enrol(identity)
    lifecycle.revoke(record=record, actor=OPERATOR, reason="stolen", now=plane.clock())
    plane.clock.advance(minutes=1)

    for act in (lifecycle.reactivate, lifecycle.renew, lifecycle.install, lifecycle.deactivate, lifecycle.revoke):
        with pytest.raises(TransitionRefusedError, match="is revoked; only one that is"):
            act(record=record, actor=OPERATOR, reason="test", now=plane.clock())
    with pytest.raises(TransitionRefusedError):
        lifecycle.activate(
            record=record, evidence=seen(plane, record), actor=OPERATOR, reason="test", now=plane.clock()
        )
    plane.connect(identity, record)
    plane.work()

    record.refresh_from_db()
    assert record.state == RecordState.REVOKED


def test_revoking_what_is_being_delivered_stops_the_delivery(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    plane.send_csr(identity, request_for("CS-1"))
    plane.work()
    record = CertificateRecord.objects.get()

    lifecycle.revoke(record=record, actor=OPERATOR, reason="stolen", now=plane.clock())

    job = CertificateJob.objects.get(action=JobAction.ISSUE)
    (command,) = plane.commands(identity, Action.DELIVER_CERTIFICATE)
    assert (job.state, job.outcome) == (JobState.FAILED, f"Certificate {record.pk} was revoked: stolen")
    assert command.state == "cancelled"


def test_the_reason_of_a_revocation_is_one_that_the_ca_takes(plane: ControlPlane) -> None:
    record = plane.enrol(charger("CS-1"))

    with pytest.raises(InvalidInputError, match="'because' is no revocation reason; use one of unspecified, key"):
        lifecycle.revoke(record=record, actor=OPERATOR, reason="test", revocation_reason="because", now=plane.clock())
