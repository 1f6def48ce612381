"""OCPP 2.0.1 in the canonical vocabulary: requests of stations, commands, and what answers mean."""

from datetime import UTC, datetime
from typing import Any

import pytest

from bfcerts.ocpp import canonical, schemas
from bfcerts.ocpp.canonical import Action, CommandOutcome, Evidence, ResetKind, Setting
from bfcerts.ocpp.frames import ErrorCode
from bfcerts.ocpp.protocol import Reaction, RefusedCallError, Request, UnsendableCommandError
from bfcerts.ocpp.v201 import OCPP201
from bfcerts.ocpp.v201.station import HANDLERS

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
NOW_TEXT = "2026-05-04T03:02:01Z"
HASH_DATA = {"hashAlgorithm": "SHA384", "issuerNameHash": "0a", "issuerKeyHash": "0b", "serialNumber": "0C"}


def react(action: str, payload: dict[str, Any] | None = None) -> Reaction:
    return OCPP201().react(action, payload or {}, NOW, 300)


def refusal(action: str, payload: dict[str, Any]) -> ErrorCode:
    with pytest.raises(RefusedCallError) as raised:
        react(action, payload)
    return raised.value.code


def test_boot_notification_is_accepted_and_is_evidence() -> None:
    station = {"vendorName": "Vendor", "model": "One", "serialNumber": "S1", "firmwareVersion": "1.2"}
    reaction = react("BootNotification", {"reason": "PowerUp", "chargingStation": station})
    assert reaction.answer == {"currentTime": NOW_TEXT, "interval": 300, "status": "Accepted"}
    assert reaction.evidence is Evidence.BOOTED
    assert reaction.payload == {
        "reason": "PowerUp",
        "vendor": "Vendor",
        "model": "One",
        "serial_number": "S1",
        "firmware_version": "1.2",
    }


def test_heartbeat_tells_the_time_and_is_no_evidence() -> None:
    assert react("Heartbeat") == Reaction({"currentTime": NOW_TEXT})


def test_tc_a_11_sign_certificate_is_answered_accepted_and_its_type_is_kept() -> None:
    typed = react("SignCertificate", {"csr": "pem", "certificateType": "ChargingStationCertificate"})
    assert typed.answer == {"status": "Accepted"}
    assert typed.payload["certificate_type"] == "ChargingStationCertificate"
    assert react("SignCertificate", {"csr": "pem"}).payload["certificate_type"] is None


def test_security_event_and_log_status_are_evidence() -> None:
    event = {"type": "InvalidChargingStationCertificate", "timestamp": NOW_TEXT, "techInfo": "why"}
    assert react("SecurityEventNotification", event) == Reaction(
        {}, Evidence.SECURITY_EVENT, {"type": event["type"], "timestamp": NOW_TEXT, "tech_info": "why"}
    )
    log = react("LogStatusNotification", {"status": "Uploaded", "requestId": 7})
    assert log == Reaction({}, Evidence.LOG_STATUS, {"status": "Uploaded", "request_id": 7})


ID_TOKEN = {"idToken": "0102", "type": "ISO14443"}


@pytest.mark.parametrize(
    ("action", "payload", "answer"),
    [
        ("Authorize", {"idToken": ID_TOKEN}, {"idTokenInfo": {"status": "Unknown"}}),
        ("DataTransfer", {"vendorId": "somebody"}, {"status": "UnknownVendorId"}),
        ("StatusNotification",
         {"timestamp": NOW_TEXT, "connectorStatus": "Available", "evseId": 1, "connectorId": 1}, {}),
        ("NotifyEvent", {"generatedAt": NOW_TEXT, "seqNo": 0, "eventData": [
            {"eventId": 1, "timestamp": NOW_TEXT, "trigger": "Delta", "actualValue": "x",
             "eventNotificationType": "CustomMonitor", "component": {"name": "c"}, "variable": {"name": "v"}}]}, {}),
        ("FirmwareStatusNotification", {"status": "Idle"}, {}),
        ("MeterValues", {"evseId": 1, "meterValue": [{"timestamp": NOW_TEXT, "sampledValue": [{"value": 1.5}]}]}, {}),
        ("GetCertificateStatus", {"ocspRequestData": {**HASH_DATA, "responderURL": "http://o"}}, {"status": "Failed"}),
        ("Get15118EVCertificate", {"iso15118SchemaVersion": "urn:x", "action": "Install", "exiRequest": "AA=="},
         {"status": "Failed", "exiResponse": ""}),
    ],
)  # fmt: skip
def test_other_messages_are_answered_and_kept_out_of_the_database(
    action: str, payload: dict[str, Any], answer: dict[str, Any]
) -> None:
    reaction = react(action, payload)
    assert (reaction.answer, reaction.evidence) == (answer, None)


