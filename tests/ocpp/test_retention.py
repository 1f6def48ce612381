"""What the wire forgets, and what it keeps: nothing that somebody still needs, and nothing that would count twice."""

from collections.abc import Set
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction

from bfcerts.ocpp import inbox, outbox, retention
from bfcerts.ocpp.canonical import Action, CommandOutcome, Evidence, reset
from bfcerts.ocpp.models import InboxMessage, OutboxCommand, StationQuestion, StationSession
from bfcerts.ocpp.outbox import Ending
from bfcerts.purge import MOST_TRANSACTIONS, ROWS_PER_TRANSACTION
from tests.support import in_threads

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
DAY = timedelta(days=1)
State = InboxMessage.State


def message(state: str, received_at: datetime, **changes: Any) -> int:
    """A row of the inbox, which ended at once where it has ended."""
    row = InboxMessage.objects.create(
        **{
            "station_id": "CS-1",
            "kind": Evidence.SECURITY_EVENT,
            "payload": {},
            "received_at": received_at,
            "next_run_at": received_at,
            "state": state,
            "finished_at": None if state == State.PENDING else received_at,
            **changes,
        }
    )
    return row.pk


def session(closed_at: datetime | None, station_id: str = "CS-1") -> UUID:
    row = StationSession.objects.create(
        station_id=station_id,
        node="node-a",
        listener="profile3",
        protocol="ocpp2.0.1",
        security_profile=3,
        address="192.0.2.1",
        connected_at=NOW - 200 * DAY,
        closed_at=closed_at,
    )
    return row.pk


def command(key: str, ended_at: datetime | None, **changes: Any) -> OutboxCommand:
    row = outbox.enqueue(
        **{
            "station_id": "CS-1",
            "action": Action.RESET,
            "payload": reset(),
            "dedupe_key": key,
            "now": NOW - 200 * DAY,
            "expires_after": 400 * DAY,
            **changes,
        }
    )
    if ended_at is not None:
        outbox.finish([Ending(row.pk, CommandOutcome.ACCEPTED, "Accepted")], now=ended_at)
    return row


def nothing_needed(references: Set[str]) -> Set[str]:
    return set()


def kept(model: type[InboxMessage] | type[OutboxCommand] | type[StationSession]) -> set[Any]:
    return set(model.objects.values_list("pk", flat=True))


# -- the inbox -------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_evidence_that_was_taken_in_is_forgotten_after_its_time_and_what_waits_never_is() -> None:
    message(State.DONE, NOW - 2 * DAY)
    message(State.FAILED, NOW - 4 * DAY)
    stay = {
        message(State.DONE, NOW),
        message(State.FAILED, NOW - 2 * DAY),
        message(State.PENDING, NOW - 100 * DAY),
    }

    assert retention.purge_messages(done_before=NOW - DAY, failed_before=NOW - 3 * DAY) == 2
    assert kept(InboxMessage) == stay


@pytest.mark.django_db
def test_a_repeat_within_the_time_of_keeping_is_still_known() -> None:
    live = uuid4()
    message(State.DONE, NOW - DAY / 2, session_id=live, message_id="7 digest")
    retention.purge_messages(done_before=NOW - DAY, failed_before=NOW - DAY)

    repeat = inbox.Observation("CS-1", live, Evidence.SECURITY_EVENT, {}, NOW, "7 digest")
    inbox.store([repeat])

    assert InboxMessage.objects.count() == 1


@pytest.mark.django_db
def test_a_backlog_is_worked_off_in_bounded_parts_and_found_by_its_index() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO ocpp_inboxmessage (station_id, kind, message_id, payload, received_at, state, attempts, "
            "next_run_at, error, finished_at) SELECT 'CS-1', 'security_event', '', '{}', %s, 'done', 1, %s, '', "
            "%s + number * interval '1 second' FROM generate_series(1, %s) AS row(number)",
            [NOW, NOW, NOW, MOST_TRANSACTIONS * ROWS_PER_TRANSACTION + 500],
        )
        cursor.execute("ANALYZE ocpp_inboxmessage")
        cursor.execute(
            "EXPLAIN SELECT id FROM ocpp_inboxmessage WHERE state = 'done' AND finished_at < %s ORDER BY finished_at "
            "LIMIT 1000 FOR UPDATE SKIP LOCKED",
            [NOW + DAY],
        )
        plan = " ".join(line for (line,) in cursor.fetchall())
    ended = {"done_before": NOW + DAY, "failed_before": NOW + DAY}

    assert "inbox_ended" in plan
    assert "Sort" not in plan
    assert retention.purge_messages(**ended) == MOST_TRANSACTIONS * ROWS_PER_TRANSACTION
    assert InboxMessage.objects.order_by("finished_at")[0].finished_at == NOW + timedelta(seconds=20_001)
    assert retention.purge_messages(**ended) == 500


