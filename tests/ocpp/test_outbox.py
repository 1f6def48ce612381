"""The outbox: one command for each key, one ending for each command, and evidence of every ending."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bfcerts.ocpp import outbox
from bfcerts.ocpp.canonical import Action, CommandOutcome, reset
from bfcerts.ocpp.models import InboxMessage, OutboxCommand
from bfcerts.ocpp.outbox import Ending

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
State = OutboxCommand.State


def enqueue(key: str = "k1", **changes: Any) -> OutboxCommand:
    return outbox.enqueue(
        **{
            "station_id": "CS-1",
            "action": Action.RESET,
            "payload": reset(),
            "dedupe_key": key,
            "now": NOW,
            "expires_after": HOUR,
            **changes,
        }
    )


def test_the_same_key_is_the_same_command() -> None:
    assert enqueue().pk == enqueue(station_id="CS-2").pk
    assert OutboxCommand.objects.count() == 1


def test_an_ending_is_stored_with_its_evidence_and_the_secret_is_gone() -> None:
    command = enqueue(secret_payload=b"sealed", reference="job:7", correlation_id="c1")
    ending = Ending(
        command.pk,
        CommandOutcome.REJECTED,
        "Rejected",
        {"reasonCode": "x"},
        answer={"status": "Rejected", "customData": {"vendorId": "v"}},
        content={"status": "Rejected"},
    )
    outbox.finish([ending], now=NOW)
    command.refresh_from_db()
    assert (command.state, command.outcome) == (State.ANSWERED, "rejected")
    assert command.answer == {"status": "Rejected", "customData": {"vendorId": "v"}}, "as the station said it"
    assert command.secret_payload is None
    assert command.finished_at == NOW
    assert InboxMessage.objects.get().payload == {
        "command_id": command.pk,
        "action": "reset",
        "outcome": "rejected",
        "status": "Rejected",
        "status_info": {"reasonCode": "x"},
        "answer": {"status": "Rejected"},
        "error_code": "",
        "error_description": "",
        "reference": "job:7",
        "correlation_id": "c1",
        "plug_and_charge": False,
    }


def test_the_first_ending_counts() -> None:
    command = enqueue()
    outbox.finish([Ending(command.pk, CommandOutcome.ACCEPTED, "Accepted")], now=NOW)
    outbox.finish([Ending(command.pk, CommandOutcome.TIMED_OUT)], now=NOW)
    command.refresh_from_db()
    assert command.outcome == "accepted"
    assert InboxMessage.objects.count() == 1


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (CommandOutcome.ACCEPTED, State.ANSWERED),
        (CommandOutcome.REJECTED, State.ANSWERED),
        (CommandOutcome.ERROR, State.FAILED),
        (CommandOutcome.TIMED_OUT, State.FAILED),
        (CommandOutcome.EXPIRED, State.EXPIRED),
    ],
)
def test_every_outcome_has_its_state(outcome: CommandOutcome, state: str) -> None:
    command = enqueue()
    outbox.finish([Ending(command.pk, outcome)], now=NOW)
    command.refresh_from_db()
    assert command.state == state


def test_what_was_not_sent_can_be_withdrawn() -> None:
    waiting = enqueue("k1", reference="job:1", secret_payload=b"sealed")
    sent = enqueue("k2", reference="job:1")
    OutboxCommand.objects.filter(pk=sent.pk).update(state=State.SENT)
    enqueue("k3", reference="job:2")
    assert outbox.cancel(["job:1"], now=NOW) == 1
    waiting.refresh_from_db()
    assert (waiting.state, waiting.secret_payload, waiting.finished_at) == (State.CANCELLED, None, NOW)
    sent.refresh_from_db()
    assert (sent.state, sent.withdrawn_at, sent.finished_at) == (State.SENT, NOW, None), "it may still be answered"
    assert outbox.cancel(["job:1"], now=NOW + HOUR) == 0
    assert InboxMessage.objects.count() == 0


def test_an_overdue_command_expires_and_that_is_evidence() -> None:
    overdue, later = enqueue("k1"), enqueue("k2", expires_after=2 * HOUR)
    assert outbox.expire_overdue(NOW + HOUR) == 1
    assert outbox.expire_overdue(NOW + HOUR) == 0
    overdue.refresh_from_db()
    later.refresh_from_db()
    assert (overdue.state, overdue.outcome, later.state) == (State.EXPIRED, "expired", State.QUEUED)
    evidence = InboxMessage.objects.get()
    assert (evidence.kind, evidence.payload["outcome"]) == ("command_answered", "expired")


def test_a_command_that_was_sent_is_left_time_for_its_answer() -> None:
    command = enqueue()
    OutboxCommand.objects.update(state=State.SENT)
    assert outbox.expire_overdue(NOW + HOUR) == 0
    assert outbox.expire_overdue(NOW + HOUR + outbox.ANSWER_GRACE) == 1
    command.refresh_from_db()
    assert command.state == State.EXPIRED


def test_many_overdue_commands_expire_in_bounded_steps() -> None:
    for number in range(7):
        enqueue(f"k{number}")
    assert [outbox.expire_overdue(NOW + HOUR, limit=3) for _ in range(4)] == [3, 3, 1, 0]
