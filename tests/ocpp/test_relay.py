"""The relay: a charger's own business goes to its CSMS and back, in order, while keys and certificates stay here."""

import json
from collections.abc import Iterator

import pytest

from bfcerts.ocpp import canonical
from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.gateway.tls import ListenerName
from bfcerts.ocpp.models import InboxMessage, OutboxCommand
from bfcerts.ocpp.notify import Channel, notify
from tests.ocpp.node import Payload, Site, Station, eventually, stored
from tests.ocpp.relayed import BOOT, VERSIONS, Relayed, command, ended, relayed, server_context
from tests.simulator.csms import UpstreamCsms

State = OutboxCommand.State
EVENT = {"type": "SettingSystemTime", "timestamp": "2026-05-04T03:02:01Z"}
STATUS: dict[str, Payload] = {
    "ocpp2.0.1": {
        "timestamp": "2026-05-04T03:02:01Z",
        "connectorStatus": "Available",
        "evseId": 1,
        "connectorId": 1,
    },
    "ocpp1.6": {"connectorId": 1, "errorCode": "NoError", "status": "Available"},
}


@pytest.fixture
def relay(site: Site) -> Iterator[Relayed]:
    with UpstreamCsms(server_context(site.servers, site.folder)) as csms, relayed(site, csms) as made:
        yield made


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_not_ours_goes_to_the_csms_and_back_unchanged(relay: Relayed, version: str) -> None:
    station, visit = relay.pair(version=version)
    relay.csms.answers["StatusNotification"] = {"customData": {"vendorId": "x"}}
    text = json.dumps([2, "an id of theirs", "StatusNotification", STATUS[version]], indent=1)
    station.send_raw(text)
    assert station.receive() == [3, "an id of theirs", {"customData": {"vendorId": "x"}}]
    assert visit.path == "/csms/CS-1"
    assert visit.subprotocol == version
    assert visit.frames == [json.loads(text)]
    assert not InboxMessage.objects.exclude(kind="connected").exists()


def test_the_station_id_takes_its_place_in_the_address_percent_encoded(relay: Relayed) -> None:
    relay.route("DE*ABC:1", url=f"{relay.csms.origin}/{{station_id}}/ocpp")
    relay.connect("DE*ABC:1")
    assert relay.visit().path == "/DE%2AABC%3A1/ocpp"


@pytest.mark.parametrize("version", VERSIONS)
def test_security_and_certificate_messages_stay_here(relay: Relayed, version: str) -> None:
    station, visit = relay.pair(version=version)
    assert station.call("SecurityEventNotification", EVENT)[0] == 3
    assert station.call("SignCertificate", {"csr": "-----BEGIN CERTIFICATE REQUEST-----"})[2] == {"status": "Accepted"}
    assert station.call("LogStatusNotification", {"status": "Uploading", "requestId": 7})[0] == 3
    assert [len(stored(kind)) for kind in ("security_event", "csr_received", "log_status")] == [1, 1, 1]
    assert visit.frames == []


def test_status_requests_of_vehicles_stay_here(relay: Relayed) -> None:
    station, visit = relay.pair()
    hash_data = {
        "hashAlgorithm": "SHA256",
        "issuerNameHash": "a",
        "issuerKeyHash": "b",
        "serialNumber": "c",
        "responderURL": "http://x",
    }
    assert station.call("GetCertificateStatus", {"ocspRequestData": hash_data})[2]["status"] == "Failed"
    assert visit.frames == []


def test_plug_and_charge_by_data_transfer_stays_here_and_other_data_transfer_passes(relay: Relayed) -> None:
    station, visit = relay.pair(version="ocpp1.6")
    ours = {"vendorId": "org.openchargealliance.iso15118pnc", "messageId": "SignCertificate", "data": "{}"}
    assert station.call("DataTransfer", ours)[2] == {"status": "Rejected"}
    assert station.call("DataTransfer", {**ours, "vendorId": "iso15118"})[2] == {"status": "Rejected"}
    assert visit.frames == []
    assert station.call("DataTransfer", {**ours, "messageId": "Authorize"})[2] == {"status": "Accepted"}
    assert station.call("DataTransfer", {"vendorId": "somebody"})[2] == {"status": "Accepted"}
    assert len(visit.frames) == 2


