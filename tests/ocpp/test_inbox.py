"""The inbox: stored once, handled once, in order, and never for ever."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction

from bfcerts.ocpp import inbox
from bfcerts.ocpp.canonical import Evidence
from bfcerts.ocpp.inbox import Observation
from bfcerts.ocpp.models import InboxMessage
from bfcerts.ocpp.registry import Handler, InboxEntry

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
State = InboxMessage.State


def observe(station_id: str = "CS-1", number: int = 0, **changes: object) -> Observation:
    fields: dict[str, Any] = {
        "station_id": station_id,
        "session_id": None,
        "kind": Evidence.SECURITY_EVENT,
        "payload": {"number": number},
        "received_at": NOW,
        **changes,
    }
    return Observation(**fields)


def handled_by(handler: Handler | None) -> Callable[[Evidence], Handler | None]:
    return lambda kind: handler


def process(handler: Handler | None, now: datetime = NOW, limit: int = 10) -> int:
    return inbox.process_due(now=now, limit=limit, handlers=handled_by(handler))


def test_a_message_repeated_on_its_session_is_stored_once() -> None:
    session_id = uuid4()
    message = observe(session_id=session_id, message_id="m1")
    inbox.store([message, message])
    inbox.store(
        [message, observe(session_id=session_id, message_id="m2"), observe(session_id=uuid4(), message_id="m1")]
    )
    assert InboxMessage.objects.count() == 3


def test_what_jsonb_cannot_hold_is_replaced() -> None:
    hostile = {"a\x00b": ["c\x00", {"d": "\x00"}], "n": [1, 2.5, None, True]}
    inbox.store([observe(payload=inbox.storable(hostile))])
    assert InboxMessage.objects.get().payload == {"a�b": ["c�", {"d": "�"}], "n": [1, 2.5, None, True]}


def test_rows_are_handled_in_order_of_arrival_and_once() -> None:
    inbox.store([observe(number=number) for number in range(5)])
    seen: list[int] = []
    assert process(lambda entry: seen.append(entry.payload["number"])) == 5
    assert process(lambda entry: seen.append(entry.payload["number"])) == 0
    assert seen == [0, 1, 2, 3, 4]
    assert set(InboxMessage.objects.values_list("state", "finished_at")) == {(State.DONE, NOW)}


def test_the_handler_sees_what_was_observed() -> None:
    session_id = uuid4()
    inbox.store([observe(session_id=session_id, number=7)])
    seen: list[InboxEntry] = []
    process(seen.append)
    (entry,) = seen
    assert (entry.station_id, entry.session_id, entry.kind) == ("CS-1", str(session_id), Evidence.SECURITY_EVENT)
    assert (entry.payload, entry.received_at) == ({"number": 7}, NOW)


def test_what_nobody_handles_is_done() -> None:
    inbox.store([observe()])
    assert process(None) == 1
    assert InboxMessage.objects.get().state == State.DONE


def test_the_effects_of_a_handler_that_fails_are_undone_and_it_is_tried_later() -> None:
    inbox.store([observe(number=1), observe("CS-2", number=2)])

    def half_way(entry: InboxEntry) -> None:
        InboxMessage.objects.filter(pk=entry.id).update(payload={"number": 99})
        if entry.station_id == "CS-1":
            raise RuntimeError("the disk is full")

    assert process(half_way) == 2
    failed, done = InboxMessage.objects.order_by("id")
    assert (failed.state, failed.payload, failed.attempts) == (State.PENDING, {"number": 1}, 1)
    assert failed.error == "RuntimeError: the disk is full"
    assert failed.next_run_at == NOW + timedelta(seconds=2)
    assert (done.state, done.payload) == (State.DONE, {"number": 99})
    assert process(half_way, NOW + timedelta(seconds=1)) == 0
    assert process(half_way, NOW + timedelta(seconds=2)) == 1


def test_a_row_that_waits_for_its_next_try_does_not_hold_up_the_next() -> None:
    inbox.store([observe(number=1)])

    def never(entry: InboxEntry) -> None:
        raise RuntimeError("no")

    process(never)
    inbox.store([observe(number=2)])
    seen: list[int] = []
    process(lambda entry: seen.append(entry.payload["number"]))
    assert seen == [2]


@pytest.mark.parametrize("kind", inbox.IN_ORDER)
def test_where_the_newest_counts_an_older_row_is_not_overtaken(kind: Evidence) -> None:
    inbox.store([observe(number=1, kind=kind), observe(number=2, kind=kind), observe("CS-2", number=3, kind=kind)])
    seen: list[int] = []
    troubles = ["a moment's outage"]

    def fails_once(entry: InboxEntry) -> None:
        if entry.payload["number"] == 1 and troubles:
            raise RuntimeError(troubles.pop())
        seen.append(entry.payload["number"])

    process(fails_once, limit=1)
    process(fails_once)
    assert seen == [3]
    process(fails_once, NOW + timedelta(seconds=2))
    assert seen == [3, 1, 2]


def test_a_row_that_fails_in_the_middle_of_a_batch_is_not_overtaken_in_it() -> None:
    kind = Evidence.CSR_RECEIVED
    inbox.store([observe(number=1, kind=kind), observe(number=2, kind=kind)])
    seen: list[int] = []
    troubles = ["a moment's outage"]

    def fails_once(entry: InboxEntry) -> None:
        if troubles:
            raise RuntimeError(troubles.pop())
        seen.append(entry.payload["number"])

    process(fails_once)
    assert seen == []
    process(fails_once, NOW + timedelta(minutes=1))
    process(fails_once, NOW + timedelta(minutes=2))
    assert seen == [1, 2]


def test_what_a_gateway_with_a_clock_ahead_stored_is_handled_now_and_not_dated_in_the_future() -> None:
    later = NOW + timedelta(hours=10)
    inbox.store([replace(observe(), received_at=later)])
    seen: list[datetime] = []

    assert process(lambda entry: seen.append(entry.received_at)) == 1

    assert seen == [NOW]


def test_a_row_that_never_succeeds_is_given_up_and_says_why() -> None:
    inbox.store([observe()])

    def never(entry: InboxEntry) -> None:
        raise ValueError("that is wrong")

    now, waits = NOW, []
    for _ in range(inbox.MAX_ATTEMPTS):
        assert process(never, now) == 1
        row = InboxMessage.objects.get()
        waits.append(row.next_run_at - now)
        now = row.next_run_at
    assert (row.state, row.attempts, row.error) == (State.FAILED, inbox.MAX_ATTEMPTS, "ValueError: that is wrong")
    assert max(waits) <= inbox.LONGEST_WAIT
    assert process(never, now + timedelta(days=1)) == 0


def test_a_row_whose_worker_vanished_comes_back_and_ends_in_the_end() -> None:
    inbox.store([observe()])
    now = NOW
    for attempt in range(1, inbox.MAX_ATTEMPTS + 1):
        (claim,) = inbox.claim_due(now, 10)
        assert claim.attempt == attempt
        assert inbox.claim_due(now, 10) == []
        now += inbox.LEASE
    seen: list[InboxEntry] = []
    process(seen.append, now)
    assert seen == []
    assert InboxMessage.objects.get().state == State.FAILED


def test_a_worker_that_lost_its_lease_changes_nothing() -> None:
    inbox.store([observe()])
    (stale,) = inbox.claim_due(NOW, 10)
    later = NOW + inbox.LEASE
    (current,) = inbox.claim_due(later, 10)
    inbox.finish(stale, later)
    inbox.fail(stale, "too late", later)
    row = InboxMessage.objects.get()
    assert (row.state, row.error) == (State.PENDING, "")
    inbox.finish(current, later)
    assert InboxMessage.objects.get().state == State.DONE


def test_rows_of_a_station_that_another_worker_holds_wait() -> None:
    inbox.store([observe(number=1), observe(number=2), observe("CS-2", number=3)])
    (first,) = inbox.claim_due(NOW, 1)
    (other,) = inbox.claim_due(NOW, 10)
    assert InboxMessage.objects.get(pk=other.id).station_id == "CS-2"
    inbox.finish(first, NOW)
    (second,) = inbox.claim_due(NOW, 10)
    assert InboxMessage.objects.get(pk=second.id).payload == {"number": 2}


def test_rows_without_a_station_wait_for_nobody() -> None:
    inbox.store([observe("", number=1), observe("", number=2)])
    assert len(inbox.claim_due(NOW, 1)) == 1
    assert len(inbox.claim_due(NOW, 1)) == 1


def test_many_workers_handle_every_row_once_and_each_station_in_order() -> None:
    stations, each = 6, 8
    inbox.store([observe(f"CS-{station}", number) for number in range(each) for station in range(stations)])
    seen: dict[str, list[int]] = {f"CS-{station}": [] for station in range(stations)}
    busy: set[str] = set()
    overlaps: list[str] = []

    def handler(entry: InboxEntry) -> None:
        if entry.station_id in busy:
            overlaps.append(entry.station_id)
        busy.add(entry.station_id)
        seen[entry.station_id].append(entry.payload["number"])
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.002)")  # work of some length, in which another could overtake it
        busy.discard(entry.station_id)

    def worker() -> None:
        try:
            while InboxMessage.objects.filter(state=State.PENDING).exists():
                process(handler, limit=5)
        finally:
            connection.close()

    workers = [threading.Thread(target=worker) for _ in range(4)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join(60)
    assert overlaps == []
    assert seen == {station: list(range(each)) for station in seen}


def test_what_is_rolled_back_is_not_stored() -> None:
    with transaction.atomic():
        inbox.store([observe()])
        transaction.set_rollback(True)
    assert not InboxMessage.objects.exists()
