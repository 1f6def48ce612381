"""An upstream that is slow, away, wrong or hostile: the charger stays served, memory stays bounded, nothing crashes."""

import json
import ssl
from base64 import b64encode
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bfcerts.configuration import ConfigurationError
from bfcerts.ocpp import canonical
from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.gateway.tls import ListenerName
from bfcerts.ocpp.gateway.websocket import Hold
from bfcerts.ocpp.registry import WhenAway
from bfcerts.ocpp.relay.sides import MOST_OPEN_CALLS
from tests.ocpp.node import Node, Payload, Site, Station, client_frame, eventually, frozen_station, stored
from tests.ocpp.relayed import BOOT, PASSWORD, VERSIONS, Relayed, command, ended, relayed, server_context
from tests.simulator.csms import UpstreamCsms, Visit

TRANSACTION: dict[str, tuple[str, Payload]] = {
    "ocpp2.0.1": (
        "TransactionEvent",
        {
            "eventType": "Started",
            "timestamp": "2026-05-04T03:02:01Z",
            "triggerReason": "Authorized",
            "seqNo": 0,
            "transactionInfo": {"transactionId": "t"},
        },
    ),
    "ocpp1.6": (
        "StartTransaction",
        {"connectorId": 1, "idTag": "a", "meterStart": 1, "timestamp": "2026-05-04T03:02:01Z"},
    ),
}


@pytest.fixture
def csms(site: Site) -> Iterator[UpstreamCsms]:
    with UpstreamCsms(server_context(site.servers, site.folder)) as running:
        yield running


@pytest.fixture
def relay(site: Site, csms: UpstreamCsms) -> Iterator[Relayed]:
    with relayed(site, csms) as made:
        yield made


def away(relay: Relayed) -> str:
    """Why the upstream is away, as the operator reads it."""
    rows = eventually(lambda: [row for row in stored("upstream") if row.payload["kind"] == "away"], "the report")
    assert len(rows) == 1
    detail = rows[0].payload["detail"]
    assert isinstance(detail, str)
    return detail


def has_more_than(visit: Visit, number: int) -> bool:
    return len(visit.frames) > number


def held(relay: Relayed) -> Hold:
    (connection,) = relay.node.gateway.live.of_station("CS-1")
    return connection.websocket._holds


# Away


@pytest.mark.parametrize("version", VERSIONS)
def test_with_the_csms_away_the_charger_is_served_message_by_message(relay: Relayed, version: str) -> None:
    station, _ = relay.pair(version=version)
    relay.csms.stop()
    assert away(relay)
    assert station.call("Heartbeat")[0] == 3
    boot = station.call("BootNotification", BOOT[version])
    assert (boot[2]["status"], boot[2]["interval"]) == ("Accepted", 300)
    assert station.call(*TRANSACTION[version])[2] == "InternalError"
    row = command()
    station.answer(station.expect("Reset")[0], {"status": "Accepted"})
    assert ended(row).outcome == "accepted"
    assert station.call("SecurityEventNotification", {"type": "X", "timestamp": "2026-05-04T03:02:01Z"})[0] == 3
    relay.csms.start()
    back = relay.visit(2)
    eventually(lambda: back.calls("BootNotification"))
    assert station.call("Heartbeat")[2] == {"currentTime": "2026-01-01T00:00:00Z"}
    assert [frame[2] for frame in back.frames] == ["BootNotification", "Heartbeat"]
    assert len(stored("booted")) == 1


def test_a_csms_that_does_not_accept_the_boot_it_missed_is_told_to_the_operator(relay: Relayed) -> None:
    station, _ = relay.pair()
    relay.csms.stop()
    away(relay)
    station.call("BootNotification", BOOT["ocpp2.0.1"])
    boot = {"currentTime": "2026-01-01T00:00:00Z", "interval": 1, "status": "Rejected"}
    relay.csms.answers["BootNotification"] = boot
    relay.csms.start()
    eventually(lambda: [row for row in stored("upstream") if row.payload["kind"] == "boot_not_accepted"])


