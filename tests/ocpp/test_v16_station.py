"""A simulated 1.6J station at the real gateway: from a password to its own certificate, and back again."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256

from bfcerts.ocpp import canonical
from bfcerts.ocpp.canonical import Action, ResetKind, Setting
from bfcerts.ocpp.gateway.tls import ListenerName
from bfcerts.ocpp.models import OutboxCommand, StationSession
from tests.ocpp.authority import pem
from tests.ocpp.node import DEADLINE_SECONDS, Node, Site, eventually, stored
from tests.ocpp.v16_security.calls import command
from tests.simulator import EventKind, KeyForm, Quirks, SerialStyle, SimulatedStation, Timings
from tests.simulator.dialect import Version

FIRST_KEY = "first-key-0123456789"
NEW_KEY = "a-key-of-20-letters!"
CREDENTIAL_KEY = b"test-credential-key-0123456789abcdef0123456"


class Field:
    """Simulated stations on a loop of their own, so that the test may use the database meanwhile."""

    def __init__(self, site: Site, node: Node) -> None:
        self._site = site
        self._node = node
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stations under test")
        self._thread.start()
        self._stations: list[SimulatedStation] = []

    def station(
        self,
        quirks: Quirks | None = None,
        listener: ListenerName = ListenerName.DUAL,
        protocol: Version = "ocpp1.6",
    ) -> SimulatedStation:
        """A connected station that trusts the server's root and, installed last, that of its own certificate."""
        self._site.passwords.passwords["CP-1"] = {FIRST_KEY.encode()}
        station: SimulatedStation = self.run(self._commission(quirks, listener, protocol))
        self._stations.append(station)
        self.run(station.connect())
        return station

    async def _commission(self, quirks: Quirks | None, listener: ListenerName, protocol: Version) -> SimulatedStation:
        return SimulatedStation.commission(
            self._site.folder / "stations",
            "CP-1",
            url=f"wss://localhost:{self._node.port(listener)}/ocpp",
            roots=[self._site.servers.root.certificate, self._site.stations.root.certificate],
            password=FIRST_KEY,
            protocol=protocol,
            quirks=quirks,
            timings=Timings.quick(),
        )

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_SECONDS)

    def wait_for(self, station: SimulatedStation, condition: Callable[[SimulatedStation], bool]) -> None:
        self.run(station.wait_for(condition, DEADLINE_SECONDS))

    def stop(self) -> None:
        for station in self._stations:
            self.run(station.disconnect())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def field(site: Site, node: Node) -> Iterator[Field]:
    field = Field(site, node)
    yield field
    field.stop()


def answered(row: OutboxCommand) -> dict[str, Any]:
    """The evidence of a command's end."""
    rows = eventually(
        lambda: [one for one in stored("command_answered") if one.payload["command_id"] == row.pk], f"the end of {row}"
    )
    payload: dict[str, Any] = rows[0].payload
    return payload


def outcome(action: Action, payload: dict[str, Any]) -> tuple[str, str]:
    evidence = answered(command(action, payload))
    return evidence["outcome"], evidence["status"]


def enrolled(site: Site) -> str:
    """Ask for a request, sign it, deliver: the station has a certificate and has not used it yet.

    :returns: its fingerprint.
    """
    assert outcome(Action.REQUEST_CSR, canonical.request_csr()) == ("accepted", "Accepted")
    (evidence,) = eventually(lambda: stored("csr_received", "CP-1"), "the request")
    leaf = site.stations.sign_station_request(evidence.payload["csr"])
    digest = leaf.fingerprint(SHA256()).hex()
    site.certificates.stations[digest] = "CP-1"
    chain = pem(leaf) + pem(site.stations.certificate)
    delivery = canonical.deliver_certificate(chain, evidence.payload["certificate_type"])
    assert outcome(Action.DELIVER_CERTIFICATE, delivery) == ("accepted", "Accepted")
    return digest


def cut_over() -> list[tuple[str, str]]:
    """The steps of every version."""
    rows = [
        command(Action.SET_NETWORK_PROFILE, canonical.set_network_profile(2, 3, "wss://elsewhere:1")),
        command(Action.SET_NETWORK_PRIORITY, canonical.set_network_priority([2, 1])),
        command(Action.SET_SECURITY_PROFILE, canonical.set_security_profile(3)),
        command(Action.RESET, canonical.reset(ResetKind.APPLY_CONFIGURATION)),
    ]
    return [(evidence["outcome"], evidence["status"]) for evidence in map(answered, rows)]


