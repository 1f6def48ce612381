"""What stations answer to commands, in time or not, rightly or not: each ends with evidence."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bfcerts.ocpp import canonical
from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.gateway import commands, delivery, sessions
from bfcerts.ocpp.models import InboxMessage, OutboxCommand, StationSession
from tests.ocpp.node import Node, Site, Station, eventually, stored
from tests.ocpp.outbox_commands.calls import VARIABLE, State, command, ended

BOOT = {"reason": "RemoteReset", "chargingStation": {"vendorName": "Vendor", "model": "One"}}


def test_a_call_error_ends_the_command_with_its_words(station: Station) -> None:
    row = command(Action.RESET, canonical.reset())
    message_id, _ = station.expect("Reset")
    station.send(4, message_id, "NotSupported", "no reset here \x00", {})
    row, evidence = ended(row)
    assert (row.state, row.outcome, row.error_code) == (State.FAILED, "error", "NotSupported")
    assert evidence["error_description"] == "no reset here \N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ([3, {"status": "Perhaps"}], "PropertyConstraintViolation"),
        ([3, {}], "OccurrenceConstraintViolation"),
        ([3, []], "RpcFrameworkError"),
        ([3], "RpcFrameworkError"),
        ([4], "RpcFrameworkError"),
    ],
)
def test_an_answer_that_breaks_the_protocol_ends_the_command_as_an_error(
    station: Station, answer: list[Any], code: str
) -> None:
    row = command(Action.RESET, canonical.reset())
    message_id, _ = station.expect("Reset")
    station.send(answer[0], message_id, *answer[1:])
    row, _ = ended(row)
    assert (row.outcome, row.error_code) == ("error", code)
    assert station.call("Heartbeat")[0] == 3


def test_an_answer_under_another_id_answers_nothing(station: Station) -> None:
    row = command(Action.RESET, canonical.reset())
    message_id, _ = station.expect("Reset")
    station.answer("another", {"status": "Rejected"})
    station.answer(message_id, {"status": "Accepted"})
    assert ended(row)[0].outcome == "accepted"
    assert eventually(lambda: stored("protocol_violation"))[0].payload["kind"] == "unasked_answer"


def test_a_station_that_has_not_booted_is_asked_again_when_it_has(station: Station) -> None:
    """OCPP 2.0.1 B02.FR.09: requests before the accepted BootNotification get CALLERROR SecurityError."""
    row = command(Action.GET_VARIABLES, canonical.get_variables([("c", "v")]))
    message_id, sent = station.expect("GetVariables")
    station.send(4, message_id, "SecurityError", "boot first", {})
    eventually(lambda: OutboxCommand.objects.get().state == State.QUEUED, "the command back in its queue")
    station.send(2, "boot", "BootNotification", BOOT)
    assert station.receive()[1] == "boot"
    assert station.expect("GetVariables") == (message_id, sent)
    result = {"attributeStatus": "Accepted", "component": {"name": "c"}, "variable": {"name": "v"}}
    station.answer(message_id, {"getVariableResult": [result]})
    row, _ = ended(row)
    assert (row.outcome, row.attempts) == ("accepted", 1)


def test_a_refusal_that_crosses_the_boot_on_the_wire_is_no_error(station: Station) -> None:
    """What counts is whether the station had booted when it was asked, not when its refusal arrives."""
    row = command(Action.GET_VARIABLES, canonical.get_variables([("c", "v")]))
    message_id, sent = station.expect("GetVariables")
    station.send(2, "boot", "BootNotification", BOOT)
    assert station.receive()[1] == "boot"
    station.send(4, message_id, "SecurityError", "boot first", {})
    assert station.expect("GetVariables") == (message_id, sent)
    result = {"attributeStatus": "Accepted", "component": {"name": "c"}, "variable": {"name": "v"}}
    station.answer(message_id, {"getVariableResult": [result]})
    row, _ = ended(row)
    assert (row.outcome, row.attempts) == ("accepted", 1)


def test_a_station_that_never_boots_and_always_refuses_ends_the_command(node: Node, station: Station) -> None:
    row = command(Action.GET_VARIABLES, canonical.get_variables([("c", "v")]))
    for _ in range(delivery.MOST_PUT_BACK):
        message_id, _ = station.expect("GetVariables")
        station.send(4, message_id, "SecurityError", "boot first", {})
        eventually(lambda: OutboxCommand.objects.get().state == State.QUEUED, "the command back in its queue")
        (held,) = node.gateway.live.of_station("CS-1")
        node.loop.call_soon_threadsafe(held.delivery.resume)
    message_id, _ = station.expect("GetVariables")
    station.send(4, message_id, "SecurityError", "boot first", {})
    row, _ = ended(row)
    assert (row.state, row.error_code) == (State.FAILED, "SecurityError")


def test_a_security_error_after_the_boot_is_an_error(station: Station) -> None:
    station.call("BootNotification", BOOT)
    row = command(Action.RESET, canonical.reset())
    message_id, _ = station.expect("Reset")
    station.send(4, message_id, "SecurityError", "never", {})
    assert ended(row)[0].error_code == "SecurityError"


@pytest.mark.parametrize(
    ("payload", "sealed"),
    [
        (canonical.install_certificate("x" * 5_501, "CSMSRootCertificate"), None),
        ({"strange": 1}, None),
        (None, b"junk"),
    ],
)
def test_a_command_that_cannot_be_sent_ends_and_holds_up_no_other(
    station: Station, payload: dict[str, Any] | None, sealed: bytes | None
) -> None:
    readable = payload or canonical.install_certificate("pem", "CSMSRootCertificate")
    row = command(Action.INSTALL_CERTIFICATE, readable, secret_payload=sealed)
    command(Action.GET_VARIABLES, canonical.get_variables([("c", "v")]))
    station.expect("GetVariables")
    row, evidence = ended(row)
    assert row.outcome == "error"
    assert evidence["error_description"]


def test_a_station_that_lists_its_password_is_not_quoted(station: Station) -> None:
    row = command(Action.GET_VARIABLES, canonical.get_variables([("SecurityCtrlr", "BasicAuthPassword")]))
    message_id, _ = station.expect("GetVariables")
    result = {"attributeStatus": "Accepted", "attributeValue": "in-clear-0123", **VARIABLE}
    station.answer(message_id, {"getVariableResult": [result]})
    row, _ = ended(row)
    assert "in-clear-0123" not in str([row.answer, *InboxMessage.objects.values_list("payload")])


def test_the_answer_and_other_messages_may_come_in_any_order(station: Station) -> None:
    """LogStatusNotification comes before GetLog's answer from some stations."""
    row = command(Action.GET_LOG, canonical.get_log("SecurityLog", "https://logs.example/1", 9))
    message_id, _ = station.expect("GetLog")
    assert station.call("LogStatusNotification", {"status": "Uploading", "requestId": 9})[0] == 3
    station.answer(message_id, {"status": "Accepted"})
    assert ended(row)[0].outcome == "accepted"


def test_a_session_that_is_over_takes_no_command(site: Site, station: Station) -> None:
    session = StationSession.objects.get()
    now = datetime.now(UTC)
    sessions.close([sessions.Departure(session.pk, "CS-1", "gone", 1006, now)])
    OutboxCommand.objects.create(
        station_id="CS-1", action=Action.RESET, payload=canonical.reset(), dedupe_key="k", created_at=now,
        not_before=now, deadline=now + timedelta(hours=1),
    )  # fmt: skip
    assert commands.claim([commands.Wish("CS-1", session.pk, now)]) == [None]


def test_a_claim_whose_answer_was_lost_is_claimed_again(site: Site, station: Station) -> None:
    """The database broke away between the commit and our hearing of it."""
    session, now = StationSession.objects.get(), datetime.now(UTC)
    OutboxCommand.objects.create(
        station_id="CS-1", action=Action.RESET, payload=canonical.reset(), dedupe_key="k", created_at=now,
        not_before=now, deadline=now + timedelta(hours=1),
    )  # fmt: skip
    (first,) = commands.claim([commands.Wish("CS-1", session.pk, now)])
    (again,) = commands.claim([commands.Wish("CS-1", session.pk, now)])
    assert first is not None
    assert again == first
