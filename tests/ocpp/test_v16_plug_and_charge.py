"""Plug and Charge over OCPP 1.6 in both dialects: what stations ask, what they are asked, and what answers mean."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from bfcerts.ocpp import canonical
from bfcerts.ocpp.canonical import Action, CommandOutcome, Evidence, QuestionKind, Setting
from bfcerts.ocpp.protocol import Answer, Reaction, Request, Told, UnsendableCommandError
from bfcerts.ocpp.schemas import SchemaError
from bfcerts.ocpp.v16 import OCPP16, OCPP16HasToBe, OCPP16LegacyTrigger
from bfcerts.ocpp.v201 import OCPP201

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
OCA, HAS2BE = "org.openchargealliance.iso15118pnc", "iso15118"
HASH_DATA = {"hashAlgorithm": "SHA256", "issuerNameHash": "0a", "issuerKeyHash": "0b", "serialNumber": "0C"}
OCSP = {"hashAlgorithm": "SHA256", "issuerNameHash": "ab" * 32, "issuerKeyHash": "cd" * 32, "serialNumber": "0c"}


def pem(der: bytes, label: str = "CERTIFICATE") -> str:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n"


LEAF, SUB2, SUB1 = b"\x30\x82leaf" * 40, b"\x30\x82sub2" * 40, b"\x30\x82sub1" * 40
CHAIN = pem(LEAF) + pem(SUB2) + pem(SUB1)


def react(name: str | None, inner: Any, vendor: str = OCA) -> Reaction:
    payload = {"vendorId": vendor, "data": inner if isinstance(inner, str) else json.dumps(inner)}
    if name is not None:
        payload["messageId"] = name
    return OCPP16().react("DataTransfer", payload, NOW, 300)


def said(action: Action, payload: dict[str, Any], adapter: OCPP16 | None = None) -> tuple[str, str, dict[str, Any]]:
    """Vendor id, message and inner payload of the request that a command becomes."""
    request = (adapter or OCPP16()).request(action, payload)
    assert request is not None
    assert request.action == "DataTransfer"
    return request.payload["vendorId"], request.payload["messageId"], json.loads(request.payload["data"])


@pytest.mark.parametrize(
    ("vendor", "payload"),
    [
        (OCA, {"csr": pem(b"request", "CERTIFICATE REQUEST"), "certificateType": "V2GCertificate"}),
        (OCA, {"csr": pem(b"request", "CERTIFICATE REQUEST")}),
        ("ORG.openchargealliance.ISO15118pnc ", {"csr": pem(b"request", "CERTIFICATE REQUEST")}),
        (HAS2BE, {"csr": b"request".hex().upper(), "typeOfCertificate": "V2GCertificate"}),
        (HAS2BE, {"csr": b"request".hex()}),
    ],
)
def test_a_request_for_a_certificate_is_never_one_for_the_stations_own(vendor: str, payload: dict[str, Any]) -> None:
    reaction = react("SignCertificate", payload, vendor)
    assert reaction.answer == {"status": "Accepted", "data": '{"status":"Accepted"}'}
    assert reaction.evidence is Evidence.CSR_RECEIVED
    assert reaction.payload == {
        "csr": pem(b"request", "CERTIFICATE REQUEST"),
        "certificate_type": "V2GCertificate",
        "request_id": None,
    }


def test_a_request_that_names_the_stations_own_certificate_is_taken_at_its_word() -> None:
    for vendor, key in ((OCA, "certificateType"), (HAS2BE, "typeOfCertificate")):
        reaction = react("SignCertificate", {"csr": "x", key: "ChargingStationCertificate"}, vendor)
        assert (reaction.payload["certificate_type"], reaction.payload["csr"]) == ("ChargingStationCertificate", "x")


def test_a_question_is_that_of_2_0_1_and_answered_on_both_levels() -> None:
    ask = {"iso15118SchemaVersion": "urn:x", "action": "Update", "exiRequest": "AA=="}
    plain = OCPP201().react("Get15118EVCertificate", ask, NOW, 300)
    wrapped = react("get15118evcertificate", ask)
    assert plain.asking == wrapped.asking
    assert plain.asking is not None
    assert wrapped.asking is not None
    assert wrapped.asking.kind is QuestionKind.EV_CERTIFICATE
    assert wrapped.answer == {"status": "Accepted", "data": '{"status":"Failed","exiResponse":""}'}
    told = Told(True, "AQ==")
    assert plain.asking.say(told) == {"status": "Accepted", "exiResponse": "AQ=="}
    assert wrapped.asking.say(told) == {"status": "Accepted", "data": '{"status":"Accepted","exiResponse":"AQ=="}'}


@pytest.mark.parametrize("vendor", [OCA, HAS2BE])
def test_a_certificates_status_is_asked_in_both_dialects(vendor: str) -> None:
    data = {**OCSP, "responderURL": "http://o"} if vendor == OCA else OCSP
    reaction = react("GetCertificateStatus", {"ocspRequestData": data}, vendor)
    assert reaction.asking is not None
    assert reaction.asking.payload["responder_url"] == data.get("responderURL", "")
    assert json.loads(reaction.asking.say(Told(True, "MIIB"))["data"]) == {"status": "Accepted", "ocspResult": "MIIB"}
    assert json.loads(reaction.asking.say(Told(True))["data"]) == {"status": "Failed"}


@pytest.mark.parametrize(
    ("name", "inner", "vendor", "status"),
    [
        ("SignCertificate", {"csr": "x"}, "somebody", "UnknownVendorId"),
        ("MakeCoffee", {}, OCA, "UnknownMessageId"),
        (None, {}, OCA, "UnknownMessageId"),
        ("SignCertificate", "not json", OCA, "Rejected"),
        ("SignCertificate", "[]", OCA, "Rejected"),
        ("SignCertificate", "[" * 70 + "]" * 70, OCA, "Rejected"),
        ("SignCertificate", '{"a":' * 70 + "1" + "}" * 70, HAS2BE, "Rejected"),
        ("SignCertificate", {}, OCA, "Rejected"),
        ("SignCertificate", {"csr": 5}, HAS2BE, "Rejected"),
        ("SignCertificate", {"csr": "x" * 5_501}, OCA, "Rejected"),
        ("GetCertificateStatus", {"ocspRequestData": 5}, HAS2BE, "Rejected"),
        ("GetCertificateStatus", {"ocspRequestData": OCSP}, OCA, "Rejected"),
        (
            "Get15118EVCertificate",
            {"iso15118SchemaVersion": "u", "action": "Install", "exiRequest": "A" * 5_601},
            OCA,
            "Rejected",
        ),
        ("Get15118EVCertificate", {"15118SchemaVersion": "u", "exiRequest": "A" * 5_501}, HAS2BE, "Rejected"),
    ],
)
def test_what_is_no_message_of_a_dialect_is_refused_on_the_outer_level(
    name: str | None, inner: Any, vendor: str, status: str
) -> None:
    assert react(name, inner, vendor) == Reaction({"status": status})


def test_no_token_is_known_here_either() -> None:
    reaction = react("Authorize", {"idToken": {"idToken": "DE8AA001234567", "type": "eMAID"}})
    assert reaction == Reaction({"status": "Accepted", "data": '{"idTokenInfo":{"status":"Unknown"}}'})


def test_a_v2g_chain_is_escaped_once_in_its_message_and_once_more_in_its_frame() -> None:
    payload = canonical.deliver_certificate(CHAIN, "V2GCertificate")
    request = OCPP16().request(Action.DELIVER_CERTIFICATE, payload)
    assert request is not None
    frame = json.dumps([2, "m", request.action, request.payload])
    assert "-----BEGIN CERTIFICATE-----\\\\nMII" in frame or "-----BEGIN CERTIFICATE-----\\\\n" in frame
    assert json.loads(json.loads(frame)[3]["data"]) == {"certificateChain": CHAIN, "certificateType": "V2GCertificate"}
    plain = OCPP201().request(Action.DELIVER_CERTIFICATE, payload)
    assert plain == Request("CertificateSigned", {"certificateChain": CHAIN, "certificateType": "V2GCertificate"})


COMMANDS: list[tuple[Action, dict[str, Any], str, dict[str, Any], dict[str, Any]]] = [
    (
        Action.REQUEST_CSR,
        canonical.request_csr("V2GCertificate"),
        "TriggerMessage",
        {"requestedMessage": "SignV2GCertificate"},
        {"requestedMessage": "SignV2GCertificate"},
    ),
    (
        Action.DELIVER_CERTIFICATE,
        canonical.deliver_certificate(CHAIN, "V2GCertificate"),
        "CertificateSigned",
        {"certificateChain": CHAIN, "certificateType": "V2GCertificate"},
        {"cert": (LEAF + SUB2 + SUB1).hex(), "typeOfCertificate": "V2GCertificate"},
    ),
    (
        Action.INSTALL_CERTIFICATE,
        canonical.install_certificate(pem(LEAF), "V2GRootCertificate"),
        "InstallCertificate",
        {"certificateType": "V2GRootCertificate", "certificate": pem(LEAF)},
        {"certificateType": "V2GRootCertificate", "certificate": LEAF.hex()},
    ),
    (
        Action.INSTALL_CERTIFICATE,
        canonical.install_certificate(pem(LEAF), "MORootCertificate"),
        "InstallCertificate",
        {"certificateType": "MORootCertificate", "certificate": pem(LEAF)},
        {"certificateType": "MORootCertificate", "certificate": LEAF.hex()},
    ),
    (
        Action.LIST_CERTIFICATES,
        canonical.list_certificates(["V2GCertificateChain"]),
        "GetInstalledCertificateIds",
        {"certificateType": ["V2GCertificateChain"]},
        {"typeOfCertificate": ["V2GCertificateChain"]},
    ),
    (
        Action.DELETE_CERTIFICATE,
        canonical.delete_certificate(HASH_DATA, "V2GRootCertificate"),
        "DeleteCertificate",
        {"certificateHashData": HASH_DATA},
        {"certificateHashData": HASH_DATA},
    ),
]


@pytest.mark.parametrize(("action", "payload", "name", "oca", "has2be"), COMMANDS)
def test_commands_are_said_in_the_dialect_of_the_family(
    action: Action, payload: dict[str, Any], name: str, oca: dict[str, Any], has2be: dict[str, Any]
) -> None:
    assert said(action, payload) == (OCA, name, oca)
    assert said(action, payload, OCPP16LegacyTrigger()) == (OCA, name, oca)
    assert said(action, payload, OCPP16HasToBe()) == (HAS2BE, name, has2be)
    assert canonical.is_plug_and_charge(payload)


def test_what_concerns_the_stations_own_certificates_stays_plain_1_6() -> None:
    for adapter in (OCPP16(), OCPP16HasToBe()):
        trigger = adapter.request(Action.REQUEST_CSR, canonical.request_csr())
        assert trigger == Request("ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"})
        plain = canonical.delete_certificate(HASH_DATA, "CSMSRootCertificate")
        deleted = adapter.request(Action.DELETE_CERTIFICATE, plain)
        assert deleted == Request("DeleteCertificate", {"certificateHashData": HASH_DATA})
        assert not canonical.is_plug_and_charge(plain)


@pytest.mark.parametrize(
    ("setting", "key", "place"),
    [
        (Setting.PLUG_AND_CHARGE_ENABLED, "ISO15118PnCEnabled", "PnCEnabled"),
        (Setting.SECC_COMMON_NAME, "SeccLeafSubjectCommonName", "SeccId"),
        (Setting.SECC_COUNTRY, "SeccLeafSubjectCountry", "CountryName"),
        (Setting.SECC_ORGANIZATION, "SeccLeafSubjectOrganization", "OrganizationName"),
    ],
)
def test_what_a_request_needs_is_set_beforehand(setting: Setting, key: str, place: str) -> None:
    change = canonical.change_setting(setting, "value")
    assert OCPP16().request(Action.CHANGE_SETTING, change) == Request(
        "ChangeConfiguration", {"key": key, "value": "value"}
    )
    variable = {"component": {"name": "ISO15118Ctrlr"}, "variable": {"name": place}, "attributeValue": "value"}
    assert OCPP201().request(Action.CHANGE_SETTING, change) == Request("SetVariables", {"setVariableData": [variable]})


@pytest.mark.parametrize(
    ("adapter", "action", "payload", "reason"),
    [
        (OCPP16(), Action.DELIVER_CERTIFICATE, canonical.deliver_certificate("x" * 10_001, "V2GCertificate"), "long"),
        (OCPP16HasToBe(), Action.DELIVER_CERTIFICATE, canonical.deliver_certificate("x", "V2GCertificate"), "no PEM"),
        (
            OCPP16HasToBe(),
            Action.DELIVER_CERTIFICATE,
            canonical.deliver_certificate(pem(LEAF * 21), "V2GCertificate"),
            "no more than 10000 hexadecimal digits",
        ),
        (
            OCPP16HasToBe(),
            Action.INSTALL_CERTIFICATE,
            canonical.install_certificate(pem(LEAF + SUB1), "V2GRootCertificate"),
            "no more than 800 hexadecimal digits, and this has 960",
        ),
        (
            OCPP16HasToBe(),
            Action.INSTALL_CERTIFICATE,
            canonical.install_certificate(
                "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----", "MORootCertificate"
            ),
            "not base64",
        ),
        (
            OCPP16(),
            Action.LIST_CERTIFICATES,
            canonical.list_certificates(["V2GRootCertificate", "MORootCertificate"]),
            "one use for each message",
        ),
    ],
)
def test_what_a_dialect_cannot_carry_is_not_sent_and_the_reason_is_a_sentence(
    adapter: OCPP16, action: Action, payload: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UnsendableCommandError, match=reason):
        adapter.request(action, payload)


DELIVER = canonical.deliver_certificate(CHAIN, "V2GCertificate")


def judged(
    answer: dict[str, Any],
    action: Action = Action.DELIVER_CERTIFICATE,
    payload: dict[str, Any] | None = None,
    adapter: OCPP16 | None = None,
) -> Answer:
    adapter = adapter or OCPP16()
    request = adapter.request(action, payload or DELIVER)
    assert request is not None
    return adapter.judge(request, answer)


@pytest.mark.parametrize(
    ("answer", "outcome", "status"),
    [
        ({"status": "Accepted", "data": '{"status":"Accepted"}'}, "accepted", "Accepted"),
        ({"status": "Accepted", "data": '{"status":"Rejected"}'}, "rejected", "Rejected"),
        ({"status": "Rejected", "data": '{"status":"Accepted"}'}, "rejected", "Rejected"),
        ({"status": "UnknownVendorId"}, "rejected", "UnknownVendorId"),
        ({"status": "UnknownMessageId"}, "rejected", "UnknownMessageId"),
    ],
)
def test_both_levels_of_an_answer_count(answer: dict[str, Any], outcome: str, status: str) -> None:
    for adapter in (OCPP16(), OCPP16HasToBe()):
        assert judged(answer, adapter=adapter) == Answer(CommandOutcome(outcome), status, None, {"status": status})


def test_the_reason_of_the_inner_level_is_kept() -> None:
    info = {"reasonCode": "NoRoot", "additionalInfo": "the V2G root is missing"}
    answer = {"status": "Accepted", "data": json.dumps({"status": "Rejected", "statusInfo": info})}
    assert judged(answer).status_info == info


@pytest.mark.parametrize(
    "data", [None, "", "null", "[]", '{"status":"Perhaps"}', "{}", '{"a":' * 70 + "1" + "}" * 70, '{"status":5}']
)
def test_an_answer_without_a_readable_inner_one_is_none(data: str | None) -> None:
    answer = {"status": "Accepted"} if data is None else {"status": "Accepted", "data": data}
    with pytest.raises(SchemaError):
        judged(answer)


@pytest.mark.parametrize("adapter", [OCPP16(), OCPP16HasToBe()])
def test_a_list_is_told_in_the_canonical_form(adapter: OCPP16) -> None:
    entries: list[Any] = [HASH_DATA]
    if not isinstance(adapter, OCPP16HasToBe):
        entries = [{"certificateType": "V2GRootCertificate", "certificateHashData": HASH_DATA}]
    asked = canonical.list_certificates(["V2GRootCertificate"])
    answer = {
        "status": "Accepted",
        "data": json.dumps({"status": "Accepted", "certificateHashDataChain": entries}),
    }
    assert judged(answer, Action.LIST_CERTIFICATES, asked, adapter).content == {
        "status": "Accepted",
        "uses": ["V2GRootCertificate"],
        "certificates": [{"use": "V2GRootCertificate", "hash_data": HASH_DATA, "children": []}],
    }
    nothing = judged({"status": "Accepted", "data": '{"status":"NotFound"}'}, Action.LIST_CERTIFICATES, asked, adapter)
    assert (nothing.outcome, nothing.content["certificates"]) == (CommandOutcome.ACCEPTED, [])
