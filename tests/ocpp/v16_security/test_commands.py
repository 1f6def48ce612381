"""The public compliance cases of the OCPP 1.6J security extension, over TLS: keys, certificates, logs, profiles."""

from http import HTTPStatus

import pytest
from websockets.exceptions import InvalidStatus

from bfcerts.ocpp import canonical
from bfcerts.ocpp.canonical import Action, RefusalReason, ResetKind
from bfcerts.ocpp.gateway.commands import MOST_RESETS
from bfcerts.ocpp.gateway.tls import ListenerName
from bfcerts.ocpp.models import InboxMessage, OutboxCommand, StationSession
from tests.ocpp.node import Site, Station, eventually, stored
from tests.ocpp.v16_security.calls import BOOT, DUAL, KEY, Dial, asked, command, ended

NEW_KEY = "fedcba9876543210"
NOW_TEXT = "2026-05-04T03:02:01Z"
CHAIN = "-----BEGIN CERTIFICATE-----\nleaf\n-----BEGIN CERTIFICATE-----\nsub CA"
ROOT = "-----BEGIN CERTIFICATE-----\nroot"


def everything_stored() -> str:
    commands = OutboxCommand.objects.values_list("payload", "answer", "error_description")
    return str([*commands, *InboxMessage.objects.values_list("payload")])


@pytest.mark.parametrize("used", [NEW_KEY.encode(), NEW_KEY.encode().hex().encode()], ids=["decoded", "as sent"])
def test_tc_073_a_new_key_is_sent_as_hexadecimal_and_either_form_of_it_lets_in(
    site: Site, dial: Dial, used: bytes
) -> None:
    """Stations differ in what they make of the digits, so the door takes both, before the request is sent."""
    site.passwords.passwords["CP-1"] |= {NEW_KEY.encode(), NEW_KEY.encode().hex().encode()}
    station = dial()
    row = command(Action.SET_AUTHORIZATION_KEY, {}, canonical.set_authorization_key(NEW_KEY))
    message_id, sent = station.expect("ChangeConfiguration")
    assert sent == {"key": "AuthorizationKey", "value": "66656463626139383736353433323130"}
    station.answer(message_id, {"status": "Accepted"})
    assert ended(row)["outcome"] == "accepted"
    site.passwords.passwords["CP-1"].discard(KEY.encode())
    assert dial(password=used).call("Heartbeat")[0] == 3
    with pytest.raises(InvalidStatus):
        dial(password=KEY.encode())


def test_tc_073_a_key_that_is_rejected_leaves_the_old_one_and_no_trace(dial: Dial) -> None:
    station = dial()
    row = command(Action.SET_AUTHORIZATION_KEY, {}, canonical.set_authorization_key(NEW_KEY))
    message_id, sent = station.expect("ChangeConfiguration")
    station.answer(message_id, {"status": "Rejected"})
    assert ended(row)["outcome"] == "rejected"
    assert row.secret_payload is None
    assert dial().call("Heartbeat")[0] == 3
    assert NEW_KEY not in everything_stored()
    assert sent["value"] not in everything_stored()


def test_a_station_that_takes_a_key_by_leaving_is_not_told_for_ever(dial: Dial) -> None:
    """It is back with the new key at once, and its answer never comes: whoever asked learns the rest at the door."""
    row = command(Action.SET_AUTHORIZATION_KEY, {}, canonical.set_authorization_key(NEW_KEY))
    for _ in range(MOST_RESETS):
        station = dial()
        station.expect("ChangeConfiguration")
        station.connection.socket.close()
    assert ended(row)["outcome"] == "timed_out"
    row.refresh_from_db()
    assert row.secret_payload is None


def test_a_station_that_shows_or_echoes_its_key_is_not_quoted(station: Station) -> None:
    settings = command(Action.GET_SETTINGS, canonical.get_settings())
    message_id, _ = station.expect("GetConfiguration")
    shown = [{"key": name, "readonly": False, "value": "secret-in-clear"} for name in ("AuthorizationKey", "authKey")]
    known = {"key": "CpoName", "readonly": False, "value": "Operator"}
    station.answer(message_id, {"configurationKey": [*shown, known]})
    evidence = ended(settings)
    assert evidence["answer"]["settings"][0] == {"name": "organization_name", "value": "Operator", "read_only": False}
    rotation = command(Action.SET_AUTHORIZATION_KEY, {}, canonical.set_authorization_key(NEW_KEY))
    message_id, sent = station.expect("ChangeConfiguration")
    station.send(4, message_id, "InternalError", f"cannot store {sent['value'].upper()} ({NEW_KEY})", {})
    assert ended(rotation)["error_description"] == "cannot store [redacted] ([redacted])"
    for secret in ("secret-in-clear", NEW_KEY, sent["value"], sent["value"].upper()):
        assert secret not in everything_stored()