def test_a_csms_that_dies_in_the_middle_of_calls_owes_no_answer(relay: Relayed) -> None:
    station, visit = relay.pair()
    visit.call("u1", "ClearCache")
    visit.call("u2", "ClearCache")
    message_id, _ = station.expect("ClearCache")
    station.send(2, "s1", "NotifyReport", {})
    station.send(2, "s2", "Heartbeat", {})
    eventually(lambda: visit.calls("NotifyReport"))
    del relay.csms.answers["Heartbeat"]
    relay.csms.stop()
    answers = {frame[1]: frame for frame in (station.receive(), station.receive())}
    assert answers["s1"][2] == "InternalError"
    assert answers["s2"][0] == 3
    row = command()
    with pytest.raises(TimeoutError):
        station.connection.recv(timeout=0.3)
    station.answer(message_id, {"status": "Accepted"})
    station.answer(station.expect("Reset")[0], {"status": "Accepted"})
    assert ended(row).outcome == "accepted"
    relay.csms.start()
    back = relay.visit(2)
    back.call("u3", "ClearCache")
    assert station.expect("ClearCache")[0] == "u3"
    assert back.answer_to("u1") is None


def test_a_charger_is_let_go_where_the_upstream_says_so(relay: Relayed) -> None:
    relay.route(when_away=WhenAway.CLOSE)
    station = relay.connect()
    relay.visit()
    relay.csms.stop()
    assert station.closed_with()[0] == 1013
    relay.csms.start()
    station = relay.connect()
    relay.visit(2)
    assert station.call("Heartbeat")[0] == 3


def test_a_csms_that_was_never_there(relay: Relayed) -> None:
    relay.csms.stop()
    relay.route()
    station = relay.connect()
    assert station.call("BootNotification", BOOT["ocpp2.0.1"])[2]["status"] == "Accepted"
    assert "cannot be reached" in away(relay)
    relay.csms.start()
    eventually(lambda: relay.csms.visits and relay.csms.visits[0].calls("BootNotification"))


def test_what_a_charger_says_while_the_csms_is_dialled_waits_for_it(relay: Relayed) -> None:
    relay.route()
    station = relay.connect()
    answers = [station.call("Heartbeat")[2] for _ in range(3)]
    assert answers == [{"currentTime": "2026-01-01T00:00:00Z"}] * 3


# Who may be dialled, and with what


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"url": "wss://elsewhere.example/csms"}, "not among the addresses that may be dialled"),
        ({"url": "ws://localhost:{port}/csms"}, "not among the addresses that may be dialled"),
        ({"ca_bundle": ""}, "its certificate is not accepted"),
        ({"ca_bundle": "nonsense"}, "cannot be reached"),
        ({"credential": "missing"}, "there is no credential"),
    ],
)
def test_what_may_not_be_dialled_is_not(relay: Relayed, changes: dict[str, str], said: str) -> None:
    values = {name: value.replace("{port}", str(relay.csms.port)) for name, value in changes.items()}
    relay.route(**values)
    station = relay.connect()
    assert said in away(relay)
    assert station.call("Heartbeat")[0] == 3
    assert relay.csms.visits == []


def test_a_csms_that_speaks_another_version_is_no_upstream(site: Site) -> None:
    context = server_context(site.servers, site.folder)
    with UpstreamCsms(context, subprotocols=("ocpp1.6",)) as csms, relayed(site, csms) as relay:
        relay.route()
        relay.connect(version="ocpp2.0.1")
        assert "refused the upgrade" in away(relay)


def test_a_password_from_the_environment_is_shown(site: Site, csms: UpstreamCsms) -> None:
    credentials = SecretStr(json.dumps({"main": {"password": "p:w"}, "other": {"user": "fleet", "password": "q"}}))
    with relayed(site, csms, upstream_credentials=credentials) as relay:
        relay.route("CS-1", credential="main")
        relay.route("CS-2", credential="other")
        relay.connect("CS-1")
        assert relay.visit().authorization == f"Basic {b64encode(b'CS-1:p:w').decode()}"
        relay.connect("CS-2")
        assert relay.visit(2).authorization == f"Basic {b64encode(b'fleet:q').decode()}"