RAISED = [("accepted", "NotApplicable"), ("accepted", "NotApplicable"), ("accepted", "Accepted")]


@pytest.mark.parametrize("quirks", [Quirks(), Quirks(close_before_answering=False, renews_on_its_own=True)])
def test_tc_083_from_the_password_to_profile_3_on_one_port(site: Site, field: Field, quirks: Quirks) -> None:
    station = field.station(quirks)
    fingerprint = enrolled(site)
    assert cut_over() == [*RAISED, ("accepted", "Accepted")]
    field.wait_for(station, lambda it: it.registered and it.security_profile == 3)
    session = StationSession.objects.get(closed_at=None)
    assert (session.protocol, session.listener, session.security_profile) == ("ocpp1.6", "dual", 3)
    assert session.certificate_fingerprint == station.fingerprint == fingerprint
    assert not station.events.of(EventKind.PROTOCOL_VIOLATION)


def test_a_station_that_is_not_let_in_on_profile_3_is_back_by_itself(site: Site, field: Field) -> None:
    station = field.station(Quirks(falls_back_to_profile_2=True))
    fingerprint = enrolled(site)
    del site.certificates.stations[fingerprint]
    cut_over()
    field.wait_for(station, lambda it: it.connected and bool(it.events.of(EventKind.REFUSED)))
    assert StationSession.objects.get(closed_at=None).security_profile == 2
    site.certificates.stations[fingerprint] = "CP-1"
    cut_over()
    field.wait_for(station, lambda it: it.registered and it.security_profile == 3)


@pytest.mark.parametrize("form", KeyForm)
def test_tc_073_a_new_key_in_the_stations_own_form(site: Site, field: Field, form: KeyForm) -> None:
    """The door takes both forms before the request goes out; the station is back before it has answered us."""
    station = field.station(Quirks(key_form=form))
    site.passwords.passwords["CP-1"] = {FIRST_KEY.encode(), NEW_KEY.encode(), NEW_KEY.encode().hex().encode()}
    evidence = answered(command(Action.SET_AUTHORIZATION_KEY, {}, canonical.set_authorization_key(NEW_KEY)))
    assert evidence["outcome"] == "accepted"
    field.wait_for(station, lambda it: len(it.events.of(EventKind.CONNECTED)) == 2)
    expected = NEW_KEY.encode().hex() if form is KeyForm.AS_SENT else NEW_KEY
    assert station.store.state.password == expected


def test_what_a_station_has_is_told_in_the_words_of_every_version(site: Site, field: Field) -> None:
    field.station(Quirks(store_size=3, serial_style=SerialStyle.PADDED, shows_key=True))
    changed = canonical.change_setting(Setting.ORGANIZATION_NAME, "Stadtwerke")
    assert outcome(Action.CHANGE_SETTING, changed) == ("accepted", "Accepted")
    settings = answered(command(Action.GET_SETTINGS, canonical.get_settings()))["answer"]["settings"]
    assert {one["name"]: one["value"] for one in settings} == {
        "organization_name": "Stadtwerke",
        "additional_root_certificate_check": "false",
        "certificate_store_max_length": "3",
        "certificate_chain_max_size": "10000",
        "security_profile": "2",
    }
    listed = answered(command(Action.LIST_CERTIFICATES, canonical.list_certificates()))["answer"]
    assert listed["uses"] == ["CSMSRootCertificate"]
    assert len(listed["certificates"]) == 2
    deleted = canonical.delete_certificate(listed["certificates"][0]["hash_data"])
    assert outcome(Action.DELETE_CERTIFICATE, deleted) == ("accepted", "Accepted")
    fresh = answered(command(Action.LIST_CERTIFICATES, canonical.list_certificates()))["answer"]
    assert fresh["certificates"] == listed["certificates"][1:]


def test_tc_077_a_certificate_that_the_station_refuses_is_survived(site: Site, field: Field) -> None:
    station = field.station(Quirks(reject_install=True))
    delivery = canonical.deliver_certificate(site.issue("CP-1").chain_pem, None)
    assert outcome(Action.DELIVER_CERTIFICATE, delivery) == ("rejected", "Rejected")
    event = eventually(
        lambda: [one for one in stored("security_event") if one.payload["type"] == "InvalidChargePointCertificate"],
        "the security event",
    )[0]
    assert event.payload["tech_info"] == "this station refuses every certificate"
    assert field.run(station.heartbeat()) is not None
