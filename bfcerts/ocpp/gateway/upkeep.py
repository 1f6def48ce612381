"""What the gateway does besides talking: showing that it lives, finding the silent, catching up with what it missed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

from bfcerts.ocpp.gateway import commands, node, sessions
from bfcerts.ocpp.gateway.database import DatabaseThread, DatabaseUnavailableError
from bfcerts.ocpp.gateway.listeners import ListenerError, Listeners
from bfcerts.ocpp.gateway.live import LiveConnections
from bfcerts.ocpp.gateway.renewal_only import ENDED
from bfcerts.ocpp.gateway.services import Services
from bfcerts.ocpp.gateway.station import StationConnection
from bfcerts.ocpp.notify import Channel
from bfcerts.ocpp.relay.relay import route

CATCH_UP_SECONDS: Final = 30.0
REFRESH_SECONDS: Final = 10.0
SWEEP_SECONDS: Final = 1.0
RECHECK_SECONDS: Final = 600.0
BATCH: Final = 500
LONGEST_CLOSE_REASON: Final = 120
BLOCKED: Final = "the certificate is not accepted any more"
KEY_ENDED: Final = "the password is not accepted any more"

Item = TypeVar("Item")

FATAL: Final = (node.NodeReplacedError, ListenerError)

logger = logging.getLogger(__name__)


class Upkeep:
    """The repeated work of one gateway node, and its answers to notifications."""

    def __init__(
        self,
        services: Services,
        live: LiveConnections,
        listeners: Listeners,
        thread: DatabaseThread,
        name: str,
        run: UUID,
    ) -> None:
        self._services = services
        self._live = live
        self._listeners = listeners
        self._thread = thread
        self._name = name
        self._run = run
        self._beat_wanted = asyncio.Event()
        self._refresh_wanted = asyncio.Event()
        self._catch_up_wanted = asyncio.Event()
        self._answers_wanted = asyncio.Event()
        self._due_since = services.clock()
        self._missed_blocks = False

    def tasks(self) -> list[Callable[[], Awaitable[None]]]:
        """What has to run side by side until the gateway stops; each may raise one of `FATAL`."""
        return [
            lambda: _repeat(self._beat, node.BEAT_SECONDS, self._beat_wanted),
            lambda: _repeat(self._sweep, SWEEP_SECONDS),
            lambda: _repeat(self._wake_due, SWEEP_SECONDS),
            lambda: _repeat(self._refresh, REFRESH_SECONDS, self._refresh_wanted),
            lambda: _repeat(self._catch_up, CATCH_UP_SECONDS, self._catch_up_wanted),
            lambda: _repeat(self._reroute, CATCH_UP_SECONDS, self._services.routes.wanted),
            lambda: _repeat(self._tell_upstreams, SWEEP_SECONDS),
            lambda: _repeat(self._look_for_answers, SWEEP_SECONDS, self._answers_wanted),
        ]

    def heard(self, channel: Channel, payload: str) -> None:
        """Act on a notification."""
        if channel is Channel.OUTBOX:
            for connection in self._live.of_station(payload):
                connection.delivery.wake()
        elif channel is Channel.ANSWERS:
            self._services.questions.heard(payload)
        elif channel is Channel.SESSION_CLOSE:
            self._close_session(payload)
        elif channel is Channel.CERTIFICATE_BLOCKED:
            for connection in self._live.of_certificate(payload):
                connection.block(BLOCKED)
            self._refresh_wanted.set()
        elif channel is Channel.LISTENERS:
            self._refresh_wanted.set()
        elif channel is Channel.UPSTREAMS and (not payload or self._live.of_station(payload)):
            self._services.routes.changed(payload)

    def listening(self) -> None:
        """Notifications come again: what was said before may have been missed."""
        self._missed_blocks = True
        self._refresh_wanted.set()
        self._catch_up_wanted.set()
        self._answers_wanted.set()

    async def _look_for_answers(self) -> None:
        self._services.questions.look()

    def _close_session(self, payload: str) -> None:
        identifier, _, reason = payload.partition(" ")
        try:
            connection = self._live.of_session(UUID(identifier))
        except ValueError:
            logger.warning("a notification names no session: %.60s", payload)
            return
        if connection is not None:
            _close(connection, reason)
            if reason == node.LOST:
                self._beat_wanted.set()

    async def _beat(self) -> None:
        now = self._services.clock()
        await self._thread.call(lambda: node.beat(self._name, self._run, now))
        reaped = await self._thread.call(lambda: node.reap(now))
        if reaped:
            logger.warning("closed %s sessions of gateway nodes that are gone", reaped)

    async def _sweep(self) -> None:
        """Find connections that died without a word: a ping after one silent interval, the end after another.

        And those whose time is over: a narrow door closes to the second, also while nobody can tell us so.
        """
        now, at = self._services.loop.time(), self._services.clock()
        interval = self._services.configuration.gateway_ping_interval_seconds
        for connection in self._live:
            websocket = connection.websocket
            if websocket.pinged_at is not None:
                if now - websocket.pinged_at > interval:
                    websocket.abort("no sign of life")
            elif now - websocket.last_heard > interval:
                websocket.ping()
            if connection.relay is not None:
                connection.relay.sweep(now)
            if connection.renewal_only is not None and connection.renewal_only.until <= at:
                connection.block(ENDED)
        self._services.refusals.sweep(at)
        self._services.relays.reports.sweep(at)

    async def _wake_due(self) -> None:
        """Commands that were put off until now."""
        since, now = self._due_since, self._services.clock()
        for station_id in await self._thread.call(lambda: commands.stations_now_due(since, now)):
            self.heard(Channel.OUTBOX, station_id)
        self._due_since = now

    async def _refresh(self) -> None:
        await self._listeners.refresh(self._services.clock())

    async def _catch_up(self) -> None:
        """Compare what we hold with the tables, which are the truth."""
        now = self._services.clock()
        held = list(self._live)
        self._services.routes.changed()
        for batch in _batches(held):
            identifiers = [connection.session_id for connection in batch]
            gone = await self._thread.call(partial(sessions.no_longer_open, identifiers))
            for connection in batch:
                if connection.session_id in gone:
                    _close(connection, sessions.REPLACED)
            stations = [connection.station_id for connection in batch]
            due = await self._thread.call(partial(commands.stations_with_commands, stations, now))
            for connection in batch:
                if connection.station_id in due:
                    connection.delivery.wake()
        await self._recheck(held)

    async def _reroute(self) -> None:
        """Relay everybody as it should be by now; the stations stay connected. What fails, the next catch-up does."""
        stations = self._services.routes.take()
        if stations is None:
            concerned = list(self._live)
        else:
            concerned = [one for station_id in stations for one in self._live.relayable(station_id)]
        for batch in _batches(concerned):
            asked = [connection.station_id for connection in batch]
            upstreams = await self._thread.call(partial(sessions.upstreams_of, asked))
            for connection in batch:
                if connection.websocket.is_open:
                    route(connection, upstreams[connection.station_id])

    async def _tell_upstreams(self) -> None:
        """Store how upstreams stand by now: each session once, however often its upstream came and went."""
        standings = self._services.relays.standings
        news = standings.take()
        try:
            for batch in _batches(news):
                await self._thread.call(partial(sessions.record_upstreams, batch))
        except DatabaseUnavailableError:
            standings.put_back(news)
            raise

    async def _recheck(self, held: list[StationConnection]) -> None:
        """Ask the door again about live sessions: all of them after notifications were missed, else each in its turn.

        A credential loses its authorisation by the clock too: a certificate expires, or its rollback window ends, and
        so does the time of a key that was replaced.
        """
        everything, self._missed_blocks = self._missed_blocks, False
        now = self._services.loop.time()
        due = [connection for connection in held if everything or now - connection.checked_at > RECHECK_SECONDS]
        for batch in _batches(due):
            at = self._services.clock()
            present = [
                sessions.Present(
                    replace(connection.attempt, now=at), connection.options, connection.renewal_only is not None
                )
                for connection in batch
            ]
            try:
                refusals = await self._thread.call(partial(sessions.review, present))
            except DatabaseUnavailableError:
                self._missed_blocks = everything
                raise
            for connection, refusal in zip(batch, refusals, strict=True):
                connection.checked_at = now
                if refusal is not None:
                    self._services.refusals.of_station(connection.attempt, refusal)
                    connection.block(BLOCKED if connection.fingerprint else KEY_ENDED)


def _close(connection: StationConnection, reason: str) -> None:
    """A replaced connection may say goodbye; every other reason is one to stop listening."""
    if reason == sessions.REPLACED:
        connection.replace(reason)
    else:
        said = reason.encode()[:LONGEST_CLOSE_REASON].decode(errors="ignore")
        connection.block(said or "closed by the control plane")


def _batches(items: Sequence[Item]) -> list[Sequence[Item]]:
    return [items[start : start + BATCH] for start in range(0, len(items), BATCH)]


async def _repeat(work: Callable[[], Awaitable[None]], seconds: float, wanted: asyncio.Event | None = None) -> None:
    """Do the work now, then again after so many seconds, or sooner when wanted. Only what is fatal ends it."""
    wanted = wanted or asyncio.Event()
    while True:
        wanted.clear()
        try:
            await work()
        except FATAL:
            raise
        except DatabaseUnavailableError:
            pass
        except Exception:  # a defect in one round must not end the upkeep of the node
            logger.exception("upkeep failed and is tried again")
        try:
            async with asyncio.timeout(seconds):
                await wanted.wait()
        except TimeoutError:
            continue
