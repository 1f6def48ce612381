"""One open connection: frames out and in, one CALL at a time each way, answers matched by message id."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from tests.simulator import frames
from tests.simulator.events import EventKind
from tests.simulator.frames import Call, CallError, CallResult, Payload


class Departure(StrEnum):
    """Why a connection ended."""

    LOST = "lost"
    """The CSMS closed it, or the network did."""
    CERTIFICATE = "certificate"
    ROOT = "root"
    PASSWORD = "password"
    RESET = "reset"
    DROPPED = "dropped"
    """The station hung up without a close frame, by a quirk or by `drop()`."""
    STOPPED = "stopped"
    """`disconnect()` or `stop()`."""


class LinkClosedError(ConnectionError):
    """The connection is gone; what was asked has no answer."""


class CallTimedOutError(TimeoutError):
    """The CSMS did not answer a CALL in time."""


class CallRefusedError(Exception):
    """The CSMS answered a CALL with CALLERROR."""

    def __init__(self, action: str, answer: CallError) -> None:
        super().__init__(f"{action}: {answer.code}: {answer.description}")
        self.code = answer.code
        self.description = answer.description


@dataclass(frozen=True, slots=True)
class Answer:
    """What a station answers to a CALL, what it does before and after, and whether it leaves then."""

    payload: Payload
    before: Callable[[], Awaitable[None]] | None = None
    after: Callable[[], Awaitable[None]] | None = None
    departure: Departure | None = None
    sent: bool = True
    """False: the station is gone before it answers."""


class CallRejection(Exception):  # noqa: N818  # an answer of the protocol, not a fault of the station
    """Answer a CALL with CALLERROR."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(f"{code}: {description}")
        self.code = code
        self.description = description


class LinkOwner(Protocol):
    """The station, as far as its connection needs to know it."""

    async def answer(self, call: Call) -> Answer:
        """:raises CallRejection: to answer with CALLERROR."""

    def record(self, kind: EventKind, /, **detail: Any) -> None: ...

    def check_response(self, action: str, payload: Payload) -> str:
        """What is wrong with an answer of the CSMS; empty where nothing is."""

    def next_message_id(self) -> str: ...

    def cuts(self, action: str) -> bool:
        """Whether the next message of this action is to be cut in half."""

    def depart(self, departure: Departure) -> None:
        """The station has decided to leave; the link closes right after."""

    def spawn(self, work: Awaitable[None]) -> None:
        """Do this while the connection lasts."""

    def answer_delay(self) -> float: ...


