"""What all relays of a gateway node share: whom they may dial and with what, how many at once, and who is connected."""

import asyncio
import random
import ssl
from collections.abc import Callable
from typing import Final

from websockets.uri import parse_uri

from bfcerts.configuration import Configuration, ConfigurationError
from bfcerts.ocpp.gateway.limits import Recent
from bfcerts.ocpp.registry import Upstream
from bfcerts.ocpp.relay import addresses, credentials
from bfcerts.ocpp.relay.client import UpstreamSocket
from bfcerts.ocpp.relay.reports import UpstreamReports
from bfcerts.ocpp.relay.standing import Standings

DIAL_SECONDS: Final = 10.0
DIALS_AT_ONCE: Final = 100
GOODBYE_SECONDS: Final = 5.5
"""A little longer than an upstream is given to answer our close frame."""
REMEMBERED_LOGS: Final = 4
_MOST_CONTEXTS: Final = 64


class UndialledError(Exception):
    """An upstream that is not dialled, or not reached; the text says why."""


class Relays:
    """The upstream connections of one gateway node."""

    def __init__(
        self,
        configuration: Configuration,
        loop: asyncio.AbstractEventLoop,
        reports: UpstreamReports,
        randomness: random.Random | None = None,
    ) -> None:
        """
        :raises ConfigurationError: when the allow-list or the credentials of the environment cannot be read.
        """
        self.configuration = configuration
        self.reports = reports
        self._loop = loop
        self._random = randomness or random.Random()  # noqa: S311  # it scatters, it does not protect
        try:
            self._allowed = addresses.origins_of(configuration.upstream_allowed)
        except addresses.AddressError as error:
            raise ConfigurationError(f"BFCERTS_UPSTREAM_ALLOWED: {error}") from None
        self.standings = Standings()
        self._credentials = credentials.read(configuration.upstream_credentials)
        self._contexts: dict[tuple[str, str], ssl.SSLContext] = {}
        self._dials = asyncio.Semaphore(DIALS_AT_ONCE)
        self._sockets: dict[str, set[UpstreamSocket]] = {}
        self._logs: Recent[tuple[int, ...]] = Recent()

    def __len__(self) -> int:
        """How many connections to upstreams there are, those included that are saying goodbye."""
        return sum(len(sockets) for sockets in self._sockets.values())

    def delay(self, failures: int) -> float:
        """Seconds until the next try: doubled with each failure, and scattered, so that no fleet comes at once."""
        longest = self.configuration.upstream_retry_limit_seconds
        seconds: float = min(longest, self.configuration.upstream_retry_seconds * 2.0 ** min(failures, 20))
        return seconds * (0.5 + self._random.random() / 2)

    def logs_of(self, station_id: str) -> tuple[int, ...]:
        """The request ids of logs that the station's upstream asked for, also before the station connected again."""
        return self._logs.get(station_id, ())

    def log_asked(self, station_id: str, request_id: int) -> None:
        self._logs.keep(station_id, (*self.logs_of(station_id), request_id)[-REMEMBERED_LOGS:])

    async def dial(
        self,
        upstream: Upstream,
        station_id: str,
        subprotocol: str,
        on_open: Callable[[UpstreamSocket], None],
        on_end: Callable[[str, int], None],
    ) -> None:
        """Connect for one station, when the connection it had before is gone.

        :param on_open: called when the upgrade is done.
        :param on_end: called once when a connection ends on which TLS was complete, upgraded or not.
        :raises UndialledError: when the upstream may not be dialled, or TLS or TCP to it fails.
        """
        await self._earlier_gone(station_id)
        async with self._dials:
            try:
                async with asyncio.timeout(DIAL_SECONDS):
                    await self._connect(upstream, station_id, subprotocol, on_open, on_end)
            except TimeoutError:
                raise UndialledError(f"it did not take the connection within {DIAL_SECONDS:g} seconds") from None
            except ssl.SSLCertVerificationError as error:
                raise UndialledError(f"its certificate is not accepted: {error.verify_message}") from None
            except (OSError, ValueError) as error:
                raise UndialledError(f"it cannot be reached: {error}") from None

    async def all_gone(self) -> None:
        """Wait, in a bounded time, until every upstream connection is closed."""
        waiting = [socket.gone for sockets in self._sockets.values() for socket in sockets]
        if waiting:
            await asyncio.wait(waiting, timeout=GOODBYE_SECONDS)

    async def _connect(
        self,
        upstream: Upstream,
        station_id: str,
        subprotocol: str,
        on_open: Callable[[UpstreamSocket], None],
        on_end: Callable[[str, int], None],
    ) -> None:
        addresses.check(upstream.url, self._allowed)
        credential = self._credentials.get(upstream.credential) if upstream.credential else None
        if upstream.credential and credential is None:
            raise UndialledError(f"there is no credential “{upstream.credential}” in {credentials.SETTING}")
        uri = parse_uri(addresses.of_station(upstream.url, station_id))
        made: list[UpstreamSocket] = []

        def on_made(socket: UpstreamSocket) -> None:
            made.append(socket)
            self._sockets.setdefault(station_id, set()).add(socket)
            socket.gone.add_done_callback(lambda _: self._forget(station_id, socket))

        def make() -> UpstreamSocket:
            socket = UpstreamSocket(
                uri,
                subprotocol,
                self.configuration.gateway_max_frame_bytes,
                credential.headers(station_id) if credential else {},
                on_made,
                on_open,
            )
            socket.on_end = on_end
            return socket

        context = self._context(upstream) if uri.secure else None
        try:
            await self._loop.create_connection(
                make, uri.host, uri.port, ssl=context, server_hostname=uri.host if context else None
            )
            await made[0].settled
        except BaseException:  # given up or cancelled: nobody else knows of a connection that is half made
            for socket in made:
                socket.on_end = None
                socket.transport.abort()
            raise

    def _context(self, upstream: Upstream) -> ssl.SSLContext:
        key = (upstream.ca_bundle, upstream.credential)
        context = self._contexts.get(key)
        if context is None:
            if len(self._contexts) >= _MOST_CONTEXTS:
                self._contexts.clear()
            context = credentials.tls_context(upstream.ca_bundle, self._credentials.get(upstream.credential))
            self._contexts[key] = context
        return context

    async def _earlier_gone(self, station_id: str) -> None:
        """An upstream sees a charger once: the connection it had goes before the next one comes."""
        while earlier := self._sockets.get(station_id):
            _, late = await asyncio.wait([socket.gone for socket in earlier], timeout=GOODBYE_SECONDS)
            if late:
                for socket in list(earlier):
                    socket.transport.abort()

    def _forget(self, station_id: str, socket: UpstreamSocket) -> None:
        sockets = self._sockets.get(station_id)
        if sockets is not None:
            sockets.discard(socket)
            if not sockets:
                del self._sockets[station_id]