def test_the_status_of_a_log_goes_to_whoever_asked_for_it(relay: Relayed) -> None:
    station, visit = relay.pair()
    relay.csms.answers["LogStatusNotification"] = {}
    visit.call("g", "GetLog", {"logType": "DiagnosticsLog", "requestId": 41, "log": {"remoteLocation": "https://x"}})
    message_id, _ = station.expect("GetLog")
    station.answer(message_id, {"status": "Accepted"})
    station.close()
    station, visit = relay.connect(), relay.visit(2)
    station.call("LogStatusNotification", {"status": "Uploading", "requestId": 41})
    station.call("LogStatusNotification", {"status": "Uploading", "requestId": 42})
    assert [frame[3]["requestId"] for frame in visit.calls("LogStatusNotification")] == [41]
    assert [row.payload["request_id"] for row in stored("log_status")] == [42]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_boot_is_evidence_and_answered_by_the_csms(relay: Relayed, version: str) -> None:
    station, visit = relay.pair(version=version)
    assert station.call("BootNotification", BOOT[version])[2]["interval"] == 60
    (row,) = stored("booted")
    assert row.payload["vendor"] == "Vendor"
    assert len(visit.calls("BootNotification")) == 1


def test_our_commands_wait_until_the_csms_has_accepted_the_boot(relay: Relayed) -> None:
    station, _ = relay.pair()
    boot(relay, station, "Pending")
    row = command()
    (live,) = relay.node.gateway.live.of_station("CS-1")
    eventually(lambda: live.delivery.woken, "the command to be announced")
    # What is announced is looked for at once, or kept in mind until the boot; and frames keep their order.
    station.send(2, "h", "Heartbeat", {})
    assert station.receive()[:2] == [3, "h"]
    assert live.delivery.woken
    row.refresh_from_db()
    assert (row.state, row.attempts) == (State.QUEUED, 0)

    boot(relay, station, "Accepted")
    station.answer(station.expect("Reset")[0], {"status": "Accepted"})
    assert ended(row).outcome == "accepted"


def boot(relay: Relayed, station: Station, status: str) -> None:
    answer = {"currentTime": "2026-01-01T00:00:00Z", "interval": 1, "status": status}
    relay.csms.answers["BootNotification"] = answer
    assert station.call("BootNotification", BOOT["ocpp2.0.1"])[2]["status"] == status


def test_order_is_kept_both_ways(relay: Relayed) -> None:
    station, visit = relay.pair()
    for number in range(40):
        station.send(2, f"s{number}", "DataTransfer", {"vendorId": "v", "data": number})
    assert [station.receive()[1] for _ in range(40)] == [f"s{number}" for number in range(40)]
    assert [frame[3]["data"] for frame in visit.frames] == list(range(40))
    for number in range(20):
        visit.call(f"u{number}", "DataTransfer", {"vendorId": "v", "data": number})
    for number in range(20):
        message_id, payload = station.expect("DataTransfer")
        assert (message_id, payload["data"]) == (f"u{number}", number)
        station.answer(message_id, {"status": "Accepted", "data": number})
    eventually(lambda: visit.answer_to("u19"))
    answers = [frame for frame in visit.frames if frame[0] == 3]
    assert [frame[1] for frame in answers] == [f"u{number}" for number in range(20)]


def test_a_station_never_has_two_open_calls_and_both_sides_get_their_turn(relay: Relayed) -> None:
    station, visit = relay.pair()
    rows = [command(action=Action.LIST_CERTIFICATES, payload=canonical.list_certificates()) for _ in range(4)]
    for number in range(4):
        visit.call(f"u{number}", "GetLocalListVersion")
    order = []
    for _ in range(8):
        frame = station.receive()
        with pytest.raises(TimeoutError):
            station.connection.recv(timeout=0.15)
        theirs = frame[2] == "GetLocalListVersion"
        order.append("theirs" if theirs else "ours")
        station.answer(frame[1], {"versionNumber": 1} if theirs else {"status": "NotFound"})
    assert {ended(row).outcome for row in rows} == {"accepted"}
    eventually(lambda: visit.answer_to("u3"))
    # Alternating, but for the moment in which only one side had something to ask yet.
    assert all(order[place : place + 3] != ["theirs"] * 3 for place in range(6))
    assert sorted(order) == ["ours"] * 4 + ["theirs"] * 4


def test_an_upstream_that_uses_the_id_of_our_open_command_is_refused(relay: Relayed) -> None:
    station, visit = relay.pair()
    row = command()
    message_id, _ = station.expect("Reset")
    visit.call(message_id, "ClearCache")
    assert eventually(lambda: visit.answer_to(message_id))[2] == "RpcFrameworkError"
    station.answer(message_id, {"status": "Accepted"})
    assert ended(row).outcome == "accepted"


