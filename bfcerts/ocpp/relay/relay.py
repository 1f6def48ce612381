"""The relay of one charger: what it and its upstream say to each other, over one connection to either.

No frame touches the database. Memory is bounded on every path: a side that does not take what the other says, or owes
too many answers, stops the other's reading. When the upstream is away the charger is answered here, message by message
(docs/operating.md), or let go.
"""

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from websockets.frames import CloseCode

from bfcerts.ocpp import frames
from bfcerts.ocpp.frames import Call, CallError, CallResult, ErrorCode, Malformed
from bfcerts.ocpp.gateway.websocket import Hold
from bfcerts.ocpp.protocol import RefusedCallError
from bfcerts.ocpp.registry import Upstream, WhenAway
from bfcerts.ocpp.relay import policy
from bfcerts.ocpp.relay.client import UpstreamSocket
from bfcerts.ocpp.relay.relays import Relays, UndialledError
from bfcerts.ocpp.relay.reports import Happening
from bfcerts.ocpp.relay.turns import Turn, Turns
from bfcerts.ocpp.schemas import SchemaError

if TYPE_CHECKING:
    from bfcerts.ocpp.gateway.station import StationConnection

MOST_OPEN_CALLS: Final = 8
"""Of a station at its upstream, and of an upstream that wait for their turn: a well-behaved side has one."""
MOST_LATE_CALLS: Final = 4
MOST_MALFORMED_IN_A_ROW: Final = 10
LARGEST_KEPT_BOOT_BYTES: Final = 4_096
PATIENCE_SECONDS: Final = 10.0
"""How long a station's messages wait for a connection that is being made."""
STEADY_SECONDS: Final = 30.0
"""A connection that lasted so long was a good one: the next is tried soon after it."""
BOOT: Final = "BootNotification"

logger = logging.getLogger(__name__)


class State(Enum):
    """Where the upstream is."""

    DIALLING = auto()
    OPEN = auto()
    AWAY = auto()
    ENDED = auto()


@dataclass(slots=True)
class Asked:
    """A station's call that its upstream has not answered. `replayed`: the station has its answer from us already."""

    call: Call
    raw: bytes
    until: float
    replayed: bool = False


@dataclass(slots=True)
class Theirs:
    """An upstream's call, waiting for its turn or for the station's answer."""

    call_id: str
    action: str
    raw: bytes
    socket: UpstreamSocket
    until: float = 0.0


