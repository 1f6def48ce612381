"""The two sides of a relay, and how either of them, and the operator, is told something."""

from typing import TYPE_CHECKING

from bfcerts.ocpp import frames
from bfcerts.ocpp.frames import Call, ErrorCode
from bfcerts.ocpp.gateway.websocket import Hold
from bfcerts.ocpp.registry import Upstream
from bfcerts.ocpp.relay.relays import Relays
from bfcerts.ocpp.relay.reports import Happening

if TYPE_CHECKING:
    from bfcerts.ocpp.gateway.station import StationConnection
    from bfcerts.ocpp.relay.link import Link

MOST_OPEN_CALLS = 8
"""Of a station at its upstream, and of an upstream that wait for their turn: a well-behaved side has one."""


class Sides:
    """A station's connection, and the link to its upstream; `upstream` is None while none applies."""

    __slots__ = ("connection", "link", "relays", "upstream")

    def __init__(self, connection: "StationConnection", relays: Relays) -> None:
        self.connection = connection
        self.relays = relays
        self.upstream: Upstream | None = None
        self.link: Link

    def now(self) -> float:
        """Monotonic seconds."""
        return self.connection.services.loop.time()

    def refuse_station(self, call: Call, description: str, code: ErrorCode = ErrorCode.INTERNAL_ERROR) -> None:
        """Answer what a station asked with an error."""
        spelled = self.connection.adapter.error_code(code)
        self.connection.websocket.send(frames.call_error(call.message_id, spelled, description))

    def refuse_upstream(self, message_id: str | None, code: ErrorCode, description: str) -> None:
        """Answer what an upstream asked with an error."""
        self.link.send(frames.call_error(message_id, self.connection.adapter.error_code(code), description))

    def hold_station(self, why: Hold, *, full: bool) -> None:
        """Stop reading from the station while its upstream has enough, and go on when it has not."""
        websocket = self.connection.websocket
        (websocket.hold if full else websocket.release)(why)

    def note(self, happening: Happening, detail: str) -> None:
        """Tell the operator what the upstream did."""
        if self.upstream is None:
            return
        connection = self.connection
        now = connection.services.clock()
        self.relays.reports.note(
            happening, self.upstream.name, connection.station_id, connection.session_id, detail, now
        )
