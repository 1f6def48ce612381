"""OCPP 1.6J in the canonical vocabulary: requests of stations, commands, and what answers mean."""

from datetime import UTC, datetime
from typing import Any

import pytest

from bfcerts.ocpp import canonical, frames, schemas
from bfcerts.ocpp.adapters import Adapters
from bfcerts.ocpp.canonical import Action, CommandOutcome, Evidence, ResetKind, Setting
from bfcerts.ocpp.frames import ErrorCode, Malformed
from bfcerts.ocpp.protocol import Answer, Reaction, RefusedCallError, Request, UnsendableCommandError
from bfcerts.ocpp.registry import ADAPTER_OPTION
from bfcerts.ocpp.v16 import OCPP16, OCPP16LegacyTrigger
from bfcerts.ocpp.v16.station import HANDLERS

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
NOW_TEXT = "2026-05-04T03:02:01Z"
HASH_DATA = {"hashAlgorithm": "SHA384", "issuerNameHash": "0a", "issuerKeyHash": "0b", "serialNumber": "0C"}
START = {"connectorId": 1, "idTag": "0102", "meterStart": 5, "timestamp": NOW_TEXT}


def react(action: str, payload: dict[str, Any] | None = None) -> Reaction:
    return OCPP16().react(action, payload or {}, NOW, 300)


def refusal(action: str, payload: dict[str, Any]) -> str:
    """The code as it stands on the wire."""
    with pytest.raises(RefusedCallError) as raised:
        react(action, payload)
    return OCPP16().error_code(raised.value.code)


def sent(action: Action, payload: dict[str, Any]) -> Request:
    request = OCPP16().request(action, payload)
    assert request is not None
    return request


def judged(action: Action, payload: dict[str, Any], answer: dict[str, Any]) -> Answer:
    adapter = OCPP16()
    request = adapter.request(action, payload)
    assert request is not None
    return adapter.judge(request, answer)


@pytest.mark.parametrize(
    ("serials", "serial"),
    [
        ({"chargePointSerialNumber": "CP-1", "chargeBoxSerialNumber": "CB-1"}, "CP-1"),
        ({"chargeBoxSerialNumber": "CB-1"}, "CB-1"),
        ({"chargePointSerialNumber": "", "chargeBoxSerialNumber": "CB-1"}, "CB-1"),
        ({}, ""),
    ],
)
def test_boot_notification_is_accepted_and_is_evidence(serials: dict[str, str], serial: str) -> None:
    station = {"chargePointVendor": "Vendor", "chargePointModel": "One", "firmwareVersion": "1.2", **serials}
    reaction = react("BootNotification", station)
    assert reaction.answer == {"currentTime": NOW_TEXT, "interval": 300, "status": "Accepted"}
    assert reaction.evidence is Evidence.BOOTED
    assert reaction.booted
    assert reaction.payload == {
        "reason": "",
        "vendor": "Vendor",
        "model": "One",
        "serial_number": serial,
        "firmware_version": "1.2",
    }


def test_tc_074_sign_certificate_is_answered_accepted_and_is_the_stations_own() -> None:
    reaction = react("SignCertificate", {"csr": "pem"})
    assert reaction.answer == {"status": "Accepted"}
    assert reaction.evidence is Evidence.CSR_RECEIVED
    assert reaction.payload == {
        "csr": "pem",
        "certificate_type": "ChargingStationCertificate",
        "request_id": None,
    }


@pytest.mark.parametrize(
    ("sent_at", "kept"),
    [
        ("2026-05-04T03:02:01", "2026-05-04T03:02:01Z"),
        ("2026-05-04T03:02:01.5", "2026-05-04T03:02:01.5Z"),
        ("2026-05-04T03:02:01+02:00", "2026-05-04T03:02:01+02:00"),
        (NOW_TEXT, NOW_TEXT),
    ],
)
def test_a_time_without_a_zone_is_utc(sent_at: str, kept: str) -> None:
    event = react("SecurityEventNotification", {"type": "InvalidChargePointCertificate", "timestamp": sent_at})
    assert event == Reaction(
        {}, Evidence.SECURITY_EVENT, {"type": "InvalidChargePointCertificate", "timestamp": kept, "tech_info": ""}
    )


