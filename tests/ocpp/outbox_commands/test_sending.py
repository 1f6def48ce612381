"""Commands from the outbox: sent once, in their order, and again when an answer was lost."""

import json
import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from bfcerts.ocpp import canonical, outbox, secret_payload
from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.gateway import commands
from bfcerts.ocpp.gateway.tls import ListenerName
from bfcerts.ocpp.models import InboxMessage, OutboxCommand, StationSession
from tests.ocpp.node import Node, Site, Station, client_frame, frozen_station, stored
from tests.ocpp.outbox_commands.calls import PASSWORD, VARIABLE, Dial, State, command, ended

HASH_DATA = {"hashAlgorithm": "SHA512", "issuerNameHash": "0a", "issuerKeyHash": "0B", "serialNumber": "00c"}
CHAIN = "-----BEGIN CERTIFICATE-----\nleaf\n-----BEGIN CERTIFICATE-----\nsub CA"

Case = tuple[Action, dict[str, Any], str, dict[str, Any], dict[str, Any], str]

CASES: dict[str, Case] = {
    "TC_A_11 trigger": (
        Action.REQUEST_CSR, canonical.request_csr(),
        "TriggerMessage", {"requestedMessage": "SignChargingStationCertificate"}, {"status": "Accepted"}, "accepted"),
    "TC_A_12 trigger V2G": (
        Action.REQUEST_CSR, canonical.request_csr("V2GCertificate"),
        "TriggerMessage", {"requestedMessage": "SignV2GCertificate"}, {"status": "Accepted"}, "accepted"),
    "TC_A_13 trigger combined": (
        Action.REQUEST_CSR, canonical.request_csr("CombinedCertificate"),
        "TriggerMessage", {"requestedMessage": "SignCombinedCertificate"}, {"status": "Accepted"}, "accepted"),
    "trigger not implemented": (
        Action.REQUEST_CSR, canonical.request_csr(),
        "TriggerMessage", {"requestedMessage": "SignChargingStationCertificate"},
        {"status": "NotImplemented"}, "rejected"),
    "TC_A_11 deliver": (
        Action.DELIVER_CERTIFICATE, canonical.deliver_certificate(CHAIN, "ChargingStationCertificate"),
        "CertificateSigned", {"certificateChain": CHAIN, "certificateType": "ChargingStationCertificate"},
        {"status": "Accepted"}, "accepted"),
    "TC_A_14 deliver rejected": (
        Action.DELIVER_CERTIFICATE, canonical.deliver_certificate(CHAIN, None),
        "CertificateSigned", {"certificateChain": CHAIN},
        {"status": "Rejected", "statusInfo": {"reasonCode": "InvalidCert", "additionalInfo": "no root"}}, "rejected"),
    "TC_M_01 install": (
        Action.INSTALL_CERTIFICATE, canonical.install_certificate("pem", "CSMSRootCertificate"),
        "InstallCertificate", {"certificateType": "CSMSRootCertificate", "certificate": "pem"},
        {"status": "Accepted"}, "accepted"),
    "TC_M_05 install failed": (
        Action.INSTALL_CERTIFICATE, canonical.install_certificate("pem", "V2GRootCertificate"),
        "InstallCertificate", {"certificateType": "V2GRootCertificate", "certificate": "pem"},
        {"status": "Failed"}, "rejected"),
    "TC_M_15 list all": (
        Action.LIST_CERTIFICATES, canonical.list_certificates(),
        "GetInstalledCertificateIds", {},
        {"status": "Accepted", "certificateHashDataChain": [
            {"certificateType": "V2GCertificateChain", "certificateHashData": HASH_DATA,
             "childCertificateHashData": [HASH_DATA]}]}, "accepted"),
    "TC_M_19 list none": (
        Action.LIST_CERTIFICATES, canonical.list_certificates(["MORootCertificate"]),
        "GetInstalledCertificateIds", {"certificateType": ["MORootCertificate"]}, {"status": "NotFound"}, "accepted"),
    "TC_M_20 delete": (
        Action.DELETE_CERTIFICATE, canonical.delete_certificate(HASH_DATA),
        "DeleteCertificate", {"certificateHashData": HASH_DATA}, {"status": "Accepted"}, "accepted"),
    "TC_M_21 delete failed": (
        Action.DELETE_CERTIFICATE, canonical.delete_certificate(HASH_DATA),
        "DeleteCertificate", {"certificateHashData": HASH_DATA}, {"status": "Failed"}, "rejected"),
    "TC_N_35 security log": (
        Action.GET_LOG, canonical.get_log("SecurityLog", "https://logs.example/1", 4),
        "GetLog", {"logType": "SecurityLog", "requestId": 4, "log": {"remoteLocation": "https://logs.example/1"}},
        {"status": "Accepted", "filename": "log.txt"}, "accepted"),
    "TC_N_36 security log again": (
        Action.GET_LOG, canonical.get_log("SecurityLog", "https://logs.example/1", 5),
        "GetLog", {"logType": "SecurityLog", "requestId": 5, "log": {"remoteLocation": "https://logs.example/1"}},
        {"status": "AcceptedCanceled"}, "accepted"),
    "TC_A_19 network profile": (
        Action.SET_NETWORK_PROFILE, canonical.set_network_profile(2, 3, "wss://gateway:9301/ocpp"),
        "SetNetworkProfile", {"configurationSlot": 2, "connectionData": {
            "ocppVersion": "OCPP20", "ocppTransport": "JSON", "ocppCsmsUrl": "wss://gateway:9301/ocpp",
            "messageTimeout": 30, "securityProfile": 3, "ocppInterface": "Wired0"}},
        {"status": "Accepted"}, "accepted"),
    "TC_B_42 network profile failed": (
        Action.SET_NETWORK_PROFILE, canonical.set_network_profile(1, 3, "wss://gateway:9301"),
        "SetNetworkProfile", {"configurationSlot": 1, "connectionData": {
            "ocppVersion": "OCPP20", "ocppTransport": "JSON", "ocppCsmsUrl": "wss://gateway:9301",
            "messageTimeout": 30, "securityProfile": 3, "ocppInterface": "Wired0"}}, {"status": "Failed"}, "rejected"),
    "TC_A_19 priority": (
        Action.SET_VARIABLES, canonical.set_variables([("OCPPCommCtrlr", "NetworkConfigurationPriority", "2,1")]),
        "SetVariables", {"setVariableData": [{
            "component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "NetworkConfigurationPriority"},
            "attributeValue": "2,1"}]},
        {"setVariableResult": [{"attributeStatus": "RebootRequired", "component": {"name": "OCPPCommCtrlr"},
                                "variable": {"name": "NetworkConfigurationPriority"}}]}, "accepted"),
    "TC_A_19 reset": (
        Action.RESET, canonical.reset(), "Reset", {"type": "OnIdle"}, {"status": "Scheduled"}, "accepted"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_command_is_sent_and_its_answer_stored_verbatim(station: Station, case: str) -> None:
    action, payload, name, request, answer, outcome = CASES[case]
    row = command(action, payload, reference="job:7", correlation_id="c7")
    message_id, sent = station.expect(name)
    assert (message_id, sent) == (str(row.message_id), request)
    station.answer(message_id, answer)
    row, evidence = ended(row)
    assert (row.state, row.outcome, row.answer) == (State.ANSWERED, outcome, answer)
    assert evidence["answer"]["status"] == evidence["status"]
    assert evidence["status"] in str(answer)
    assert evidence["status_info"] == answer.get("statusInfo")
    assert (evidence["reference"], evidence["correlation_id"]) == ("job:7", "c7")


@pytest.mark.parametrize(
    ("status", "outcome"), [("Accepted", "accepted"), ("Rejected", "rejected")], ids=["TC_A_09", "TC_A_10"]
)
def test_tc_a_09_10_a_new_password_is_sent_and_leaves_no_trace(station: Station, status: str, outcome: str) -> None:
    secret = canonical.set_variables([("SecurityCtrlr", "BasicAuthPassword", "new-password-0123")])
    row = command(
        Action.SET_VARIABLES,
        canonical.set_variables([("SecurityCtrlr", "BasicAuthPassword", "")]),
        secret_payload=secret_payload.seal(secret, b"test-credential-key-0123456789abcdef0123456"),
    )
    message_id, sent = station.expect("SetVariables")
    assert sent["setVariableData"] == [{**VARIABLE, "attributeValue": "new-password-0123"}]
    info = {"reasonCode": "Echo", "additionalInfo": "you said new-password-0123"}
    result = {"attributeStatus": status, "attributeStatusInfo": info, **VARIABLE}
    station.answer(message_id, {"setVariableResult": [result]})
    row, evidence = ended(row)
    assert row.outcome == outcome
    assert row.secret_payload is None
    everything = [*OutboxCommand.objects.values_list("payload", "answer"), *InboxMessage.objects.values_list("payload")]
    assert "new-password-0123" not in str(everything)
    assert evidence["status_info"]["additionalInfo"] == "you said [redacted]"


def test_commands_go_out_one_at_a_time_in_their_order(station: Station) -> None:
    rows = [command(Action.GET_VARIABLES, canonical.get_variables([("c", f"v{number}")])) for number in range(4)]
    for number, row in enumerate(rows):
        message_id, sent = station.expect("GetVariables")
        assert sent["getVariableData"][0]["variable"]["name"] == f"v{number}"
        assert station.call("Heartbeat")[0] == 3, "nothing else is sent before the answer"
        result = {"attributeStatus": "Accepted", "component": {"name": "c"}, "variable": {"name": f"v{number}"}}
        station.answer(message_id, {"getVariableResult": [result]})
        assert ended(row)[0].outcome == "accepted"


def test_what_waits_is_sent_when_the_station_comes(dial: Dial) -> None:
    row = command(Action.RESET, canonical.reset())
    station = dial()
    message_id, _ = station.expect("Reset")
    station.answer(message_id, {"status": "Accepted"})
    row, _ = ended(row)
    assert (row.attempts, row.session_id) == (1, StationSession.objects.get().pk)


def test_what_is_put_off_is_sent_when_its_time_comes(station: Station) -> None:
    due = datetime.now(UTC) + timedelta(seconds=1.5)
    command(Action.RESET, canonical.reset(), not_before=due)
    assert station.call("Heartbeat")[0] == 3
    station.expect("Reset")
    assert datetime.now(UTC) >= due


def test_what_was_cancelled_or_is_overdue_is_not_sent(dial: Dial) -> None:
    command(Action.RESET, canonical.reset(), reference="job:1")
    outbox.cancel(["job:1"], now=datetime.now(UTC))
    command(Action.RESET, canonical.reset(), expires_after=timedelta(seconds=-1))
    command(Action.GET_VARIABLES, canonical.get_variables([("c", "v")]))
    dial().expect("GetVariables")


def test_what_is_rolled_back_is_not_sent(station: Station) -> None:
    with transaction.atomic():
        command(Action.RESET, canonical.reset())
        transaction.set_rollback(True)
    command(Action.GET_VARIABLES, canonical.get_variables([("c", "v")]))
    station.expect("GetVariables")


def test_an_answer_lost_with_its_connection_is_asked_for_again_under_the_same_id(dial: Dial) -> None:
    """The close can come before the answer, and without a close frame."""
    row = command(Action.DELIVER_CERTIFICATE, canonical.deliver_certificate(CHAIN, None))
    first = dial()
    message_id, sent = first.expect("CertificateSigned")
    first.connection.socket.close()
    second = dial()
    assert second.expect("CertificateSigned") == (message_id, sent)
    second.answer(message_id, {"status": "Accepted"})
    row, _ = ended(row)
    assert (row.outcome, row.attempts) == ("accepted", 2)
    assert len(stored("command_answered")) == 1


def test_an_answer_right_before_the_goodbye_counts(site: Site, node: Node) -> None:
    """A station that resets answers and closes in one breath: one packet holds both frames."""
    site.passwords.passwords["CS-1"] = {PASSWORD}
    row = command(Action.RESET, canonical.reset())
    with frozen_station(site, node, "CS-1", PASSWORD) as station:
        assert b'"Reset"' in station.recv(4096)
        answer = json.dumps([3, str(row.message_id), {"status": "Accepted"}]).encode()
        station.sendall(client_frame(0x1, answer) + client_frame(0x8, b"\x03\xe8"))
        row, _ = ended(row)
    assert (row.outcome, row.attempts) == ("accepted", 1)


def test_a_long_answer_right_before_the_end_counts(site: Site, node: Node) -> None:
    site.passwords.passwords["CS-1"] = {PASSWORD}
    row = command(Action.LIST_CERTIFICATES, canonical.list_certificates())
    entry = {"certificateType": "CSMSRootCertificate", "certificateHashData": HASH_DATA}
    with frozen_station(site, node, "CS-1", PASSWORD) as station:
        assert b'"GetInstalledCertificateIds"' in station.recv(4096)
        payload = {"status": "Accepted", "certificateHashDataChain": [entry] * 300}
        station.sendall(client_frame(0x1, json.dumps([3, str(row.message_id), payload]).encode()))
        station.shutdown(socket.SHUT_WR)
        row, _ = ended(row)
    assert row.answer is not None
    assert len(row.answer["certificateHashDataChain"]) == 300


def test_a_replaced_connection_leaves_its_command_to_the_new_one(dial: Dial) -> None:
    row = command(Action.DELIVER_CERTIFICATE, canonical.deliver_certificate(CHAIN, None))
    dial().expect("CertificateSigned")
    message_id, _ = dial().expect("CertificateSigned")
    assert message_id == str(row.message_id)


def test_a_station_that_reboots_without_answering_is_not_reset_for_ever(dial: Dial) -> None:
    row = command(Action.RESET, canonical.reset())
    for _ in range(commands.MOST_RESETS):
        station = dial()
        station.expect("Reset")
        station.connection.socket.close()
    row, evidence = ended(row)
    assert (row.state, row.outcome) == (State.FAILED, "timed_out")
    assert "lost before the answer" in evidence["error_description"]


def test_a_station_that_does_not_answer_in_time(site: Site) -> None:
    site.passwords.passwords["CS-1"] = {PASSWORD}
    running = site.node(gateway_call_timeout_seconds=0.3)
    running.start()
    try:
        station = site.connect(running, ListenerName.PROFILE2, "CS-1", password=PASSWORD)
        row = command(Action.RESET, canonical.reset())
        message_id, _ = station.expect("Reset")
        row, evidence = ended(row)
        assert (row.state, row.outcome) == (State.FAILED, "timed_out")
        assert "0.3 seconds" in evidence["error_description"]
        station.answer(message_id, {"status": "Accepted"})
        command(Action.GET_VARIABLES, canonical.get_variables([("c", "v")]))
        station.expect("GetVariables")
        row.refresh_from_db()
        assert row.outcome == "timed_out"
        assert stored("protocol_violation") == []
    finally:
        running.stop()