def test_tc_074_from_the_trigger_to_the_reconnect_with_the_new_certificate(site: Site, dial: Dial) -> None:
    station = dial()
    triggered = asked(
        station,
        Action.REQUEST_CSR,
        canonical.request_csr(),
        "ExtendedTriggerMessage",
        {"requestedMessage": "SignChargePointCertificate"},
        {"status": "Accepted"},
    )
    assert triggered["outcome"] == "accepted"
    assert station.call("SignCertificate", {"csr": "-----BEGIN CERTIFICATE REQUEST-----\nx"})[2] == {
        "status": "Accepted"
    }
    (csr,) = stored("csr_received", "CP-1")
    assert csr.payload["certificate_type"] == "ChargingStationCertificate"
    delivered = asked(
        station,
        Action.DELIVER_CERTIFICATE,
        canonical.deliver_certificate(CHAIN, csr.payload["certificate_type"]),
        "CertificateSigned",
        {"certificateChain": CHAIN},
        {"status": "Accepted"},
    )
    assert delivered["outcome"] == "accepted"
    leaf = site.issue("CP-1")
    assert dial(leaf=leaf).call("Heartbeat")[0] == 3
    session = StationSession.objects.get(closed_at=None)
    assert (session.protocol, session.security_profile, session.listener) == ("ocpp1.6", 3, DUAL)
    assert session.certificate_fingerprint == leaf.fingerprint


@pytest.mark.parametrize(
    ("use", "name"),
    [
        ("ManufacturerRootCertificate", "ManufacturerRootCertificate"),
        ("CSMSRootCertificate", "CentralSystemRootCertificate"),
    ],
    ids=["TC_075_1", "TC_075_2"],
)
def test_tc_075_1_2_a_root_is_installed_then_listed(station: Station, use: str, name: str) -> None:
    installed = asked(
        station,
        Action.INSTALL_CERTIFICATE,
        canonical.install_certificate(ROOT, use),
        "InstallCertificate",
        {"certificateType": name, "certificate": ROOT},
        {"status": "Accepted"},
    )
    assert installed["outcome"] == "accepted"
    hash_data = {"hashAlgorithm": "SHA256", "issuerNameHash": "0a", "issuerKeyHash": "0B", "serialNumber": "00c"}
    listed = asked(
        station,
        Action.LIST_CERTIFICATES,
        canonical.list_certificates([use]),
        "GetInstalledCertificateIds",
        {"certificateType": name},
        {"status": "Accepted", "certificateHashData": [hash_data]},
    )
    assert listed["answer"] == {
        "status": "Accepted",
        "uses": [use],
        "certificates": [{"use": use, "hash_data": hash_data, "children": []}],
    }


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA384", "SHA512"])
def test_tc_076_a_certificate_is_deleted_by_what_the_station_reported(station: Station, algorithm: str) -> None:
    hash_data = {"hashAlgorithm": algorithm, "issuerNameHash": "0a", "issuerKeyHash": "0B", "serialNumber": "00C"}
    listed = asked(
        station,
        Action.LIST_CERTIFICATES,
        canonical.list_certificates(),
        "GetInstalledCertificateIds",
        {"certificateType": "CentralSystemRootCertificate"},
        {"status": "Accepted", "certificateHashData": [hash_data]},
    )
    (certificate,) = listed["answer"]["certificates"]
    for status, outcome in (("Failed", "rejected"), ("Accepted", "accepted")):
        deleted = asked(
            station,
            Action.DELETE_CERTIFICATE,
            canonical.delete_certificate(certificate["hash_data"]),
            "DeleteCertificate",
            {"certificateHashData": hash_data},
            {"status": status},
        )
        assert deleted["outcome"] == outcome


@pytest.mark.parametrize(
    ("case", "event", "action", "name"),
    [
        ("TC_077", "InvalidChargePointCertificate", Action.DELIVER_CERTIFICATE, "CertificateSigned"),
        ("TC_078", "InvalidCentralSystemCertificate", Action.INSTALL_CERTIFICATE, "InstallCertificate"),
    ],
)
def test_tc_077_078_a_certificate_that_the_station_calls_invalid_is_survived(
    station: Station, case: str, event: str, action: Action, name: str
) -> None:
    payload = (
        canonical.deliver_certificate(CHAIN, None)
        if action is Action.DELIVER_CERTIFICATE
        else canonical.install_certificate(ROOT, "CSMSRootCertificate")
    )
    row = command(action, payload)
    message_id, _ = station.expect(name)
    station.answer(message_id, {"status": "Rejected"})
    assert ended(row)["outcome"] == "rejected"
    sent = {"type": event, "timestamp": "2026-05-04T03:02:01", "techInfo": case}
    assert station.call("SecurityEventNotification", sent)[2] == {}
    (evidence,) = stored("security_event", "CP-1")
    assert evidence.payload == {"type": event, "timestamp": NOW_TEXT, "tech_info": case}
    assert station.call("Heartbeat")[0] == 3