def test_tc_079_log_status_is_evidence() -> None:
    log = react("LogStatusNotification", {"status": "Uploaded", "requestId": 7})
    assert log == Reaction({}, Evidence.LOG_STATUS, {"status": "Uploaded", "request_id": 7})
    assert react("LogStatusNotification", {"status": "Idle"}).payload["request_id"] is None


@pytest.mark.parametrize(
    ("action", "payload", "answer"),
    [
        ("Heartbeat", {}, {"currentTime": NOW_TEXT}),
        ("Authorize", {"idTag": "0102"}, {"idTagInfo": {"status": "Invalid"}}),
        ("StopTransaction", {"transactionId": 3, "timestamp": NOW_TEXT, "meterStop": 9}, {}),
        ("StopTransaction", {"transactionId": 3, "timestamp": NOW_TEXT, "meterStop": 9, "idTag": "1"},
         {"idTagInfo": {"status": "Invalid"}}),
        ("DataTransfer", {"vendorId": "somebody", "data": "{}"}, {"status": "UnknownVendorId"}),
        ("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Available"}, {}),
        ("MeterValues", {"connectorId": 1, "meterValue": [
            {"timestamp": NOW_TEXT, "sampledValue": [{"value": "1.5"}]}]}, {}),
        ("DiagnosticsStatusNotification", {"status": "Idle"}, {}),
        ("FirmwareStatusNotification", {"status": "Idle"}, {}),
        ("SignedFirmwareStatusNotification", {"status": "Idle"}, {}),
    ],
)  # fmt: skip
def test_other_messages_are_answered_and_kept_out_of_the_database(
    action: str, payload: dict[str, Any], answer: dict[str, Any]
) -> None:
    assert react(action, payload) == Reaction(answer)


def test_a_transaction_gets_an_id_that_a_repetition_gets_again() -> None:
    first = react("StartTransaction", START).answer
    assert first["idTagInfo"] == {"status": "Invalid"}
    assert 0 < first["transactionId"] < 2**31
    assert react("StartTransaction", dict(reversed(START.items()))).answer == first
    others = [{**START, "connectorId": 2}, {**START, "meterStart": 6}, {**START, "timestamp": "2026-05-04T03:02:02Z"}]
    identifiers = {react("StartTransaction", other).answer["transactionId"] for other in others}
    assert len(identifiers | {first["transactionId"]}) == 4


def test_every_message_of_a_station_has_a_handler() -> None:
    actions = schemas.load("ocpp.v16", zone_required=False).actions
    for action in actions - set(HANDLERS):
        assert refusal(action, {}) == "NotSupported"
    assert set(HANDLERS) < actions


@pytest.mark.parametrize(
    ("action", "payload", "code"),
    [
        ("MakeCoffee", {}, "NotImplemented"),
        ("TransactionEvent", {}, "NotImplemented"),
        ("SecurityEventNotification", {"type": "x"}, "OccurenceConstraintViolation"),
        ("SecurityEventNotification", {"type": 5, "timestamp": NOW_TEXT}, "TypeConstraintViolation"),
        ("SecurityEventNotification", {"type": "x", "timestamp": NOW_TEXT, "more": 1}, "FormationViolation"),
        ("SecurityEventNotification", {"type": "x", "timestamp": "now"}, "PropertyConstraintViolation"),
        ("SignCertificate", {"csr": "x" * 5501}, "PropertyConstraintViolation"),
        ("SignCertificate", {"csr": "x", "certificateType": "V2GCertificate"}, "FormationViolation"),
    ],
)
def test_what_cannot_be_served_gets_the_code_of_its_kind_in_the_spelling_of_1_6(
    action: str, payload: dict[str, Any], code: str
) -> None:
    assert refusal(action, payload) == code


@pytest.mark.parametrize(
    ("raw", "ignored"),
    [
        (b"not json", True),
        (b"[2]", True),
        (b'[7, "m1", {}]', True),
        (b'[2, "m1", "Heartbeat"]', False),
        (b'[2, "m1", "Heartbeat", 5]', False),
    ],
)
def test_what_1_6_ignores_is_not_answered(raw: bytes, ignored: bool) -> None:
    frame = frames.parse(raw)
    assert isinstance(frame, Malformed)
    assert OCPP16().ignores(frame) is ignored
    assert OCPP16().error_code(ErrorCode.RPC_FRAMEWORK_ERROR) == "FormationViolation"


