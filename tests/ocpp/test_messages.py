"""What a station says: answered by the protocol, evidence stored before the answer, and bad input refused by name."""

import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from bfcerts.ocpp.gateway.tls import ListenerName
from bfcerts.ocpp.models import InboxMessage, StationSession
from tests.ocpp.node import Node, Site, Station, client_frame, eventually, frozen_station, stored

PASSWORD = b"0123456789abcdef"
BOOT = {"reason": "PowerUp", "chargingStation": {"vendorName": "Vendor", "model": "One", "serialNumber": "S1"}}
EVENT = {"type": "SettingSystemTime", "timestamp": "2026-05-04T03:02:01Z", "techInfo": "by hand"}


@pytest.fixture
def station(site: Site, node: Node) -> Station:
    site.passwords.passwords["CS-1"] = {PASSWORD}
    return site.connect(node, ListenerName.PROFILE2, "CS-1", password=PASSWORD)


def error_of(answer: list[Any]) -> tuple[str, str]:
    assert answer[0] == 4, answer
    assert answer[4] == {}
    return answer[1], answer[2]


def kinds() -> list[str]:
    return [row.kind for row in InboxMessage.objects.order_by("id") if row.kind != "connected"]


def test_boot_notification_is_stored_when_it_is_answered(station: Station) -> None:
    answer = station.call("BootNotification", BOOT)
    assert answer[2]["status"] == "Accepted"
    assert answer[2]["interval"] == 300
    (row,) = stored("booted", "CS-1")
    assert row.payload["serial_number"] == "S1"
    assert row.session_id == StationSession.objects.get().pk


@pytest.mark.parametrize("certificate_type", ["ChargingStationCertificate", "V2GCertificate", None])
def test_tc_a_11_12_13_sign_certificate_is_answered_at_once_and_stored_as_sent(
    station: Station, certificate_type: str | None
) -> None:
    payload = {"csr": "-----BEGIN CERTIFICATE REQUEST-----\nx"}
    if certificate_type:
        payload["certificateType"] = certificate_type
    assert station.call("SignCertificate", payload)[2] == {"status": "Accepted"}
    (row,) = stored("csr_received", "CS-1")
    assert row.payload == {"csr": payload["csr"], "certificate_type": certificate_type, "request_id": None}


def test_tc_a_14_the_security_event_of_a_station_that_rejects_our_certificate_is_kept(station: Station) -> None:
    event = {**EVENT, "type": "InvalidChargingStationCertificate", "techInfo": "root not installed"}
    assert station.call("SecurityEventNotification", event)[2] == {}
    assert stored("security_event")[0].payload == {
        "type": "InvalidChargingStationCertificate",
        "timestamp": EVENT["timestamp"],
        "tech_info": "root not installed",
    }


def test_tc_n_35_the_status_of_a_log_is_kept(station: Station) -> None:
    assert station.call("LogStatusNotification", {"status": "Uploading", "requestId": 3})[2] == {}
    assert stored("log_status")[0].payload == {"status": "Uploading", "request_id": 3}


def test_what_carries_no_evidence_stays_out_of_the_database(station: Station) -> None:
    timestamp = EVENT["timestamp"]
    station.call("Heartbeat")
    station.call(
        "StatusNotification",
        {"timestamp": timestamp, "connectorStatus": "Available", "evseId": 1, "connectorId": 1},
    )
    station.call("DataTransfer", {"vendorId": "somebody", "data": {"a": [1, 2, 3]}})
    assert kinds() == []


def test_no_boot_notification_is_needed_after_a_reconnect(station: Station) -> None:
    assert station.call("Heartbeat")[0] == 3


def test_many_messages_are_answered_in_order(station: Station) -> None:
    expected = []
    for number in range(30):
        action, payload = [("Heartbeat", {}), ("SecurityEventNotification", EVENT)][number % 2]
        station.send(2, f"m{number}", action, payload)
        expected.append(f"m{number}")
    assert [station.receive()[1] for _ in expected] == expected
    assert len(stored("security_event")) == 15


