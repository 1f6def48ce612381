"""A bare OCPP connection for load: no store, no events, no tasks of its own; thousands fit into one process.

It answers CALLs of the CSMS by a function, sends CALLs, and tells when it was closed. It reads messages in one
frame only, as OCPP systems send them.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import quote

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from tests.simulator.dialling import Credentials, RefusalKind, RefusedError
from tests.simulator.frames import Call, CallError, CallResult, Payload, call, call_error, call_result, parse

AnswerFunction = Callable[[Call], Payload | None]
"""Payload of the CALLRESULT for a CALL; None answers NotImplemented."""


class LightStation(asyncio.Protocol):
    """Use `await LightStation.open(…)`. Roughly the cost of its TLS connection."""

    __slots__ = ("_answer", "_answers", "_handshake", "_number", "_protocol", "_transport", "closed")

    def __init__(self, protocol: ClientProtocol, answer: AnswerFunction | None) -> None:
        loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._answer = answer
        self._answers: dict[str, asyncio.Future[CallResult | CallError]] = {}
        self._handshake: asyncio.Future[None] = loop.create_future()
        self._number = 0
        self._transport: asyncio.Transport | None = None
        self.closed: asyncio.Future[float] = loop.create_future()
        """Done with the loop's time at which the connection ended, by whomever."""

    @classmethod
    async def open(
        cls,
        url: str,
        station_id: str,
        *,
        context: ssl.SSLContext | None,
        credentials: Credentials | None = None,
        subprotocol: str = "ocpp2.0.1",
        answer: AnswerFunction | None = None,
    ) -> "LightStation":
        """Connect to url/station_id; see `tests.simulator.tls.client_context` for the context.

        :raises RefusedError: by HTTP status or TLS.
        :raises OSError: nobody there.
        """
        address = f"{url.rstrip('/')}/{quote(station_id, safe='')}"
        uri = parse_uri(address)
        protocol = ClientProtocol(uri, subprotocols=[cast(Subprotocol, subprotocol)], max_size=1_048_576)
        request = protocol.connect()
        if credentials:
            request.headers["Authorization"] = credentials.header()
        loop = asyncio.get_running_loop()
        try:
            _, station = await loop.create_connection(
                lambda: cls(protocol, answer),
                uri.host,
                uri.port,
                ssl=context,
                server_hostname=uri.host if context else None,
            )
        except ssl.SSLError as error:
            raise RefusedError(RefusalKind.TLS, str(error)) from None
        protocol.send_request(request)
        station._flush()
        await station._handshake
        return station

    async def call(self, action: str, payload: Payload) -> Payload:
        """One CALL and its answer. Callers keep to one at a time.

        :raises ConnectionError: the connection ended first.
        :raises RuntimeError: answered with CALLERROR.
        """
        self._number += 1
        message_id = str(self._number)
        answered: asyncio.Future[CallResult | CallError] = asyncio.get_running_loop().create_future()
        self._answers[message_id] = answered
        self._send(call(message_id, action, payload))
        answer = await answered
        if isinstance(answer, CallError):
            raise RuntimeError(f"{action}: {answer.code}: {answer.description}")
        return answer.payload

    async def close(self) -> None:
        """Close in order and wait for the end."""
        if self._protocol.state is OPEN:
            self._protocol.send_close()
            self._flush()
        await self.closed

    def abort(self) -> None:
        """Hang up without a close frame."""
        if self._transport:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                self._handshaken(event)
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._received(event.data)
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        self._protocol.receive_eof()
        if not self._handshake.done():
            self._handshake.set_exception(RefusedError(RefusalKind.TLS, str(error or "closed by the CSMS")))
        for future in self._answers.values():
            if not future.done():
                future.set_exception(ConnectionError("the connection ended before the answer came"))
        self._answers.clear()
        self._transport = None
        if not self.closed.done():
            self.closed.set_result(asyncio.get_running_loop().time())

    def _handshaken(self, response: Response) -> None:
        if self._handshake.done():
            return
        if self._protocol.handshake_exc is None:
            self._handshake.set_result(None)
        else:
            status = response.status_code
            self._handshake.set_exception(RefusedError(RefusalKind.HTTP, f"HTTP {status}", status))

    def _received(self, text: Any) -> None:
        frame = parse(bytes(text))
        if isinstance(frame, Call):
            payload = self._answer(frame) if self._answer else None
            if payload is None:
                self._send(call_error(frame.message_id, "NotImplemented", ""))
            else:
                self._send(call_result(frame.message_id, payload))
        elif (future := self._answers.pop(frame.message_id, None)) and not future.done():
            future.set_result(frame)

    def _send(self, text: str) -> None:
        if self._protocol.state is not OPEN:
            raise ConnectionError("the connection is closed")
        self._protocol.send_text(text.encode())
        self._flush()

    def _flush(self) -> None:
        transport = self._transport
        if transport is None:
            return
        for data in self._protocol.data_to_send():
            if data:
                transport.write(data)
            else:
                transport.close()


def accept_everything(asked: Call) -> Payload | None:
    """An answer function: Accepted to whatever only wants a status."""
    return {"status": "Accepted"}