def test_a_client_certificate_from_the_environment_is_shown(site: Site, tmp_path: Path) -> None:
    path = str(site.stations.issue("gateway").write(tmp_path))
    credentials = SecretStr(json.dumps({"main": {"certificate": path, "key": path}}))
    context = server_context(site.servers, site.folder, site.stations.root_pem)
    with UpstreamCsms(context) as csms, relayed(site, csms, upstream_credentials=credentials) as relay:
        relay.route(credential="main")
        station = relay.connect()
        assert station.call("Heartbeat")[2] == {"currentTime": "2026-01-01T00:00:00Z"}
        certificate = relay.visit().client_certificate
        assert certificate is not None
        assert certificate["subject"] == ((("commonName", "gateway"),),)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"upstream_allowed": ["https://x"]}, "BFCERTS_UPSTREAM_ALLOWED"),
        ({"upstream_allowed": ["wss://x/path"]}, "has a path"),
        ({"upstream_credentials": SecretStr("no json s3cret")}, "is not JSON"),
        ({"upstream_credentials": SecretStr('{"a": {"password": ["s3cret"]}}')}, "a.password"),
        ({"upstream_credentials": SecretStr('{"a": {"certificate": "/x"}}')}, "given together"),
    ],
)
def test_settings_that_cannot_be_used_stop_the_start(site: Site, changes: dict[str, Any], said: str) -> None:
    node = site.node(**changes)
    with pytest.raises(ConfigurationError) as raised:
        node.start()
    assert said in str(raised.value)
    assert "s3cret" not in str(raised.value)


# Slow


def test_when_the_csms_takes_nothing_the_charger_is_read_no_further(relay: Relayed) -> None:
    """What the gateway keeps stays below what its buffers hold, however much the charger has to say."""
    relay.site.passwords.passwords["CS-1"] = {PASSWORD}
    relay.route()
    frame = client_frame(1, json.dumps([2, "m", "DataTransfer", {"vendorId": "v", "data": "x" * 30_000}]).encode())
    with frozen_station(relay.site, relay.node, "CS-1", PASSWORD) as tls:
        relay.visit()
        relay.csms.reading.clear()
        tls.settimeout(1.0)
        with pytest.raises(TimeoutError):
            tls.sendall(frame * 2_000)
        assert Hold.PEER_UNWRITTEN in held(relay) or Hold.PEER_UNANSWERED in held(relay)
        (connection,) = relay.node.gateway.live.of_station("CS-1")
        relaying = connection.relay
        assert relaying is not None
        assert relaying._link.socket is not None
        assert relaying._link.socket.transport.get_write_buffer_size() < 2_000_000
        assert len(connection.websocket._unparsed) < 1_000_000
        relay.csms.reading.set()


def test_a_charger_with_too_many_open_questions_is_read_when_they_are_answered(relay: Relayed) -> None:
    station, visit = relay.pair()
    for number in range(MOST_OPEN_CALLS + 4):
        station.send(2, f"n{number}", "NotifyReport", {})
    eventually(lambda: Hold.PEER_UNANSWERED in held(relay), "the hold")
    eventually(lambda: len(visit.frames) >= MOST_OPEN_CALLS)
    for number in range(MOST_OPEN_CALLS + 4):
        eventually(partial(has_more_than, visit, number))
        visit.send_raw(json.dumps([3, f"n{number}", {}]))
    assert [station.receive()[1] for _ in range(MOST_OPEN_CALLS + 4)] == [
        f"n{number}" for number in range(MOST_OPEN_CALLS + 4)
    ]
    eventually(lambda: not held(relay))


def test_a_csms_that_floods_a_charger_is_read_no_further(relay: Relayed) -> None:
    station, visit = relay.pair()
    visit.connection.socket.settimeout(20)
    for number in range(200):
        visit.call(f"u{number}", "DataTransfer", {"vendorId": "v", "data": "x" * 3000})
    (connection,) = relay.node.gateway.live.of_station("CS-1")
    relaying = connection.relay
    assert relaying is not None
    eventually(lambda: len(relaying.turns.theirs) >= MOST_OPEN_CALLS)
    for number in range(200):
        assert len(relaying.turns.theirs) <= 2 * MOST_OPEN_CALLS
        message_id, _ = station.expect("DataTransfer")
        assert message_id == f"u{number}"
        station.answer(message_id, {"status": "Accepted"})


def test_an_upstream_that_does_not_answer_is_answered_for(site: Site, csms: UpstreamCsms) -> None:
    with relayed(site, csms, upstream_answer_timeout_seconds=0.3) as relay:
        station, visit = relay.pair()
        assert station.call("NotifyReport")[2] == "InternalError"
        visit.send_raw(json.dumps([3, visit.frames[0][1], {}]))
        assert station.call("Heartbeat")[0] == 3


