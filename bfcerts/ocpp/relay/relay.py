"""The relay of one charger: what it and its upstream say to each other, over one connection to either.

No frame touches the database. Memory is bounded on every path: a side that does not take what the other says, or owes
too many answers, stops the other's reading. When the upstream is away the charger is answered here, message by message
(docs/operating.md), or let go. When another upstream applies, the charger stays where it is, and its relay moves.
"""

import logging
from typing import TYPE_CHECKING, Final

from websockets.frames import CloseCode

from bfcerts.ocpp import frames
from bfcerts.ocpp.frames import Call, CallError, CallResult, Malformed
from bfcerts.ocpp.gateway.websocket import Hold
from bfcerts.ocpp.registry import Upstream, WhenAway
from bfcerts.ocpp.relay import policy
from bfcerts.ocpp.relay.charger_calls import MOVED, ChargerCalls
from bfcerts.ocpp.relay.link import Link, LinkState
from bfcerts.ocpp.relay.reports import Happening
from bfcerts.ocpp.relay.sides import Sides
from bfcerts.ocpp.relay.turns import Turns
from bfcerts.ocpp.relay.upstream_calls import Theirs, UpstreamCalls

if TYPE_CHECKING:
    from bfcerts.ocpp.gateway.station import StationConnection

MOST_MALFORMED_IN_A_ROW: Final = 10

logger = logging.getLogger(__name__)


def route(connection: "StationConnection", upstream: Upstream | None) -> None:
    """Have a station that is in relayed to this upstream from now on, or to none; who may only renew has none."""
    if connection.renewal_only is not None:
        return
    if connection.relay is None and upstream is not None:
        connection.relay = Relay(connection)
    if connection.relay is not None:
        connection.relay.route(upstream)


class Relay:
    """Between one station's connection and its upstream. Once there, it stays until the station goes."""

    __slots__ = ("_charger_calls", "_link", "_malformed_in_a_row", "_sides", "_upstream_calls")

    def __init__(self, connection: "StationConnection") -> None:
        self._sides = Sides(connection, connection.services.relays)
        self._link = self._sides.link = Link(self._sides, self)
        self._charger_calls = ChargerCalls(self._sides)
        self._upstream_calls = UpstreamCalls(self._sides, ours_is_open=connection.delivery.asks)
        self._malformed_in_a_row = 0

    @property
    def upstream(self) -> Upstream | None:
        return self._sides.upstream

    @property
    def boot_pending(self) -> bool:
        """Whether the station has booted and its upstream has not accepted that yet."""
        return self._charger_calls.boot_pending

    @property
    def turns(self) -> Turns[Theirs]:
        return self._upstream_calls.turns

    # What the gateway calls

    def route(self, upstream: Upstream | None) -> None:
        """Open, move or close the connection to the upstream; the station's own stays.

        What is open at the former one is answered here, for the new one never saw it.
        """
        former, link = self._sides.upstream, self._link
        if upstream == former or link.state is LinkState.ENDED:
            return
        if former is not None and upstream is not None and link.state is LinkState.OPEN and _same(former, upstream):
            self._sides.upstream = upstream
            link.tell_open()
            return
        if former is not None:
            link.let_go("this charging station is relayed elsewhere now")
            self._upstream_calls.lost()
        self._sides.upstream = upstream
        self._charger_calls.lost(MOVED)
        if upstream is None:
            self._sides.connection.websocket.on_flow = None
            self._charger_calls.without_upstream()
            link.tell_gone()
            return
        self._sides.connection.websocket.on_flow = self._station_full
        self._charger_calls.be_patient()
        link.dial()

    def end(self, reason: str) -> None:
        """The station has gone, or has to: so does its connection to the upstream."""
        if self._link.state is LinkState.ENDED:
            return
        self._link.let_go(reason, LinkState.ENDED)
        self._sides.connection.websocket.on_flow = None
        self._upstream_calls.end()
        self._charger_calls.end()

    def stays_here(self, call: Call) -> bool:
        """Whether what the station says is for us alone."""
        if self._sides.upstream is None:
            return True
        connection = self._sides.connection
        logs = self._sides.relays.logs_of(connection.station_id)
        return policy.stays_here(connection.adapter.subprotocol, call, logs)

    def forward(self, raw: bytes, call: Call) -> None:
        """Pass on what the station asks of its upstream."""
        self._charger_calls.forward(raw, call)

    def answered(self, raw: bytes, frame: CallResult | CallError | Malformed) -> bool:
        """Take a station's answer, if it is one to a call of the upstream."""
        return self._upstream_calls.answered(raw, frame)

    def sweep(self, now: float) -> None:
        """What the clock decides; called about once a second."""
        self._upstream_calls.sweep(now)
        self._charger_calls.sweep(now)
        self._link.check_life(now)

    # What the link calls

    def opened(self) -> None:
        """The upstream is there."""
        self._malformed_in_a_row = 0
        self._charger_calls.opened()

    def received(self, raw: bytes) -> None:
        """Handle one message of the upstream."""
        frame = frames.parse(raw)
        if isinstance(frame, Malformed):
            self._malformed(frame)
            return
        self._malformed_in_a_row = 0
        if not isinstance(frame, Call):
            if not self._charger_calls.answered(raw, frame):
                self._sides.note(
                    Happening.MISBEHAVED, "it answered a request that was never made, or answered too late"
                )
        elif self._link.socket is not None:
            self._upstream_calls.ask(raw, frame, self._link.socket)

    def lost(self, reason: str) -> None:
        """The upstream is away: its charger is answered here or let go."""
        connection, upstream = self._sides.connection, self._sides.upstream
        self._upstream_calls.lost()
        self._sides.note(Happening.AWAY, reason)
        name = upstream.name if upstream is not None else ""
        logger.warning("the upstream %s of %s is away: %s", name, connection.station_id, reason)
        if upstream is not None and upstream.when_away is WhenAway.CLOSE:
            self.end(reason)
            connection.websocket.close(CloseCode.TRY_AGAIN_LATER, "the CSMS is away; connect again later")
        else:
            self._charger_calls.lost()

    # Inside

    def _malformed(self, frame: Malformed) -> None:
        """Never passed on. A broken answer leaves the station's request to its time limit."""
        adapter = self._sides.connection.adapter
        self._sides.note(Happening.MISBEHAVED, f"it sent a malformed frame: {frame.reason}")
        if not frame.answers and not adapter.ignores(frame):
            self._sides.refuse_upstream(frame.message_id, frame.code, frame.reason)
        self._malformed_in_a_row += 1
        if self._malformed_in_a_row >= MOST_MALFORMED_IN_A_ROW:
            self._link.fail("too many malformed frames")

    def _station_full(self, full: bool) -> None:
        self._link.hold(Hold.PEER_UNWRITTEN, full=full)


def _same(one: Upstream, other: Upstream) -> bool:
    """Whether a connection to one is a connection to the other: only what is done while it is away may differ."""
    return (one.url, one.ca_bundle, one.credential) == (other.url, other.ca_bundle, other.credential)
