"""A mixed fleet of both versions at one gateway: the same commands bring each station as far as its family can go."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from bfcerts.ocpp import canonical, outbox, registry
from bfcerts.ocpp.canonical import Action, ResetKind
from bfcerts.ocpp.gateway.tls import ListenerName
from bfcerts.ocpp.models import StationSession
from bfcerts.ocpp.registry import ADAPTER_OPTION, Admission, ConnectionAttempt, Refusal
from tests.ocpp.authority import pem
from tests.ocpp.lent import PasswordBook
from tests.ocpp.node import DEADLINE_SECONDS, Node, Site, eventually, stored
from tests.simulator import Quirks, SimulatedStation, Timings
from tests.simulator.families import mixed_fleet
from tests.simulator.fleet_file import StationDescription

SEED, COUNT = 2, 16
_keys = count()


class FamilyBook(PasswordBook):
    """A door that knows which stations need the variant of their family."""

    def __init__(self, fleet: Sequence[StationDescription]) -> None:
        super().__init__({one.station_id: {one.password.encode()} for one in fleet})
        self.legacy = {one.station_id for one in fleet if one.quirks.no_extended_trigger}

    def decide(self, attempts: Sequence[ConnectionAttempt]) -> list[Admission | Refusal]:
        return [
            replace(decision, options={ADAPTER_OPTION: "ocpp1.6-legacy-trigger"})
            if isinstance(decision, Admission) and attempt.station_id in self.legacy
            else decision
            for attempt, decision in zip(attempts, super().decide(attempts), strict=True)
        ]


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """One event loop for all stations, on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fleet under test")
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def commission(site: Site, node: Node, fleet: Sequence[StationDescription]) -> list[SimulatedStation]:
    stations = [
        SimulatedStation.commission(
            site.folder / "stations",
            one.station_id,
            url=f"wss://localhost:{node.port(ListenerName.DUAL)}/ocpp",
            roots=[site.stations.root.certificate, site.servers.root.certificate],
            password=one.password,
            serial_number=one.serial_number,
            key_type=one.key_type,
            protocol=one.protocol,
            quirks=one.quirks,
            timings=Timings.quick(),
        )
        for one in fleet
    ]
    await asyncio.gather(*(station.connect() for station in stations))
    return stations


async def send_home(stations: Sequence[SimulatedStation]) -> None:
    await asyncio.gather(*(station.disconnect() for station in stations))


def ask(fleet: Sequence[str], action: Action, payload: dict[str, Any]) -> dict[str, str]:
    """The same command to many stations: how it ended for each."""
    return ask_each(dict.fromkeys(fleet, payload), action)


def ask_each(payloads: dict[str, dict[str, Any]], action: Action) -> dict[str, str]:
    commands = {
        outbox.enqueue(
            station_id=station_id,
            action=action,
            payload=payload,
            dedupe_key=f"test {next(_keys)}",
            now=datetime.now(UTC),
            expires_after=timedelta(hours=1),
        ).pk
        for station_id, payload in payloads.items()
    }

    def ended() -> dict[str, str] | None:
        rows = [row for row in stored("command_answered") if row.payload["command_id"] in commands]
        return {row.station_id: row.payload["outcome"] for row in rows} if len(rows) == len(commands) else None

    outcomes: dict[str, str] = eventually(ended, f"the end of {action} for {len(commands)} stations")
    return outcomes


def accepted(outcomes: dict[str, str]) -> set[str]:
    return {station_id for station_id, outcome in outcomes.items() if outcome == "accepted"}


def chain_for(site: Site, leaf: x509.Certificate, quirks: Quirks) -> str:
    root = pem(site.stations.root.certificate) if quirks.needs_root_in_chain else ""
    return pem(leaf) + pem(site.stations.certificate) + root


def test_every_station_ends_where_its_family_lets_it(site: Site, node: Node, loop: asyncio.AbstractEventLoop) -> None:
    fleet = mixed_fleet(COUNT, SEED)
    quirks = {one.station_id: one.quirks for one in fleet}
    able = {one.station_id for one in fleet if not one.quirks.only_last_root_trusted}
    assert able != set(quirks), "the seed has a station that cannot move"
    assert any(one.quirks.no_extended_trigger for one in fleet), "the seed has a station that needs its variant"
    registry.register_doors(password=FamilyBook(fleet))
    stations = asyncio.run_coroutine_threadsafe(commission(site, node, fleet), loop).result(DEADLINE_SECONDS)
    try:
        assert accepted(ask(list(quirks), Action.REQUEST_CSR, canonical.request_csr())) == set(quirks)
        eventually(lambda: len(stored("csr_received")) == COUNT, "a request of every station")
        requests = {row.station_id: row.payload["csr"] for row in stored("csr_received")}
        leaves = {name: site.stations.sign_station_request(csr) for name, csr in requests.items()}
        for name, leaf in leaves.items():
            site.certificates.stations[leaf.fingerprint(SHA256()).hex()] = name
        chains = {
            name: canonical.deliver_certificate(chain_for(site, leaf, quirks[name]), "ChargingStationCertificate")
            for name, leaf in leaves.items()
        }
        assert accepted(ask_each(chains, Action.DELIVER_CERTIFICATE)) == able

        url = f"wss://localhost:{node.port(ListenerName.PROFILE3)}/ocpp"
        moving = sorted(able)
        for action, payload in (
            (Action.SET_NETWORK_PROFILE, canonical.set_network_profile(2, 3, url)),
            (Action.SET_NETWORK_PRIORITY, canonical.set_network_priority([2, 1])),
            (Action.SET_SECURITY_PROFILE, canonical.set_security_profile(3)),
            (Action.RESET, canonical.reset(ResetKind.APPLY_CONFIGURATION)),
        ):
            assert accepted(ask(moving, action, payload)) == able

        def on_profile_3() -> bool:
            present = StationSession.objects.filter(closed_at=None)
            return set(present.filter(security_profile=3).values_list("station_id", flat=True)) == able

        eventually(on_profile_3, "every station that can on Profile 3")
        for session in StationSession.objects.filter(closed_at=None, security_profile=3):
            leaf = leaves[session.station_id]
            assert session.certificate_fingerprint == leaf.fingerprint(SHA256()).hex()
            older = session.protocol == "ocpp1.6"
            assert session.listener == ("dual" if older else "profile3")
        behind = StationSession.objects.filter(closed_at=None, security_profile=2)
        assert set(behind.values_list("station_id", flat=True)) == set(quirks) - able
        assert not stored("protocol_violation")
    finally:
        asyncio.run_coroutine_threadsafe(send_home(stations), loop).result(DEADLINE_SECONDS)
