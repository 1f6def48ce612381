"""Simulated stations of both versions, enrolled by us while their own CSMS works with them all the time."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, Literal

import pytest
from cryptography.hazmat.primitives.hashes import SHA256

from bfcerts.ocpp import canonical
from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.gateway.tls import ListenerName
from tests.ocpp.authority import pem
from tests.ocpp.node import DEADLINE_SECONDS, Site, eventually, stored
from tests.ocpp.relayed import VERSIONS, Relayed, command, ended, relayed, server_context
from tests.simulator import EventKind, SimulatedStation, Timings
from tests.simulator.csms import UpstreamCsms, Visit

PASSWORD = "first-key-0123456789"
CALLS = 60


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The stations' own, so that the test may use the database meanwhile."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="stations under test")
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def run(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run_coroutine_threadsafe(work, loop).result(DEADLINE_SECONDS)


async def commissioned(
    site: Site, relay: Relayed, station_id: str, version: Literal["ocpp1.6", "ocpp2.0.1"]
) -> SimulatedStation:
    station = SimulatedStation.commission(
        site.folder / f"stations {station_id}",
        station_id,
        url=f"wss://localhost:{relay.node.port(ListenerName.DUAL)}/ocpp",
        roots=[site.servers.root.certificate, site.stations.root.certificate],
        password=PASSWORD,
        protocol=version,
        timings=Timings.quick(),
    )
    await station.connect()
    return station


def busy(visit: Visit) -> threading.Thread:
    """A CSMS that asks one question after the other."""

    def work() -> None:
        for number in range(CALLS):
            visit.call(f"u{number}", "ClearCache")

    thread = threading.Thread(target=work, name="busy CSMS")
    thread.start()
    return thread


@pytest.mark.parametrize("version", VERSIONS)
def test_a_station_is_enrolled_beside_its_csms(
    site: Site, loop: asyncio.AbstractEventLoop, version: Literal["ocpp1.6", "ocpp2.0.1"]
) -> None:
    with UpstreamCsms(server_context(site.servers, site.folder)) as csms, relayed(site, csms) as relay:
        site.passwords.passwords["CP-1"] = {PASSWORD.encode()}
        relay.route("CP-1")
        station: SimulatedStation = run(loop, commissioned(site, relay, "CP-1", version))
        visit = relay.visit()
        eventually(lambda: visit.calls("BootNotification"), "the boot")
        asking = busy(visit)
        assert ended(command("CP-1", Action.REQUEST_CSR, canonical.request_csr())).outcome == "accepted"
        (evidence,) = eventually(lambda: stored("csr_received", "CP-1"), "the request")
        leaf = site.stations.sign_station_request(evidence.payload["csr"])
        site.certificates.stations[leaf.fingerprint(SHA256()).hex()] = "CP-1"
        chain = pem(leaf) + pem(site.stations.certificate)
        delivery = canonical.deliver_certificate(chain, evidence.payload["certificate_type"])
        assert ended(command("CP-1", Action.DELIVER_CERTIFICATE, delivery)).outcome == "accepted"
        asking.join()
        eventually(lambda: visit.answer_to(f"u{CALLS - 1}"), "the last answer")
        answers = [frame[1] for frame in visit.frames if frame[0] != 2]
        assert answers == [f"u{number}" for number in range(CALLS)]
        assert not {frame[2] for frame in visit.calls()} & {"SignCertificate", "SecurityEventNotification"}
        assert not station.events.of(EventKind.PROTOCOL_VIOLATION)
        assert not station.events.of(EventKind.STRAY_ANSWER)
        run(loop, station.disconnect())
