"""Many simulated stations in one process."""

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from tests.simulator.describe import ROUTINE, describe
from tests.simulator.events import Event
from tests.simulator.fleet_file import FleetDescription, StationDescription
from tests.simulator.network import NetworkProfile
from tests.simulator.station import SimulatedStation
from tests.simulator.store import StationState, StationStore

logger = logging.getLogger("tests.simulator")
EVENTS_KEPT = 100
"""Events that each station of a fleet remembers."""


class Fleet:
    """Runs its stations side by side; the failure of one is logged and leaves the others alone."""

    def __init__(self, stations: Iterable[SimulatedStation], *, stagger: float = 0.02) -> None:
        self.stations = {station.station_id: station for station in stations}
        self._stagger = stagger
        self._stopping = asyncio.Event()
        for station in self.stations.values():
            _log_events_of(station)

    @classmethod
    def build(
        cls, description: FleetDescription, directory: Path, *, security_profile: int = 2, stagger: float = 0.02
    ) -> Self:
        """Stations from their folders; who has none yet is delivered on `security_profile`.

        :param stagger: seconds between the first connects of two stations.
        :raises FleetError: an address or a root is missing.
        :raises StoreError: a station's folder cannot be used.
        """
        return cls(
            [
                SimulatedStation(
                    _store(description, station, directory, security_profile),
                    quirks=station.quirks,
                    timings=description.timings,
                    keep_events=EVENTS_KEPT,
                )
                for station in description.stations
            ],
            stagger=stagger,
        )

    async def run(self) -> None:
        """Until `stop`."""
        running = []
        for station in self.stations.values():
            running.append(asyncio.create_task(_run(station)))
            await asyncio.sleep(self._stagger)
        await self._stopping.wait()
        await asyncio.gather(*(station.disconnect() for station in self.stations.values()), return_exceptions=True)
        await asyncio.gather(*running)

    def stop(self) -> None:
        """Ask all stations to close in order."""
        self._stopping.set()


async def _run(station: SimulatedStation) -> None:
    try:
        await station.run()
    except Exception:  # one station's fault leaves the others running
        logger.exception("%s ended by a fault of the simulator", station.station_id)


def _store(
    fleet: FleetDescription, description: StationDescription, directory: Path, security_profile: int
) -> StationStore:
    station_id = description.station_id
    if StationStore.exists(directory, station_id):
        store = StationStore.open(directory, station_id)
        if store.state.network_profiles:
            return store
    else:
        state = StationState(
            station_id=station_id,
            serial_number=description.serial_number or f"SN-{station_id}",
            vendor=description.vendor,
            model=description.model,
            firmware=description.firmware,
            key_type=description.key_type,
            protocol=description.protocol,
        )
        store = StationStore(StationStore.folder_of(directory, station_id), state)
    store.state.password = store.state.password or description.password
    store.state.network_profiles = {1: NetworkProfile(security_profile, fleet.url(security_profile))}
    store.state.network_priority = [1]
    store.equip(fleet.root_certificates())
    return store


def _log_events_of(station: SimulatedStation) -> None:
    def log(event: Event) -> None:
        level = logging.DEBUG if event.kind in ROUTINE else logging.INFO
        logger.log(level, "%s %s", station.station_id, describe(event))

    station.events.subscribe(log)
