"""Sending a station's commands: one at a time, each until it is answered, timed out or put back."""

import asyncio
import logging
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from bfcerts.ocpp import frames, secret_payload
from bfcerts.ocpp.canonical import NOT_APPLICABLE, Action, CommandOutcome
from bfcerts.ocpp.frames import CallError, CallResult, ErrorCode, Malformed
from bfcerts.ocpp.gateway.commands import Command, Result, Wish
from bfcerts.ocpp.gateway.database import DatabaseUnavailableError
from bfcerts.ocpp.gateway.tls import ListenerName
from bfcerts.ocpp.inbox import storable
from bfcerts.ocpp.outbox import Ending
from bfcerts.ocpp.protocol import Request, UnsendableCommandError
from bfcerts.ocpp.redaction import redact
from bfcerts.ocpp.schemas import SchemaError

if TYPE_CHECKING:
    from bfcerts.ocpp.gateway.station import StationConnection

HELD_SECONDS: Final = 120.0
MOST_PUT_BACK: Final = 10
"""Refusals before the boot that one connection is forgiven; one that goes on refusing gets its command as failed."""
RETRY_SECONDS: Final = 2.0

logger = logging.getLogger(__name__)


def _keep_reachable(command: Command, listener: str) -> None:
    """A station that keeps its address when it changes its profile needs a listener there that takes the new one.

    :raises UnsendableCommandError: when it would be locked out.
    """
    if command.action is not Action.SET_SECURITY_PROFILE:
        return
    profile = command.payload["security_profile"]
    if listener == (ListenerName.PROFILE2 if profile == 3 else ListenerName.PROFILE3):
        raise UnsendableCommandError(
            f"the station keeps its address, where the listener {listener} takes no Profile {profile}: have it connect "
            "to the listener that takes both first"
        )


class Silence(Enum):
    """Why a station's answer did not come."""

    CONNECTION_ENDED = auto()
    TIMED_OUT = auto()


Heard = CallResult | CallError | Malformed | Silence


