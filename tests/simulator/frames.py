"""OCPP-J frames: CALL, CALLRESULT and CALLERROR as JSON arrays (OCPP 2.0.1 part 4, 4.2)."""

import json
from dataclasses import dataclass
from typing import Any

Payload = dict[str, Any]

CALL, CALL_RESULT, CALL_ERROR = 2, 3, 4


@dataclass(frozen=True, slots=True)
class Call:
    message_id: str
    action: str
    payload: Payload


@dataclass(frozen=True, slots=True)
class CallResult:
    message_id: str
    payload: Payload


@dataclass(frozen=True, slots=True)
class CallError:
    message_id: str
    code: str
    description: str


class FrameError(Exception):
    """What arrived is no OCPP-J frame."""


def parse(text: str | bytes) -> Call | CallResult | CallError:
    """
    :raises FrameError: where it is not one of the three.
    """
    try:
        frame = json.loads(text)
    except ValueError as error:
        raise FrameError(f"not JSON: {error}") from None
    match frame:
        case [2, str(message_id), str(action), dict(payload)]:
            return Call(message_id, action, payload)
        case [3, str(message_id), dict(payload)]:
            return CallResult(message_id, payload)
        case [4, str(message_id), str(code), str(description), dict()]:
            return CallError(message_id, code, description)
    raise FrameError("neither CALL, CALLRESULT nor CALLERROR")


def call(message_id: str, action: str, payload: Payload) -> str:
    return _text([CALL, message_id, action, payload])


def call_result(message_id: str, payload: Payload) -> str:
    return _text([CALL_RESULT, message_id, payload])


def call_error(message_id: str, code: str, description: str) -> str:
    return _text([CALL_ERROR, message_id, code, description[:255], {}])


def _text(frame: list[Any]) -> str:
    return json.dumps(frame, separators=(",", ":"))
