"""Given a CSMS and a station: what most tests of the simulator begin with."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cryptography import x509

from tests.simulator import Quirks, SimulatedStation, Timings
from tests.simulator_tests.csms import SmallCsms

STATION = "CS-0001"
PASSWORD = "correct-horse-battery"


@asynccontextmanager
async def scene(
    folder: Path, *, listener: str = "profile2", quirks: Quirks | None = None, **options: Any
) -> AsyncIterator[tuple[SmallCsms, SimulatedStation]]:
    """A CSMS, and a station on security profile 2 that trusts both roots and has not connected yet."""
    async with SmallCsms(folder, passwords={STATION: PASSWORD}) as csms:
        options.setdefault("timings", Timings.quick())
        options.setdefault("roots", [csms.server.root, csms.chargers.root])
        station = SimulatedStation.commission(
            folder, STATION, url=csms.urls[listener], password=PASSWORD, quirks=quirks, **options
        )
        try:
            yield csms, station
        finally:
            await station.disconnect()


@asynccontextmanager
async def scene_on_profile_3(
    folder: Path, *, quirks: Quirks | None = None, days: float = 180, **options: Any
) -> AsyncIterator[tuple[SmallCsms, SimulatedStation, x509.Certificate]]:
    """The same, connected on security profile 3 with a leaf of `days`."""
    async with scene(folder, listener="dual", quirks=Quirks(upgrades_in_place=True), **options) as (csms, station):
        await station.connect()
        leaf = await enrol(csms, station, days=days)
        await station.wait_for(lambda station: station.connected and station.security_profile == 3)
        station.quirks = quirks or Quirks()
        yield csms, station, leaf


async def enrol(csms: SmallCsms, station: SimulatedStation, *, days: float = 180) -> x509.Certificate:
    """The station asks, the CSMS signs and delivers, the station accepts."""
    leaf = await sign(csms, station, days=days)
    answer = await csms.deliver(station.station_id, csms.chargers.chain(leaf))
    assert answer == {"status": "Accepted"}
    return leaf


async def sign(csms: SmallCsms, station: SimulatedStation, *, days: float = 180) -> x509.Certificate:
    """A leaf for a new CSR of the station, not delivered yet."""
    before = len(csms.received(station.station_id, "SignCertificate"))
    assert await station.sign_certificate() == "Accepted"
    return csms.chargers.sign_csr(await csms.next_csr(station.station_id, before + 1), days=days)


async def stays_quiet(station: SimulatedStation) -> None:
    """Give whatever the station might do now many turns to happen."""
    for _ in range(20):
        await station.heartbeat()


def set_variable(component: str, variable: str, value: str) -> dict[str, Any]:
    """Payload of a SetVariables with one entry."""
    entry = {"attributeValue": value, "component": {"name": component}, "variable": {"name": variable}}
    return {"setVariableData": [entry]}


def network_profile(slot: int, security_profile: int, url: str) -> dict[str, Any]:
    """Payload of a SetNetworkProfile."""
    return {
        "configurationSlot": slot,
        "connectionData": {
            "ocppVersion": "OCPP20",
            "ocppTransport": "JSON",
            "ocppCsmsUrl": url,
            "messageTimeout": 30,
            "securityProfile": security_profile,
            "ocppInterface": "Wired0",
        },
    }