VARIABLES = [
    {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}, "attributeValue": "x"},
    {"component": {"name": "TxCtrlr"}, "variable": {"name": "EVConnectionTimeOut"}, "attributeValue": "30"},
]
NETWORK = {
    "configurationSlot": 1,
    "connectionData": {
        "ocppVersion": "OCPP20",
        "ocppTransport": "JSON",
        "ocppCsmsUrl": "wss://elsewhere",
        "messageTimeout": 30,
        "securityProfile": 1,
        "ocppInterface": "Wired0",
    },
}
HASH_DATA = {"hashAlgorithm": "SHA256", "issuerNameHash": "a", "issuerKeyHash": "b", "serialNumber": "c"}
PLUG = "org.openchargealliance.iso15118pnc"
REFUSED: list[tuple[str, str, Payload, str]] = [
    ("ocpp2.0.1", "CertificateSigned", {"certificateChain": "x"}, "Rejected"),
    ("ocpp2.0.1", "InstallCertificate", {"certificateType": "CSMSRootCertificate", "certificate": "x"}, "Rejected"),
    ("ocpp2.0.1", "DeleteCertificate", {"certificateHashData": HASH_DATA}, "Failed"),
    ("ocpp2.0.1", "SetNetworkProfile", NETWORK, "Rejected"),
    ("ocpp2.0.1", "TriggerMessage", {"requestedMessage": "SignChargingStationCertificate"}, "Rejected"),
    ("ocpp2.0.1", "TriggerMessage", {"requestedMessage": "SignV2GCertificate"}, "Rejected"),
    ("ocpp1.6", "CertificateSigned", {"certificateChain": "x"}, "Rejected"),
    (
        "ocpp1.6",
        "InstallCertificate",
        {"certificateType": "CentralSystemRootCertificate", "certificate": "x"},
        "Rejected",
    ),
    ("ocpp1.6", "DeleteCertificate", {"certificateHashData": HASH_DATA}, "Failed"),
    ("ocpp1.6", "ChangeConfiguration", {"key": "authorizationKEY", "value": "x"}, "Rejected"),
    ("ocpp1.6", "ChangeConfiguration", {"key": "SecurityProfile", "value": "1"}, "Rejected"),
    ("ocpp1.6", "ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"}, "Rejected"),
    ("ocpp1.6", "DataTransfer", {"vendorId": PLUG, "messageId": "CertificateSigned", "data": "{}"}, "Rejected"),
    ("ocpp1.6", "DataTransfer", {"vendorId": PLUG, "messageId": "InstallCertificate", "data": "{}"}, "Rejected"),
    ("ocpp1.6", "DataTransfer", {"vendorId": "iso15118", "messageId": "TriggerMessage", "data": "{}"}, "Rejected"),
]


@pytest.mark.parametrize(("version", "action", "payload", "status"), REFUSED)
def test_what_touches_keys_certificates_or_profiles_is_refused_in_its_own_words(
    relay: Relayed, version: str, action: str, payload: dict[str, object], status: str
) -> None:
    station, visit = relay.pair(version=version)
    visit.call("r", action, payload)
    answer = eventually(lambda: visit.answer_to("r"))
    assert (answer[0], answer[2]["status"]) == (3, status)
    adapter = relay.node.gateway.live.of_station("CS-1")[0].adapter
    adapter.schemas.check_response(action, answer[2])
    (row,) = eventually(lambda: stored("upstream"))
    assert (row.payload["kind"], row.payload["upstream"]) == ("call_refused", "Our CSMS")
    assert row.payload["detail"].startswith(action)
    visit.call("after", "ClearCache")
    assert station.expect("ClearCache")[0] == "after"


def test_variables_of_ours_are_refused_with_everything_that_came_along(relay: Relayed) -> None:
    station, visit = relay.pair()
    visit.call("r", "SetVariables", {"setVariableData": VARIABLES})
    answer = eventually(lambda: visit.answer_to("r"))
    results = answer[2]["setVariableResult"]
    assert [result["attributeStatus"] for result in results] == ["Rejected", "Rejected"]
    assert results[0]["attributeStatusInfo"]["reasonCode"] == "ReadOnly"
    relay.node.gateway.live.of_station("CS-1")[0].adapter.schemas.check_response("SetVariables", answer[2])
    visit.call("p", "SetVariables", {"setVariableData": VARIABLES[1:]})
    assert station.expect("SetVariables") == ("p", {"setVariableData": VARIABLES[1:]})


@pytest.mark.parametrize("name", ["securityctrlr", "SecurityCtrlr ", "OCPPCommCtrlr"])
def test_other_spellings_are_no_way_around(relay: Relayed, name: str) -> None:
    _, visit = relay.pair()
    variable = "NetworkConfigurationPriority" if name == "OCPPCommCtrlr" else "SecurityProfile"
    data = [{"component": {"name": name}, "variable": {"name": variable}, "attributeValue": "1"}]
    visit.call("r", "SetVariables", {"setVariableData": data})
    assert eventually(lambda: visit.answer_to("r"))[2]["setVariableResult"][0]["attributeStatus"] == "Rejected"