def test_a_charger_that_does_not_answer_the_csms_is_asked_by_us_all_the_same(site: Site, csms: UpstreamCsms) -> None:
    with relayed(site, csms, gateway_call_timeout_seconds=0.5) as relay:
        station, visit = relay.pair()
        visit.call("u1", "GetLocalListVersion")
        message_id, _ = station.expect("GetLocalListVersion")
        row = command(action=Action.LIST_CERTIFICATES, payload=canonical.list_certificates())
        ours, _ = station.expect("GetInstalledCertificateIds")
        station.answer(message_id, {"versionNumber": 3})
        station.answer(ours, {"status": "NotFound"})
        assert eventually(lambda: visit.answer_to("u1")) == [3, "u1", {"versionNumber": 3}]
        assert ended(row).outcome == "accepted"


# Wrong


@pytest.mark.parametrize(
    ("raw", "answer"),
    [
        ("hello", "-1"),
        ("{}", "-1"),
        ('[2,"a"]', "a"),
        ('[9,"a",{}]', "a"),
        ('[2,"a","ClearCache",[]]', "a"),
        ('[2,"' + "a" * 37 + '","ClearCache",{}]', "-1"),
        ('[2,"a","DataTransfer",{"vendorId":"v","data":' + "[" * 500 + "]" * 500 + "}]", "a"),
        ('[3,"a"]', None),
        ('[3,"never asked",{}]', None),
        ('[4,"never asked","GenericError","",{}]', None),
    ],
)
def test_what_the_csms_gets_wrong_never_reaches_the_charger(relay: Relayed, raw: str, answer: str | None) -> None:
    station, visit = relay.pair()
    visit.send_raw(raw)
    visit.call("after", "ClearCache")
    assert station.expect("ClearCache")[0] == "after"
    (row,) = eventually(lambda: stored("upstream"))
    assert row.payload["kind"] == "misbehaved"
    assert [frame[:2] for frame in visit.frames] == ([[4, answer]] if answer else [])


def test_a_frame_that_is_too_large_ends_the_connection_to_the_csms_alone(relay: Relayed) -> None:
    station, visit = relay.pair()
    visit.send_raw('[2,"a","DataTransfer",{"vendorId":"' + "x" * 70_000 + '"}]')
    assert visit.closed.wait(20)
    assert visit.connection.close_code == 1009
    relay.visit(2)
    assert station.call("Heartbeat")[0] == 3
    eventually(lambda: [row for row in stored("upstream") if "larger than" in row.payload["detail"]])


def test_a_csms_that_sends_nothing_but_nonsense_is_dropped(relay: Relayed) -> None:
    station, visit = relay.pair()
    for _ in range(10):
        visit.send_raw("nonsense")
    assert visit.closed.wait(20)
    relay.visit(2)
    assert station.call("Heartbeat")[0] == 3


def test_a_charger_that_answers_what_its_csms_never_asked_is_reported(relay: Relayed) -> None:
    station, visit = relay.pair()
    station.answer("never asked", {"status": "Accepted"})
    (row,) = eventually(lambda: stored("protocol_violation"))
    assert row.payload["kind"] == "unasked_answer"
    assert visit.frames == []


def test_a_malformed_answer_of_the_charger_is_an_error_to_the_csms(relay: Relayed) -> None:
    station, visit = relay.pair()
    visit.call("u", "ClearCache")
    station.expect("ClearCache")
    station.send_raw('[3,"u"]')
    assert eventually(lambda: visit.answer_to("u"))[2] == "InternalError"


def test_a_gateway_that_stops_says_goodbye_to_both_sides(site: Site, csms: UpstreamCsms) -> None:
    with relayed(site, csms) as relay:
        station, visit = relay.pair()
    assert visit.closed.wait(20)
    assert visit.connection.close_code == 1000
    assert station.connection.close_code is not None


def test_only_the_newest_connection_of_a_charger_is_relayed_by_two_nodes(relay: Relayed, site: Site) -> None:
    _, visit = relay.pair()
    other: Node = site.node(gateway_node="node-b", upstream_allowed=[relay.csms.origin], upstream_retry_seconds=0.05)
    other.start()
    try:
        station: Station = site.connect(other, ListenerName.DUAL, "CS-1", password=PASSWORD)
        second = relay.visit(2)
        assert visit.closed.wait(20)
        assert station.call("Heartbeat")[0] == 3
        assert relay.csms.present == [second]
    finally:
        other.stop()


def test_a_plain_connection_needs_its_own_entry_in_the_list(site: Site) -> None:
    with UpstreamCsms(None) as csms, relayed(site, csms) as relay:
        station, visit = relay.pair()
        assert station.call("Heartbeat")[2] == {"currentTime": "2026-01-01T00:00:00Z"}
        assert not isinstance(visit.connection.socket, ssl.SSLSocket)