@pytest.mark.parametrize(
    ("raw", "message_id", "code"),
    [
        ("hello", "-1", "RpcFrameworkError"),
        ("", "-1", "RpcFrameworkError"),
        ("{}", "-1", "RpcFrameworkError"),
        ("null", "-1", "RpcFrameworkError"),
        ('[2, 5, "Heartbeat", {}]', "-1", "RpcFrameworkError"),
        ('[2, "a", "Heartbeat"]', "a", "RpcFrameworkError"),
        ('[7, "a", "Heartbeat", {}]', "a", "MessageTypeNotSupported"),
        ('[2, "a", "Heartbeat", []]', "a", "FormatViolation"),
        ('[2, "a", "MakeCoffee", {}]', "a", "NotImplemented"),
        ('[2, "a", "Reset", {"type": "OnIdle"}]', "a", "NotSupported"),
        ('[2, "a", "SignCertificate", {}]', "a", "OccurrenceConstraintViolation"),
        ('[2, "a", "SignCertificate", {"csr": 5}]', "a", "TypeConstraintViolation"),
        ('[2, "a", "SignCertificate", {"csr": "x", "extra": 1}]', "a", "FormatViolation"),
        ('[2, "a", "SignCertificate", {"csr": "x", "certificateType": "No"}]', "a", "PropertyConstraintViolation"),
        (json.dumps([2, "a", "SignCertificate", {"csr": "x" * 5501}]), "a", "PropertyConstraintViolation"),
        ('[2, "a", "DataTransfer", {"vendorId": "v", "data": ' + "[" * 900 + "]" * 900 + "}]", "a", "FormatViolation"),
    ],
)
def test_bad_frames_get_the_call_error_of_their_kind(station: Station, raw: str, message_id: str, code: str) -> None:
    station.send_raw(raw)
    assert error_of(station.receive()) == (message_id, code)
    assert station.call("Heartbeat")[0] == 3
    assert set(kinds()) <= {"protocol_violation"}


def test_a_frame_over_the_limit_ends_the_connection(station: Station) -> None:
    station.send_raw('[2, "a", "Heartbeat", {"x": "' + "x" * 70_000 + '"}]')
    assert station.closed_with()[0] == 1009
    (row,) = eventually(lambda: stored("protocol_violation"))
    assert row.payload["kind"] == "message_too_big"


def test_a_message_in_fragments_is_one_message(station: Station) -> None:
    station.connection.send(iter(['[2, "a", ', '"Heart', 'beat", {', "}]"]))
    assert station.receive()[:2] == [3, "a"]


def test_fragments_over_the_limit_end_the_connection(station: Station) -> None:
    with pytest.raises(ConnectionClosed):
        station.connection.send(iter(["x" * 8_000 for _ in range(2_000)]))
    assert station.closed_with()[0] == 1009


def test_a_large_message_within_the_limit_is_read(station: Station) -> None:
    assert station.call("DataTransfer", {"vendorId": "v", "data": "x" * 60_000})[2] == {"status": "UnknownVendorId"}


def test_ever_more_garbage_ends_the_connection(station: Station) -> None:
    for _ in range(10):
        station.send_raw("garbage")
    assert station.closed_with()[0] == 1002
    assert 1 <= len(eventually(lambda: stored("protocol_violation"))) <= 5


def test_the_same_message_again_gets_the_same_answer_and_is_stored_once(station: Station) -> None:
    first = station.call("SecurityEventNotification", EVENT, message_id="m1")
    assert station.call("SecurityEventNotification", EVENT, message_id="m1") == first
    assert len(stored("security_event")) == 1
    heartbeat = station.call("Heartbeat", message_id="m2")
    assert station.call("Heartbeat", message_id="m2") == heartbeat


def test_another_message_under_a_used_id_is_refused(station: Station) -> None:
    station.call("SecurityEventNotification", EVENT, message_id="m1")
    answer = station.call("SecurityEventNotification", {**EVENT, "type": "Another"}, message_id="m1")
    assert error_of(answer) == ("m1", "RpcFrameworkError")
    (row,) = eventually(lambda: stored("protocol_violation"))
    assert row.payload["kind"] == "reused_message_id"
    assert len(stored("security_event")) == 1


