"""The audit trail: every change has an author and a reason of its own, or it is not made."""

import threading
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from inventory.actors import Actor
from inventory.audit import attributed, current_attribution, save_without_history
from inventory.errors import UnattributedChangeError
from inventory.models import CertificateJob, CertificateRecord, Cohort, LifecyclePolicy, ManagedIdentity
from tests.inventory.records import NOW, record_of
from tests.support import OPERATOR, ControlPlane, charger, in_threads, job_for

pytestmark = pytest.mark.django_db


def last_row(instance: Any) -> tuple[str, str, str]:
    row = type(instance).history.filter(id=instance.pk).latest("history_id")
    return (row.actor, row.history_change_reason, row.correlation_id)


def test_a_change_without_an_author_is_not_made() -> None:
    identity = charger("CS-1")
    identity.site = "Elsewhere"

    with pytest.raises(UnattributedChangeError, match="without an actor and a reason; it was not made"):
        identity.save()

    assert ManagedIdentity.objects.get().site == ""
    with pytest.raises(UnattributedChangeError):
        Cohort(name="North").save()
    assert not Cohort.objects.exists()


def test_a_removal_without_an_author_is_not_made() -> None:
    with attributed(OPERATOR, "test"):
        cohort = Cohort.objects.create(name="North")

    with pytest.raises(UnattributedChangeError), transaction.atomic():
        cohort.delete()

    assert Cohort.objects.count() == 1


@pytest.mark.parametrize("model", [ManagedIdentity, CertificateRecord, CertificateJob, LifecyclePolicy, Cohort])
def test_every_model_of_the_lifecycle_keeps_a_history(model: Any) -> None:
    assert {field.name for field in model.history.model._meta.get_fields()} >= {
        "actor",
        "correlation_id",
        "history_change_reason",
        "history_user",
        "history_date",
    }


def test_a_change_is_attributed_to_a_person_with_the_reason() -> None:
    user = User.objects.create_user("maria")
    cohort = Cohort(name="North")

    with attributed(Actor.person(user), "new depot", "chain-1"):
        cohort.save()

    assert last_row(cohort) == ("person:maria", "new depot", "chain-1")
    assert Cohort.history.get().history_user == user


def test_the_inner_attribution_wins_and_keeps_the_chain() -> None:
    cohort = Cohort(name="North")
    with attributed(OPERATOR, "outer", "chain-1"):
        with attributed(Actor.system("inner"), "inner"):
            cohort.save()
        assert last_row(cohort) == ("system:inner", "inner", "chain-1")
        cohort.save()

    assert last_row(cohort) == (OPERATOR.name, "outer", "chain-1")


def test_an_inner_chain_of_its_own_is_kept() -> None:
    with attributed(OPERATOR, "outer", "chain-1"), attributed(OPERATOR, "inner", "chain-2") as inner:
        assert inner.correlation_id == "chain-2"


def test_without_a_chain_each_work_starts_one() -> None:
    with attributed(OPERATOR, "first") as first, attributed(OPERATOR, "nested") as nested:
        pass
    with attributed(OPERATOR, "second") as second:
        pass

    assert first.correlation_id == nested.correlation_id != second.correlation_id
    assert len(first.correlation_id) == 32


def test_a_reason_does_not_leak_into_the_next_save_of_the_same_object() -> None:
    cohort = Cohort(name="North")
    with attributed(Actor.system("first"), "because of this"):
        cohort.save()
    with attributed(Actor.system("second"), "because of that"):
        cohort.save()
    with pytest.raises(UnattributedChangeError):
        cohort.save()

    assert last_row(cohort)[:2] == ("system:second", "because of that")
    assert Cohort.history.count() == 2


def test_a_reason_that_an_object_carries_along_is_not_taken(db: None) -> None:
    cohort: Any = Cohort(name="North")
    cohort._change_reason = "left behind"
    cohort._history_user = User.objects.create_user("mallory")

    with attributed(OPERATOR, "the true one"):
        cohort.save()

    assert last_row(cohort)[:2] == (OPERATOR.name, "the true one")
    assert Cohort.history.get().history_user is None


def test_the_attribution_ends_with_an_error_too() -> None:
    with pytest.raises(RuntimeError), attributed(OPERATOR, "test"):
        raise RuntimeError

    with pytest.raises(UnattributedChangeError):
        current_attribution()


def test_an_attribution_is_not_seen_by_another_thread() -> None:
    def attribution() -> str:
        try:
            return current_attribution().reason
        except UnattributedChangeError:
            return "none"

    with attributed(OPERATOR, "test"):
        assert in_threads(attribution) == ["none"]
    assert threading.active_count() >= 1


def test_what_is_no_change_of_meaning_leaves_no_row_and_the_next_change_does(db: None) -> None:
    job = job_for(charger("CS-1"), "test", now=NOW)
    save_without_history(job)
    assert CertificateJob.history.count() == 1

    with attributed(OPERATOR, "test"):
        job.save()
    assert CertificateJob.history.count() == 2


def test_the_history_of_a_record_holds_no_key_material(plane: ControlPlane) -> None:
    record = record_of(charger("CS-1"), csr_pem="request", certificate_pem="certificate", chain_pem="chain")

    names = {field.name for field in CertificateRecord.history.model._meta.get_fields()}

    assert not names & {"csr_pem", "certificate_pem", "chain_pem"}
    assert CertificateRecord.history.filter(id=record.pk).count() == 1


def test_a_whole_enrolment_leaves_no_row_without_author_reason_and_chain(plane: ControlPlane) -> None:
    plane.enrol(charger("CS-1"))
    plane.clock.advance(days=150)
    plane.sweep()

    for model in (ManagedIdentity, CertificateRecord, CertificateJob):
        for row in model.history.all():
            assert row.actor, row
            assert row.history_change_reason, row
            assert row.correlation_id, row
