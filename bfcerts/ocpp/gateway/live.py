"""The connections that this node holds, found by station, by session and by certificate."""

import asyncio
from collections.abc import Iterator
from uuid import UUID

from bfcerts.ocpp.gateway.station import StationConnection


class LiveConnections:
    """Indexes over the connections from the moment they are at the door.

    A connection counts as its certificate's before the door has decided: whoever takes the authorisation away in that
    very moment finds it.
    """

    def __init__(self) -> None:
        self._by_session: dict[UUID, StationConnection] = {}
        self._by_station: dict[str, StationConnection] = {}
        self._by_fingerprint: dict[str, set[StationConnection]] = {}
        self.empty = asyncio.Event()
        self.empty.set()

    def __len__(self) -> int:
        return len(self._by_session)

    def __iter__(self) -> Iterator[StationConnection]:
        return iter(list(self._by_session.values()))

    def at_the_door(self, connection: StationConnection) -> None:
        if connection.fingerprint:
            self._by_fingerprint.setdefault(connection.fingerprint, set()).add(connection)

    def came_in(self, connection: StationConnection) -> StationConnection | None:
        """
        :returns: the connection of the same station that this one replaces, where this node holds it.
        """
        earlier = self._by_station.get(connection.station_id)
        self._by_session[connection.session_id] = connection
        self.empty.clear()
        self._by_station[connection.station_id] = connection
        return earlier

    def left(self, connection: StationConnection) -> None:
        """Forget a connection; a newer one of the same station stays."""
        self._by_session.pop(connection.session_id, None)
        if not self._by_session:
            self.empty.set()
        if self._by_station.get(connection.station_id) is connection:
            del self._by_station[connection.station_id]
        same_certificate = self._by_fingerprint.get(connection.fingerprint)
        if same_certificate is not None:
            same_certificate.discard(connection)
            if not same_certificate:
                del self._by_fingerprint[connection.fingerprint]

    def of_station(self, station_id: str) -> StationConnection | None:
        return self._by_station.get(station_id)

    def of_session(self, session_id: UUID) -> StationConnection | None:
        return self._by_session.get(session_id)

    def of_certificate(self, fingerprint: str) -> list[StationConnection]:
        return list(self._by_fingerprint.get(fingerprint, ()))

    def stations(self) -> list[str]:
        return list(self._by_station)
