"""Rows read and written by SQL that is made once are what Django reads and writes."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError, transaction
from django.db.models import Model

from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.models import OutboxCommand, StationSession
from bfcerts.rows import insert, insert_all, row, row_of, rows, update, update_all
from inventory.models import CertificateJob, CertificateRecord, DomainEvent, LifecyclePolicy, ManagedIdentity
from tests.support import (
    PATIENCE_SECONDS,
    Clock,
    ControlPlane,
    charger,
    in_threads,
    job_for,
    somebody_waits_for_a_lock,
    wait_until,
)

pytestmark = pytest.mark.django_db


def values(instance: Model) -> dict[str, object]:
    return {field.attname: getattr(instance, field.attname) for field in instance._meta.concrete_fields}


def command(clock: Clock, dedupe_key: str, **changes: object) -> OutboxCommand:
    given = {
        "station_id": "CS-1",
        "action": Action.RESET,
        "payload": {"kind": "OnIdle", "nested": [1, None, {"é": "\\"}]},
        "secret_payload": b"\x00\xff",
        "dedupe_key": dedupe_key,
        "created_at": clock(),
        "not_before": clock(),
        "deadline": clock() + timedelta(hours=1),
    }
    return OutboxCommand(**{**given, **changes})


def test_whole_rows_are_read_as_django_reads_them(plane: ControlPlane) -> None:
    record = plane.enrol(charger("CS-1", tags=["pilot", "north"], site="Depot"))
    StationSession.objects.create(
        station_id="CS-1",
        node="a",
        listener="profile3",
        protocol="ocpp2.0.1",
        security_profile=3,
        address="2001:db8::1",
        connected_at=plane.clock(),
    )

    for model in (CertificateRecord, ManagedIdentity, CertificateJob, DomainEvent, LifecyclePolicy, StationSession):
        expected = {stored.pk: values(stored) for stored in model._default_manager.all()}
        assert expected
        found = rows(model, "true")
        assert {one.pk: values(one) for one in found} == expected
        assert all(not one._state.adding for one in found)
    assert row_of(CertificateRecord, record.pk).state == "active"


def test_a_condition_takes_values_and_an_order(db: None) -> None:
    names = [charger(f"CS-{number}").authoritative_identifier for number in (3, 1, 2)]

    found = rows(
        ManagedIdentity,
        "kind = %s AND authoritative_identifier <> %s ORDER BY authoritative_identifier",
        "charger",
        "CS-2",
    )

    assert [identity.authoritative_identifier for identity in found] == ["CS-1", "CS-3"]
    assert row(ManagedIdentity, "authoritative_identifier = %s", "CS-9") is None
    assert row(ManagedIdentity, "authoritative_identifier = %s", names[0]) is not None


def test_a_row_that_is_not_there_is_the_models_own_exception(db: None, clock: Clock) -> None:
    with pytest.raises(ManagedIdentity.DoesNotExist, match="identity 7 does not exist"):
        row_of(ManagedIdentity, 7)
    with pytest.raises(ObjectDoesNotExist, match="outbox command 7 does not exist"):
        update(command(clock, "a", pk=7))


@pytest.mark.django_db(transaction=True)
def test_a_locked_row_is_waited_for() -> None:
    identity = charger("CS-1")

    locked = threading.Event()

    def hold() -> str:
        with transaction.atomic():
            row_of(ManagedIdentity, identity.pk, lock=True)
            locked.set()
            wait_until(somebody_waits_for_a_lock, "the other one to wait")
            ManagedIdentity.objects.filter(pk=identity.pk).update(site="first")
        return ""

    def follow() -> str:
        locked.wait(PATIENCE_SECONDS)
        with transaction.atomic():
            return row_of(ManagedIdentity, identity.pk, lock=True).site

    assert in_threads(hold, follow) == ["", "first"]


def test_an_inserted_row_has_its_key_its_defaults_and_its_values(db: None, clock: Clock) -> None:
    new = command(clock, "a")

    assert insert(new)

    stored = OutboxCommand.objects.get()
    assert values(stored) == {**values(new), "secret_payload": stored.secret_payload}
    assert bytes(stored.secret_payload or b"") == b"\x00\xff"
    assert (new.pk, new._state.adding, stored.state, stored.attempts) == (stored.pk, False, "queued", 0)


def test_what_the_database_knows_better_is_left_to_it(db: None, clock: Clock) -> None:
    event = DomainEvent(type="CSRValidated", occurred_at=clock(), actor="test", reason="test", correlation_id="1")

    assert insert(event)

    assert DomainEvent.objects.get().transaction > 0


def test_what_is_known_is_not_inserted_again_and_takes_no_transaction_along(db: None, clock: Clock) -> None:
    assert insert(command(clock, "a"), unless_known=True)
    again = command(clock, "a", station_id="CS-2")

    assert not insert(again, unless_known=True)

    assert [stored.station_id for stored in OutboxCommand.objects.all()] == ["CS-1"]
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(command(clock, "a"))


def test_all_of_a_row_is_updated_or_only_what_is_named(db: None, clock: Clock) -> None:
    job = job_for(charger(), "test_step", now=clock())
    before = values(CertificateJob.objects.get())
    job.parameters, job.attempts, job.outcome = {"tries": [1]}, 3, "Busy."

    update(job, ["attempts"])
    assert values(CertificateJob.objects.get()) == {**before, "attempts": 3}

    update(job)
    assert values(CertificateJob.objects.get()) == {
        **before,
        "attempts": 3,
        "parameters": {"tries": [1]},
        "outcome": "Busy.",
    }


# -- several at once ---------------------------------------------------------------------------------------------------


def test_several_rows_are_stored_as_they_are_one_by_one(clock: Clock) -> None:
    alone, *together = (command(clock, f"key-{number}", secret_payload=None) for number in range(4))
    assert insert(alone)

    insert_all(together)

    stored = OutboxCommand.objects.in_bulk([item.pk for item in together])
    for item in together:
        own = {"id": item.pk, "dedupe_key": item.dedupe_key, "message_id": item.message_id}
        assert values(stored[item.pk]) == {**values(alone), **own}


def test_of_several_rows_those_that_are_known_are_left_as_they_are(clock: Clock) -> None:
    insert(command(clock, "known", station_id="CS-known"))

    with pytest.raises(IntegrityError), transaction.atomic():
        insert_all([command(clock, "known"), command(clock, "new")])
    insert_all([command(clock, "known"), command(clock, "new")], unless_known=True)

    stored = OutboxCommand.objects.order_by("pk").values_list("dedupe_key", "station_id")
    assert list(stored) == [("known", "CS-known"), ("new", "CS-1")]


def test_some_columns_of_several_rows_are_updated(clock: Clock) -> None:
    changed = [command(clock, f"key-{number}") for number in range(3)]
    insert_all(changed)
    for number, item in enumerate(changed):
        item.station_id, item.secret_payload, item.payload = f"CS-{number}", None, {"number": number}

    update_all(changed, ("station_id", "secret_payload"))

    for number, item in enumerate(OutboxCommand.objects.order_by("pk")):
        assert (item.station_id, item.secret_payload, item.payload["kind"]) == (f"CS-{number}", None, "OnIdle")


def test_an_update_of_several_rows_misses_none(clock: Clock) -> None:
    known, gone = command(clock, "known"), command(clock, "gone")
    insert_all([known, gone])
    OutboxCommand.objects.filter(pk=gone.pk).delete()

    with pytest.raises(ObjectDoesNotExist):
        update_all([known, gone], ("station_id",))


def test_nothing_to_store_is_nothing_asked(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        insert_all([])
        update_all([], ("station_id",))


def test_several_rows_with_arrays_are_stored_as_they_are(db: None) -> None:
    tags = [[], ["north"], ['a "quoted" one', "back\\slash", "{curly, comma}", "é"]]
    new = [
        ManagedIdentity(kind="charger", authoritative_identifier=f"CS-{number}", tags=of_one)
        for number, of_one in enumerate(tags)
    ]

    insert_all(new)

    stored = ManagedIdentity.objects.order_by("authoritative_identifier")
    assert [identity.tags for identity in stored] == tags
    assert [identity.pk for identity in stored] == [identity.pk for identity in new]