@pytest.mark.django_db(transaction=True)
def test_a_row_that_somebody_holds_is_passed_by() -> None:
    held = message(State.DONE, NOW - 2 * DAY)
    message(State.DONE, NOW - 2 * DAY)
    with transaction.atomic():
        InboxMessage.objects.select_for_update().get(pk=held)
        (deleted,) = in_threads(lambda: retention.purge_messages(done_before=NOW, failed_before=NOW))

    assert deleted == 1
    assert kept(InboxMessage) == {held}


# -- commands --------------------------------------------------------------------------------------------------------


def taken_in() -> None:
    InboxMessage.objects.update(state=State.DONE, finished_at=NOW)


@pytest.mark.django_db
def test_a_command_that_ended_is_forgotten_after_its_time_and_an_open_one_never_is() -> None:
    command("old", NOW - 2 * DAY)
    stay = {command("young", NOW).pk, command("open", None).pk}
    taken_in()

    assert retention.purge_commands(ended_before=NOW - DAY, still_needed=nothing_needed) == 1
    assert kept(OutboxCommand) == stay


@pytest.mark.django_db
def test_a_command_stays_while_the_work_that_it_belongs_to_is_open() -> None:
    needed = command("a", NOW - 2 * DAY, reference="job:1:deliver")
    command("b", NOW - 2 * DAY, reference="job:2:deliver")
    command("c", NOW - 2 * DAY)
    taken_in()
    asked: list[Set[str]] = []

    def still_needed(references: Set[str]) -> Set[str]:
        asked.append(references)
        return {"job:1:deliver"}

    assert retention.purge_commands(ended_before=NOW, still_needed=still_needed) == 2
    assert asked == [{"job:1:deliver", "job:2:deliver"}]
    assert kept(OutboxCommand) == {needed.pk}
    again = outbox.enqueue(
        station_id="CS-1",
        action=Action.RESET,
        payload=reset(),
        dedupe_key="a",
        now=NOW,
        expires_after=DAY,
        reference="job:1:deliver",
    )
    assert again.pk == needed.pk, "the open work asks again and is not sent twice"


@pytest.mark.django_db
def test_commands_that_stay_do_not_hide_those_behind_them() -> None:
    for number in range(ROWS_PER_TRANSACTION):
        OutboxCommand.objects.create(
            station_id="CS-1",
            action=Action.RESET,
            payload={},
            dedupe_key=f"kept {number}",
            reference="job:1",
            state="answered",
            created_at=NOW,
            not_before=NOW,
            deadline=NOW,
            finished_at=NOW,
        )
    command("behind", NOW + timedelta(seconds=1))
    taken_in()

    assert retention.purge_commands(ended_before=NOW + DAY, still_needed=lambda found: found) == 1
    assert OutboxCommand.objects.count() == ROWS_PER_TRANSACTION


@pytest.mark.django_db
def test_a_command_stays_until_its_answer_was_taken_in() -> None:
    row = command("old", NOW - 2 * DAY)

    assert retention.purge_commands(ended_before=NOW, still_needed=nothing_needed) == 0
    assert kept(OutboxCommand) == {row.pk}
    taken_in()
    assert retention.purge_commands(ended_before=NOW, still_needed=nothing_needed) == 1


@pytest.mark.django_db
def test_an_answer_to_a_command_that_is_forgotten_changes_nothing() -> None:
    row = command("old", NOW - 2 * DAY)
    taken_in()
    retention.purge_commands(ended_before=NOW, still_needed=nothing_needed)
    before = InboxMessage.objects.count()

    outbox.finish([Ending(row.pk, CommandOutcome.REJECTED)], now=NOW)

    assert InboxMessage.objects.count() == before
    assert not OutboxCommand.objects.exists()
    assert command("new", None).pk > row.pk, "ids are never given twice"


# -- connections -----------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_closed_connection_is_forgotten_after_its_time_and_a_live_one_never_is() -> None:
    session(NOW - 2 * DAY)
    stay = {session(NOW), session(None)}

    assert retention.purge_sessions(closed_before=NOW - DAY) == 1
    assert kept(StationSession) == stay


@pytest.mark.django_db
def test_a_connection_stays_while_evidence_of_its_time_waits() -> None:
    closed = session(NOW - 2 * DAY)
    message(State.PENDING, NOW - 3 * DAY, session_id=closed)

    assert retention.purge_sessions(closed_before=NOW) == 0
    taken_in()
    assert retention.purge_sessions(closed_before=NOW) == 1


def test_questions_are_forgotten_but_not_one_that_waits(db: None) -> None:
    for number, state in enumerate(("answered", "expired", "closed", "waiting")):
        for asked_at in (NOW - DAY, NOW):
            StationQuestion.objects.create(
                station_id="CS-1",
                session_id=uuid4(),
                kind="ev_certificate",
                message_id=f"{number} {asked_at}",
                payload={},
                longest=1,
                asked_at=asked_at,
                deadline=asked_at,
                state=state,
            )
    assert retention.purge_questions(asked_before=NOW) == 3
    assert sorted(StationQuestion.objects.values_list("state", "asked_at")) == [
        ("answered", NOW),
        ("closed", NOW),
        ("expired", NOW),
        ("waiting", NOW - DAY),
        ("waiting", NOW),
    ]
