"""Simulated stations and their EVSEs at the real gateway: their vehicles' questions, and their V2G certificates."""

import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from bfcerts.ocpp import canonical
from bfcerts.ocpp.canonical import Action, QuestionKind, Setting
from bfcerts.ocpp.models import StationQuestion
from bfcerts.ocpp.registry import QuestionAnswer
from tests.ocpp.answerers import EXI_ANSWER, Partner, a_worker, registered
from tests.ocpp.authority import Authority, pem
from tests.ocpp.node import Node, Site, eventually, stored
from tests.ocpp.test_v16_station import Field, answered, outcome
from tests.ocpp.v16_security.calls import command
from tests.simulator import EventKind, PlugAndCharge, Quirks, SimulatedStation
from tests.simulator.dialect import Version
from tests.simulator.evse import SCHEMA_VERSION

EVSE_ID = "DE*ICE*E45B*78C"
EXI = "gJgB" * 300
HASHES = {
    "hashAlgorithm": "SHA256",
    "issuerNameHash": "AB" * 32,
    "issuerKeyHash": "CD" * 32,
    "serialNumber": "0C",
    "responderURL": "http://ocsp.example",
}


@dataclass(frozen=True)
class Speech:
    """How a station speaks, and what its family needs for that."""

    version: Version
    dialect: PlugAndCharge = PlugAndCharge.NONE
    variant: str = ""

    @property
    def quirks(self) -> Quirks:
        return Quirks(plug_and_charge=self.dialect)


SPEECHES = {
    "2.0.1": Speech("ocpp2.0.1"),
    "1.6": Speech("ocpp1.6", PlugAndCharge.OPEN_CHARGE_ALLIANCE),
    "1.6 older": Speech("ocpp1.6", PlugAndCharge.HAS_TO_BE, "ocpp1.6-iso15118"),
}
ROOT = Authority("V2G Root")
SUB1 = Authority("CPO Sub1", ROOT)
SUB2 = Authority("CPO Sub2", SUB1)


@pytest.fixture(params=list(SPEECHES.values()), ids=list(SPEECHES))
def speech(request: pytest.FixtureRequest) -> Speech:
    wanted: Speech = request.param
    return wanted


@pytest.fixture
def field(site: Site, node: Node) -> Iterator[Field]:
    field = Field(site, node)
    yield field
    field.stop()


@pytest.fixture
def station(site: Site, field: Field, speech: Speech) -> SimulatedStation:
    site.passwords.variants["CP-1"] = speech.variant
    return field.station(speech.quirks, protocol=speech.version)


def stack(csr_pem: str) -> str:
    """The chain as the scheme's CA makes it: the leaf, SUB2, SUB1, no root."""
    return pem(SUB2.sign_station_request(csr_pem, uses=False)) + pem(SUB2.certificate) + pem(SUB1.certificate)


def equip(station: SimulatedStation) -> str:
    """Tell it its names, install the root, have it ask.

    :returns: its request.
    """
    names = {Setting.SECC_COMMON_NAME: EVSE_ID, Setting.SECC_COUNTRY: "DE", Setting.SECC_ORGANIZATION: "Operator"}
    for setting, value in names.items():
        assert outcome(Action.CHANGE_SETTING, canonical.change_setting(setting, value)) == ("accepted", "Accepted")
    root = canonical.install_certificate(pem(ROOT.certificate), "V2GRootCertificate")
    assert outcome(Action.INSTALL_CERTIFICATE, root) == ("accepted", "Accepted")
    asked = canonical.request_csr("V2GCertificate")
    assert outcome(Action.REQUEST_CSR, asked) == ("accepted", "Accepted")
    (row,) = eventually(lambda: stored("csr_received"))
    assert row.payload["certificate_type"] == "V2GCertificate"
    csr: str = row.payload["csr"]
    return csr


def shakes_hands(context: ssl.SSLContext) -> x509.Certificate:
    """A vehicle that trusts the V2G root connects to an EVSE, and sees this certificate."""
    vehicle = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    vehicle.check_hostname = False
    vehicle.load_verify_locations(cadata=pem(ROOT.certificate))
    to_evse, to_vehicle = ssl.MemoryBIO(), ssl.MemoryBIO()
    car = vehicle.wrap_bio(to_vehicle, to_evse)
    evse = context.wrap_bio(to_evse, to_vehicle, server_side=True)
    waiting = [car, evse]
    while waiting:
        for side in list(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
    der = car.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der)


def listed(use: str = "V2GCertificateChain") -> list[dict[str, Any]]:
    evidence = answered(command(Action.LIST_CERTIFICATES, canonical.list_certificates([use])))
    assert evidence["outcome"] == "accepted"
    certificates: list[dict[str, Any]] = evidence["answer"]["certificates"]
    return certificates


def test_tc_a_12_an_evse_gets_its_certificate_lists_uses_and_loses_it(
    speech: Speech, station: SimulatedStation
) -> None:
    csr = equip(station)
    assert x509.load_pem_x509_csr(csr.encode()).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == EVSE_ID
    assert listed() == []

    chain = stack(csr)
    deliver = canonical.deliver_certificate(chain, "V2GCertificate")
    evidence = answered(command(Action.DELIVER_CERTIFICATE, deliver))
    assert (evidence["outcome"], evidence["plug_and_charge"]) == ("accepted", True)

    leaf = x509.load_pem_x509_certificate(chain.encode())
    assert [pem(one) for one in station.evse.chain()] == [pem(leaf), pem(SUB2.certificate), pem(SUB1.certificate)]
    assert shakes_hands(station.evse.tls_context()) == leaf
    assert not station.store.state.leaves
    (entry,) = listed()
    assert int(entry["hash_data"]["serialNumber"], 16) == leaf.serial_number
    # The older dialect's list has no place for what stands above the leaf.
    assert len(entry["children"]) == (0 if speech.dialect is PlugAndCharge.HAS_TO_BE else 2)

    deleted = canonical.delete_certificate(entry["hash_data"], "V2GCertificateChain")
    assert outcome(Action.DELETE_CERTIFICATE, deleted) == ("accepted", "Accepted")
    assert listed() == []
    (root,) = listed("V2GRootCertificate")
    gone = canonical.delete_certificate(root["hash_data"], "V2GRootCertificate")
    assert outcome(Action.DELETE_CERTIFICATE, gone) == ("accepted", "Accepted")