class Delivery:
    """The commands of one connection. It has a task only while there is something to send."""

    __slots__ = ("_awaited_id", "_connection", "_future", "_held", "_late_id", "_news", "_put_back", "_task")

    def __init__(self, connection: "StationConnection") -> None:
        self._connection = connection
        self._task: asyncio.Task[None] | None = None
        self._future: asyncio.Future[Heard] | None = None
        self._awaited_id = ""
        self._late_id = ""
        self._news = False
        self._held = False
        self._put_back = 0

    @property
    def woken(self) -> bool:
        """Whether a command was announced that nobody has looked for yet."""
        return self._news

    def wake(self) -> None:
        """There may be a command for this station; before the upgrade this is only remembered."""
        self._news = True
        if self._task is None and not self._waits and self._connection.websocket.is_open:
            self._task = self._connection.services.loop.create_task(self._work_off())

    @property
    def _waits(self) -> bool:
        """Whether the station is not to be asked now: it refused before its boot, or that is not accepted yet."""
        relay = self._connection.relay
        return self._held or (relay is not None and relay.boot_pending)

    @property
    def asks(self) -> bool:
        """Whether a call of ours is open at the station."""
        return self._future is not None

    def uses(self, message_id: str) -> bool:
        """Whether an answer under this id would be taken for one to a command."""
        return message_id in (self._awaited_id, self._late_id)

    def resume(self) -> None:
        """The station may be asked again, after it refused because it had not booted (OCPP 2.0.1 B02.FR.09)."""
        if self._held:
            self._held = False
            self.wake()

    def answered(self, frame: CallResult | CallError | Malformed) -> bool:
        """Take an answer; false when nothing was asked under its id."""
        if self._future is None or frame.message_id != self._awaited_id:
            return bool(frame.message_id) and frame.message_id == self._late_id
        if not self._future.done():
            self._future.set_result(frame)
        return True

    def connection_ended(self) -> None:
        """No answer will come; the session's end puts the command back."""
        if self._future is not None and not self._future.done():
            self._future.set_result(Silence.CONNECTION_ENDED)

    async def _work_off(self) -> None:
        services = self._connection.services
        try:
            while self._connection.websocket.is_open and not self._waits:
                self._news = False
                command = await services.claims.submit(
                    Wish(self._connection.station_id, self._connection.session_id, services.clock())
                )
                if command is not None:
                    await self._deliver(command)
                elif not self._news:
                    return
        except DatabaseUnavailableError:
            services.loop.call_later(RETRY_SECONDS, self.wake)
        except Exception:  # a task that dies unheard would end the delivery to this station
            logger.exception("commands for %s could not be delivered", self._connection.station_id)
        finally:
            self._task = None

    async def _deliver(self, command: Command) -> None:
        connection = self._connection
        try:
            payload, secrets = command.payload, frozenset[str]()
            if command.secret_payload is not None:
                secret = secret_payload.open(command.secret_payload, connection.services.credential_key)
                payload, secrets = secret_payload.merge(payload, secret), secret_payload.values(secret)
            request = connection.adapter.request(command.action, payload)
            if request is not None:
                _keep_reachable(command, connection.attempt.listener)
        except (UnsendableCommandError, secret_payload.SecretPayloadError) as error:
            await self._record(command, Ending(command.id, CommandOutcome.ERROR, "", error_description=str(error)))
            return
        if request is None:
            content = {"status": NOT_APPLICABLE}
            await self._record(command, Ending(command.id, CommandOutcome.ACCEPTED, NOT_APPLICABLE, content=content))
            return
        # Its BootNotification may cross our request on the wire: what counts is what it was when it was asked.
        had_booted = connection.booted
        answer = await self._call(str(command.message_id), request)
        if answer is Silence.CONNECTION_ENDED:
            return
        if self._came_too_early(answer, had_booted):
            await self._record(command, None)
            return
        await self._record(command, self._ending(command, request, answer, secrets))

    def _came_too_early(self, answer: Heard, had_booted: bool) -> bool:
        """Whether the command is to be sent again after the boot; a station may say so only so many times."""
        if not isinstance(answer, CallError) or answer.code != ErrorCode.SECURITY_ERROR or had_booted:
            return False
        self._put_back += 1
        if self._put_back > MOST_PUT_BACK:
            return False
        if not self._connection.booted:
            self._held = True
            self._connection.services.loop.call_later(HELD_SECONDS, self.resume)
        return True

    async def _call(self, message_id: str, request: Request) -> Heard:
        """Ask, when it is our turn: a relayed station may have a call of its upstream to answer first."""
        if (relay := self._connection.relay) is not None and not await relay.turns.take():
            return Silence.CONNECTION_ENDED
        try:
            return await self._ask(message_id, request)
        finally:
            # The relay may have come while we asked; it began with our call open.
            if (relay := self._connection.relay) is not None:
                relay.turns.give_back()

    async def _ask(self, message_id: str, request: Request) -> Heard:
        services = self._connection.services
        future: asyncio.Future[Heard] = services.loop.create_future()
        self._future, self._awaited_id = future, message_id
        try:
            if not self._connection.websocket.send(frames.call(message_id, request.action, request.payload)):
                return Silence.CONNECTION_ENDED
            async with asyncio.timeout(services.configuration.gateway_call_timeout_seconds):
                return await future
        except TimeoutError:
            self._late_id = message_id
            return Silence.TIMED_OUT
        finally:
            self._future = None

    def _ending(
        self,
        command: Command,
        request: Request,
        answer: Heard,
        secrets: frozenset[str],
    ) -> Ending:
        if isinstance(answer, Silence):
            seconds = self._connection.services.configuration.gateway_call_timeout_seconds
            description = f"the station did not answer within {seconds:g} seconds"
            return Ending(command.id, CommandOutcome.TIMED_OUT, error_description=description)
        if isinstance(answer, Malformed):
            return Ending(
                command.id,
                CommandOutcome.ERROR,
                error_code=answer.code,
                error_description=f"the station's answer is malformed: {answer.reason}",
            )
        if isinstance(answer, CallError):
            code, description = storable(redact([answer.code, answer.description], secrets))
            return Ending(
                command.id,
                CommandOutcome.ERROR,
                error_code=code[: frames.LONGEST_ERROR_CODE],
                error_description=description[: frames.LONGEST_DESCRIPTION],
            )
        try:
            judged = self._connection.adapter.judge(request, answer.payload)
        except SchemaError as error:
            return Ending(
                command.id,
                CommandOutcome.ERROR,
                error_code=error.code,
                error_description=f"the station's answer breaks its schema: {error.description}",
            )
        return Ending(
            command.id,
            judged.outcome,
            judged.status,
            storable(redact(judged.status_info, secrets)),
            storable(redact(answer.payload, secrets)),
            storable(redact(judged.content, secrets)),
        )

    async def _record(self, command: Command, ending: Ending | None) -> None:
        """Store what became of the command: an answer that is in hand waits for a database that is away."""
        services = self._connection.services
        result = Result(command.id, self._connection.session_id, ending, services.clock())
        while True:
            try:
                await services.results.submit(result)
            except DatabaseUnavailableError:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return
