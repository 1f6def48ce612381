"""Whose route to an upstream may have changed since it was asked for."""

import asyncio


class Routes:
    """What notifications said of routes, until it is looked up.

    `heard` counts them: whoever asked the database, and sees another count when the answer is there, asks again.
    """

    def __init__(self) -> None:
        self.wanted = asyncio.Event()
        self.heard = 0
        self._everybody = False
        self._stations: set[str] = set()

    def changed(self, station_id: str = "") -> None:
        """The route of one station may have changed, or with no name that of everybody."""
        self.heard += 1
        self.ask_again(station_id)

    def ask_again(self, station_id: str = "") -> None:
        """Have the route of one station, or of everybody, looked up anew."""
        if station_id:
            self._stations.add(station_id)
        else:
            self._everybody = True
        self.wanted.set()

    def take(self) -> set[str] | None:
        """Whose routes to look up now; None for everybody's."""
        everybody, self._everybody = self._everybody, False
        stations, self._stations = self._stations, set()
        return None if everybody else stations
