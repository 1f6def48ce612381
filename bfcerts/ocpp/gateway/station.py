"""The conversation with one station over one connection.

Its requests are handled one at a time and in order. What carries no evidence is answered at once; what carries evidence
is answered when the evidence is committed, and until then the station's next requests wait, and nobody else's.
"""

import logging
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from websockets.frames import CloseCode

from bfcerts.ocpp import frames
from bfcerts.ocpp.canonical import Evidence, Payload
from bfcerts.ocpp.frames import Call, ErrorCode, Malformed
from bfcerts.ocpp.gateway.asking import TOO_MANY_QUESTIONS, OpenQuestions, TooManyQuestionsError, message_key
from bfcerts.ocpp.gateway.delivery import Delivery
from bfcerts.ocpp.gateway.limits import TokenBucket
from bfcerts.ocpp.gateway.renewal_only import OUTSIDE_RENEWAL, OutsideRenewalError, RenewalOnly
from bfcerts.ocpp.gateway.services import Services
from bfcerts.ocpp.gateway.websocket import Hold, WebSocket
from bfcerts.ocpp.inbox import Observation, storable
from bfcerts.ocpp.protocol import Asking, ProtocolAdapter, Reaction, RefusedCallError
from bfcerts.ocpp.registry import ConnectionAttempt, answering_for

if TYPE_CHECKING:
    from bfcerts.ocpp.relay.relay import Relay

REMEMBERED_ANSWERS: Final = 8
MOST_WAITING_CALLS: Final = 8
MOST_MALFORMED_IN_A_ROW: Final = 10
# A station that floods us with evidence is answered no faster than this in the long run, so that none is lost.
EVIDENCE_PER_SECOND: Final = 20.0
EVIDENCE_BURST: Final = 100.0
VIOLATIONS_PER_SECOND: Final = 1 / 60
VIOLATIONS_BURST: Final = 5.0

logger = logging.getLogger(__name__)


