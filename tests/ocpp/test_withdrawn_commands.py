"""What was withdrawn after it was sent: it may be answered, and is never sent again."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from bfcerts.ocpp import outbox
from bfcerts.ocpp.canonical import Action, CommandOutcome, reset
from bfcerts.ocpp.gateway import sessions
from bfcerts.ocpp.gateway.commands import Command, Result, Wish, claim, record
from bfcerts.ocpp.gateway.sessions import Departure
from bfcerts.ocpp.models import InboxMessage, OutboxCommand, StationSession
from bfcerts.ocpp.outbox import Ending

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
State = OutboxCommand.State


def connected() -> StationSession:
    return StationSession.objects.create(
        id=uuid4(),
        station_id="CS-1",
        node="a",
        listener="profile2",
        protocol="ocpp2.0.1",
        security_profile=2,
        address="192.0.2.1",
        connected_at=NOW,
    )


def asked(reference: str = "job:1") -> OutboxCommand:
    return outbox.enqueue(
        station_id="CS-1",
        action=Action.RESET,
        payload=reset(),
        dedupe_key=reference,
        reference=reference,
        now=NOW,
        expires_after=timedelta(hours=1),
        secret_payload=b"sealed",
    )


def next_of(session: StationSession) -> Command | None:
    (command,) = claim([Wish("CS-1", session.pk, NOW)])
    return command


def test_it_is_cancelled_with_the_connection_that_it_was_sent_on() -> None:
    session, row = connected(), asked()
    assert next_of(session) is not None

    outbox.cancel(["job:1"], now=NOW)
    row.refresh_from_db()
    assert (row.state, row.secret_payload) == (State.SENT, None)
    sessions.close([Departure(session.pk, "CS-1", "the connection was lost", 1006, NOW)])

    row.refresh_from_db()
    assert (row.state, row.finished_at) == (State.CANCELLED, NOW)
    assert next_of(connected()) is None
    assert not InboxMessage.objects.filter(kind="command_answered").exists()


def test_the_session_that_sent_it_goes_on_with_the_next() -> None:
    session = connected()
    asked("job:1")
    later = asked("job:2")
    assert next_of(session) is not None

    outbox.cancel(["job:1"], now=NOW)

    command = next_of(session)
    assert command is not None
    assert command.id == later.pk


def test_it_is_not_put_back_on_its_own_session() -> None:
    session, row = connected(), asked()
    assert next_of(session) is not None
    outbox.cancel(["job:1"], now=NOW)

    record([Result(row.pk, session.pk, None, NOW)])

    row.refresh_from_db()
    assert (row.state, row.finished_at) == (State.CANCELLED, NOW)
    assert next_of(session) is None


def test_its_answer_is_evidence_all_the_same() -> None:
    session, row = connected(), asked()
    assert next_of(session) is not None
    outbox.cancel(["job:1"], now=NOW)

    record([Result(row.pk, session.pk, Ending(row.pk, CommandOutcome.ACCEPTED, "Accepted"), NOW)])

    row.refresh_from_db()
    assert row.state == State.ANSWERED
    assert InboxMessage.objects.get(kind="command_answered").payload["reference"] == "job:1"


def test_its_answer_counts_although_its_session_was_closed_meanwhile() -> None:
    session, row = connected(), asked()
    assert next_of(session) is not None
    outbox.cancel(["job:1"], now=NOW)
    sessions.close([Departure(session.pk, "CS-1", "the key was revoked", 1008, NOW)])

    for outcome in (CommandOutcome.TIMED_OUT, CommandOutcome.ACCEPTED, CommandOutcome.REJECTED):
        record([Result(row.pk, session.pk, Ending(row.pk, outcome), NOW)])

    row.refresh_from_db()
    assert (row.state, row.outcome) == (State.ANSWERED, CommandOutcome.ACCEPTED)
    assert [message.payload["outcome"] for message in InboxMessage.objects.filter(kind="command_answered")] == [
        "accepted"
    ]


def test_what_was_never_sent_has_no_answer() -> None:
    session, row = connected(), asked()
    outbox.cancel(["job:1"], now=NOW)

    record([Result(row.pk, session.pk, Ending(row.pk, CommandOutcome.ACCEPTED), NOW)])

    row.refresh_from_db()
    assert row.state == State.CANCELLED
    assert not InboxMessage.objects.filter(kind="command_answered").exists()
