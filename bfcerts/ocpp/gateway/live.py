"""The connections that this node holds, found by station, by session and by certificate."""

import asyncio
from collections.abc import Iterator
from uuid import UUID

from bfcerts.ocpp.gateway.station import StationConnection

Index = dict[str, set[StationConnection]]


class LiveConnections:
    """Indexes over the connections, from the moment they are at the door.

    A connection counts before the door has decided: whoever takes its authorisation away in that very moment finds it,
    and so does whoever has a command for its station.
    """

    def __init__(self) -> None:
        self._in: dict[UUID, StationConnection] = {}
        self._by_session: dict[UUID, StationConnection] = {}
        self._by_station: Index = {}
        self._by_fingerprint: Index = {}
        self.empty = asyncio.Event()
        self.empty.set()

    def __len__(self) -> int:
        return len(self._in)

    def __iter__(self) -> Iterator[StationConnection]:
        return iter(list(self._in.values()))

    def at_the_door(self, connection: StationConnection) -> None:
        self._by_session[connection.session_id] = connection
        self._by_station.setdefault(connection.station_id, set()).add(connection)
        if connection.fingerprint:
            self._by_fingerprint.setdefault(connection.fingerprint, set()).add(connection)

    def came_in(self, connection: StationConnection) -> list[StationConnection]:
        """
        :returns: the connections of the same station that this one replaces, where this node holds them.
        """
        earlier = self.relayable(connection.station_id)
        self._in[connection.session_id] = connection
        self.empty.clear()
        return earlier

    def left(self, connection: StationConnection) -> None:
        """Forget a connection, and only this one."""
        self._by_session.pop(connection.session_id, None)
        self._in.pop(connection.session_id, None)
        if not self._in:
            self.empty.set()
        _discard(self._by_station, connection.station_id, connection)
        _discard(self._by_fingerprint, connection.fingerprint, connection)

    def of_station(self, station_id: str) -> list[StationConnection]:
        return list(self._by_station.get(station_id, ()))

    def relayable(self, station_id: str) -> list[StationConnection]:
        """The connections of a station that are in: one that is still at the door is asked for when it comes in."""
        return [one for one in self.of_station(station_id) if one.session_id in self._in]

    def of_session(self, session_id: UUID) -> StationConnection | None:
        return self._by_session.get(session_id)

    def of_certificate(self, fingerprint: str) -> list[StationConnection]:
        return list(self._by_fingerprint.get(fingerprint, ()))


def _discard(index: Index, key: str, connection: StationConnection) -> None:
    members = index.get(key)
    if members is not None:
        members.discard(connection)
        if not members:
            del index[key]
