"""WebSocket connections on the event loop: the sans-I/O protocol of `websockets` between a TLS transport and us.

Memory is bounded for each connection: reading stops while answers cannot be written, while requests wait for the
database, and while input is worked off, which happens in slices, so that no station can keep the loop to itself.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from enum import Flag, auto
from http import HTTPStatus
from typing import ClassVar, Final, cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Event, Protocol, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

OPEN_TIMEOUT_SECONDS: Final = 15.0
CLOSE_TIMEOUT_SECONDS: Final = 5.0
WRITE_BUFFER_BYTES: Final = 32_768
SLICE_BYTES: Final = 4_096

logger = logging.getLogger(__name__)
logger.setLevel(logging.WARNING)


class Hold(Flag):
    """Why reading is stopped."""

    NOTHING = 0
    UNWRITTEN = auto()
    UNHANDLED = auto()
    UNPARSED = auto()
    PEER_UNWRITTEN = auto()
    """What this one says goes to another connection, which does not take it."""
    PEER_UNANSWERED = auto()
    """The other connection has enough of ours to answer."""


_NOT_NOW: Final = Hold.UNWRITTEN | Hold.UNHANDLED | Hold.PEER_UNWRITTEN | Hold.PEER_UNANSWERED


class Socket(asyncio.Protocol, ABC):
    """Either end of a connection.

    `on_message` is called with each message; `on_end` exactly once, when the connection is over for us, with reason and
    close code; `on_flow` with true when the peer does not keep up with what is sent, with false when it does again.
    """

    peer: ClassVar[str]
    """What the other end is called in reasons."""

    def __init__(self, protocol: Protocol) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport
        self.last_heard = self.loop.time()
        self.pinged_at: float | None = None
        self.on_message: Callable[[bytes], None] | None = None
        self.on_end: Callable[[str, int], None] | None = None
        self.on_flow: Callable[[bool], None] | None = None
        self._protocol = protocol
        self._timer: asyncio.TimerHandle | None = None
        self._holds = Hold.NOTHING
        self._unparsed = b""
        self._fragments: bytearray | None = None

    @property
    def subprotocol(self) -> str | None:
        return self._protocol.subprotocol

    @property
    def is_open(self) -> bool:
        return self._protocol.state is State.OPEN

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(WRITE_BUFFER_BYTES)
        self._timer = self.loop.call_later(OPEN_TIMEOUT_SECONDS, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        self.last_heard = self.loop.time()
        self.pinged_at = None
        if self._holds or len(data) > SLICE_BYTES:
            self._unparsed += data
            self._work_off()
        else:
            self._feed(data)

    def eof_received(self) -> None:
        self._read_the_rest()
        self._protocol.receive_eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._read_the_rest()
        self._protocol.receive_eof()
        self._stop_timer()
        self._end(*self._how_it_ended())

    def pause_writing(self) -> None:
        self.hold(Hold.UNWRITTEN)
        if self.on_flow is not None:
            self.on_flow(True)

    def resume_writing(self) -> None:
        self.release(Hold.UNWRITTEN)
        if self.on_flow is not None:
            self.on_flow(False)

    # What the gateway calls

    def send(self, message: bytes) -> bool:
        """Send a text message; false when the connection is not open any more."""
        if self._protocol.state is not State.OPEN:
            return False
        self._protocol.send_text(message)
        self._flush()
        return True

    def ping(self) -> None:
        """Ask for a sign of life; a peer that takes nothing is asked nothing, and has the same time to recover."""
        self.pinged_at = self.loop.time()
        if self._protocol.state is State.OPEN and Hold.UNWRITTEN not in self._holds:
            self._protocol.send_ping(b"")
            self._flush()

    def close(self, code: CloseCode, reason: str) -> None:
        """Say goodbye, and wait a little for the station to do the same."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._flush()
            self._timer = self.loop.call_later(CLOSE_TIMEOUT_SECONDS, self.transport.abort)

    def fail(self, code: CloseCode, reason: str) -> None:
        """End the connection now: nothing that the station sent after this moment is heard. Not before the upgrade."""
        if self._protocol.state is State.CONNECTING:
            return
        if self._protocol.state is State.OPEN:
            self._protocol.fail(code, reason)
            self._flush()
            self._timer = self.loop.call_later(CLOSE_TIMEOUT_SECONDS, self.transport.abort)
        else:
            self.transport.abort()
        self._unparsed = b""
        self._end(reason, code)

    def abort(self, reason: str) -> None:
        """Drop the connection without a word, for a peer that does not listen."""
        self.transport.abort()
        self._end(reason, CloseCode.ABNORMAL_CLOSURE)

    def hold(self, why: Hold) -> None:
        """Stop reading until released."""
        if not self._holds and not self.transport.is_closing():
            self.transport.pause_reading()
        self._holds |= why

    def release(self, why: Hold) -> None:
        if not self._holds & why:
            return
        self._holds &= ~why
        if self._holds == Hold.UNPARSED:
            self._work_off()
        elif not self._holds and not self.transport.is_closing():
            self.transport.resume_reading()

    # Inside

    def _feed(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        events = self._protocol.events_received()
        self._flush()
        for event in events:
            if isinstance(event, Frame):
                self._on_frame(event)
            else:
                self._on_handshake(event)
        if self._protocol.close_expected() and self._timer is None:
            self._timer = self.loop.call_later(CLOSE_TIMEOUT_SECONDS, self.transport.abort)

    @abstractmethod
    def _on_handshake(self, event: Event) -> None:
        """The peer's part of the opening handshake has come."""

    def _on_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            if not frame.fin:
                self._fragments = bytearray(frame.data)
                return
            message = bytes(frame.data)
        elif frame.opcode is Opcode.CONT and self._fragments is not None:
            self._fragments += frame.data
            if not frame.fin:
                return
            message = bytes(self._fragments)
            self._fragments = None
        else:
            return
        # Also when a close frame came right behind it: what was said before the end counts.
        if self.on_message is not None:
            self.on_message(message)

    def _work_off(self) -> None:
        """Parse one slice of what is waiting, and come back for the next when the others had their turn."""
        if self._holds & _NOT_NOW or self.transport.is_closing():
            if self._unparsed:
                self.hold(Hold.UNPARSED)
            return
        data, self._unparsed = self._unparsed[:SLICE_BYTES], self._unparsed[SLICE_BYTES:]
        if data:
            self._feed(data)
        if self._unparsed:
            self.hold(Hold.UNPARSED)
            self.loop.call_soon(self._work_off)
        else:
            self.release(Hold.UNPARSED)

    def _read_the_rest(self) -> None:
        """What came before the end counts, also where its turn had not come yet."""
        rest, self._unparsed = self._unparsed, b""
        if rest:
            self._feed(rest)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self.transport.write(data)
            else:
                self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _how_it_ended(self) -> tuple[str, int]:
        ending = self._protocol.close_exc
        if ending.sent is not None and not ending.rcvd_then_sent:
            return ending.sent.reason, ending.sent.code
        if ending.rcvd is not None:
            return ending.rcvd.reason or f"closed by {self.peer}", ending.rcvd.code
        return "the connection was lost", CloseCode.ABNORMAL_CLOSURE

    def _end(self, reason: str, code: int) -> None:
        on_end, self.on_end, self.on_message = self.on_end, None, None
        if on_end is not None:
            on_end(reason, code)


class WebSocket(Socket):
    """A station's connection after its TLS handshake.

    `on_request` is called with the opening request and decides by `accept` or `reject`; only a connection that was
    accepted calls `on_end`.
    """

    peer = "the station"

    def __init__(
        self,
        subprotocols: list[str],
        max_message_bytes: int,
        on_request: Callable[["WebSocket", Request], None],
    ) -> None:
        self._server = ServerProtocol(
            subprotocols=[Subprotocol(name) for name in subprotocols],
            select_subprotocol=_select_subprotocol,
            max_size=max_message_bytes,
            logger=logger,
        )
        super().__init__(self._server)
        self._on_request = on_request
        self._response: Response

    def examine(self, request: Request) -> bool:
        """Check the opening handshake and choose the subprotocol; an incorrect one is refused and false returned."""
        self._response = self._server.accept(request)
        if self._response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            return True
        self._server.send_response(self._response)
        self._flush()
        return False

    def accept(self) -> bool:
        """Complete the handshake that was examined; false when the peer has gone."""
        if self._protocol.state is not State.CONNECTING or self.transport.is_closing():
            return False
        self._server.send_response(self._response)
        self._flush()
        self._stop_timer()
        return True

    def reject(self, status: HTTPStatus, headers: dict[str, str] | None = None) -> None:
        """Refuse the opening request, with no detail."""
        if self._protocol.state is not State.CONNECTING or self.transport.is_closing():
            return
        response = self._server.reject(status, f"{status.phrase}\n")
        for name, value in (headers or {}).items():
            response.headers[name] = value
        self._server.send_response(response)
        self._flush()

    def _on_handshake(self, event: Event) -> None:
        if isinstance(event, Request):
            self._on_request(self, event)


def _select_subprotocol(protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """None where nothing fits: OCPP 2.0.1 part 4 §3.1.2 completes such a handshake, and closes at once."""
    known = protocol.available_subprotocols or []
    return next((name for name in known if name in offered), None)