def test_a_chain_with_its_root_or_for_another_key_is_refused_on_the_level_that_says_so(
    speech: Speech, station: SimulatedStation
) -> None:
    csr = equip(station)
    for wrong in (stack(csr) + pem(ROOT.certificate), pem(SUB2.issue(EVSE_ID).certificate) + pem(SUB1.certificate)):
        evidence = answered(command(Action.DELIVER_CERTIFICATE, canonical.deliver_certificate(wrong, "V2GCertificate")))
        assert (evidence["outcome"], evidence["status"]) == ("rejected", "Rejected")
        assert bool(evidence["status_info"]) is (speech.dialect is not PlugAndCharge.HAS_TO_BE)
    assert station.evse.chain() == []


def test_a_station_that_refuses_every_certificate_says_so_inside(station: SimulatedStation) -> None:
    csr = equip(station)
    station.quirks = replace(station.quirks, reject_evse_install=True)
    deliver = canonical.deliver_certificate(stack(csr), "V2GCertificate")
    assert outcome(Action.DELIVER_CERTIFICATE, deliver) == ("rejected", "Rejected")


def test_a_station_that_needs_an_organization_refuses_until_it_has_one(station: SimulatedStation) -> None:
    station.quirks = replace(station.quirks, evse_needs_organization=True)
    asked = canonical.request_csr("V2GCertificate")
    assert outcome(Action.REQUEST_CSR, asked) == ("rejected", "Rejected")
    change = canonical.change_setting(Setting.SECC_ORGANIZATION, "Operator")
    assert outcome(Action.CHANGE_SETTING, change) == ("accepted", "Accepted")
    assert outcome(Action.REQUEST_CSR, asked) == ("accepted", "Accepted")
    eventually(lambda: stored("csr_received"))


def test_a_1_6_station_without_the_extension_says_so(site: Site, field: Field) -> None:
    field.station(Quirks(), protocol="ocpp1.6")
    asked = canonical.request_csr("V2GCertificate")
    assert outcome(Action.REQUEST_CSR, asked) == ("rejected", "UnknownVendorId")


def test_a_vehicles_question_goes_all_the_way_and_back(field: Field, station: SimulatedStation) -> None:
    partner, responder = Partner(), Partner(lambda asked: QuestionAnswer(True, "MIIB"))
    with registered(partner), registered(responder, QuestionKind.CERTIFICATE_STATUS), a_worker():
        assert field.run(station.evse.ev_certificate(EXI)) == {"status": "Accepted", "exiResponse": EXI_ANSWER}
        assert field.run(station.evse.certificate_status(HASHES)) == {"status": "Accepted", "ocspResult": "MIIB"}
        # Whether it is EXI at all, the wire does not know.
        assert field.run(station.evse.ev_certificate("bm90IEVYSQ=="))["status"] == "Accepted"
    assert [asked.payload["exi"] for asked in partner.asked] == [EXI, "bm90IEVYSQ=="]
    assert responder.asked[0].payload["serial_number"] == "c"


def test_a_station_that_hangs_up_while_it_waits_and_asks_again_is_answered_once(
    field: Field, station: SimulatedStation
) -> None:
    partner = Partner()
    partner.stall()
    question = {"iso15118SchemaVersion": SCHEMA_VERSION, "action": "Install", "exiRequest": EXI}
    with registered(partner), a_worker():
        field.run(station.evse.send_again("again", question))
        field.run(station.evse.send_again("again", question))
        eventually(lambda: partner.asked)
        sessions = len(station.events.of(EventKind.CONNECTED))
        field._loop.call_soon_threadsafe(station.drop)
        field.wait_for(station, lambda one: one.connected and len(one.events.of(EventKind.CONNECTED)) > sessions)
        field.run(station.evse.send_again("again", question))
        eventually(lambda: StationQuestion.objects.get().times_asked == 2)
        partner.going_on.set()
        field.wait_for(station, lambda one: bool(one.events.of(EventKind.STRAY_ANSWER)))
        field.run(station.heartbeat())
    (answer,) = station.events.of(EventKind.STRAY_ANSWER)
    assert EXI_ANSWER in answer["frame"]
    assert len(partner.asked) == 1


def test_hundreds_of_questions_get_hundreds_of_answers(field: Field, station: SimulatedStation) -> None:
    partner = Partner()
    with registered(partner), a_worker():
        field.run(station.evse.flood(200, EXI))
        field.wait_for(station, lambda one: len(one.events.of(EventKind.STRAY_ANSWER)) == 200)
    answers = [json.loads(event["frame"]) for event in station.events.of(EventKind.STRAY_ANSWER)]
    assert {frame[1] for frame in answers} == {f"flood-{number}" for number in range(200)}
    assert {frame[0] for frame in answers} == {3}
    assert 0 < len(partner.asked) < 200
