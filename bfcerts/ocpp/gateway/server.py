"""The gateway process: what runs in it, and in which order it starts and stops."""

import asyncio
import functools
import logging
import os
import socket
import uuid
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Final

from websockets.frames import CloseCode

from bfcerts.configuration import Configuration
from bfcerts.ocpp.adapters import Adapters
from bfcerts.ocpp.canonical import RefusalReason
from bfcerts.ocpp.gateway import commands, keys, node, notifications, sessions
from bfcerts.ocpp.gateway.admission import Doorkeeper
from bfcerts.ocpp.gateway.certificates import ServerCertificates
from bfcerts.ocpp.gateway.database import DatabaseThread, DatabaseUnavailableError
from bfcerts.ocpp.gateway.evidence import EvidenceWriter
from bfcerts.ocpp.gateway.limits import PasswordThrottle
from bfcerts.ocpp.gateway.listeners import Listeners
from bfcerts.ocpp.gateway.live import LiveConnections
from bfcerts.ocpp.gateway.questions import Questions
from bfcerts.ocpp.gateway.refusals import Refusals
from bfcerts.ocpp.gateway.routes import Routes
from bfcerts.ocpp.gateway.services import Services
from bfcerts.ocpp.gateway.sessions import Departure
from bfcerts.ocpp.gateway.tls import ListenerName
from bfcerts.ocpp.gateway.upkeep import Upkeep
from bfcerts.ocpp.gateway.websocket import WebSocket
from bfcerts.ocpp.registry import certificate_door, listeners, password_door
from bfcerts.ocpp.relay.relays import Relays
from bfcerts.ocpp.relay.reports import UpstreamReports

GOODBYE_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 2.0

logger = logging.getLogger(__name__)


def utc_now() -> datetime:
    return datetime.now(UTC)


class Gateway:
    """One gateway node. Made on the event loop that runs it."""

    def __init__(self, configuration: Configuration, clock: Callable[[], datetime] = utc_now) -> None:
        """
        :raises ConfigurationError: when a key is missing.
        :raises NotRegisteredError: when no app lends the doors or the listeners' certificates.
        """
        for lent in (certificate_door, password_door, listeners):
            lent()
        loop = asyncio.get_running_loop()
        self.name = configuration.gateway_node or f"{socket.gethostname()}-{os.getpid()}"
        self.live = LiveConnections()
        self._configuration = configuration
        self._clock = clock
        self._run = uuid.uuid4()
        self._stopping = asyncio.Event()
        self._departing: set[asyncio.Task[None]] = set()
        # Four threads, so that the upkeep never delays a message, nor a storm at the door a command, nor a flood of
        # questions either; each connects when it has something to do first.
        self._door = DatabaseThread("door", loop)
        self._messages = DatabaseThread("messages", loop)
        self._upkeep = DatabaseThread("upkeep", loop)
        self._questions = DatabaseThread("questions", loop)
        evidence = EvidenceWriter(self._messages)
        self._services = Services(
            configuration=configuration,
            clock=clock,
            loop=loop,
            adapters=Adapters(),
            credential_key=configuration.credential_secret(),
            admissions=self._door.lane(lambda arrivals: sessions.admit(arrivals, self.name)),
            departures=self._door.lane(sessions.close),
            claims=self._messages.lane(commands.claim),
            results=self._messages.lane(commands.record),
            evidence=evidence,
            questions=Questions(self._questions, loop, clock, configuration.gateway_question_seconds),
            refusals=Refusals(evidence),
            throttle=PasswordThrottle(configuration.password_failures_per_minute),
            relays=Relays(configuration, loop, UpstreamReports(evidence)),
            routes=Routes(),
        )
        self._doorkeeper = Doorkeeper(self._services, self.live, self._departed)
        self.listeners = Listeners(
            configuration,
            ServerCertificates(configuration.gateway_host, keys.gateway_key(configuration)),
            self._upkeep,
            self._websocket,
            self._handshake_failed,
        )

    def stop(self) -> None:
        """Let `run` come to its regular end."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until `stop`.

        :raises ListenerError: when a port cannot be opened.
        :raises NodeReplacedError: when another process took this node's name.
        """
        threads = (self._door, self._messages, self._upkeep, self._questions)
        for thread in threads:
            thread.start()
        try:
            await self._serve()
        finally:
            for thread in threads:
                await thread.stop()

    async def _serve(self) -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            if not await self._registered(stopping):
                return
            upkeep = Upkeep(self._services, self.live, self.listeners, self._upkeep, self.name, self._run)
            work = [asyncio.ensure_future(task()) for task in upkeep.tasks()]
            work.append(asyncio.create_task(notifications.listen(upkeep.heard, upkeep.listening)))
            try:
                await asyncio.wait([stopping, *work], return_when=asyncio.FIRST_COMPLETED)
            finally:
                await _cancelled(work)
                await self._say_goodbye()
            for task in work:
                if not task.cancelled() and (error := task.exception()) is not None:
                    raise error
        finally:
            stopping.cancel()

    async def _registered(self, stopping: asyncio.Task[bool]) -> bool:
        """Take this node's name, as soon as the database answers; false when the gateway is stopped before."""
        while not stopping.done():
            try:
                await self._upkeep.call(functools.partial(node.start, self.name, self._run, self._clock()))
            except DatabaseUnavailableError:
                await asyncio.wait([stopping], timeout=RETRY_SECONDS)
            else:
                return True
        return False

    async def _say_goodbye(self) -> None:
        """Close every session, store that, and give the name back, in a bounded time: what is left, others clear up."""
        self._doorkeeper.closing = True
        self.listeners.close()
        for connection in self.live:
            connection.websocket.close(CloseCode.GOING_AWAY, "the gateway stops; connect again")
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self.live.empty.wait()
        except TimeoutError:
            for connection in self.live:
                connection.websocket.abort("the gateway stops")
        await self._services.relays.all_gone()
        if self._departing:
            await asyncio.wait(self._departing, timeout=GOODBYE_SECONDS)
        await _cancelled(self._departing)
        try:
            await self._upkeep.call(lambda: node.stop(self.name, self._run))
        except DatabaseUnavailableError:
            logger.warning("the database is away; another node will clear up after this one")

    def _websocket(self, listener: ListenerName) -> WebSocket:
        return WebSocket(
            self._services.adapters.subprotocols,
            self._configuration.gateway_max_frame_bytes,
            functools.partial(self._doorkeeper.request, listener),
        )

    def _handshake_failed(self, listener: ListenerName, address: str, reason: RefusalReason, detail: str) -> None:
        self._services.refusals.of_handshake(listener, address, reason, detail, self._clock())

    def _departed(self, departure: Departure) -> None:
        task = self._services.loop.create_task(self._store_departure(departure))
        self._departing.add(task)
        task.add_done_callback(self._departing.discard)

    async def _store_departure(self, departure: Departure) -> None:
        """Until it is stored the row says that the station is connected, so a database that is away is waited for."""
        while True:
            try:
                await self._services.departures.submit(departure)
            except DatabaseUnavailableError:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return


async def _cancelled(tasks: Collection[asyncio.Future[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
