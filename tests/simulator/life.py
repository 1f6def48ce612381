"""A station's life in this process: connect, converse, leave, come back, until it is told to stop."""

import asyncio
import itertools
import time
import uuid
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from tests.simulator.connector import Admission, Connector
from tests.simulator.dialect import BootReason
from tests.simulator.dialling import ConnectError
from tests.simulator.events import EventKind
from tests.simulator.frames import Call, Payload
from tests.simulator.link import (
    Answer,
    CallRefusedError,
    CallTimedOutError,
    Departure,
    Link,
    LinkClosedError,
)
from tests.simulator.quirks import MessageIdStyle

if TYPE_CHECKING:
    from tests.simulator.station import SimulatedStation

EXPECTED_ERRORS = (LinkClosedError, CallTimedOutError, CallRefusedError)
"""What may end a piece of work; the link has recorded it."""
OWN_DEPARTURES = frozenset({Departure.CERTIFICATE, Departure.PASSWORD, Departure.RESET, Departure.ROOT})


class Life:
    """Owns the connection (it is the `LinkOwner`) and the tasks that live as long as the connection does."""

    def __init__(self, station: "SimulatedStation") -> None:
        self.link: Link | None = None
        self.admission: Admission | None = None
        self.registered = False
        self._station = station
        self._connector = Connector(station)
        self._boot_due: BootReason | None = BootReason.POWER_UP
        self._departure = Departure.LOST
        self._running: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._message_numbers = itertools.count(1)
        self._cuts_of = station.quirks
        self._cuts_made: list[str] = []

    def start(self, admission: Admission | None = None) -> asyncio.Task[None]:
        """Begin to live, with an open connection or without one."""
        self._require_idle()
        self._stopping.clear()
        self._running = asyncio.create_task(self._live(admission))
        return self._running

    async def attempt(self) -> Admission:
        """One attempt to connect.

        :raises ConnectError: it failed.
        """
        self._require_idle()
        return await self._connector.attempt()

    async def stop(self, departure: Departure = Departure.STOPPED) -> None:
        """Close the connection, stay away, and wait until everything has ended."""
        self._stopping.set()
        if self.link:
            self.depart(departure)
            await self.link.close()
        if self._running:
            running, self._running = self._running, None
            await running

    def hang_up(self) -> None:
        """Drop the connection without a close frame; the station comes back by itself."""
        if self.link:
            self.depart(Departure.DROPPED)
            self.link.abort()

    def check(self) -> None:
        """Raise what ended this life unexpectedly."""
        if self._running and self._running.done() and not self._running.cancelled():
            self._running.result()

    def boot_again(self, reason: BootReason) -> None:
        """The station will restart: it says so in its next BootNotification."""
        self._boot_due = reason

    # What the link asks of its owner

    async def answer(self, call: Call) -> Answer:
        return self._station.dialect.answer(self._station, call)

    def record(self, kind: EventKind, /, **detail: Any) -> None:
        self._station.record(kind, **detail)

    def check_response(self, action: str, payload: Payload) -> str:
        return self._station.dialect.response_problem(action, payload)

    def next_message_id(self) -> str:
        if self._station.quirks.duplicate_message_ids:
            return "always-the-same"
        match self._station.quirks.message_id_style:
            case MessageIdStyle.UUID:
                return str(uuid.uuid4())
            case MessageIdStyle.COUNTER:
                return str(next(self._message_numbers))
            case MessageIdStyle.TIMESTAMP:
                return str(time.time_ns() // 1000)

    def cuts(self, action: str) -> bool:
        if self._cuts_of is not self._station.quirks:
            self._cuts_of, self._cuts_made = self._station.quirks, []
        if self._cuts_made.count(action) >= self._cuts_of.drop_mid_message.count(action):
            return False
        self._cuts_made.append(action)
        return True

    def depart(self, departure: Departure) -> None:
        self._departure = departure

    def spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.create_task(_until_closed(work))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def answer_delay(self) -> float:
        return self._station.quirks.slow

    # The life itself

    async def _live(self, admission: Admission | None) -> None:
        """From boot to boot, until the station is to stay away."""
        departure = await self._live_until_restart(admission)
        while departure is Departure.RESET and not self._stays_away(departure):
            await self._restart()
            departure = await self._live_until_restart(None)
        if self._stays_away(departure):
            self._station.record(EventKind.STAYED_AWAY, departure=departure)

    async def _live_until_restart(self, admission: Admission | None) -> Departure:
        """Connect again and again.

        :returns: RESET, STOPPED, or the departure after which the station does not come back.
        """
        station = self._station
        expiry = asyncio.create_task(station.enrolment.watch_expiry())
        try:
            while not self._stopping.is_set():
                admission = admission or await self._connect_patiently()
                if admission is None:
                    break
                departure = await self._converse(admission)
                admission = None
                if departure in {Departure.RESET, Departure.STOPPED} or self._stays_away(departure):
                    return departure
                if departure is Departure.LOST:
                    await self._pause(station.timings.back_off_minimum)
                if not station.quirks.no_boot_notification_after_reconnect:
                    self._boot_due = self._boot_due or BootReason.APPLICATION_RESET
        finally:
            expiry.cancel()
            await asyncio.wait([expiry])
            if not expiry.cancelled():
                expiry.result()
        return Departure.STOPPED

    def _stays_away(self, departure: Departure) -> bool:
        return self._station.quirks.never_reconnect and departure in OWN_DEPARTURES

    async def _restart(self) -> None:
        self.registered = False
        station = self._station
        await self._pause(station.quirks.reboot_seconds or station.timings.boot_delay)
        station.store.reload()
        if password := station.store.state.next_password:
            station.store.change_password(password, keep_previous=station.quirks.second_key_slot)
            station.record(EventKind.PASSWORD_CHANGED)
        self._station.enrolment.pending = False
        self._connector.restart()

    async def _connect_patiently(self) -> Admission | None:
        timings = self._station.timings
        delay = timings.back_off_minimum
        while not self._stopping.is_set():
            try:
                return await self._connector.attempt()
            except ConnectError:
                await self._pause(delay)
                delay = min(2 * delay, timings.back_off_maximum)
        return None

    async def _converse(self, admission: Admission) -> Departure:
        self._departure, self._failure = Departure.LOST, None
        self._message_numbers = itertools.count(1)
        self.admission = admission
        self.link = link = Link(admission.connection, self, self._station.timings.call_timeout)
        self._connector.settle(admission)
        self.spawn(self._greet())
        if self._stopping.is_set():
            self.depart(Departure.STOPPED)
            await link.close()
        try:
            code, reason = await link.run()
        finally:
            self._connector.remember_session(admission.connection)
            self.link = self.admission = None
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._failure:
            raise self._failure
        self._station.record(EventKind.DISCONNECTED, departure=self._departure, code=code, reason=reason)
        return self._departure

    async def _greet(self) -> None:
        """What a station does unasked: boot where due, tell what waited, then heartbeats."""
        station = self._station
        if self._boot_due:
            await self._boot(self._boot_due)
        await station.security_log.flush()
        if station.quirks.requests_missing_certificate and not station.store.state.leaves:
            self.spawn(station.enrolment.request_until_signed())
        while True:
            await station.clock.sleep(float(station.variables.get("OCPPCommCtrlr", "HeartbeatInterval")))
            await station.dialect.heartbeat(station)

    async def _boot(self, reason: BootReason) -> None:
        """BootNotification until it is accepted (OCPP 2.0.1 B01-B03), then the state of the connectors."""
        station = self._station
        while True:
            outcome = await station.dialect.boot(station, reason)
            self.registered = outcome.registered
            station.record(EventKind.BOOTED, status=outcome.status, interval=outcome.interval)
            if outcome.accepted:
                break
            await asyncio.sleep(outcome.interval or station.timings.boot_retry)
        self._boot_due = None
        if outcome.interval:
            station.store.state.variables["OCPPCommCtrlr.HeartbeatInterval"] = str(outcome.interval)
            station.store.save()
        station.security_log.note("StartupOfTheDevice" if reason is BootReason.POWER_UP else "ResetOrReboot", reason)
        await station.dialect.announce_status(station)

    def _require_idle(self) -> None:
        if self._running and not self._running.done():
            raise RuntimeError(f"{self._station.station_id} runs already; call disconnect() first")

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._failure = error
            if self.link:
                self.link.abort()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


async def _until_closed(work: Awaitable[None]) -> None:
    try:
        await work
    except EXPECTED_ERRORS:
        return
