"""The station's security log: written to disk at once, told to the CSMS as soon as there is a connection."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from tests.simulator.dialect import SecurityLogEntry
from tests.simulator.events import EventKind

if TYPE_CHECKING:
    from tests.simulator.station import SimulatedStation

MOST_PENDING = 50
TECH_INFO_LENGTH = 255


class SecurityLog:
    """Entries wait in order until they were sent (OCPP 2.0.1 A04.FR.01-03)."""

    def __init__(self, station: "SimulatedStation") -> None:
        self._station = station
        self._pending: deque[SecurityLogEntry] = deque(maxlen=MOST_PENDING)
        self._sending = asyncio.Lock()

    def note(self, event_type: str, tech_info: str = "") -> None:
        """Write an entry. The same one twice in a row is told once while it waits."""
        entry = SecurityLogEntry(event_type, self._station.clock.now(), tech_info[:TECH_INFO_LENGTH])
        with (self._station.store.folder / "security.log").open("a", encoding="utf-8") as file:
            file.write(f"{entry.at.isoformat()} {entry.type} {entry.tech_info}\n")
        if not self._pending or (self._pending[-1].type, self._pending[-1].tech_info) != (
            event_type,
            tech_info,
        ):
            self._pending.append(entry)

    async def flush(self) -> None:
        """Send what waits; what fails stays for the next connection."""
        async with self._sending:
            while self._pending:
                entry = self._pending[0]
                await self._station.dialect.security_event(self._station, entry)
                self._pending.popleft()
                self._station.record(EventKind.SECURITY_EVENT_SENT, type=entry.type, tech_info=entry.tech_info)

    def content(self) -> bytes:
        """The log as GetLog(SecurityLog) uploads it."""
        path = self._station.store.folder / "security.log"
        return path.read_bytes() if path.exists() else b""