class Relay:
    """Between one station's connection and its upstream."""

    __slots__ = (
        "_asked",
        "_backlog",
        "_boot_owed",
        "_connection",
        "_dialling",
        "_failures",
        "_full_since",
        "_late",
        "_malformed_in_a_row",
        "_open_call",
        "_opened_at",
        "_patient_until",
        "_redial",
        "_relays",
        "_socket",
        "_state",
        "boot_pending",
        "turns",
        "upstream",
    )

    def __init__(self, connection: "StationConnection", upstream: Upstream, relays: Relays) -> None:
        self.upstream = upstream
        self.boot_pending = False
        self.turns: Turns[Theirs] = Turns(connection.services.loop, self._ask_station)
        self._connection = connection
        self._relays = relays
        self._state = State.AWAY
        self._socket: UpstreamSocket | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._redial: asyncio.TimerHandle | None = None
        self._failures = 0
        self._opened_at = 0.0
        self._patient_until = 0.0
        self._full_since: float | None = None
        self._asked: dict[str, Asked] = {}
        self._backlog: deque[tuple[bytes, Call]] = deque()
        self._boot_owed: tuple[bytes, Call] | None = None
        self._open_call: Theirs | None = None
        self._late: deque[Theirs] = deque(maxlen=MOST_LATE_CALLS)
        self._malformed_in_a_row = 0

    # What the gateway calls

    def start(self) -> None:
        """Begin: the station is in."""
        self._connection.websocket.on_flow = self._station_full
        self._patient_until = self._now() + PATIENCE_SECONDS
        self._dial()

    def end(self, reason: str) -> None:
        """The station has gone, or has to: so does its connection to the upstream."""
        if self._state is State.ENDED:
            return
        self._state = State.ENDED
        self._connection.websocket.on_flow = None
        self.turns.end()
        self._asked.clear()
        self._backlog.clear()
        for waiting in (self._redial, self._dialling):
            if waiting is not None:
                waiting.cancel()
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.on_message = socket.on_end = socket.on_flow = None
            socket.release(Hold.PEER_UNWRITTEN | Hold.PEER_UNANSWERED)
            socket.close(CloseCode.NORMAL_CLOSURE, reason.encode()[:100].decode(errors="ignore"))
        self._connection.websocket.release(Hold.PEER_UNWRITTEN | Hold.PEER_UNANSWERED)

    def stays_here(self, call: Call) -> bool:
        """Whether what the station says is for us alone."""
        logs = self._relays.logs_of(self._connection.station_id)
        return policy.stays_here(self._connection.adapter.subprotocol, call, logs)

    def forward(self, raw: bytes, call: Call) -> None:
        """Pass on what the station asks of its upstream."""
        if call.action == BOOT:
            self.boot_pending = True
        if self._state is State.OPEN:
            self._send_upstream(raw, call)
        elif self._state is State.DIALLING and self._now() < self._patient_until:
            self._backlog.append((raw, call))
            self._hold_station()
        elif self._state is not State.ENDED:
            self._answer_here(raw, call)

    def answered(self, raw: bytes, frame: CallResult | CallError | Malformed) -> bool:
        """Take a station's answer, if it is one to a call of the upstream."""
        waiting = self._open_call
        if waiting is not None and frame.message_id == waiting.call_id:
            self._open_call = None
            self._pass_answer(waiting, raw, frame)
            self._turn_over()
            return True
        late = next((one for one in self._late if one.call_id == frame.message_id), None)
        if late is None:
            return False
        self._late.remove(late)
        self._pass_answer(late, raw, frame)
        return True

    def sweep(self, now: float) -> None:
        """What the clock decides; called about once a second."""
        if self._state is State.DIALLING and self._backlog and now >= self._patient_until:
            self._answer_backlog()
        waiting = self._open_call
        if waiting is not None and now >= waiting.until:
            self._open_call = None
            waiting.raw = b""
            if waiting.socket is self._socket:
                self._late.append(waiting)
            self._turn_over()
        for expired in [one for one in self._asked.values() if now >= one.until]:
            del self._asked[expired.call.message_id]
            if not expired.replayed:
                self._call_error(expired.call, "the CSMS did not answer in time; send it again later")
        self._hold_station()
        if self._socket is not None and self._state is State.OPEN:
            self._check_life(self._socket, now)

    # The connection to the upstream

    def _dial(self) -> None:
        self._redial = None
        if self._state is not State.ENDED:
            self._state = State.DIALLING
            self._dialling = self._connection.services.loop.create_task(self._connect())

    async def _connect(self) -> None:
        connection = self._connection
        try:
            await self._relays.dial(
                self.upstream, connection.station_id, connection.adapter.subprotocol, self._opened, self._socket_ended
            )
        except UndialledError as error:
            self._lost(str(error))
        except Exception:
            logger.exception("the relay of %s could not dial %s", connection.station_id, self.upstream.name)
            self._lost("it could not be dialled")
        finally:
            self._dialling = None

    def _opened(self, socket: UpstreamSocket) -> None:
        self._socket = socket
        self._state = State.OPEN
        self._opened_at = self._now()
        self._malformed_in_a_row = 0
        self._full_since = None
        socket.on_message = self._received
        socket.on_flow = self._upstream_full
        if self._boot_owed is not None:
            self._send_upstream(*self._boot_owed, replayed=True)
            self._boot_owed = None
        backlog, self._backlog = self._backlog, deque()
        for raw, call in backlog:
            self._send_upstream(raw, call)
        self._hold_station()

    def _socket_ended(self, reason: str, code: int) -> None:
        if code == CloseCode.MESSAGE_TOO_BIG:
            self._note(Happening.MISBEHAVED, "it sent a message larger than the gateway takes")
        self._lost(reason)

    def _lost(self, reason: str) -> None:
        if self._state in (State.ENDED, State.AWAY):
            return
        connection, socket = self._connection, self._socket
        steady = self._state is State.OPEN and self._now() - self._opened_at > STEADY_SECONDS
        self._failures = 0 if steady else self._failures + 1
        self._state, self._socket = State.AWAY, None
        if socket is not None:
            socket.on_message = socket.on_flow = None
        self.turns.theirs.clear()
        self._late.clear()
        self._note(Happening.AWAY, reason)
        logger.warning("the upstream %s of %s is away: %s", self.upstream.name, connection.station_id, reason)
        if self.upstream.when_away is WhenAway.CLOSE:
            self.end(reason)
            connection.websocket.close(CloseCode.TRY_AGAIN_LATER, "the CSMS is away; connect again later")
            return
        asked, self._asked = self._asked, {}
        for one in asked.values():
            if one.replayed:
                self._boot_owed = self._boot_owed or (one.raw, one.call)
            else:
                self._answer_here(one.raw, one.call)
        self._answer_backlog()
        connection.websocket.release(Hold.PEER_UNWRITTEN)
        delay = self._relays.delay(self._failures)
        self._redial = connection.services.loop.call_later(delay, self._dial)

    def _check_life(self, socket: UpstreamSocket, now: float) -> None:
        configuration = self._relays.configuration
        interval = configuration.gateway_ping_interval_seconds
        if self._full_since is not None and now - self._full_since > configuration.upstream_answer_timeout_seconds:
            socket.abort("it does not take what is sent to it")
        elif socket.pinged_at is not None:
            if now - socket.pinged_at > interval:
                socket.abort("no sign of life")
        elif now - socket.last_heard > interval:
            socket.ping()

    # From the station to the upstream

    def _send_upstream(self, raw: bytes, call: Call, *, replayed: bool = False) -> None:
        until = self._now() + self._relays.configuration.upstream_answer_timeout_seconds
        kept = raw if call.action == BOOT else b""
        self._asked[call.message_id] = Asked(call, kept, until, replayed)
        if self._socket is not None:
            cleaned = policy.without_passwords(call.action, call.payload)
            self._socket.send(raw if cleaned is None else frames.call(call.message_id, call.action, cleaned))
        self._hold_station()

    def _hold_station(self) -> None:
        """Stop reading from the station while its upstream owes it too many answers."""
        websocket = self._connection.websocket
        if len(self._asked) >= MOST_OPEN_CALLS or len(self._backlog) >= MOST_OPEN_CALLS:
            websocket.hold(Hold.PEER_UNANSWERED)
        else:
            websocket.release(Hold.PEER_UNANSWERED)

    def _pass_answer(self, waiting: Theirs, raw: bytes, frame: CallResult | CallError | Malformed) -> None:
        if waiting.socket is not self._socket:
            return
        if isinstance(frame, Malformed):
            self._refuse(waiting.call_id, ErrorCode.INTERNAL_ERROR, "the charging station's answer is malformed")
            return
        cleaned = policy.without_passwords(waiting.action, frame.payload) if isinstance(frame, CallResult) else None
        waiting.socket.send(raw if cleaned is None else frames.call_result(waiting.call_id, cleaned))

    def _answer_backlog(self) -> None:
        backlog, self._backlog = self._backlog, deque()
        for raw, call in backlog:
            self._answer_here(raw, call)
        self._hold_station()

    def _answer_here(self, raw: bytes, call: Call) -> None:
        """The upstream is away: what it need not decide is answered, everything else is for the station to repeat."""
        connection = self._connection
        if call.action in ("Heartbeat", BOOT):
            interval = self._relays.configuration.gateway_heartbeat_interval_seconds
            try:
                reaction = connection.adapter.react(call.action, call.payload, connection.services.clock(), interval)
            except RefusedCallError as error:
                self._call_error(call, error.description, error.code)
                return
            connection.websocket.send(frames.call_result(call.message_id, reaction.answer))
            if call.action == BOOT:
                self._boot_owed = (raw, call) if len(raw) <= LARGEST_KEPT_BOOT_BYTES else None
                self._boot_accepted()
            return
        self._call_error(call, "the CSMS is away; send it again later")

    def _call_error(self, call: Call, description: str, code: ErrorCode = ErrorCode.INTERNAL_ERROR) -> None:
        spelled = self._connection.adapter.error_code(code)
        self._connection.websocket.send(frames.call_error(call.message_id, spelled, description))

    # From the upstream to the station

    def _received(self, raw: bytes) -> None:
        frame = frames.parse(raw)
        if isinstance(frame, Malformed):
            self._malformed(frame)
            return
        self._malformed_in_a_row = 0
        if isinstance(frame, Call):
            self._call(raw, frame)
            return
        asked = self._asked.pop(frame.message_id, None)
        if asked is None:
            self._note(Happening.MISBEHAVED, "it answered a request that was never made, or answered too late")
            return
        self._hold_station()
        accepted = isinstance(frame, CallResult) and frame.payload.get("status") == "Accepted"
        if asked.replayed:
            if not accepted:
                self._note(Happening.BOOT_NOT_ACCEPTED, "it did not accept a boot that was answered while it was away")
            return
        self._connection.websocket.send(raw)
        if asked.call.action == BOOT and accepted:
            self._boot_accepted()

    def _boot_accepted(self) -> None:
        connection = self._connection
        self.boot_pending = False
        connection.booted = True
        connection.delivery.resume()
        connection.delivery.wake()

    def _call(self, raw: bytes, call: Call) -> None:
        connection = self._connection
        looked_into = policy.looked_into(call)
        if looked_into and (problem := self._schema_problem(call)):
            self._refuse(call.message_id, *problem)
            return
        refused = policy.refusal_of(connection.adapter.subprotocol, call) if looked_into else None
        if refused is not None:
            self._send_to_upstream(frames.call_result(call.message_id, refused.answer))
            self._note(Happening.CALL_REFUSED, refused.touched)
        elif connection.delivery.uses(call.message_id):
            reason = "this message id is in use on this connection"
            self._refuse(call.message_id, ErrorCode.RPC_FRAMEWORK_ERROR, reason)
        elif self._socket is not None:
            passed = frames.call(call.message_id, call.action, call.payload) if looked_into else raw
            if call.action == "GetLog" and isinstance(call.payload.get("requestId"), int):
                self._relays.log_asked(connection.station_id, call.payload["requestId"])
            self.turns.ask(Theirs(call.message_id, call.action, passed, self._socket))
            self._hold_upstream()

    def _schema_problem(self, call: Call) -> tuple[ErrorCode, str] | None:
        """What is looked into has to be what its schema says, or the station might read something else in it."""
        schemas = self._connection.adapter.schemas
        if call.action not in schemas.actions:
            return ErrorCode.NOT_IMPLEMENTED, "this action is unknown"
        try:
            schemas.check_request(call.action, call.payload)
        except SchemaError as error:
            return error.code, error.description
        return None

    def _ask_station(self, theirs: Theirs) -> None:
        theirs.until = self._now() + self._relays.configuration.gateway_call_timeout_seconds
        self._open_call = theirs
        self._connection.websocket.send(theirs.raw)

    def _turn_over(self) -> None:
        if self.turns.whose is Turn.THEIRS:
            self.turns.give_back()
        self._hold_upstream()

    def _hold_upstream(self) -> None:
        """Stop reading from the upstream while too many of its calls wait for their turn."""
        if self._socket is None:
            return
        if len(self.turns.theirs) >= MOST_OPEN_CALLS:
            self._socket.hold(Hold.PEER_UNANSWERED)
        else:
            self._socket.release(Hold.PEER_UNANSWERED)

    def _malformed(self, frame: Malformed) -> None:
        """Never passed on. A broken answer leaves the station's request to its time limit."""
        self._note(Happening.MISBEHAVED, f"it sent a malformed frame: {frame.reason}")
        if not frame.answers and not self._connection.adapter.ignores(frame):
            self._send_to_upstream(
                frames.call_error(frame.message_id, self._connection.adapter.error_code(frame.code), frame.reason)
            )
        self._malformed_in_a_row += 1
        if self._malformed_in_a_row >= MOST_MALFORMED_IN_A_ROW and self._socket is not None:
            self._socket.fail(CloseCode.PROTOCOL_ERROR, "too many malformed frames")

    def _refuse(self, message_id: str, code: ErrorCode, description: str) -> None:
        self._send_to_upstream(frames.call_error(message_id, self._connection.adapter.error_code(code), description))

    def _send_to_upstream(self, frame: bytes) -> None:
        if self._socket is not None:
            self._socket.send(frame)

    # Back-pressure, and what is told

    def _station_full(self, full: bool) -> None:
        if self._socket is not None:
            (self._socket.hold if full else self._socket.release)(Hold.PEER_UNWRITTEN)

    def _upstream_full(self, full: bool) -> None:
        self._full_since = self._now() if full else None
        websocket = self._connection.websocket
        (websocket.hold if full else websocket.release)(Hold.PEER_UNWRITTEN)

    def _note(self, happening: Happening, detail: str) -> None:
        connection = self._connection
        self._relays.reports.note(
            happening,
            self.upstream.name,
            connection.station_id,
            connection.session_id,
            detail,
            connection.services.clock(),
        )

    def _now(self) -> float:
        return self._connection.services.loop.time()