class Link:
    """`run` reads until the end; everything else may be used meanwhile."""

    def __init__(self, connection: ClientConnection, owner: LinkOwner, call_timeout: float) -> None:
        self._connection = connection
        self._owner = owner
        self._call_timeout = call_timeout
        self._calling = asyncio.Lock()
        self._open_calls: dict[str, asyncio.Future[CallResult | CallError | None]] = {}
        self._incoming: asyncio.Queue[Call] = asyncio.Queue()
        self._unanswered = 0

    async def run(self) -> tuple[int, str]:
        """Read until the connection ends.

        :returns: close code and reason of the CSMS.
        """
        worker = asyncio.create_task(self._answer_calls())
        try:
            async for text in self._connection:
                self._receive(text)
        except ConnectionClosed:
            pass
        finally:
            worker.cancel()
            for future in self._open_calls.values():
                if not future.done():
                    future.set_result(None)
            await asyncio.wait([worker])
        if not worker.cancelled() and (failure := worker.exception()):
            raise failure
        return self._connection.close_code or 1006, self._connection.close_reason or ""

    async def call(self, action: str, payload: Payload) -> Payload:
        """Send a CALL when no other is open, and return the payload of its answer.

        :raises CallRefusedError: the answer is a CALLERROR.
        :raises CallTimedOutError: no answer in time.
        :raises LinkClosedError: the connection is gone.
        """
        async with self._calling:
            message_id = self._owner.next_message_id()
            answered: asyncio.Future[CallResult | CallError | None] = asyncio.get_running_loop().create_future()
            self._open_calls[message_id] = answered
            try:
                await self._send(action, frames.call(message_id, action, payload))
                async with asyncio.timeout(self._call_timeout):
                    answer = await answered
            except TimeoutError:
                self._failed(action, "", "no answer in time")
                raise CallTimedOutError(f"{action}: no answer within {self._call_timeout:g} s") from None
            finally:
                self._open_calls.pop(message_id, None)
        if answer is None:
            raise LinkClosedError(f"{action}: the connection closed before the answer came")
        if isinstance(answer, CallError):
            self._failed(action, answer.code, answer.description)
            raise CallRefusedError(action, answer)
        if problem := self._owner.check_response(action, answer.payload):
            self._violation(f"the answer to {action} breaks its schema: {problem}")
        return answer.payload

    async def send_raw(self, frame: str | bytes) -> None:
        """Send exactly this, whatever it is.

        :raises LinkClosedError: the connection is gone.
        """
        try:
            await self._connection.send(frame)
        except ConnectionClosed:
            raise LinkClosedError("the connection is closed") from None

    async def close(self) -> None:
        await self._connection.close()

    def abort(self) -> None:
        """Hang up without a close frame."""
        self._connection.transport.abort()

    async def _send(self, action: str, text: str) -> None:
        if self._owner.cuts(action):
            frame = Frame(Opcode.TEXT, text.encode()).serialize(mask=True)
            self._connection.transport.write(frame[: len(frame) // 2])
            self._hang_up(Departure.DROPPED)
            raise LinkClosedError(f"{action} was cut in the middle")
        await self.send_raw(text)

    def _hang_up(self, departure: Departure) -> None:
        self._owner.depart(departure)
        self.abort()

    def _receive(self, text: str | bytes) -> None:
        try:
            frame = frames.parse(text)
        except frames.FrameError as error:
            self._violation(f"what arrived is no frame: {error}")
            return
        if isinstance(frame, Call):
            if self._unanswered:
                self._violation(f"{frame.action} came while another CALL was unanswered")
            self._unanswered += 1
            self._incoming.put_nowait(frame)
            return
        future = self._open_calls.get(frame.message_id)
        if future is None or future.done():
            shown = text if isinstance(text, str) else text.decode(errors="replace")
            self._owner.record(EventKind.STRAY_ANSWER, frame=shown)
        else:
            future.set_result(frame)

    async def _answer_calls(self) -> None:
        while True:
            call = await self._incoming.get()
            try:
                await self._answer_call(call)
            except LinkClosedError:
                return
            except Exception:  # the station must not stay connected with nobody who answers
                self.abort()
                raise

    async def _answer_call(self, call: Call) -> None:
        owner = self._owner
        owner.record(EventKind.CALL_RECEIVED, message_id=call.message_id, action=call.action, payload=call.payload)
        if delay := owner.answer_delay():
            await asyncio.sleep(delay)
        try:
            answer = await owner.answer(call)
        except CallRejection as rejection:
            self._unanswered -= 1
            await self.send_raw(frames.call_error(call.message_id, rejection.code, rejection.description))
            self._answered(call, "", rejection.code)
            return
        if not answer.sent:
            self._hang_up(answer.departure or Departure.DROPPED)
            return
        if answer.before:
            with contextlib.suppress(CallRefusedError, CallTimedOutError):
                await answer.before()
        self._unanswered -= 1
        await self._send(call.action, frames.call_result(call.message_id, answer.payload))
        self._answered(call, str(answer.payload.get("status", "")), "")
        if answer.departure:
            self._owner.depart(answer.departure)
            await self.close()
        elif answer.after:
            owner.spawn(answer.after())

    def _answered(self, call: Call, status: str, code: str) -> None:
        self._owner.record(
            EventKind.CALL_ANSWERED, message_id=call.message_id, action=call.action, status=status, code=code
        )

    def _failed(self, action: str, code: str, detail: str) -> None:
        self._owner.record(EventKind.CALL_FAILED, action=action, code=code, detail=detail)

    def _violation(self, detail: str) -> None:
        self._owner.record(EventKind.PROTOCOL_VIOLATION, detail=detail)