def test_a_transaction_with_a_token_hears_that_we_know_none() -> None:
    event = {
        "eventType": "Started",
        "timestamp": NOW_TEXT,
        "triggerReason": "Authorized",
        "seqNo": 0,
        "transactionInfo": {"transactionId": "t1"},
    }
    assert react("TransactionEvent", event).answer == {}
    with_token = react("TransactionEvent", {**event, "idToken": ID_TOKEN})
    assert with_token.answer == {"idTokenInfo": {"status": "Unknown"}}


def test_every_message_of_a_station_has_a_handler() -> None:
    """Each action is either handled, or known as one that only the CSMS sends."""
    for action in schemas.load("ocpp.v201").actions - set(HANDLERS):
        assert refusal(action, {}) is ErrorCode.NOT_SUPPORTED
    assert set(HANDLERS) < schemas.load("ocpp.v201").actions


def test_an_unknown_action_is_not_implemented() -> None:
    assert refusal("MakeCoffee", {}) is ErrorCode.NOT_IMPLEMENTED
    assert refusal("heartbeat", {}) is ErrorCode.NOT_IMPLEMENTED


@pytest.mark.parametrize(
    ("action", "payload", "code"),
    [
        ("SecurityEventNotification", {"type": "x"}, ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION),
        ("SecurityEventNotification", {"type": 5, "timestamp": NOW_TEXT}, ErrorCode.TYPE_CONSTRAINT_VIOLATION),
        ("SecurityEventNotification", {"type": "x", "timestamp": NOW_TEXT, "more": 1}, ErrorCode.FORMAT_VIOLATION),
        ("SecurityEventNotification", {"type": "x", "timestamp": "now"}, ErrorCode.PROPERTY_CONSTRAINT_VIOLATION),
        ("SecurityEventNotification", {"type": "x" * 51, "timestamp": NOW_TEXT},
         ErrorCode.PROPERTY_CONSTRAINT_VIOLATION),
        ("SignCertificate", {"csr": "x" * 5501}, ErrorCode.PROPERTY_CONSTRAINT_VIOLATION),
        ("SignCertificate", {"csr": "x", "certificateType": "Driver"}, ErrorCode.PROPERTY_CONSTRAINT_VIOLATION),
        ("SignCertificate", {}, ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION),
    ],
)  # fmt: skip
def test_what_breaks_the_schema_gets_the_code_of_its_kind(
    action: str, payload: dict[str, Any], code: ErrorCode
) -> None:
    assert refusal(action, payload) is code


def test_a_refusal_does_not_repeat_what_the_station_sent() -> None:
    with pytest.raises(RefusedCallError) as raised:
        react("SecurityEventNotification", {"type": "x", "timestamp": "<script>"})
    assert raised.value.description == "timestamp has the wrong format"