@pytest.mark.parametrize(
    ("action", "payload", "request_"),
    [
        (Action.REQUEST_CSR, canonical.request_csr(), Request(
            "ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"})),
        (Action.REQUEST_CSR, canonical.request_csr("CombinedCertificate"), Request(
            "ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"})),
        (Action.DELIVER_CERTIFICATE, canonical.deliver_certificate("pem", "ChargingStationCertificate"), Request(
            "CertificateSigned", {"certificateChain": "pem"})),
        (Action.DELIVER_CERTIFICATE, canonical.deliver_certificate("pem", None), Request(
            "CertificateSigned", {"certificateChain": "pem"})),
        (Action.INSTALL_CERTIFICATE, canonical.install_certificate("pem", "CSMSRootCertificate"), Request(
            "InstallCertificate", {"certificateType": "CentralSystemRootCertificate", "certificate": "pem"})),
        (Action.INSTALL_CERTIFICATE, canonical.install_certificate("pem", "ManufacturerRootCertificate"), Request(
            "InstallCertificate", {"certificateType": "ManufacturerRootCertificate", "certificate": "pem"})),
        (Action.LIST_CERTIFICATES, canonical.list_certificates(), Request(
            "GetInstalledCertificateIds", {"certificateType": "CentralSystemRootCertificate"})),
        (Action.LIST_CERTIFICATES, canonical.list_certificates(["ManufacturerRootCertificate"]), Request(
            "GetInstalledCertificateIds", {"certificateType": "ManufacturerRootCertificate"})),
        (Action.DELETE_CERTIFICATE, canonical.delete_certificate(HASH_DATA), Request(
            "DeleteCertificate", {"certificateHashData": HASH_DATA})),
        (Action.GET_LOG, canonical.get_log("SecurityLog", "https://logs/1", 4), Request(
            "GetLog", {"logType": "SecurityLog", "requestId": 4, "log": {"remoteLocation": "https://logs/1"}})),
        (Action.GET_SETTINGS, canonical.get_settings(), Request("GetConfiguration", {"key": [
            "CpoName", "AdditionalRootCertificateCheck", "CertificateStoreMaxLength", "CertificateSignedMaxChainSize",
            "SecurityProfile"]})),
        (Action.CHANGE_SETTING, canonical.change_setting(Setting.ORGANIZATION_NAME, "Operator"), Request(
            "ChangeConfiguration", {"key": "CpoName", "value": "Operator"})),
        (Action.SET_AUTHORIZATION_KEY, canonical.set_authorization_key("0123456789abcdef"), Request(
            "ChangeConfiguration", {"key": "AuthorizationKey", "value": "30313233343536373839616263646566"})),
        (Action.SET_VARIABLES, canonical.set_variables([("", "VendorKey", "1")]), Request(
            "ChangeConfiguration", {"key": "VendorKey", "value": "1"})),
        (Action.GET_VARIABLES, canonical.get_variables([("", "VendorKey"), ("", "Other")]), Request(
            "GetConfiguration", {"key": ["VendorKey", "Other"]})),
        (Action.SET_NETWORK_PROFILE, canonical.set_network_profile(2, 3, "wss://h"), None),
        (Action.SET_NETWORK_PRIORITY, canonical.set_network_priority([2, 1]), None),
        (Action.SET_SECURITY_PROFILE, canonical.set_security_profile(3), Request(
            "ChangeConfiguration", {"key": "SecurityProfile", "value": "3"})),
        (Action.SET_SECURITY_PROFILE, canonical.set_security_profile(2, may_lower=True), Request(
            "ChangeConfiguration", {"key": "SecurityProfile", "value": "2"})),
        (Action.RESET, canonical.reset(), Request("Reset", {"type": "Soft"})),
        (Action.RESET, canonical.reset(ResetKind.IMMEDIATE), Request("Reset", {"type": "Hard"})),
        (Action.RESET, canonical.reset(ResetKind.APPLY_CONFIGURATION), Request("Reset", {"type": "Hard"})),
    ],
)  # fmt: skip
def test_commands_become_requests(action: Action, payload: dict[str, Any], request_: Request | None) -> None:
    assert OCPP16().request(action, payload) == request_


@pytest.mark.parametrize("action", Action)
def test_every_command_has_its_place(action: Action) -> None:
    """A command that 1.6 has no message for says so, or needs none; none is forgotten."""
    assert action in OCPP16.builders
    if action is not Action.SET_NETWORK_PRIORITY:
        with pytest.raises(UnsendableCommandError, match="not what"):
            OCPP16().request(action, {})


