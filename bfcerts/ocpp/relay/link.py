"""One charger's connection to its upstream: dialled, watched, and dialled again whenever it ends."""

import asyncio
import logging
from datetime import datetime
from enum import Enum, auto
from functools import partial
from typing import Final, Protocol

from websockets.frames import CloseCode

from bfcerts.ocpp.gateway.websocket import Hold
from bfcerts.ocpp.inbox import storable
from bfcerts.ocpp.registry import Upstream, UpstreamState
from bfcerts.ocpp.relay.client import UpstreamSocket
from bfcerts.ocpp.relay.relays import UndialledError
from bfcerts.ocpp.relay.reports import Happening
from bfcerts.ocpp.relay.sides import Sides
from bfcerts.ocpp.relay.standing import Standing

STEADY_SECONDS: Final = 30.0
"""A connection that lasted so long was a good one: the next is tried soon after it."""
LONGEST_REASON: Final = 100
LONGEST_DETAIL: Final = 300

logger = logging.getLogger(__name__)


class LinkState(Enum):
    """Where the upstream is."""

    NOWHERE = auto()
    DIALLING = auto()
    OPEN = auto()
    AWAY = auto()
    ENDED = auto()


class LinkOwner(Protocol):
    """Who is told of a link."""

    def opened(self) -> None:
        """The upstream is there."""

    def received(self, raw: bytes) -> None:
        """The upstream said something."""

    def lost(self, reason: str) -> None:
        """The upstream is away. It is dialled again unless the owner ends the link now."""


