"""The operator's own CSMS on loopback, behind a relay: real TLS, real WebSocket, held in the hand of a test."""

import json
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request
from websockets.sync.server import Server, ServerConnection, serve
from websockets.typing import Subprotocol

Payload = dict[str, Any]
TIME = "2026-01-01T00:00:00Z"

ANSWERS: dict[str, Payload] = {
    "BootNotification": {"currentTime": TIME, "interval": 60, "status": "Accepted"},
    "Heartbeat": {"currentTime": TIME},
    "StatusNotification": {},
    "DataTransfer": {"status": "Accepted"},
}


@dataclass
class Visit:
    """One charger's connection to the CSMS."""

    connection: ServerConnection
    path: str
    authorization: str
    client_certificate: dict[str, Any] | None
    frames: list[list[Any]] = field(default_factory=list)
    """What came, parsed, in order."""
    closed: threading.Event = field(default_factory=threading.Event)

    @property
    def subprotocol(self) -> str | None:
        return self.connection.subprotocol

    def call(self, message_id: str, action: str, payload: Payload | None = None) -> None:
        self.send_raw(json.dumps([2, message_id, action, payload or {}]))

    def send_raw(self, text: str) -> None:
        self.connection.send(text)

    def calls(self, action: str | None = None) -> list[list[Any]]:
        """The requests that came."""
        return [frame for frame in list(self.frames) if frame[0] == 2 and action in (None, frame[2])]

    def answer_to(self, message_id: str) -> list[Any] | None:
        """The answer to one of ours, once it is here."""
        return next((frame for frame in list(self.frames) if frame[0] != 2 and frame[1] == message_id), None)

    def close(self, code: int = 1000) -> None:
        self.connection.close(code)


class UpstreamCsms:
    """A CSMS that answers from a table, and keeps what it heard; `answers` without an action leaves it unanswered.

    Hold `reading` cleared and it takes nothing more from its connections, so that TCP pushes back.
    """

    def __init__(self, context: ssl.SSLContext | None, port: int = 0, subprotocols: tuple[str, ...] = ()) -> None:
        self.answers: dict[str, Payload | Callable[[Payload], Payload]] = dict(ANSWERS)
        self.visits: list[Visit] = []
        self.reading = threading.Event()
        self.reading.set()
        self._context = context
        self._port = port
        self._subprotocols = [Subprotocol(name) for name in subprotocols or ("ocpp2.0.1", "ocpp1.6")]
        self._server: Server
        self._thread: threading.Thread

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        return f"{'wss' if self._context else 'ws'}://localhost:{self._port}/csms"

    @property
    def origin(self) -> str:
        return self.url.removesuffix("/csms")

    @property
    def present(self) -> list[Visit]:
        """The connections that are open."""
        return [visit for visit in list(self.visits) if not visit.closed.is_set()]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.reading.set()
        self.stop()

    def start(self) -> None:
        """Listen, at the port that it had before."""
        self._server = serve(
            self._handle,
            "127.0.0.1",
            self._port,
            ssl=self._context,
            subprotocols=self._subprotocols,
            compression=None,
            max_size=None,
            max_queue=1,
            close_timeout=2,
        )
        self._port = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="upstream CSMS")
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, and drop every connection without a word."""
        self._server.shutdown()
        self._thread.join()
        for visit in self.present:
            with suppress(OSError):
                visit.connection.close_socket()
        for visit in list(self.visits):
            visit.closed.wait()

    def _handle(self, connection: ServerConnection) -> None:
        request: Request | None = connection.request
        assert request is not None
        tls = connection.socket
        visit = Visit(
            connection,
            request.path,
            request.headers.get("Authorization", ""),
            tls.getpeercert() if isinstance(tls, ssl.SSLSocket) else None,
        )
        self.visits.append(visit)
        try:
            with suppress(ConnectionClosed):
                for message in self._messages(connection):
                    self._take(visit, json.loads(message))
        finally:
            visit.closed.set()

    def _messages(self, connection: ServerConnection) -> Any:
        while True:
            self.reading.wait()
            yield connection.recv()

    def _take(self, visit: Visit, frame: list[Any]) -> None:
        visit.frames.append(frame)
        if frame[0] == 2 and frame[2] in self.answers:
            answer = self.answers[frame[2]]
            content = answer(frame[3]) if callable(answer) else answer
            visit.connection.send(json.dumps([3, frame[1], content]))
