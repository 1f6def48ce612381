"""A very small CSMS on loopback: real TLS, real WebSocket, no rules beyond what the tests need."""

import asyncio
import base64
import hashlib
import http
import itertools
import json
import ssl
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, NegotiationError
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.simulator_tests.authority import Authority, pem

Payload = dict[str, Any]
TIME = "2026-01-01T00:00:00Z"
ANSWERS: dict[str, Payload] = {
    "BootNotification": {"currentTime": TIME, "interval": 300, "status": "Accepted"},
    "Heartbeat": {"currentTime": TIME},
    "SignCertificate": {"status": "Accepted"},
}


@dataclass
class Visit:
    """One accepted connection."""

    station_id: str
    listener: str
    fingerprint: str
    connection: ServerConnection
    open_calls: dict[str, asyncio.Future[Any]] = field(default_factory=dict)


@dataclass
class SmallCsms:
    """Listens on three free ports: `profile2`, `profile3` and `dual`."""

    folder: Path
    server: Authority = field(default_factory=lambda: Authority("server"))
    chargers: Authority = field(default_factory=lambda: Authority("chargers"))
    passwords: dict[str, str] = field(default_factory=dict)
    refused_fingerprints: set[str] = field(default_factory=set)
    answers: dict[str, Payload] = field(default_factory=lambda: dict(ANSWERS))
    takes_any_subprotocol: bool = False
    silent_actions: set[str] = field(default_factory=set)
    visits: list[Visit] = field(default_factory=list)
    frames: list[tuple[str, Any]] = field(default_factory=list)
    """Every frame that a station sent, parsed; text that is no JSON as it came."""
    urls: dict[str, str] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        self._changed = asyncio.Event()
        self._numbers = itertools.count(1)
        self._stack = AsyncExitStack()
        chain_file, key_file = self.server.server_files(self.folder)
        for listener, mode in (
            ("profile2", ssl.CERT_NONE),
            ("profile3", ssl.CERT_REQUIRED),
            ("dual", ssl.CERT_OPTIONAL),
        ):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(chain_file, key_file)
            context.load_verify_locations(cadata=pem(self.chargers.root))
            context.verify_mode = mode
            server = await self._stack.enter_async_context(
                serve(
                    self._handler(listener),
                    "127.0.0.1",
                    0,
                    ssl=context,
                    select_subprotocol=self._select_subprotocol,
                    process_request=self._decider(),
                    compression=None,
                )
            )
            port = next(iter(server.sockets)).getsockname()[1]
            self.urls[listener] = f"wss://localhost:{port}/ocpp"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def until(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def visit(self, station_id: str) -> Visit:
        """The newest connection of a station."""
        return [each for each in self.visits if each.station_id == station_id][-1]

    async def call(self, station_id: str, action: str, payload: Payload) -> Any:
        """:returns: the whole answering frame."""
        message_id = f"csms-{next(self._numbers)}"
        return await self.exchange(station_id, message_id, json.dumps([2, message_id, action, payload]))

    async def exchange(self, station_id: str, message_id: str, text: str) -> Any:
        visit = self.visit(station_id)
        visit.open_calls[message_id] = answered = asyncio.get_running_loop().create_future()
        await visit.connection.send(text)
        async with asyncio.timeout(10):
            return await answered

    async def ask(self, station_id: str, action: str, payload: Payload) -> Payload:
        """:returns: the payload of the CALLRESULT."""
        frame = await self.call(station_id, action, payload)
        assert frame[0] == 3, frame
        result: Payload = frame[2]
        return result

    def received(self, station_id: str, action: str) -> list[Payload]:
        """Payloads of the CALLs that a station sent."""
        return [f[3] for who, f in self.frames if who == station_id and f[0] == 2 and f[2] == action]

    async def until_received(self, station_id: str, action: str, count: int) -> None:
        """Return once a station has sent a CALL so many times."""
        await self.until(lambda: len(self.received(station_id, action)) >= count)

    async def next_csr(self, station_id: str, number: int = 1) -> str:
        await self.until_received(station_id, "SignCertificate", number)
        csr: str = self.received(station_id, "SignCertificate")[number - 1]["csr"]
        return csr

    async def deliver(self, station_id: str, chain: str) -> Payload:
        return await self.ask(station_id, "CertificateSigned", {"certificateChain": chain})

    def _select_subprotocol(self, _: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        for known in (Subprotocol("ocpp2.0.1"), Subprotocol("ocpp1.6")):
            if known in offered:
                return known
        if self.takes_any_subprotocol:
            return None
        raise NegotiationError("no common subprotocol")

    def _decider(self) -> Callable[[ServerConnection, Request], Response | None]:
        def decide(connection: ServerConnection, request: Request) -> Response | None:
            station_id = request.path.rsplit("/", 1)[-1]
            shown = _fingerprint(connection)
            if shown:
                allowed = shown not in self.refused_fingerprints
            else:
                expected = f"{station_id}:{self.passwords.get(station_id)}"
                header = "Basic " + base64.b64encode(expected.encode()).decode()
                allowed = request.headers.get("Authorization") == header
            return None if allowed else connection.respond(http.HTTPStatus.UNAUTHORIZED, "refused\n")

        return decide

    def _handler(self, listener: str) -> Callable[[ServerConnection], Any]:
        async def handle(connection: ServerConnection) -> None:
            assert connection.request
            station_id = connection.request.path.rsplit("/", 1)[-1]
            visit = Visit(station_id, listener, _fingerprint(connection), connection)
            self.visits.append(visit)
            self._changed.set()
            try:
                async for text in connection:
                    await self._take(visit, text)
            except ConnectionClosed:
                return

        return handle

    async def _take(self, visit: Visit, text: str | bytes) -> None:
        try:
            frame = json.loads(text)
        except ValueError:
            self.frames.append((visit.station_id, [0, text]))
            self._changed.set()
            return
        self.frames.append((visit.station_id, frame))
        if frame[0] == 2 and frame[2] not in self.silent_actions:
            answer = self.answers.get(frame[2], {})
            await visit.connection.send(json.dumps([3, frame[1], answer]))
        elif frame[0] in {3, 4} and (future := visit.open_calls.pop(frame[1], None)):
            future.set_result(frame)
        self._changed.set()


def _fingerprint(connection: ServerConnection) -> str:
    tls = connection.transport.get_extra_info("ssl_object")
    der = tls.getpeercert(True)
    return hashlib.sha256(der).hexdigest() if der else ""