class Link:
    """The way to one upstream at a time."""

    __slots__ = (
        "_away_since",
        "_away_told",
        "_dialling",
        "_dials",
        "_failures",
        "_full_since",
        "_opened_at",
        "_owner",
        "_redial",
        "_sides",
        "socket",
        "state",
    )

    def __init__(self, sides: Sides, owner: LinkOwner) -> None:
        self.state = LinkState.NOWHERE
        self.socket: UpstreamSocket | None = None
        self._sides = sides
        self._owner = owner
        self._dialling: asyncio.Task[None] | None = None
        self._redial: asyncio.TimerHandle | None = None
        self._failures = 0
        self._opened_at = 0.0
        self._full_since: float | None = None
        self._away_since: datetime | None = None
        self._away_told = ""
        self._dials = 0

    # What the relay calls

    def dial(self) -> None:
        """Connect to the upstream that applies; whatever was connected before has been let go."""
        self._failures = 0
        self._tell(UpstreamState.CONNECTING)
        self._dial()

    def send(self, frame: bytes) -> None:
        """Say something, if anybody is there to hear it."""
        if self.socket is not None:
            self.socket.send(frame)

    def let_go(self, reason: str, state: LinkState = LinkState.NOWHERE) -> None:
        """Say goodbye, and dial no more. A dial that is under way is given up."""
        self.state = state
        self._dials += 1
        for waiting in (self._redial, self._dialling):
            if waiting is not None:
                waiting.cancel()
        self._redial = self._dialling = None
        socket, self.socket = self.socket, None
        if socket is not None:
            socket.on_message = socket.on_end = socket.on_flow = None
            socket.release(Hold.PEER_UNWRITTEN | Hold.PEER_UNANSWERED)
            socket.close(CloseCode.NORMAL_CLOSURE, reason.encode()[:LONGEST_REASON].decode(errors="ignore"))
        self._sides.hold_station(Hold.PEER_UNWRITTEN, full=False)

    def hold(self, why: Hold, *, full: bool) -> None:
        """Stop reading from the upstream, or go on."""
        if self.socket is not None:
            (self.socket.hold if full else self.socket.release)(why)

    def fail(self, reason: str) -> None:
        """End a connection on which nothing sensible is said; it is dialled again like any other that ended."""
        if self.socket is not None:
            self.socket.fail(CloseCode.PROTOCOL_ERROR, reason)

    def check_life(self, now: float) -> None:
        """Drop a connection that takes nothing or shows no sign of life; called about once a second."""
        socket = self.socket
        if socket is None:
            return
        configuration = self._sides.relays.configuration
        interval = configuration.gateway_ping_interval_seconds
        if self._full_since is not None and now - self._full_since > configuration.upstream_answer_timeout_seconds:
            socket.abort("it does not take what is sent to it")
        elif socket.pinged_at is not None:
            if now - socket.pinged_at > interval:
                socket.abort("no sign of life")
        elif now - socket.last_heard > interval:
            socket.ping()

    def tell_gone(self) -> None:
        """No upstream applies any more: say so on the session's row."""
        connection = self._sides.connection
        now = connection.services.clock()
        self._sides.relays.standings.tell(Standing(connection.session_id, "", UpstreamState.NONE, now))

    def tell_open(self) -> None:
        """The connection stays, under the name that its upstream has now."""
        self._tell(UpstreamState.CONNECTED)

    # Inside

    def _dial(self) -> None:
        self._redial = None
        upstream = self._sides.upstream
        if self.state is not LinkState.ENDED and upstream is not None:
            self.state = LinkState.DIALLING
            self._dials += 1
            self._dialling = self._sides.connection.services.loop.create_task(self._connect(upstream))

    async def _connect(self, upstream: Upstream) -> None:
        connection, number = self._sides.connection, self._dials
        reason = ""
        try:
            await self._sides.relays.dial(
                upstream,
                connection.station_id,
                connection.adapter.subprotocol,
                partial(self._opened, number),
                partial(self._ended, number),
            )
        except UndialledError as error:
            reason = str(error)
        except Exception:  # a task that dies unheard would leave the charger waiting for an upstream for ever
            logger.exception("the relay of %s could not dial %s", connection.station_id, upstream.name)
            reason = "it could not be dialled"
        if self._dialling is asyncio.current_task():
            self._dialling = None
        if reason:
            self._lost(reason)

    def _opened(self, number: int, socket: UpstreamSocket) -> None:
        if number != self._dials:  # it was given up in the very moment in which it succeeded
            socket.transport.abort()
            return
        self.socket = socket
        self.state = LinkState.OPEN
        self._opened_at = self._sides.now()
        self._full_since = None
        socket.on_message = self._owner.received
        socket.on_flow = self._full
        self._tell(UpstreamState.CONNECTED)
        self._owner.opened()

    def _ended(self, number: int, reason: str, code: int) -> None:
        if number != self._dials:
            return
        if code == CloseCode.MESSAGE_TOO_BIG:
            self._sides.note(Happening.MISBEHAVED, "it sent a message larger than the gateway takes")
        self._lost(reason)

    def _lost(self, reason: str) -> None:
        if self.state not in (LinkState.DIALLING, LinkState.OPEN):
            return
        steady = self.state is LinkState.OPEN and self._sides.now() - self._opened_at > STEADY_SECONDS
        self._failures = 0 if steady else self._failures + 1
        self.state = LinkState.AWAY
        socket, self.socket = self.socket, None
        if socket is not None:
            socket.on_message = socket.on_flow = None
        self._tell(UpstreamState.AWAY, reason)
        self._sides.hold_station(Hold.PEER_UNWRITTEN, full=False)
        self._owner.lost(reason)
        if self.state is LinkState.AWAY:
            delay = self._sides.relays.delay(self._failures)
            self._redial = self._sides.connection.services.loop.call_later(delay, self._dial)

    def _full(self, full: bool) -> None:
        self._full_since = self._sides.now() if full else None
        self._sides.hold_station(Hold.PEER_UNWRITTEN, full=full)

    def _tell(self, state: UpstreamState, detail: str = "") -> None:
        """Say on the session's row how it stands; that it is still away for the same reason is no news."""
        connection, upstream = self._sides.connection, self._sides.upstream
        if upstream is None or (state is UpstreamState.AWAY and detail == self._away_told):
            return
        since = connection.services.clock()
        if state is UpstreamState.AWAY:
            since = self._away_since = self._away_since or since
        else:
            self._away_since = None
        self._away_told = detail
        told = Standing(connection.session_id, upstream.name, state, since, storable(detail)[:LONGEST_DETAIL])
        self._sides.relays.standings.tell(told)