def test_the_station_reads_what_was_judged(relay: Relayed) -> None:
    """A key that stands twice in a JSON object means the one thing to us and might mean the other to the station."""
    station, visit = relay.pair(version="ocpp1.6")
    visit.send_raw('[2,"r","ChangeConfiguration",{"key":"AuthorizationKey","value":"x","key":"LightIntensity"}]')
    text = station.connection.recv(timeout=20)
    assert isinstance(text, str)
    assert "AuthorizationKey" not in text
    assert json.loads(text)[3] == {"key": "LightIntensity", "value": "x"}


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ('[2,"r","setvariables",{}]', "NotImplemented"),
        ('[2,"r","SetVariables",{}]', "OccurrenceConstraintViolation"),
        ('[2,"r","SetVariables",{"setVariableData":{"a":1}}]', "TypeConstraintViolation"),
    ],
)
def test_what_cannot_be_judged_does_not_pass(relay: Relayed, raw: str, code: str) -> None:
    station, visit = relay.pair()
    visit.send_raw(raw)
    assert eventually(lambda: visit.answer_to("r"))[:3] == [4, "r", code]
    visit.call("after", "ClearCache")
    assert station.expect("ClearCache")[0] == "after"


def test_equal_refusals_are_told_once(relay: Relayed) -> None:
    _, visit = relay.pair()
    for number in range(20):
        visit.call(f"r{number}", "CertificateSigned", {"certificateChain": "x"})
    eventually(lambda: visit.answer_to("r19"))
    eventually(lambda: stored("upstream"))
    assert len(stored("upstream")) == 1


@pytest.mark.parametrize(
    ("version", "action", "answer", "place"),
    [
        (
            "ocpp2.0.1",
            "GetVariables",
            {"getVariableResult": [{**VARIABLES[0], "attributeStatus": "Accepted", "attributeValue": "s3cret"}]},
            "BasicAuthPassword",
        ),
        (
            "ocpp1.6",
            "GetConfiguration",
            {"configurationKey": [{"key": "AuthorizationKey", "readonly": False, "value": "s3cret"}]},
            "AuthorizationKey",
        ),
    ],
)
def test_a_station_that_lists_its_password_does_not_tell_the_upstream(
    relay: Relayed, version: str, action: str, answer: dict[str, object], place: str
) -> None:
    station, visit = relay.pair(version=version)
    visit.call("q", action, {"getVariableData": []} if version == "ocpp2.0.1" else {})
    station.answer(station.expect(action)[0], answer)
    told = json.dumps(eventually(lambda: visit.answer_to("q")))
    assert place in told
    assert "s3cret" not in told


def test_what_a_charger_reports_by_itself_is_told_without_its_password(relay: Relayed) -> None:
    station, visit = relay.pair()
    event = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}, "actualValue": "s3cret"}
    station.send(2, "n", "NotifyEvent", {"eventData": [event]})
    (frame,) = eventually(lambda: visit.calls("NotifyEvent"))
    assert frame[3] == {"eventData": [{**event, "actualValue": "[redacted]"}]}


def test_an_error_of_either_side_reaches_the_other(relay: Relayed) -> None:
    station, visit = relay.pair()
    visit.call("e", "ClearCache")
    station.expect("ClearCache")
    station.send(4, "e", "NotSupported", "no cache", {"a": 1})
    assert eventually(lambda: visit.answer_to("e")) == [4, "e", "NotSupported", "no cache", {"a": 1}]
    station.send(2, "f", "NotifyReport", {})
    eventually(lambda: visit.calls("NotifyReport"))
    visit.send_raw('[4,"f","FormatViolation","bad",{}]')
    assert station.receive() == [4, "f", "FormatViolation", "bad", {}]


def test_a_station_without_an_upstream_is_answered_as_ever(relay: Relayed) -> None:
    relay.route("CS-1")
    station = relay.connect("CS-9")
    assert station.call("BootNotification", BOOT["ocpp2.0.1"])[2]["interval"] == 300
    assert relay.csms.visits == []


def test_a_revocation_closes_both_sides(relay: Relayed, site: Site) -> None:
    leaf = site.issue("CS-1")
    relay.route()
    station = site.connect(relay.node, ListenerName.PROFILE3, "CS-1", leaf=leaf)
    visit = relay.visit()
    assert station.call("Heartbeat")[0] == 3
    notify(Channel.CERTIFICATE_BLOCKED, leaf.fingerprint)
    assert station.closed_with()[0] == 1008
    assert visit.closed.wait(20)
    assert visit.connection.close_code == 1000
    assert relay.csms.present == []


def test_a_station_that_connects_again_has_one_connection_at_the_csms(relay: Relayed) -> None:
    first, visit = relay.pair()
    again = relay.connect()
    second = relay.visit(2)
    assert visit.closed.is_set()
    assert first.closed_with()[0] == 1000
    assert again.call("Heartbeat")[0] == 3
    assert relay.csms.present == [second]