@pytest.mark.parametrize(
    ("action", "payload", "request_"),
    [
        (Action.REQUEST_CSR, canonical.request_csr(), Request(
            "TriggerMessage", {"requestedMessage": "SignChargingStationCertificate"})),
        (Action.REQUEST_CSR, canonical.request_csr("V2GCertificate"), Request(
            "TriggerMessage", {"requestedMessage": "SignV2GCertificate"})),
        (Action.REQUEST_CSR, canonical.request_csr("CombinedCertificate"), Request(
            "TriggerMessage", {"requestedMessage": "SignCombinedCertificate"})),
        (Action.DELIVER_CERTIFICATE, canonical.deliver_certificate("pem", "ChargingStationCertificate"), Request(
            "CertificateSigned", {"certificateChain": "pem", "certificateType": "ChargingStationCertificate"})),
        (Action.DELIVER_CERTIFICATE, canonical.deliver_certificate("pem", None), Request(
            "CertificateSigned", {"certificateChain": "pem"})),
        (Action.INSTALL_CERTIFICATE, canonical.install_certificate("pem", "CSMSRootCertificate"), Request(
            "InstallCertificate", {"certificateType": "CSMSRootCertificate", "certificate": "pem"})),
        (Action.LIST_CERTIFICATES, canonical.list_certificates(), Request("GetInstalledCertificateIds", {})),
        (Action.LIST_CERTIFICATES, canonical.list_certificates(["V2GRootCertificate", "MORootCertificate"]), Request(
            "GetInstalledCertificateIds", {"certificateType": ["V2GRootCertificate", "MORootCertificate"]})),
        (Action.DELETE_CERTIFICATE, canonical.delete_certificate(HASH_DATA), Request(
            "DeleteCertificate", {"certificateHashData": HASH_DATA})),
        (Action.GET_LOG, canonical.get_log("SecurityLog", "https://logs/1", 4), Request(
            "GetLog", {"logType": "SecurityLog", "requestId": 4, "log": {"remoteLocation": "https://logs/1"}})),
        (Action.SET_VARIABLES, canonical.set_variables([("SecurityCtrlr", "BasicAuthPassword", "pw")]), Request(
            "SetVariables", {"setVariableData": [{
                "component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"},
                "attributeValue": "pw"}]})),
        (Action.GET_VARIABLES, canonical.get_variables([("SecurityCtrlr", "SecurityProfile")]), Request(
            "GetVariables", {"getVariableData": [{
                "component": {"name": "SecurityCtrlr"}, "variable": {"name": "SecurityProfile"}}]})),
        (Action.SET_NETWORK_PROFILE, canonical.set_network_profile(2, 3, "wss://h:1/ocpp"), Request(
            "SetNetworkProfile", {"configurationSlot": 2, "connectionData": {
                "ocppVersion": "OCPP20", "ocppTransport": "JSON", "ocppCsmsUrl": "wss://h:1/ocpp",
                "messageTimeout": 30, "securityProfile": 3, "ocppInterface": "Wired0"}})),
        (Action.GET_SETTINGS, canonical.get_settings([Setting.ORGANIZATION_NAME, Setting.CERTIFICATE_STORE_MAX_LENGTH]),
         Request("GetVariables", {"getVariableData": [
             {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "OrganizationName"},
              "attributeType": "Actual"},
             {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "CertificateEntries"},
              "attributeType": "MaxSet"}]})),
        (Action.CHANGE_SETTING, canonical.change_setting(Setting.ORGANIZATION_NAME, "Operator"), Request(
            "SetVariables", {"setVariableData": [{
                "component": {"name": "SecurityCtrlr"}, "variable": {"name": "OrganizationName"},
                "attributeValue": "Operator"}]})),
        (Action.SET_AUTHORIZATION_KEY, canonical.set_authorization_key("0123456789abcdef"), Request(
            "SetVariables", {"setVariableData": [{
                "component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"},
                "attributeValue": "0123456789abcdef"}]})),
        (Action.SET_NETWORK_PRIORITY, canonical.set_network_priority([2, 1]), Request(
            "SetVariables", {"setVariableData": [{
                "component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "NetworkConfigurationPriority"},
                "attributeValue": "2,1"}]})),
        (Action.SET_SECURITY_PROFILE, canonical.set_security_profile(3), None),
        (Action.RESET, canonical.reset(), Request("Reset", {"type": "OnIdle"})),
        (Action.RESET, canonical.reset(ResetKind.IMMEDIATE), Request("Reset", {"type": "Immediate"})),
        (Action.RESET, canonical.reset(ResetKind.APPLY_CONFIGURATION), Request("Reset", {"type": "OnIdle"})),
    ],
)  # fmt: skip
def test_commands_become_requests(action: Action, payload: dict[str, Any], request_: Request | None) -> None:
    assert OCPP201().request(action, payload) == request_


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        (Action.DELIVER_CERTIFICATE, canonical.deliver_certificate("x" * 10_001, None)),
        (Action.INSTALL_CERTIFICATE, canonical.install_certificate("pem", "FavouriteCertificate")),
        (Action.REQUEST_CSR, canonical.request_csr("DriverCertificate")),
        (Action.RESET, {}),
        (Action.SET_VARIABLES, {"variables": [["only two", "parts"]]}),
        (Action.SET_VARIABLES, canonical.set_variables([])),
        (Action.SET_VARIABLES, canonical.set_variables([("", "KeyOfAnotherVersion", "1")])),
        (Action.CHANGE_SETTING, canonical.change_setting(Setting.SECURITY_PROFILE, "1")),
        (Action.GET_SETTINGS, canonical.get_settings([])),
        (Action.SET_AUTHORIZATION_KEY, canonical.set_authorization_key()),
        (Action.SET_AUTHORIZATION_KEY, canonical.set_authorization_key("x" * 41)),
        (Action.SET_NETWORK_PRIORITY, canonical.set_network_priority([])),
        (Action.SET_NETWORK_PROFILE, canonical.set_network_profile(1, 2, "wss://h")),
        (Action.SET_NETWORK_PROFILE, canonical.set_network_profile(1, 1, "ws://h", may_lower=True)),
        (Action.SET_SECURITY_PROFILE, canonical.set_security_profile(2)),
    ],
)
def test_a_command_that_would_break_its_schema_is_not_sent(action: Action, payload: dict[str, Any]) -> None:
    with pytest.raises(UnsendableCommandError):
        OCPP201().request(action, payload)


