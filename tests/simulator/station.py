"""A simulated charging station: connects, boots, answers, enrols, reconnects and fails as real ones do."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

from cryptography import x509

from tests.simulator.clock import Clock, SystemClock
from tests.simulator.dialect import Dialect, Version
from tests.simulator.dialects import DIALECTS
from tests.simulator.enrolment import STATION_CERTIFICATE, Enrolment
from tests.simulator.events import Event, EventKind, EventLog
from tests.simulator.evse import Evse
from tests.simulator.frames import Payload
from tests.simulator.identity import KeyType
from tests.simulator.life import Life
from tests.simulator.link import Link, LinkClosedError
from tests.simulator.network import NetworkProfile
from tests.simulator.quirks import Quirks
from tests.simulator.security_log import SecurityLog
from tests.simulator.store import StationState, StationStore
from tests.simulator.timings import Timings
from tests.simulator.uploads import LogUploads
from tests.simulator.variables import Variables


class SimulatedStation:
    """One station. What it must keep is in `store`: a new object on the same folder is the same station.

    Either `await connect()` (one attempt, which may raise; from then on it stays connected by itself) or
    `await run()` (tries for ever). `disconnect()` ends both.
    """

    def __init__(
        self,
        store: StationStore,
        *,
        quirks: Quirks | None = None,
        timings: Timings | None = None,
        clock: Clock | None = None,
        dialect: Dialect | None = None,
        keep_events: int = 2000,
    ) -> None:
        self.store = store
        self.quirks = quirks or Quirks()
        self.timings = timings or Timings()
        self.clock = clock or SystemClock(timedelta(seconds=self.quirks.clock_offset_seconds))
        self.dialect = dialect or DIALECTS[store.state.protocol]
        self.events = EventLog(self.clock.now, keep=keep_events)
        self.variables = Variables(self)
        self.enrolment = Enrolment(self)
        self.evse = Evse(self)
        self.security_log = SecurityLog(self)
        self.uploads = LogUploads(self)
        self.life = Life(self)

    @classmethod
    def commission(
        cls,
        directory: Path,
        station_id: str,
        *,
        url: str,
        roots: Sequence[x509.Certificate],
        security_profile: int = 2,
        password: str = "",
        serial_number: str = "",
        vendor: str = "Example Charging",
        model: str = "AC22",
        firmware: str = "1.4.0",
        key_type: KeyType = KeyType.P256,
        protocol: Version = "ocpp2.0.1",
        **options: Any,
    ) -> Self:
        """A station as it leaves the factory: one network profile in slot 1, CSMS roots, a password.

        :param options: as the constructor's.
        """
        state = StationState(
            station_id=station_id,
            serial_number=serial_number or f"SN-{station_id}",
            vendor=vendor,
            model=model,
            firmware=firmware,
            key_type=key_type,
            protocol=protocol,
            password=password,
            network_profiles={1: NetworkProfile(security_profile, url)},
            network_priority=[1],
        )
        return cls(StationStore.create(directory, state, roots), **options)

    @classmethod
    def open(cls, directory: Path, station_id: str, **options: Any) -> Self:
        """A station that was commissioned before, restarted.

        :raises StoreError: there is none, or its folder cannot be read.
        """
        return cls(StationStore.open(directory, station_id), **options)

    @property
    def station_id(self) -> str:
        return self.store.state.station_id

    @property
    def connected(self) -> bool:
        return self.life.link is not None

    @property
    def registered(self) -> bool:
        """BootNotification was answered with Accepted or Pending since the last boot."""
        return self.life.registered

    @property
    def slot(self) -> int | None:
        """The configuration slot of the open connection."""
        return self.life.admission.slot if self.life.admission else None

    @property
    def security_profile(self) -> int:
        """Of the open connection, else of the last one; 0 before the first."""
        admission = self.life.admission
        return admission.profile.security_profile if admission else self.store.state.security_profile

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate that the open connection presents; empty where there is none."""
        leaf = self.life.admission.leaf if self.life.admission else None
        return leaf.fingerprint if leaf else ""

    async def connect(self, *, until_registered: bool = True) -> None:
        """Make one attempt and, where it succeeds, live on as `run` does.

        :param until_registered: return only after BootNotification was answered, where one is due.
        :raises RefusedError: refused, by HTTP status, TLS or subprotocol.
        :raises UnreachableError: nobody there.
        :raises WaitTimedOutError: no answer to BootNotification within the call time-out.
        """
        self.life.start(await self.life.attempt())
        await self.wait_for(
            lambda station: station.connected and (station.registered or not until_registered),
            self.timings.call_timeout,
        )

    async def run(self) -> None:
        """Connect, and again after each end, with back-off, until `disconnect`."""
        await self.life.start()

    def start(self) -> None:
        """`run` in the background."""
        self.life.start()

    async def disconnect(self) -> None:
        """Close in order and stay away."""
        await self.life.stop()

    def drop(self) -> None:
        """Hang up without a close frame, as on a power cut of the router; then come back."""
        self.life.hang_up()

    async def wait_for(self, condition: Callable[["SimulatedStation"], bool], seconds: float = 10.0) -> None:
        """Return once the condition holds; it is looked at after each event.

        :raises WaitTimedOutError: it did not come to hold in time; the message lists what happened.
        """

        def holds() -> bool:
            self.life.check()
            return condition(self)

        await self.events.wait_until(holds, seconds)

    async def wait_for_event(self, kind: EventKind, seconds: float = 10.0, *, after: int = 0) -> Event:
        """The first event of a kind newer than the number `after` (take `events.last_number` beforehand).

        :raises WaitTimedOutError: it did not come in time.
        """
        await self.wait_for(lambda station: bool(station.events.of(kind, after=after)), seconds)
        return self.events.of(kind, after=after)[0]

    async def call(self, action: str, payload: Payload, *, check: bool = True) -> Payload:
        """Send a CALL and return the payload of the answer.

        :param check: refuse to send what breaks the schema.
        :raises ValueError: the payload breaks the schema.
        :raises CallRefusedError: answered with CALLERROR.
        :raises CallTimedOutError: not answered in time.
        :raises LinkClosedError: not connected, or not any more.
        """
        if check and (problem := self.dialect.request_problem(action, payload)):
            raise ValueError(f"{action}: {problem}")
        return await self._open_link().call(action, payload)

    async def send_raw(self, frame: str | bytes) -> None:
        """Send exactly this frame; an answer to it becomes a STRAY_ANSWER event."""
        await self._open_link().send_raw(frame)

    async def heartbeat(self) -> datetime:
        """:returns: the time of the CSMS."""
        return await self.dialect.heartbeat(self)

    async def sign_certificate(self, certificate_type: str | None = STATION_CERTIFICATE) -> str:
        """Send SignCertificate untriggered; None leaves the type out.

        :returns: the CSMS's status, or the code of its CALLERROR.
        """
        return await self.enrolment.request(certificate_type)

    async def security_event(self, event_type: str, tech_info: str = "") -> None:
        """Note an event in the security log and send what waits there."""
        self.security_log.note(event_type, tech_info)
        await self.security_log.flush()

    def record(self, kind: EventKind, /, **detail: Any) -> None:
        """Note what happened to the station."""
        self.events.record(kind, **detail)

    def _open_link(self) -> Link:
        if self.life.link is None:
            raise LinkClosedError(f"{self.station_id} is not connected")
        return self.life.link