def test_tc_079_the_security_log_is_asked_for_and_its_status_kept(station: Station) -> None:
    location = "https://logs.example/1"
    log = asked(
        station,
        Action.GET_LOG,
        canonical.get_log("SecurityLog", location, 9),
        "GetLog",
        {"logType": "SecurityLog", "requestId": 9, "log": {"remoteLocation": location}},
        {"status": "Accepted", "filename": "log.txt"},
    )
    assert log["outcome"] == "accepted"
    for status in ("Uploading", "Uploaded"):
        assert station.call("LogStatusNotification", {"status": status, "requestId": 9})[2] == {}
    assert [row.payload for row in stored("log_status")] == [
        {"status": "Uploading", "request_id": 9},
        {"status": "Uploaded", "request_id": 9},
    ]


def test_tc_083_the_profile_is_raised_by_the_steps_of_every_version_and_then_only_the_higher_one_opens(
    site: Site, dial: Dial
) -> None:
    """The steps are those of 2.0.1 too; what 1.6 has no message for is accepted and not sent."""
    station = dial()
    steps = [
        command(Action.SET_NETWORK_PROFILE, canonical.set_network_profile(2, 3, "wss://gateway:9301/ocpp")),
        command(Action.SET_NETWORK_PRIORITY, canonical.set_network_priority([2, 1])),
        command(Action.SET_SECURITY_PROFILE, canonical.set_security_profile(3)),
        command(Action.RESET, canonical.reset(ResetKind.APPLY_CONFIGURATION)),
    ]
    message_id, sent = station.expect("ChangeConfiguration")
    assert sent == {"key": "SecurityProfile", "value": "3"}
    station.answer(message_id, {"status": "Accepted"})
    message_id, sent = station.expect("Reset")
    assert sent == {"type": "Hard"}
    station.answer(message_id, {"status": "Accepted"})
    outcomes = [(evidence["outcome"], evidence["status"]) for evidence in map(ended, steps)]
    assert outcomes == [
        ("accepted", "NotApplicable"),
        ("accepted", "NotApplicable"),
        ("accepted", "Accepted"),
        ("accepted", "Accepted"),
    ]
    station.close()
    assert dial(leaf=site.issue("CP-1")).call("BootNotification", BOOT)[2]["status"] == "Accepted"
    site.passwords.on_profile3.add("CP-1")
    with pytest.raises(InvalidStatus) as raised:
        dial()
    assert raised.value.response.status_code == HTTPStatus.UNAUTHORIZED
    (refusal,) = eventually(lambda: stored("connection_refused", "CP-1"))
    assert refusal.payload["reason"] == RefusalReason.PROFILE_TOO_LOW


def test_the_same_steps_on_2_0_1_leave_out_the_security_profile(site: Site, dial: Dial) -> None:
    station = dial(subprotocols=("ocpp2.0.1",))
    profile = command(Action.SET_SECURITY_PROFILE, canonical.set_security_profile(3))
    reset = command(Action.RESET, canonical.reset(ResetKind.APPLY_CONFIGURATION))
    message_id, sent = station.expect("Reset")
    assert sent == {"type": "OnIdle"}
    station.answer(message_id, {"status": "Scheduled"})
    assert [ended(row)["status"] for row in (profile, reset)] == ["NotApplicable", "Scheduled"]


def test_a_profile_is_not_lowered_unless_the_family_may(station: Station) -> None:
    row = command(Action.SET_SECURITY_PROFILE, canonical.set_security_profile(2))
    assert "lowered only" in ended(row)["error_description"]
    allowed = asked(
        station,
        Action.SET_SECURITY_PROFILE,
        canonical.set_security_profile(2, may_lower=True),
        "ChangeConfiguration",
        {"key": "SecurityProfile", "value": "2"},
        {"status": "Rejected"},
    )
    assert allowed["outcome"] == "rejected"


def test_a_profile_that_the_listener_does_not_take_is_not_set(dial: Dial, site: Site) -> None:
    """The station keeps its address, so it would be locked out."""
    dial(ListenerName.PROFILE2)
    raised = ended(command(Action.SET_SECURITY_PROFILE, canonical.set_security_profile(3)))
    assert (raised["outcome"], raised["status"]) == ("error", "")
    assert "the listener profile2 takes no Profile 3" in raised["error_description"]
    dial(ListenerName.PROFILE3, leaf=site.issue("CP-1"))
    lowered = ended(command(Action.SET_SECURITY_PROFILE, canonical.set_security_profile(2, may_lower=True)))
    assert "the listener profile3 takes no Profile 2" in lowered["error_description"]
