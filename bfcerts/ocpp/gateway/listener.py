"""One listening port: accepting connections, the TLS handshake, and what becomes of handshakes that fail."""

import asyncio
import errno
import logging
import socket
import ssl
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from bfcerts.ocpp.canonical import RefusalReason
from bfcerts.ocpp.gateway.addresses import plain_address
from bfcerts.ocpp.gateway.limits import address_group
from bfcerts.ocpp.gateway.tls import UNDER_WAY, Handshake, ListenerName

BACKLOG: Final = 2_048
ACCEPTED_AT_ONCE: Final = 64
MOST_HANDSHAKES: Final = 3_000
# Of one address so many at once; the others of that address queue up behind them, and not behind anybody else's.
MOST_OF_ONE_ADDRESS: Final = 200
MOST_QUEUED_OF_ONE_ADDRESS: Final = 2_000
HANDSHAKE_TIMEOUT_SECONDS: Final = 10.0
SHUTDOWN_TIMEOUT_SECONDS: Final = 3.0
ALERT_SECONDS: Final = 0.5
"""How long a peer is left to take the alert of a handshake that failed."""
PAUSE_SECONDS: Final = 0.5

_OUT_OF_RESOURCES: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

logger = logging.getLogger(__name__)


class Listener:
    """A port of one kind.

    The context is taken anew for every connection, so that certificates and trust change without a restart, and the
    verify mode with them.
    """

    def __init__(
        self,
        name: ListenerName,
        make_protocol: Callable[[ListenerName], asyncio.Protocol],
        handshake_failed: Callable[[ListenerName, str, RefusalReason, str], None],
    ) -> None:
        self.name = name
        self.context: ssl.SSLContext | None = None
        self.probe_context: ssl.SSLContext | None = None
        self.probes: set[tuple[str, int]] = set()
        self._make_protocol = make_protocol
        self._handshake_failed = handshake_failed
        self._socket: socket.socket | None = None
        self._handshakes: set[asyncio.Task[None]] = set()
        self._by_address: Counter[str] = Counter()
        self._queues: dict[str, deque[tuple[socket.socket, str, ssl.SSLContext]]] = {}

    @property
    def port(self) -> int:
        """The port that is listened on; 0 while it is not."""
        return int(self._socket.getsockname()[1]) if self._socket else 0

    @property
    def own_address(self) -> str:
        """An address under which this machine reaches the port; empty while it is not listened on."""
        host = str(self._socket.getsockname()[0]) if self._socket else ""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, not bound

    def open(self, bind: str, port: int) -> None:
        """Begin to accept.

        :raises OSError: when the port is taken or the address is not ours.
        """
        family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        both = bind == "::" and socket.has_dualstack_ipv6()
        self._socket = socket.create_server((bind, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def close(self) -> None:
        """Accept no more; what is connected stays."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        for queue in self._queues.values():
            for connection, _, _ in queue:
                connection.close()
        self._queues.clear()
        for task in self._handshakes:
            task.cancel()

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            if self._socket is None:
                return
            try:
                connection, peer = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(error)
                return
            self._begin(connection, peer)

    def _pause(self, error: OSError) -> None:
        """Without file descriptors accepting would fail again at once, for ever."""
        if error.errno not in _OUT_OF_RESOURCES or self._socket is None:
            logger.warning("listener %s could not accept a connection: %s", self.name, error)
            return
        logger.error("listener %s cannot accept connections: %s; raise the limit of open files", self.name, error)
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        loop.call_later(PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().add_reader(self._socket, self._accept)

    def _begin(self, connection: socket.socket, peer: tuple[str, int]) -> None:
        address = plain_address(peer)
        group = address_group(address)
        context = self.probe_context if (peer[0], peer[1]) in self.probes else self.context
        queue = self._queues.get(group, ())
        if context is None or len(self._handshakes) >= MOST_HANDSHAKES or len(queue) >= MOST_QUEUED_OF_ONE_ADDRESS:
            connection.close()
        elif self._by_address[group] >= MOST_OF_ONE_ADDRESS:
            self._queues.setdefault(group, deque()).append((connection, address, context))
        else:
            self._start(connection, address, context, group)

    def _start(self, connection: socket.socket, address: str, context: ssl.SSLContext, group: str) -> None:
        self._by_address[group] += 1
        task = asyncio.get_running_loop().create_task(self._handshake(connection, address, context))
        self._handshakes.add(task)
        task.add_done_callback(lambda done: self._ended(done, connection, group))

    def _ended(self, task: asyncio.Task[None], connection: socket.socket, group: str) -> None:
        self._handshakes.discard(task)
        if task.cancelled():
            connection.close()
        self._by_address[group] -= 1
        queue = self._queues.get(group)
        if queue:
            self._start(*queue.popleft(), group)
        else:
            self._queues.pop(group, None)
        if self._by_address[group] <= 0:
            del self._by_address[group]

    async def _handshake(self, connection: socket.socket, address: str, context: ssl.SSLContext) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop = asyncio.get_running_loop()
        limit = asyncio.timeout(None)
        handshake = Handshake(lambda: limit.reschedule(loop.time() + ALERT_SECONDS))
        UNDER_WAY.set(handshake)
        try:
            async with limit:
                await loop.connect_accepted_socket(
                    lambda: self._make_protocol(self.name),
                    connection,
                    ssl=context,
                    ssl_handshake_timeout=HANDSHAKE_TIMEOUT_SECONDS,
                    ssl_shutdown_timeout=SHUTDOWN_TIMEOUT_SECONDS,
                )
        except OSError as error:
            if handshake.failure is None:
                logger.debug("handshake with %s broke off: %s", address, error)
                return
            reason, detail = explain(handshake.failure)
            self._handshake_failed(self.name, address, reason, detail)


def explain(error: ssl.SSLError) -> tuple[RefusalReason, str]:
    """What a failed handshake says about the station, as far as OpenSSL tells."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            RefusalReason.FOREIGN_TRUST_DOMAIN,
            f"the client certificate does not chain to the charger trust domain: {error.verify_message}",
        )
    if error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return RefusalReason.NO_CLIENT_CERTIFICATE, "the client presented no certificate"
    detail = (error.reason or "unknown reason").lower().replace("_", " ")
    return RefusalReason.TLS_HANDSHAKE_FAILED, f"the TLS handshake failed: {detail}"