VARIABLE = {"component": {"name": "c"}, "variable": {"name": "v"}}


@pytest.mark.parametrize(
    ("action", "answer", "outcome", "status"),
    [
        ("CertificateSigned", {"status": "Accepted"}, "accepted", "Accepted"),
        ("CertificateSigned", {"status": "Rejected"}, "rejected", "Rejected"),
        ("TriggerMessage", {"status": "NotImplemented"}, "rejected", "NotImplemented"),
        ("InstallCertificate", {"status": "Failed"}, "rejected", "Failed"),
        ("GetInstalledCertificateIds", {"status": "NotFound"}, "accepted", "NotFound"),
        ("DeleteCertificate", {"status": "NotFound"}, "rejected", "NotFound"),
        ("GetLog", {"status": "AcceptedCanceled"}, "accepted", "AcceptedCanceled"),
        ("SetNetworkProfile", {"status": "Failed"}, "rejected", "Failed"),
        ("Reset", {"status": "Scheduled"}, "accepted", "Scheduled"),
        ("SetVariables", {"setVariableResult": [
            {"attributeStatus": "Accepted", **VARIABLE}, {"attributeStatus": "RebootRequired", **VARIABLE}]},
         "accepted", "RebootRequired"),
        ("SetVariables", {"setVariableResult": [
            {"attributeStatus": "Accepted", **VARIABLE}, {"attributeStatus": "Rejected", **VARIABLE}]},
         "rejected", "Rejected"),
        ("GetVariables", {"getVariableResult": [{"attributeStatus": "UnknownVariable", **VARIABLE}]},
         "rejected", "UnknownVariable"),
    ],
)  # fmt: skip
def test_what_an_answer_means(action: str, answer: dict[str, Any], outcome: str, status: str) -> None:
    judged = OCPP201().judge(Request(action, {}), answer)
    assert (judged.outcome, judged.status) == (CommandOutcome(outcome), status)


def test_a_profile_is_lowered_only_where_the_command_says_that_it_may() -> None:
    lowered = OCPP201().request(
        Action.SET_NETWORK_PROFILE, canonical.set_network_profile(1, 2, "wss://h", may_lower=True)
    )
    assert lowered is not None
    assert lowered.payload["connectionData"]["securityProfile"] == 2


def test_a_list_of_certificates_is_told_in_the_canonical_form() -> None:
    adapter = OCPP201()
    request = adapter.request(Action.LIST_CERTIFICATES, canonical.list_certificates())
    assert request is not None
    chain = {"certificateType": "V2GCertificateChain", "certificateHashData": HASH_DATA}
    answer = {"status": "Accepted", "certificateHashDataChain": [{**chain, "childCertificateHashData": [HASH_DATA]}]}
    assert adapter.judge(request, answer).content == {
        "status": "Accepted",
        "uses": [],
        "certificates": [{"use": "V2GCertificateChain", "hash_data": HASH_DATA, "children": [HASH_DATA]}],
    }
    nothing = adapter.judge(request, {"status": "NotFound"})
    assert nothing.content == {"status": "NotFound", "uses": [], "certificates": []}


def test_settings_are_told_in_the_canonical_form_and_one_that_is_unknown_is_no_refusal() -> None:
    adapter = OCPP201()
    request = adapter.request(Action.GET_SETTINGS, canonical.get_settings())
    assert request is not None
    results = [
        {**asked, "attributeStatus": status, **({"attributeValue": value} if value else {})}
        for asked, (status, value) in zip(
            request.payload["getVariableData"],
            [("Accepted", "Operator"), ("UnknownVariable", ""), ("Accepted", "12"), ("Accepted", "9000"),
             ("Accepted", "2")],
            strict=True,
        )
    ]  # fmt: skip
    judged = adapter.judge(request, {"getVariableResult": results})
    assert judged.outcome is CommandOutcome.ACCEPTED
    assert {one["name"]: (one["value"], one["read_only"]) for one in judged.content["settings"]} == {
        "organization_name": ("Operator", False),
        "additional_root_certificate_check": (None, True),
        "certificate_store_max_length": ("12", True),
        "certificate_chain_max_size": ("9000", True),
        "security_profile": ("2", True),
    }


def test_the_reason_of_a_refusal_is_kept_verbatim() -> None:
    info = {"reasonCode": "InvalidCertChain", "additionalInfo": "root not installed"}
    judged = OCPP201().judge(Request("CertificateSigned", {}), {"status": "Rejected", "statusInfo": info})
    assert judged.status_info == info


def test_an_answer_that_breaks_its_schema_is_not_believed() -> None:
    with pytest.raises(schemas.SchemaError):
        OCPP201().judge(Request("CertificateSigned", {}), {"status": "Perhaps"})
