"""What the gateway needs of a protocol version; one adapter each translates it into the canonical vocabulary.

Adapters keep no state: what a message means depends on nothing but itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from bfcerts.ocpp.canonical import Action, CommandOutcome, Evidence, Payload, QuestionKind
from bfcerts.ocpp.frames import ErrorCode, Malformed
from bfcerts.ocpp.schemas import Schemas


class RefusedCallError(Exception):
    """A station's request that is answered with a CALLERROR."""

    def __init__(self, code: ErrorCode, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


class UnsendableCommandError(Exception):
    """A command that cannot be put into a message of this protocol version; the text says why."""


@dataclass(frozen=True, slots=True)
class Told:
    """What somebody outside says to a station's question. What is not accepted may bring a content all the same."""

    accepted: bool
    content: str = ""


@dataclass(frozen=True, slots=True)
class Asking:
    """A question of a station that is put to somebody outside. `longest`: characters that an answer may have.

    `say` puts what was told into the answer of the station's message. It is not asked for more than `longest`.
    """

    kind: QuestionKind
    payload: Payload
    longest: int
    say: Callable[[Told], Payload] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Reaction:
    """What a station's request means: the answer, and the evidence that must be stored before it is sent.

    Where it is `asking` somebody outside, `answer` is what it hears when nobody answers.
    """

    answer: Payload
    evidence: Evidence | None = None
    payload: Payload = field(default_factory=dict)
    booted: bool = False
    asking: Asking | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A command as this protocol version says it."""

    action: str
    payload: Payload = field(repr=False)
    command: Action | None = field(default=None, compare=False)
    """What it was made of, where the same message can answer to more than one command."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A station's answer to a command, judged. `content` is what it says, as `Evidence.COMMAND_ANSWERED` has it."""

    outcome: CommandOutcome
    status: str
    status_info: Payload | None
    content: Payload = field(default_factory=dict)


class ProtocolAdapter(Protocol):
    """One OCPP version."""

    subprotocol: str
    """The name in Sec-WebSocket-Protocol."""
    schemas: Schemas

    def react(self, action: str, payload: Payload, now: datetime, heartbeat_interval: int) -> Reaction:
        """Check a station's request and say what it means.

        :param heartbeat_interval: seconds, for the answer to BootNotification.
        :raises RefusedCallError: for what is unknown, not for us, or breaks its schema.
        """

    def error_code(self, code: ErrorCode) -> str:
        """How this version spells the code of a CALLERROR."""

    def ignores(self, frame: Malformed) -> bool:
        """Whether this version keeps silent on such a frame, instead of answering with a CALLERROR."""

    def request(self, action: Action, payload: Payload) -> Request | None:
        """Translate a command, secrets merged in, and check it against its schema.

        :returns: None where this version needs no such message (`NOT_APPLICABLE`).
        :raises UnsendableCommandError: when this version has no message that says it, or it would break its schema.
        """

    def judge(self, request: Request, answer: Payload) -> Answer:
        """Check a station's answer and say how the command ended.

        :raises SchemaError: when the answer breaks its schema.
        """


def refuse_lowering(payload: Payload) -> None:
    """A security profile only goes up, unless the command says that the family may lower it.

    The gateway serves Profiles 2 and 3, so 3 never lowers anything, 2 may, and there is nothing below.

    :raises UnsendableCommandError: names what is missing.
    """
    profile = payload["security_profile"]
    if profile not in (2, 3):
        raise UnsendableCommandError(f"security profile {profile} is not served here; use 2 or 3")
    if profile < 3 and not payload.get("may_lower"):
        raise UnsendableCommandError(
            "a security profile is lowered only for a charger family that allows it; record that capability first"
        )
