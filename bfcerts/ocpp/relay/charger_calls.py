"""What a charger asks of its upstream: passed on in order, answered once, and answered here while nobody is there."""

from dataclasses import dataclass
from typing import Final

from bfcerts.ocpp import frames
from bfcerts.ocpp.frames import Call, CallError, CallResult
from bfcerts.ocpp.gateway.websocket import Hold
from bfcerts.ocpp.protocol import RefusedCallError
from bfcerts.ocpp.relay import policy
from bfcerts.ocpp.relay.link import LinkState
from bfcerts.ocpp.relay.reports import Happening
from bfcerts.ocpp.relay.sides import MOST_OPEN_CALLS, Sides

LARGEST_KEPT_BOOT_BYTES: Final = 4_096
PATIENCE_SECONDS: Final = 10.0
"""How long a station's messages wait for a connection that is being made."""
BOOT: Final = "BootNotification"
AWAY: Final = "the CSMS is away; send it again later"
MOVED: Final = "the CSMS of this charging station has changed; send it again"


@dataclass(slots=True)
class Asked:
    """A station's call that its upstream has not answered. `replayed`: the station has its answer from us already."""

    call: Call
    raw: bytes
    until: float
    replayed: bool = False


class ChargerCalls:
    """The calls of one charger that are not for us."""

    __slots__ = ("_asked", "_backlog", "_boot_owed", "_patient_until", "_sides", "boot_pending")

    def __init__(self, sides: Sides) -> None:
        self.boot_pending = False
        self._sides = sides
        self._patient_until = 0.0
        self._asked: dict[str, Asked] = {}
        self._backlog: list[tuple[bytes, Call]] = []
        self._boot_owed: tuple[bytes, Call] | None = None

    # What the charger says

    def forward(self, raw: bytes, call: Call) -> None:
        """Pass on what the station asks of its upstream."""
        if call.action == BOOT:
            self.boot_pending = True
        state = self._sides.link.state
        if state is LinkState.OPEN:
            self._send(raw, call)
        elif state is LinkState.DIALLING and self._sides.now() < self._patient_until:
            self._backlog.append((raw, call))
            self._hold_station()
        elif state is not LinkState.ENDED:
            self._answer_here(raw, call, AWAY)

    # What the upstream says

    def answered(self, raw: bytes, frame: CallResult | CallError) -> bool:
        """Take an answer of the upstream; false when the station never asked that, or has been answered since."""
        asked = self._asked.pop(frame.message_id, None)
        if asked is None:
            return False
        self._hold_station()
        boot = asked.call.action == BOOT
        accepted = boot and isinstance(frame, CallResult) and frame.payload.get("status") == "Accepted"
        if not asked.replayed:
            self._sides.connection.websocket.send(raw)
            if accepted:
                self._boot_accepted()
        elif not accepted:
            happening = Happening.BOOT_NOT_ACCEPTED
            self._sides.note(happening, "it did not accept a boot that was answered while it was away")
        return True

    # How the link stands

    def be_patient(self) -> None:
        """A connection is being made: what the station says meanwhile waits a little."""
        self._patient_until = self._sides.now() + PATIENCE_SECONDS

    def opened(self) -> None:
        """The upstream is there: it is told the boot that it missed, and what waited."""
        if self._boot_owed is not None:
            self._send(*self._boot_owed, replayed=True)
            self._boot_owed = None
        backlog, self._backlog = self._backlog, []
        for raw, call in backlog:
            self._send(raw, call)
        self._hold_station()

    def lost(self, why: str = AWAY) -> None:
        """Nobody will answer what is open, so it is answered here."""
        asked, self._asked = self._asked, {}
        for one in asked.values():
            if one.replayed:
                self._boot_owed = self._boot_owed or (one.raw, one.call)
            else:
                self._answer_here(one.raw, one.call, why)
        self._answer_backlog(why)

    def without_upstream(self) -> None:
        """No upstream applies any more: nobody is owed a boot, and no answer to one is waited for."""
        self._boot_owed = None
        if self.boot_pending:
            self._boot_accepted()

    def end(self) -> None:
        """The station has gone."""
        self._asked.clear()
        self._backlog.clear()
        self._hold_station()

    def sweep(self, now: float) -> None:
        """What the clock decides."""
        if self._backlog and self._sides.link.state is LinkState.DIALLING and now >= self._patient_until:
            self._answer_backlog(AWAY)
        expired = [one for one in self._asked.values() if now >= one.until]
        for one in expired:
            del self._asked[one.call.message_id]
            if not one.replayed:
                self._sides.refuse_station(one.call, "the CSMS did not answer in time; send it again later")
        if expired:
            self._hold_station()

    # Inside

    def _send(self, raw: bytes, call: Call, *, replayed: bool = False) -> None:
        sides = self._sides
        until = sides.now() + sides.relays.configuration.upstream_answer_timeout_seconds
        kept = raw if call.action == BOOT else b""
        self._asked[call.message_id] = Asked(call, kept, until, replayed)
        cleaned = policy.without_passwords(call.action, call.payload)
        sides.link.send(raw if cleaned is None else frames.call(call.message_id, call.action, cleaned))
        self._hold_station()

    def _hold_station(self) -> None:
        """Stop reading from the station while its upstream owes it too many answers."""
        full = len(self._asked) >= MOST_OPEN_CALLS or len(self._backlog) >= MOST_OPEN_CALLS
        self._sides.hold_station(Hold.PEER_UNANSWERED, full=full)

    def _answer_backlog(self, why: str) -> None:
        backlog, self._backlog = self._backlog, []
        for raw, call in backlog:
            self._answer_here(raw, call, why)
        self._hold_station()

    def _answer_here(self, raw: bytes, call: Call, why: str) -> None:
        """What the upstream need not decide is answered, everything else is for the station to repeat."""
        sides = self._sides
        if call.action not in ("Heartbeat", BOOT):
            sides.refuse_station(call, why)
            return
        connection = sides.connection
        interval = sides.relays.configuration.gateway_heartbeat_interval_seconds
        try:
            reaction = connection.adapter.react(call.action, call.payload, connection.services.clock(), interval)
        except RefusedCallError as error:
            sides.refuse_station(call, error.description, error.code)
            return
        connection.websocket.send(frames.call_result(call.message_id, reaction.answer))
        if call.action == BOOT:
            owed = sides.upstream is not None and len(raw) <= LARGEST_KEPT_BOOT_BYTES
            self._boot_owed = (raw, call) if owed else None
            self._boot_accepted()

    def _boot_accepted(self) -> None:
        connection = self._sides.connection
        self.boot_pending = False
        connection.booted = True
        connection.delivery.resume()
        connection.delivery.wake()