@pytest.mark.parametrize(
    ("action", "payload", "said"),
    [
        (Action.REQUEST_CSR, canonical.request_csr(""), "no request for"),
        (Action.DELIVER_CERTIFICATE, canonical.deliver_certificate("x" * 10_001, None), "too long"),
        (Action.INSTALL_CERTIFICATE, canonical.install_certificate("pem", "OEMRootCertificate"),
         "keeps no OEMRootCertificate; it knows CSMSRootCertificate and ManufacturerRootCertificate, and for Plug"),
        (Action.INSTALL_CERTIFICATE, canonical.install_certificate("x" * 5_501, "CSMSRootCertificate"), "too long"),
        (Action.LIST_CERTIFICATES, canonical.list_certificates(["CSMSRootCertificate", "ManufacturerRootCertificate"]),
         "one use for each message"),
        (Action.LIST_CERTIFICATES, canonical.list_certificates(["OEMRootCertificate"]), "keeps no OEM"),
        (Action.GET_LOG, canonical.get_log("SecurityLog", "x" * 513, 4), "too long"),
        (Action.SET_VARIABLES, canonical.set_variables([("SecurityCtrlr", "OrganizationName", "x")]), "no component"),
        (Action.SET_VARIABLES, canonical.set_variables([("", "authorizationkey", "x")]), "a command of its own"),
        (Action.SET_VARIABLES, canonical.set_variables([("", "a", "1"), ("", "b", "2")]), "one key for each message"),
        (Action.GET_VARIABLES, canonical.get_variables([]), "name the configuration keys"),
        (Action.GET_SETTINGS, canonical.get_settings([]), "name the settings"),
        (Action.CHANGE_SETTING, canonical.change_setting(Setting.SECURITY_PROFILE, "1"), "read only"),
        (Action.SET_AUTHORIZATION_KEY, canonical.set_authorization_key(), "16 to 20 bytes"),
        (Action.SET_AUTHORIZATION_KEY, canonical.set_authorization_key("x" * 21), "16 to 20 bytes"),
        (Action.SET_SECURITY_PROFILE, canonical.set_security_profile(2), "lowered only"),
        (Action.SET_SECURITY_PROFILE, canonical.set_security_profile(1, may_lower=True), "not served here"),
        (Action.SET_NETWORK_PROFILE, canonical.set_network_profile(1, 2, "wss://h"), "lowered only"),
    ],
)  # fmt: skip
def test_what_1_6_cannot_say_is_not_sent_and_the_reason_is_a_sentence(
    action: Action, payload: dict[str, Any], said: str
) -> None:
    with pytest.raises(UnsendableCommandError, match=said):
        OCPP16().request(action, payload)


@pytest.mark.parametrize(
    ("action", "payload", "status", "outcome"),
    [
        (Action.REQUEST_CSR, canonical.request_csr(), "Accepted", "accepted"),
        (Action.REQUEST_CSR, canonical.request_csr(), "NotImplemented", "rejected"),
        (Action.DELIVER_CERTIFICATE, canonical.deliver_certificate("pem", None), "Rejected", "rejected"),
        (Action.INSTALL_CERTIFICATE, canonical.install_certificate("pem", "CSMSRootCertificate"), "Failed",
         "rejected"),
        (Action.DELETE_CERTIFICATE, canonical.delete_certificate(HASH_DATA), "NotFound", "rejected"),
        (Action.GET_LOG, canonical.get_log("SecurityLog", "https://logs/1", 4), "AcceptedCanceled", "accepted"),
        (Action.SET_SECURITY_PROFILE, canonical.set_security_profile(3), "RebootRequired", "accepted"),
        (Action.SET_SECURITY_PROFILE, canonical.set_security_profile(3), "NotSupported", "rejected"),
        (Action.RESET, canonical.reset(), "Rejected", "rejected"),
    ],
)  # fmt: skip
def test_what_an_answer_means(action: Action, payload: dict[str, Any], status: str, outcome: str) -> None:
    answer = judged(action, payload, {"status": status})
    assert answer == Answer(CommandOutcome(outcome), status, None, {"status": status})


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA384", "SHA512"])
def test_tc_075_a_list_of_certificates_is_told_in_the_canonical_form(algorithm: str) -> None:
    hash_data = {**HASH_DATA, "hashAlgorithm": algorithm}
    answer = {"status": "Accepted", "certificateHashData": [hash_data]}
    for uses in ([], ["CSMSRootCertificate"]):
        listed = judged(Action.LIST_CERTIFICATES, canonical.list_certificates(uses), answer)
        assert listed.outcome is CommandOutcome.ACCEPTED
        assert listed.content == {
            "status": "Accepted",
            "uses": ["CSMSRootCertificate"],
            "certificates": [{"use": "CSMSRootCertificate", "hash_data": hash_data, "children": []}],
        }
    manufacturer = canonical.list_certificates(["ManufacturerRootCertificate"])
    nothing = judged(Action.LIST_CERTIFICATES, manufacturer, {"status": "NotFound"})
    assert nothing.outcome is CommandOutcome.ACCEPTED
    assert nothing.content == {"status": "NotFound", "uses": ["ManufacturerRootCertificate"], "certificates": []}