class StationConnection:
    """One admitted connection of one station."""

    __slots__ = (
        "_answers",
        "_busy",
        "_evidence_bucket",
        "_malformed_in_a_row",
        "_questions",
        "_violations_bucket",
        "_waiting",
        "adapter",
        "attempt",
        "booted",
        "checked_at",
        "delivery",
        "dismissed",
        "evidence_wanted",
        "options",
        "relay",
        "renewal_only",
        "services",
        "session_id",
        "websocket",
    )

    def __init__(
        self,
        websocket: WebSocket,
        adapter: ProtocolAdapter,
        attempt: ConnectionAttempt,
        session_id: UUID,
        services: Services,
    ) -> None:
        now = services.loop.time()
        self.websocket = websocket
        self.adapter = adapter
        self.attempt = attempt
        self.session_id = session_id
        self.services = services
        self.delivery = Delivery(self)
        self.booted = False
        self.dismissed = ""
        self.evidence_wanted = False
        self.options: Mapping[str, Any] = {}
        self.checked_at = now
        self.relay: Relay | None = None
        self.renewal_only: RenewalOnly | None = None
        self._busy = False
        self._waiting: deque[tuple[bytes, Call]] | None = None
        self._answers: dict[str, tuple[int, bytes]] = {}
        self._malformed_in_a_row = 0
        self._questions: OpenQuestions | None = None
        self._evidence_bucket = TokenBucket.full(EVIDENCE_PER_SECOND, EVIDENCE_BURST, now)
        self._violations_bucket = TokenBucket.full(VIOLATIONS_PER_SECOND, VIOLATIONS_BURST, now)

    @property
    def station_id(self) -> str:
        return self.attempt.station_id

    @property
    def fingerprint(self) -> str:
        """Of the certificate that let it in; empty below Profile 3."""
        return self.attempt.certificate.fingerprint if self.attempt.certificate else ""

    def block(self, reason: str) -> None:
        """Its authorisation is gone: nothing more is heard or said, from this moment on."""
        self.evidence_wanted = True
        self.dismissed = reason
        self.websocket.fail(CloseCode.POLICY_VIOLATION, reason)
        self._end_relay(reason)

    def replace(self, reason: str) -> None:
        """A newer connection took its place: it may say goodbye."""
        self.dismissed = reason
        self.websocket.close(CloseCode.NORMAL_CLOSURE, reason)
        self._end_relay(reason)

    def received(self, raw: bytes) -> None:
        """Handle one message of the station."""
        frame = frames.parse(raw)
        if isinstance(frame, Call):
            self._malformed_in_a_row = 0
            if self._busy:
                self._wait(raw, frame)
            else:
                self._handle(raw, frame)
        elif isinstance(frame, Malformed) and not frame.answers:
            self._malformed(frame)
        elif self.relay is not None and self.relay.answered(raw, frame):
            return
        elif not self.delivery.answered(frame):
            self._violation("unasked_answer", "the station answered a request that was never made")

    def ended(self, code: int) -> None:
        """The connection is over."""
        if code == CloseCode.MESSAGE_TOO_BIG:
            limit = self.services.configuration.gateway_max_frame_bytes
            self._violation("message_too_big", f"the station sent a message of more than {limit} bytes")
        self.delivery.connection_ended()
        if self._questions is not None:
            self._questions.give_up()
        self._end_relay("the charging station has gone")

    def _end_relay(self, reason: str) -> None:
        if self.relay is not None:
            self.relay.end(reason)

    def _wait(self, raw: bytes, call: Call) -> None:
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append((raw, call))
        if len(self._waiting) >= MOST_WAITING_CALLS:
            self.websocket.hold(Hold.UNHANDLED)

    def _next(self) -> None:
        """Go on with what waited for the database; after the end the station will say it again."""
        self._busy = False
        if not self.websocket.is_open:
            self._waiting = None
        while self._waiting and not self._busy:
            self._handle(*self._waiting.popleft())
        if not self._waiting:
            self._waiting = None
            self.websocket.release(Hold.UNHANDLED)

    def _handle(self, raw: bytes, call: Call) -> None:
        if self.relay is not None and not self.relay.stays_here(call):
            self._relay(raw, call, self.relay)
        else:
            self._answer_call(raw, call)

    def _relay(self, raw: bytes, call: Call, relay: "Relay") -> None:
        """Pass a request on; a boot is evidence, too, which is stored before anybody answers it."""
        if call.action == "BootNotification":
            now = self.services.clock()
            try:
                reaction = self.adapter.react(call.action, call.payload, now, 0)
            except RefusedCallError as error:
                logger.info("a boot of %s is passed on and not taken in: %s", self.station_id, error)
            else:
                if reaction.evidence is not None:
                    self._busy = True
                    self._store_slowly(raw, call, reaction, reaction.evidence, now)
                    return
        relay.forward(raw, call)

    def _answer_call(self, raw: bytes, call: Call) -> None:
        earlier = self._answers.get(call.message_id)
        if earlier is None and self._questions is not None:
            earlier = self._questions.open_as(call.message_id)
        if earlier is not None:
            self._repeated(call, earlier, hash(raw))
            return
        now = self.services.clock()
        try:
            reaction = self._react(call, now)
        except RefusedCallError as error:
            self._answer(call, hash(raw), self._call_error(call.message_id, error.code, error.description))
            if isinstance(error, OutsideRenewalError) and error.first:
                self._violation(OUTSIDE_RENEWAL, error.description)
        except Exception:  # a defect costs this call its answer, never the connection
            logger.exception("%s of %s could not be handled", call.action, self.station_id)
            self._fail(call)
        else:
            if reaction.evidence is not None:
                self._busy = True
                self._store_slowly(raw, call, reaction, reaction.evidence, now)
            elif reaction.asking is not None and answering_for(reaction.asking.kind) is not None:
                self._ask(raw, call, reaction, reaction.asking)
            else:
                self._answer(call, hash(raw), frames.call_result(call.message_id, reaction.answer))

    def _ask(self, raw: bytes, call: Call, reaction: Reaction, asking: Asking) -> None:
        """Put a question to somebody outside; neither this station's other messages nor anybody else wait for it."""
        if self._questions is None:
            self._questions = OpenQuestions(self)
        try:
            self._questions.put(raw, call, reaction, asking)
        except TooManyQuestionsError as error:
            self._answer(call, hash(raw), frames.call_result(call.message_id, reaction.answer))
            if error.of_the_station:
                self._violation(TOO_MANY_QUESTIONS, str(error))
            else:
                logger.warning("%s of %s is answered without asking: %s", call.action, self.station_id, error)

    def told(self, call: Call, digest: int, answer: Payload) -> None:
        """The answer to a question, or that there is none."""
        self._answer(call, digest, frames.call_result(call.message_id, answer))

    def untold(self, call: Call) -> None:
        """A question could not be put: the same again is a new try."""
        self._fail(call)

    def _react(self, call: Call, now: datetime) -> Reaction:
        if self.renewal_only is not None:
            return self.renewal_only.react(self.adapter, call, now)
        interval = self.services.configuration.gateway_heartbeat_interval_seconds
        return self.adapter.react(call.action, call.payload, now, interval)

    def _repeated(self, call: Call, earlier: tuple[int, bytes], digest: int) -> None:
        """The same message again is answered the same; another one under a used id is refused (part 4 §4.1.4)."""
        if earlier[0] == digest:
            if earlier[1]:
                self.websocket.send(earlier[1])
            return
        reason = "this message id was used before on this connection"
        self.websocket.send(self._call_error(call.message_id, ErrorCode.RPC_FRAMEWORK_ERROR, reason))
        self._violation("reused_message_id", "the station used a message id twice, for different messages")

    def _store_slowly(self, raw: bytes, call: Call, reaction: Reaction, kind: Evidence, now: datetime) -> None:
        loop = self.services.loop
        wait = self._evidence_bucket.wait(loop.time())
        self._evidence_bucket.spend(loop.time())
        if wait > 0:
            loop.call_later(wait, self._store, raw, call, reaction, kind, now)
        else:
            self._store(raw, call, reaction, kind, now)

    def _store(self, raw: bytes, call: Call, reaction: Reaction, kind: Evidence, now: datetime) -> None:
        observation = Observation(
            self.station_id,
            self.session_id,
            kind,
            storable(reaction.payload),
            now,
            message_key(raw, call),
        )
        stored = self.services.evidence.store(observation)
        stored.add_done_callback(
            lambda future: self._stored(raw, call, reaction, None if future.cancelled() else future.exception())
        )

    def _stored(self, raw: bytes, call: Call, reaction: Reaction, error: BaseException | None) -> None:
        if error is None and reaction.booted and self.relay is not None:
            self.relay.forward(raw, call)
        elif error is None:
            self._answer(call, hash(raw), frames.call_result(call.message_id, reaction.answer))
            if reaction.booted:
                self.booted = True
                self.delivery.resume()
        else:
            logger.warning("%s of %s was not stored: %s", call.action, self.station_id, error)
            self._fail(call)
        self._next()

    def _answer(self, call: Call, digest: int, answer: bytes) -> None:
        if len(self._answers) >= REMEMBERED_ANSWERS:
            del self._answers[next(iter(self._answers))]
        self._answers[call.message_id] = (digest, answer)
        self.websocket.send(answer)

    def _fail(self, call: Call) -> None:
        """Not remembered: the same message again is a new try."""
        reason = "the message could not be handled now; send it again later"
        self.websocket.send(self._call_error(call.message_id, ErrorCode.INTERNAL_ERROR, reason))

    def _call_error(self, message_id: str | None, code: ErrorCode, description: str) -> bytes:
        return frames.call_error(message_id, self.adapter.error_code(code), description)

    def _malformed(self, frame: Malformed) -> None:
        self._malformed_in_a_row += 1
        if not self.adapter.ignores(frame):
            self.websocket.send(self._call_error(frame.message_id, frame.code, frame.reason))
        self._violation("malformed_frame", frame.reason)
        if self._malformed_in_a_row >= MOST_MALFORMED_IN_A_ROW:
            self.websocket.close(CloseCode.PROTOCOL_ERROR, "too many malformed frames")

    def _violation(self, kind: str, detail: str) -> None:
        now = self.services.loop.time()
        if self._violations_bucket.wait(now) > 0:
            return
        self._violations_bucket.spend(now)
        payload = {"kind": kind, "detail": detail}
        self.services.evidence.report(
            Observation(
                self.station_id,
                self.session_id,
                Evidence.PROTOCOL_VIOLATION,
                payload,
                self.services.clock(),
            )
        )
