"""Who is let in with OCPP 1.6J, in which version, and what a 1.6 station hears to what it says."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus, WebSocketException

from bfcerts.ocpp import canonical, registry
from bfcerts.ocpp.canonical import Action, RefusalReason
from bfcerts.ocpp.gateway.station import MOST_MALFORMED_IN_A_ROW
from bfcerts.ocpp.gateway.tls import ListenerName
from bfcerts.ocpp.models import OutboxCommand, StationSession
from bfcerts.ocpp.registry import Admission, ConnectionAttempt, Refusal
from tests.ocpp.authority import Authority
from tests.ocpp.lent import PasswordBook
from tests.ocpp.node import Site, Station, eventually, stored
from tests.ocpp.v16_security.calls import BOOT, Dial, asked, command, ended


def test_tc_085_basic_authentication(site: Site, dial: Dial) -> None:
    assert dial(ListenerName.PROFILE2).call("Heartbeat")[0] == 3
    for options in ({"password": b"wrong"}, {"user": "CP-2"}, {"password": None}):
        with pytest.raises(InvalidStatus) as raised:
            dial(**options)
        assert raised.value.response.status_code == HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize("suite", ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"])
def test_tc_086_the_server_has_a_certificate_of_either_kind(site: Site, dial: Dial, suite: str) -> None:
    context = site.context()
    context.maximum_version = 771
    context.set_ciphers(suite)
    assert dial(context=context).call("Heartbeat")[0] == 3


def test_tc_087_only_the_stations_own_valid_certificate_lets_in(site: Site, dial: Dial) -> None:
    assert dial(leaf=site.issue("CP-1")).call("Heartbeat")[0] == 3
    expired = site.issue("CP-1", not_before=timedelta(days=-30), not_after=timedelta(days=-1))
    for leaf in (expired, site.issue("CP-2")):
        with pytest.raises(InvalidStatus) as raised:
            dial(leaf=leaf)
        assert raised.value.response.status_code == HTTPStatus.FORBIDDEN
    with pytest.raises((WebSocketException, OSError)):
        dial(leaf=Authority("Foreign issuing CA", Authority("Foreign root")).issue("CP-1"))


def test_tc_088_an_unknown_subprotocol_alone_is_refused_and_1_6_chosen_out_of_several(dial: Dial) -> None:
    refused = dial(subprotocols=("ocpp0.1",))
    assert refused.connection.subprotocol is None
    assert refused.closed_with()[0] == 1002
    (refusal,) = eventually(lambda: stored("connection_refused"))
    assert refusal.payload["reason"] == RefusalReason.UNSUPPORTED_SUBPROTOCOL
    assert dial(subprotocols=("ocpp0.1", "ocpp1.6", "ocpp1.5")).connection.subprotocol == "ocpp1.6"
    assert StationSession.objects.get(closed_at=None).protocol == "ocpp1.6"


def test_a_station_that_speaks_both_versions_is_spoken_to_in_the_better_one(dial: Dial) -> None:
    assert dial(subprotocols=("ocpp1.6", "ocpp2.0.1")).connection.subprotocol == "ocpp2.0.1"


def test_a_command_that_was_lost_is_said_again_in_the_version_of_the_next_connection(dial: Dial) -> None:
    """After a firmware change a station may come back with another version."""
    row = command(Action.REQUEST_CSR, canonical.request_csr())
    station = dial()
    message_id, _ = station.expect("ExtendedTriggerMessage")
    station.connection.socket.close()
    again = dial(subprotocols=("ocpp2.0.1",))
    assert again.expect("TriggerMessage") == (message_id, {"requestedMessage": "SignChargingStationCertificate"})
    again.answer(message_id, {"status": "Accepted"})
    assert ended(row)["outcome"] == "accepted"


def test_a_boot_is_evidence_and_the_station_may_be_asked_from_then_on(station: Station) -> None:
    row = command(Action.REQUEST_CSR, canonical.request_csr())
    message_id, _ = station.expect("ExtendedTriggerMessage")
    station.send(4, message_id, "SecurityError", "boot first", {})
    eventually(lambda: OutboxCommand.objects.get().state == "queued", "the command back in its queue")
    station.send(2, "boot", "BootNotification", BOOT)
    assert station.receive()[1] == "boot"
    assert stored("booted", "CP-1")[0].payload["serial_number"] == "S1"
    assert station.expect("ExtendedTriggerMessage")[0] == message_id
    station.answer(message_id, {"status": "Accepted"})
    assert ended(row)["outcome"] == "accepted"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ([2, "m", "MakeCoffee", {}], "NotImplemented"),
        ([2, "m", "Reset", {"type": "Hard"}], "NotSupported"),
        ([2, "m", "BootNotification", {}], "OccurenceConstraintViolation"),
        ([2, "m", "Heartbeat", {"more": 1}], "FormationViolation"),
        ([2, "m", "Heartbeat", []], "FormationViolation"),
        ([2, "m", "Heartbeat"], "FormationViolation"),
    ],
)
def test_a_bad_request_gets_the_call_error_of_1_6(station: Station, frame: list[Any], code: str) -> None:
    station.send(*frame)
    answer = station.receive()
    assert (answer[0], answer[1], answer[2], answer[4]) == (4, "m", code, {})
    assert station.call("Heartbeat")[0] == 3


@pytest.mark.parametrize("raw", ["not json", "[]", json.dumps([9, "m", {}]), json.dumps([2, 5, "Heartbeat", {}])])
def test_what_1_6_ignores_is_not_answered_but_seen(station: Station, raw: str) -> None:
    station.send_raw(raw)
    assert station.call("Heartbeat")[0] == 3
    assert eventually(lambda: stored("protocol_violation"))[0].payload["kind"] == "malformed_frame"


def test_ever_more_garbage_ends_the_connection(station: Station) -> None:
    for _ in range(MOST_MALFORMED_IN_A_ROW):
        station.send_raw("{")
    assert station.closed_with()[0] == 1002


class FamilyBook(PasswordBook):
    """A door that knows the family of every station."""

    def decide(self, attempts: Sequence[ConnectionAttempt]) -> list[Admission | Refusal]:
        options = {"adapter": "ocpp1.6-legacy-trigger"}
        return [
            replace(decision, options=options) if isinstance(decision, Admission) else decision
            for decision in super().decide(attempts)
        ]


def test_the_family_that_the_door_names_is_spoken_to_in_its_own_way(site: Site, dial: Dial) -> None:
    registry.register_doors(password=FamilyBook(dict(site.passwords.passwords)))
    triggered = asked(
        dial(),
        Action.REQUEST_CSR,
        canonical.request_csr(),
        "TriggerMessage",
        {"requestedMessage": "SignChargePointCertificate"},
        {"status": "Accepted"},
    )
    assert triggered["outcome"] == "accepted"
    message_id = command(Action.REQUEST_CSR, canonical.request_csr()).message_id
    newer = dial(subprotocols=("ocpp2.0.1",))
    assert newer.expect("TriggerMessage") == (
        str(message_id),
        {"requestedMessage": "SignChargingStationCertificate"},
    )