def test_settings_are_told_in_the_canonical_form_and_one_that_is_unknown_is_no_refusal() -> None:
    answer = {
        "configurationKey": [
            {"key": "cpoName", "readonly": False, "value": "Operator"},
            {"key": "CertificateStoreMaxLength", "readonly": True, "value": "12"},
            {"key": "SecurityProfile", "readonly": False, "value": "2"},
            {"key": "CertificateSignedMaxChainSize", "readonly": True},
            {"key": "AuthorizationKey", "readonly": False, "value": "in clear"},
        ],
        "unknownKey": ["AdditionalRootCertificateCheck"],
    }
    told = judged(Action.GET_SETTINGS, canonical.get_settings(), answer)
    assert told.outcome is CommandOutcome.ACCEPTED
    assert {one["name"]: (one["value"], one["read_only"]) for one in told.content["settings"]} == {
        "organization_name": ("Operator", False),
        "additional_root_certificate_check": (None, True),
        "certificate_store_max_length": ("12", True),
        "certificate_chain_max_size": (None, True),
        "security_profile": ("2", True),
    }


def test_a_key_that_the_station_does_not_know_is_a_refusal_where_it_was_named() -> None:
    known = {"configurationKey": [{"key": "VendorKey", "readonly": True, "value": "7"}]}
    asked = canonical.get_variables([("", "VendorKey")])
    told = judged(Action.GET_VARIABLES, asked, known)
    assert told.outcome is CommandOutcome.ACCEPTED
    assert told.content["variables"] == [{"component": "", "name": "VendorKey", "status": "Accepted", "value": "7"}]
    refused = judged(Action.GET_VARIABLES, asked, {"unknownKey": ["VendorKey"]})
    assert (refused.outcome, refused.status) == (CommandOutcome.REJECTED, "UnknownKey")


def test_an_answer_that_breaks_its_schema_is_not_believed() -> None:
    with pytest.raises(schemas.SchemaError):
        judged(Action.RESET, canonical.reset(), {"status": "Scheduled"})


def test_a_family_without_extended_trigger_message_is_asked_by_the_old_one() -> None:
    adapter = OCPP16LegacyTrigger()
    request = adapter.request(Action.REQUEST_CSR, canonical.request_csr())
    assert request == Request("TriggerMessage", {"requestedMessage": "SignChargePointCertificate"})
    assert adapter.judge(request, {"status": "Accepted"}).outcome is CommandOutcome.ACCEPTED
    assert adapter.request(Action.RESET, canonical.reset()) == sent(Action.RESET, canonical.reset())


def test_the_variant_of_a_family_speaks_only_in_its_own_version(caplog: pytest.LogCaptureFixture) -> None:
    adapters = Adapters()
    assert adapters.subprotocols == ["ocpp2.0.1", "ocpp1.6"]
    newer, older = adapters.of("ocpp2.0.1"), adapters.of("ocpp1.6")
    assert newer is not None
    assert older is not None
    options = {ADAPTER_OPTION: "ocpp1.6-legacy-trigger"}
    assert isinstance(adapters.of_family(older, options, "CS-1"), OCPP16LegacyTrigger)
    assert adapters.of_family(older, {}, "CS-1") is older
    assert not caplog.records
    assert adapters.of_family(newer, options, "CS-1") is newer
    assert adapters.of_family(older, {ADAPTER_OPTION: "ocpp1.6-of-nobody"}, "CS-1") is older
    assert len(caplog.records) == 2
    assert adapters.of("ocpp0.1") is None
