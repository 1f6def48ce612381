"""The upstream's end of a relay: a WebSocket that we opened, on the same machinery as those that stations open."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import ClassVar, Final

from websockets.client import ClientProtocol
from websockets.frames import CloseCode
from websockets.http11 import Response
from websockets.protocol import Event
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from bfcerts.ocpp.gateway.websocket import Socket

logger = logging.getLogger(__name__)
logger.setLevel(logging.WARNING)

NO_SUBPROTOCOL: Final = "it chose no OCPP version"


class UpstreamSocket(Socket):
    """A connection to an upstream after its TLS handshake.

    `on_open` is called when the upgrade is done, with the subprotocol that was asked for; `on_end` once in every case.
    No extension is offered: compression would cost every connection a window of its own.
    """

    peer: ClassVar[str] = "the upstream"

    def __init__(
        self,
        uri: WebSocketURI,
        subprotocol: str,
        max_message_bytes: int,
        headers: Mapping[str, str],
        on_made: Callable[["UpstreamSocket"], None],
        on_open: Callable[["UpstreamSocket"], None],
    ) -> None:
        self._client = ClientProtocol(
            uri, subprotocols=[Subprotocol(subprotocol)], max_size=max_message_bytes, logger=logger
        )
        super().__init__(self._client)
        self.gone: asyncio.Future[None] = self.loop.create_future()
        self.settled: asyncio.Future[None] = self.loop.create_future()
        """Done when the upgrade is, or never will be."""
        self._headers = headers
        self._on_made = on_made
        self._on_open = on_open
        self._refusal = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._on_made(self)
        request = self._client.connect()
        for name, value in self._headers.items():
            request.headers[name] = value
        self._client.send_request(request)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._settle()
        if not self.gone.done():
            self.gone.set_result(None)

    def _on_handshake(self, event: Event) -> None:
        if not isinstance(event, Response):
            return
        if self._client.handshake_exc is not None:
            self._refusal = f"it refused the upgrade: {self._client.handshake_exc}"
        elif self._client.subprotocol is None:
            self._refusal = NO_SUBPROTOCOL
            self.fail(CloseCode.PROTOCOL_ERROR, NO_SUBPROTOCOL)
        else:
            self._stop_timer()
            self._settle()
            self._headers = {}
            self._on_open(self)

    def _settle(self) -> None:
        if not self.settled.done():
            self.settled.set_result(None)

    def _how_it_ended(self) -> tuple[str, int]:
        if self._refusal:
            return self._refusal, CloseCode.ABNORMAL_CLOSURE
        if self._client.handshake_exc is not None:
            return f"it did not complete the upgrade: {self._client.handshake_exc}", CloseCode.ABNORMAL_CLOSURE
        return super()._how_it_ended()
