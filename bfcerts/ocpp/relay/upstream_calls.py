"""What an upstream asks of its charger: refused where it is ours, and else asked when its turn comes."""

from dataclasses import dataclass
from typing import Final

from bfcerts.ocpp import frames
from bfcerts.ocpp.frames import Call, CallError, CallResult, ErrorCode, Malformed
from bfcerts.ocpp.gateway.websocket import Hold
from bfcerts.ocpp.relay import policy
from bfcerts.ocpp.relay.client import UpstreamSocket
from bfcerts.ocpp.relay.reports import Happening
from bfcerts.ocpp.relay.sides import MOST_OPEN_CALLS, Sides
from bfcerts.ocpp.relay.turns import Turn, Turns
from bfcerts.ocpp.schemas import SchemaError

MOST_LATE_CALLS: Final = 4


@dataclass(slots=True)
class Theirs:
    """An upstream's call, waiting for its turn or for the station's answer."""

    call_id: str
    action: str
    raw: bytes
    socket: UpstreamSocket
    until: float = 0.0


class UpstreamCalls:
    """The calls of one charger's upstream."""

    __slots__ = ("_late", "_open", "_sides", "turns")

    def __init__(self, sides: Sides, *, ours_is_open: bool) -> None:
        self.turns: Turns[Theirs] = Turns(sides.connection.services.loop, self._ask_station, ours_is_open=ours_is_open)
        self._sides = sides
        self._open: Theirs | None = None
        self._late: list[Theirs] = []

    def ask(self, raw: bytes, call: Call, socket: UpstreamSocket) -> None:
        """Judge what the upstream asks, and have it wait for its turn where it may pass."""
        sides = self._sides
        connection = sides.connection
        looked_into = policy.looked_into(call)
        if looked_into and (problem := self._schema_problem(call)):
            sides.refuse_upstream(call.message_id, *problem)
            return
        refused = policy.refusal_of(connection.adapter.subprotocol, call) if looked_into else None
        if refused is not None:
            sides.link.send(frames.call_result(call.message_id, refused.answer))
            sides.note(Happening.CALL_REFUSED, refused.touched)
        elif connection.delivery.uses(call.message_id):
            reason = "this message id is in use on this connection"
            sides.refuse_upstream(call.message_id, ErrorCode.RPC_FRAMEWORK_ERROR, reason)
        else:
            passed = frames.call(call.message_id, call.action, call.payload) if looked_into else raw
            if call.action == "GetLog" and isinstance(call.payload.get("requestId"), int):
                sides.relays.log_asked(connection.station_id, call.payload["requestId"])
            self.turns.ask(Theirs(call.message_id, call.action, passed, socket))
            self._hold_upstream()

    def answered(self, raw: bytes, frame: CallResult | CallError | Malformed) -> bool:
        """Take a station's answer, if it is one to a call of the upstream."""
        waiting = self._open
        if waiting is not None and frame.message_id == waiting.call_id:
            self._open = None
            self._pass_answer(waiting, raw, frame)
            self._turn_over()
            return True
        late = next((one for one in self._late if one.call_id == frame.message_id), None)
        if late is None:
            return False
        self._late.remove(late)
        self._pass_answer(late, raw, frame)
        return True

    def lost(self) -> None:
        """Whoever asked has gone: nothing more of it is asked, but what is open at the station stays open there."""
        self.turns.theirs.clear()
        self._late.clear()

    def end(self) -> None:
        """The station has gone."""
        self.turns.end()

    def sweep(self, now: float) -> None:
        """A station that does not answer keeps nobody else from asking; its answer still counts when it comes."""
        waiting = self._open
        if waiting is None or now < waiting.until:
            return
        self._open = None
        waiting.raw = b""
        if waiting.socket is self._sides.link.socket:
            self._late = [*self._late, waiting][-MOST_LATE_CALLS:]
        self._turn_over()

    def _schema_problem(self, call: Call) -> tuple[ErrorCode, str] | None:
        """What is looked into has to be what its schema says, or the station might read something else in it."""
        schemas = self._sides.connection.adapter.schemas
        if call.action not in schemas.actions:
            return ErrorCode.NOT_IMPLEMENTED, "this action is unknown"
        try:
            schemas.check_request(call.action, call.payload)
        except SchemaError as error:
            return error.code, error.description
        return None

    def _ask_station(self, theirs: Theirs) -> None:
        theirs.until = self._sides.now() + self._sides.relays.configuration.gateway_call_timeout_seconds
        self._open = theirs
        self._sides.connection.websocket.send(theirs.raw)

    def _pass_answer(self, waiting: Theirs, raw: bytes, frame: CallResult | CallError | Malformed) -> None:
        """To whoever asked, and to nobody that took its place."""
        if waiting.socket is not self._sides.link.socket:
            return
        if isinstance(frame, Malformed):
            reason = "the charging station's answer is malformed"
            self._sides.refuse_upstream(waiting.call_id, ErrorCode.INTERNAL_ERROR, reason)
            return
        cleaned = policy.without_passwords(waiting.action, frame.payload) if isinstance(frame, CallResult) else None
        waiting.socket.send(raw if cleaned is None else frames.call_result(waiting.call_id, cleaned))

    def _turn_over(self) -> None:
        if self.turns.whose is Turn.THEIRS:
            self.turns.give_back()
        self._hold_upstream()

    def _hold_upstream(self) -> None:
        """Stop reading from the upstream while too many of its calls wait for their turn."""
        self._sides.link.hold(Hold.PEER_UNANSWERED, full=len(self.turns.theirs) >= MOST_OPEN_CALLS)
