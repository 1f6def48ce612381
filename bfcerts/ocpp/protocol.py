"""What the gateway needs of a protocol version; one adapter each translates it into the canonical vocabulary."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from bfcerts.ocpp.canonical import Action, CommandOutcome, Evidence, Payload
from bfcerts.ocpp.frames import ErrorCode


class RefusedCallError(Exception):
    """A station's request that is answered with a CALLERROR."""

    def __init__(self, code: ErrorCode, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


class UnsendableCommandError(Exception):
    """A command that cannot be put into a message of this protocol version; the text says why."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """What a station's request means: the answer, and the evidence that must be stored before it is sent."""

    answer: Payload
    evidence: Evidence | None = None
    payload: Payload = field(default_factory=dict)
    booted: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """A command as this protocol version says it."""

    action: str
    payload: Payload = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """A station's answer to a command, judged."""

    outcome: CommandOutcome
    status: str
    status_info: Payload | None


class ProtocolAdapter(Protocol):
    """One OCPP version."""

    subprotocol: str
    """The name in Sec-WebSocket-Protocol."""

    def react(self, action: str, payload: Payload, now: datetime, heartbeat_interval: int) -> Reaction:
        """Check a station's request and say what it means.

        :param heartbeat_interval: seconds, for the answer to BootNotification.
        :raises RefusedCallError: for what is unknown, not for us, or breaks its schema.
        """

    def request(self, action: Action, payload: Payload) -> Request:
        """Translate a command, secrets merged in, and check it against its schema.

        :raises UnsendableCommandError: when the message would break its schema.
        """

    def judge(self, request: Request, answer: Payload) -> Answer:
        """Check a station's answer and say how the command ended.

        :raises SchemaError: when the answer breaks its schema.
        """
