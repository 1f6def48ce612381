"""OCPP-J frames: `[2, id, action, payload]`, `[3, id, payload]`, `[4, id, code, description, details]`.

Everything from the wire is hostile until `parse` has returned; it never raises.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import orjson

from bfcerts.ocpp.canonical import Payload

LONGEST_MESSAGE_ID: Final = 36
LONGEST_ACTION: Final = 64
LONGEST_ERROR_CODE: Final = 60
LONGEST_DESCRIPTION: Final = 255
DEEPEST_NESTING: Final = 64
UNREADABLE_ID: Final = "-1"
"""OCPP 2.0.1 part 4 §4.2.3: the id of a CALLERROR for a message whose id cannot be read."""


class ErrorCode(StrEnum):
    """OCPP 2.0.1 part 4 §4.3: the codes of a CALLERROR."""

    FORMAT_VIOLATION = "FormatViolation"
    GENERIC_ERROR = "GenericError"
    INTERNAL_ERROR = "InternalError"
    MESSAGE_TYPE_NOT_SUPPORTED = "MessageTypeNotSupported"
    NOT_IMPLEMENTED = "NotImplemented"
    NOT_SUPPORTED = "NotSupported"
    OCCURRENCE_CONSTRAINT_VIOLATION = "OccurrenceConstraintViolation"
    PROPERTY_CONSTRAINT_VIOLATION = "PropertyConstraintViolation"
    PROTOCOL_ERROR = "ProtocolError"
    RPC_FRAMEWORK_ERROR = "RpcFrameworkError"
    SECURITY_ERROR = "SecurityError"
    TYPE_CONSTRAINT_VIOLATION = "TypeConstraintViolation"


@dataclass(frozen=True, slots=True)
class Call:
    """A request."""

    message_id: str
    action: str
    payload: Payload


@dataclass(frozen=True, slots=True)
class CallResult:
    """The answer to a request."""

    message_id: str
    payload: Payload


@dataclass(frozen=True, slots=True)
class CallError:
    """The refusal of a request; code and description as long as they came, so that secrets in them are found whole."""

    message_id: str
    code: str
    description: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """A frame that is none of the three. `message_id` is None where it cannot be read.

    `answers` is true for a broken answer (to which nothing is sent back), false for what may have been a request.
    """

    message_id: str | None
    code: ErrorCode
    reason: str
    answers: bool = False


def parse(raw: bytes) -> Call | CallResult | CallError | Malformed:
    """Read one frame."""
    try:
        frame = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return Malformed(None, ErrorCode.RPC_FRAMEWORK_ERROR, "the frame is not JSON")
    if not isinstance(frame, list) or not frame:
        return Malformed(None, ErrorCode.RPC_FRAMEWORK_ERROR, "the frame is not a JSON array with content")
    message_id = _readable_id(frame)
    kind = frame[0]
    if type(kind) is not int:
        return Malformed(message_id, ErrorCode.RPC_FRAMEWORK_ERROR, "the message type is not a number")
    if kind not in (2, 3, 4):
        return Malformed(message_id, ErrorCode.MESSAGE_TYPE_NOT_SUPPORTED, f"unknown message type {kind:.6g}")
    if message_id is None:
        reason = f"the message id is not a string of 1 to {LONGEST_MESSAGE_ID} characters"
        return Malformed(None, ErrorCode.RPC_FRAMEWORK_ERROR, reason, kind != 2)
    if nested_too_deeply(raw, frame):
        reason = f"the payload is nested more than {DEEPEST_NESTING} deep"
        return Malformed(message_id, ErrorCode.FORMAT_VIOLATION, reason, kind != 2)
    if kind == 2:
        return _call(message_id, frame)
    if kind == 3:
        if len(frame) != 3 or not isinstance(frame[2], dict):
            return Malformed(message_id, ErrorCode.RPC_FRAMEWORK_ERROR, "a CALLRESULT is [3, id, payload]", True)
        return CallResult(message_id, frame[2])
    if len(frame) < 3 or not isinstance(frame[2], str):
        reason = "a CALLERROR is [4, id, code, description, details]"
        return Malformed(message_id, ErrorCode.RPC_FRAMEWORK_ERROR, reason, True)
    description = frame[3] if len(frame) > 3 and isinstance(frame[3], str) else ""
    return CallError(message_id, frame[2], description)


def _call(message_id: str, frame: list[Any]) -> Call | Malformed:
    if len(frame) != 4:
        reason = "a CALL is [2, id, action, payload]"
        return Malformed(message_id, ErrorCode.RPC_FRAMEWORK_ERROR, reason)
    action, payload = frame[2], frame[3]
    if not isinstance(action, str) or not 1 <= len(action) <= LONGEST_ACTION:
        return Malformed(message_id, ErrorCode.RPC_FRAMEWORK_ERROR, "the action is not a name")
    if not isinstance(payload, dict):
        return Malformed(message_id, ErrorCode.FORMAT_VIOLATION, "the payload is not a JSON object")
    return Call(message_id, action, payload)


def _readable_id(frame: list[Any]) -> str | None:
    if len(frame) > 1 and isinstance(frame[1], str) and 1 <= len(frame[1]) <= LONGEST_MESSAGE_ID:
        return frame[1]
    return None


def nested_too_deeply(raw: bytes, value: object) -> bool:
    """Whether a parsed value is nested so deeply that code which walks it by recursion could be hurt."""
    if raw.count(b"[") + raw.count(b"{") <= DEEPEST_NESTING:
        return False
    level: list[object] = [value]
    for _ in range(DEEPEST_NESTING):
        deeper: list[object] = []
        for item in level:
            children = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
            deeper.extend(child for child in children if isinstance(child, dict | list))
        if not deeper:
            return False
        level = deeper
    return True


def call(message_id: str, action: str, payload: Payload) -> bytes:
    return orjson.dumps([2, message_id, action, payload])


def call_result(message_id: str, payload: Payload) -> bytes:
    return orjson.dumps([3, message_id, payload])


def call_error(message_id: str | None, code: str, description: str) -> bytes:
    """A CALLERROR; without a readable id it carries `UNREADABLE_ID`."""
    return orjson.dumps([4, message_id or UNREADABLE_ID, code, description[:LONGEST_DESCRIPTION], {}])
