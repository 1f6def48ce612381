"""The seam between a station and the OCPP version it speaks.

`SimulatedStation` knows certificates, connections and time; a dialect knows message names and payloads.
OCPP 2.0.1 is `tests.simulator.v201.Ocpp201`, 1.6J `tests.simulator.v16.Ocpp16`; another version is one more class with
these methods.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, Protocol

from tests.simulator.frames import Call, Payload
from tests.simulator.link import Answer

if TYPE_CHECKING:
    from tests.simulator.station import SimulatedStation


Version = Literal["ocpp1.6", "ocpp2.0.1"]
"""The WebSocket subprotocol of a version that a simulated station can speak."""


class BootReason(StrEnum):
    """Why the station starts."""

    POWER_UP = "PowerUp"
    REMOTE_RESET = "RemoteReset"
    """Reset now."""
    SCHEDULED_RESET = "ScheduledReset"
    """Reset when idle."""
    TRIGGERED = "Triggered"
    """TriggerMessage asked for it."""
    APPLICATION_RESET = "ApplicationReset"
    """Only with a quirk: BootNotification after a mere reconnect."""


@dataclass(frozen=True, slots=True)
class BootOutcome:
    """`registered`: the CSMS knows the station and may send requests; `accepted`: the station may too."""

    status: str
    registered: bool
    accepted: bool
    interval: int
    """Seconds between heartbeats, or until the next try."""


@dataclass(frozen=True, slots=True)
class SecurityLogEntry:
    """One security event of the station; names as in the list of OCPP 2.0.1 appendix 1."""

    type: str
    at: datetime
    tech_info: str


class Dialect(Protocol):
    """One OCPP version. Methods that talk raise what `Link.call` raises."""

    subprotocol: str

    def request_problem(self, action: str, payload: Payload) -> str:
        """What is wrong with a request by the schema; empty where nothing is."""

    def response_problem(self, action: str, payload: Payload) -> str:
        """What is wrong with an answer by the schema; empty where nothing is."""

    async def boot(self, station: "SimulatedStation", reason: BootReason) -> BootOutcome: ...

    async def announce_status(self, station: "SimulatedStation") -> None:
        """Tell that the connectors are there."""

    async def heartbeat(self, station: "SimulatedStation") -> datetime:
        """:returns: the time that the CSMS gave."""

    async def sign_certificate(self, station: "SimulatedStation", csr_pem: str, certificate_type: str | None) -> str:
        """:returns: the status of the answer."""

    async def plug_and_charge(self, station: "SimulatedStation", action: str, payload: Payload) -> Payload:
        """Ask something about ISO 15118 in the words of OCPP 2.0.1.

        :returns: the answer in those words; where the message that carries it is refused, only its status.
        """

    def carried(self, action: str, payload: Payload, station: "SimulatedStation") -> tuple[str, Payload]:
        """Such a message as it goes on the wire: action and payload."""

    async def security_event(self, station: "SimulatedStation", entry: SecurityLogEntry) -> None: ...

    async def log_status(self, station: "SimulatedStation", request_id: int, status: str) -> None: ...

    def answer(self, station: "SimulatedStation", call: Call) -> Answer:
        """
        :raises CallRejection: where the answer is a CALLERROR.
        """