def test_a_message_id_that_comes_back_much_later_loses_no_evidence(station: Station) -> None:
    station.call("SecurityEventNotification", EVENT, message_id="m1")
    for number in range(10):
        station.call("Heartbeat", message_id=f"h{number}")
    station.call("SecurityEventNotification", {**EVENT, "type": "Another"}, message_id="m1")
    assert [row.payload["type"] for row in stored("security_event")] == [EVENT["type"], "Another"]


@pytest.mark.parametrize(
    "frame", ['[3, "never", {"status": "Accepted"}]', '[4, "never", "GenericError", "", {}]', '[3, "never"]']
)
def test_an_answer_to_a_request_that_was_never_made_is_not_answered(station: Station, frame: str) -> None:
    station.send_raw(frame)
    assert station.call("Heartbeat")[0] == 3
    (row,) = eventually(lambda: stored("protocol_violation"))
    assert row.payload["kind"] == "unasked_answer"


def test_unasked_answers_do_not_fill_the_database(station: Station) -> None:
    for number in range(200):
        station.send(3, f"never-{number}", {})
    station.call("Heartbeat")
    assert len(stored("protocol_violation")) <= 5


def test_characters_that_the_database_cannot_hold_are_no_obstacle(station: Station) -> None:
    event = {**EVENT, "type": "a\x00b", "techInfo": "\x00\U0001f50c"}
    assert station.call("SecurityEventNotification", event, message_id="\x00m")[0] == 3
    (row,) = stored("security_event")
    assert row.payload["type"] == "a\N{REPLACEMENT CHARACTER}b"
    assert row.payload["tech_info"] == "\N{REPLACEMENT CHARACTER}\U0001f50c"


def test_one_busy_station_does_not_hold_up_another(site: Site, node: Node, station: Station) -> None:
    site.passwords.passwords["CS-2"] = {PASSWORD}
    other = site.connect(node, ListenerName.PROFILE2, "CS-2", password=PASSWORD)
    for number in range(300):
        station.send(2, f"m{number}", "SecurityEventNotification", {**EVENT, "techInfo": str(number)})
    assert other.call("Heartbeat")[0] == 3
    assert len(stored("security_event")) < 300
    for number in range(150):
        assert station.receive()[1] == f"m{number}"


def test_a_ping_is_answered(station: Station) -> None:
    assert station.connection.ping().wait(20)


def test_a_station_that_takes_no_answers_is_not_read_any_further(site: Site, node: Node, station: Station) -> None:
    """What it costs is bounded: our unsent answers, and not all that it could ask for."""
    site.passwords.passwords["CS-2"] = {PASSWORD}
    frame = client_frame(0x1, b'[2,"m","Heartbeat",{}]')
    with frozen_station(site, node, "CS-2", PASSWORD) as deaf:
        deaf.settimeout(2)
        sent = 0
        try:
            while sent < 30_000_000:
                sent += deaf.send(frame * 200)
        except TimeoutError:
            pass
        assert sent < 30_000_000, "the gateway still reads"
        (connection,) = [one for one in node.gateway.live if one.station_id == "CS-2"]
        assert connection.websocket.transport.get_write_buffer_size() < 256 * 1024
        assert station.call("Heartbeat")[0] == 3


def test_a_silent_station_is_pinged_and_a_dead_one_let_go(site: Site) -> None:
    site.passwords.passwords["CS-1"] = {PASSWORD}
    running = site.node(gateway_ping_interval_seconds=1.0)
    running.start()
    try:
        alive = site.connect(running, ListenerName.PROFILE2, "CS-1", password=PASSWORD)
        site.passwords.passwords["CS-2"] = {PASSWORD}
        with frozen_station(site, running, "CS-2", PASSWORD):
            row = eventually(lambda: StationSession.objects.filter(closed_at__isnull=False).first())
            assert (row.station_id, row.close_reason) == ("CS-2", "no sign of life")
        assert alive.call("Heartbeat")[0] == 3
    finally:
        running.stop()
