"""A gateway node on a thread of its own, and stations that connect to it over real TLS."""

import asyncio
import base64
import json
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from bfcerts.configuration import Configuration
from bfcerts.ocpp import registry
from bfcerts.ocpp.gateway.server import Gateway
from bfcerts.ocpp.gateway.tls import ListenerName
from bfcerts.ocpp.models import InboxMessage
from tests.ocpp.authority import Authority, Leaf, client_context
from tests.ocpp.lent import CertificateBook, PasswordBook, ServerCertificateDesk

DEADLINE_SECONDS = 20.0
Payload = dict[str, Any]


def eventually(condition: Callable[[], Any], what: str = "the condition") -> Any:
    """Wait until the condition holds, and return what it returned."""
    end = time.monotonic() + DEADLINE_SECONDS
    pause = threading.Event()
    while not (result := condition()):
        assert time.monotonic() < end, f"{what} did not come true within {DEADLINE_SECONDS} seconds"
        pause.wait(0.01)
    return result


class Node:
    """One running gateway node."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name="gateway under test")
        self.gateway: Gateway
        self.loop: asyncio.AbstractEventLoop

    def start(self, *, wait_for_listeners: bool = True) -> None:
        self._thread.start()
        assert self._started.wait(DEADLINE_SECONDS)
        if wait_for_listeners:
            eventually(lambda: self._failure or self.gateway.listeners.opened.is_set(), "open listeners")
            self._raise_failure()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.gateway.stop)
        self.join()

    def join(self) -> None:
        self._thread.join(DEADLINE_SECONDS)
        assert not self._thread.is_alive(), "the gateway did not stop"
        self._raise_failure()

    def port(self, listener: ListenerName) -> int:
        return self.gateway.listeners.ports[listener]

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _main(self) -> None:
        try:
            uvloop.run(self._run())
        except BaseException as error:  # noqa: BLE001  # the test's thread raises it
            self._failure = error
        finally:
            self._started.set()

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.gateway = Gateway(self._configuration)
        self._started.set()
        await self.gateway.run()


class Station:
    """A charging station's end of a connection, as little as it takes to see what the gateway does."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def send(self, *frame: Any) -> None:
        self.connection.send(json.dumps(frame))

    def send_raw(self, text: str) -> None:
        self.connection.send(text)

    def receive(self) -> list[Any]:
        frame = json.loads(self.connection.recv(timeout=DEADLINE_SECONDS))
        assert isinstance(frame, list)
        return frame

    def call(self, action: str, payload: Payload | None = None, message_id: str | None = None) -> list[Any]:
        """Ask, and return the answer's frame."""
        message_id = message_id or str(uuid.uuid4())
        self.send(2, message_id, action, payload or {})
        answer = self.receive()
        assert answer[1] == message_id
        return answer

    def expect(self, action: str) -> tuple[str, Payload]:
        """The next request of the gateway."""
        frame = self.receive()
        assert frame[0] == 2, frame
        assert frame[2] == action
        return frame[1], frame[3]

    def answer(self, message_id: str, payload: Payload) -> None:
        self.send(3, message_id, payload)

    def closed_with(self) -> tuple[int, str]:
        """Wait for the end of the connection."""
        end = time.monotonic() + DEADLINE_SECONDS
        while self.connection.close_code is None:
            assert time.monotonic() < end, "the connection stayed open"
            try:
                self.connection.recv(timeout=1)
            except TimeoutError:
                continue
            except Exception:  # noqa: BLE001, S112  # whatever way it ended, the close code says how
                continue
        return self.connection.close_code, self.connection.close_reason or ""

    def close(self) -> None:
        self.connection.close()


@dataclass
class Site:
    """Everything around a gateway node of a test."""

    servers: Authority
    stations: Authority
    certificates: CertificateBook
    passwords: PasswordBook
    desk: ServerCertificateDesk
    configuration: Configuration
    folder: Path
    connections: ExitStack = field(default_factory=ExitStack)

    def node(self, **changes: Any) -> Node:
        return Node(self.configuration.model_copy(update=changes))

    def issue(self, station_id: str, **options: Any) -> Leaf:
        """A certificate of this site's trust domain that the door knows as the station's."""
        leaf = self.stations.issue(station_id, **options)
        self.certificates.stations[leaf.fingerprint] = station_id
        return leaf

    def context(self, leaf: Leaf | None = None) -> Any:
        return client_context(self.servers.root_pem, leaf, self.folder)

    def connect(
        self,
        node: Node,
        listener: ListenerName,
        station_id: str,
        *,
        leaf: Leaf | None = None,
        password: bytes | None = None,
        user: str | None = None,
        subprotocols: tuple[str, ...] = ("ocpp2.0.1",),
        path: str | None = None,
        context: Any = None,
    ) -> Station:
        """Connect as a station does.

        :raises websockets.exceptions.InvalidStatus: when the gateway refuses.
        """
        headers = {}
        if password is not None:
            token = base64.b64encode((user or station_id).encode() + b":" + password).decode()
            headers["Authorization"] = f"Basic {token}"
        dialling = connect(
            f"wss://localhost:{node.port(listener)}{path or f'/ocpp/{station_id}'}",
            ssl=context or self.context(leaf),
            subprotocols=[Subprotocol(one) for one in subprotocols] or None,
            additional_headers=headers,
            compression=None,
            proxy=None,
            open_timeout=DEADLINE_SECONDS,
            close_timeout=2,
        )
        return Station(self.connections.enter_context(dialling))


@contextmanager
def frozen_station(site: Site, node: Node, station_id: str, password: bytes) -> Iterator[ssl.SSLSocket]:
    """A station that connects and then does only what it is told: left alone, it answers no ping."""
    token = base64.b64encode(station_id.encode() + b":" + password).decode()
    request = (
        f"GET /{station_id} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: ocpp2.0.1\r\nAuthorization: Basic {token}\r\n\r\n"
    )
    address = ("127.0.0.1", node.port(ListenerName.PROFILE2))
    with socket.socket() as plain:
        plain.settimeout(DEADLINE_SECONDS)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect(address)
        tls = site.context().wrap_socket(plain, server_hostname="localhost")
        tls.sendall(request.encode())
        assert tls.recv(4096).startswith(b"HTTP/1.1 101 ")
        with tls:
            yield tls


def client_frame(opcode: int, payload: bytes) -> bytes:
    """A whole WebSocket frame of a client, masked with zeros."""
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


@contextmanager
def lend(site: Site) -> Iterator[None]:
    """Lend the site's books to the wire, and give back afterwards what was lent before."""
    before = (registry.certificate_door(), registry.password_door(), registry.listeners())
    registry.register_doors(certificate=site.certificates, password=site.passwords)
    registry.register_listeners(site.desk)
    try:
        yield
    finally:
        registry.register_doors(certificate=before[0], password=before[1])
        registry.register_listeners(before[2])


def stored(kind: str, station_id: str | None = None) -> list[InboxMessage]:
    """The evidence of a kind in the inbox, oldest first."""
    rows = InboxMessage.objects.filter(kind=kind).order_by("id")
    return list(rows if station_id is None else rows.filter(station_id=station_id))
