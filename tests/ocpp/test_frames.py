"""Frames from the wire: what is read, what is refused and with which code, and that nothing hurts the reader."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bfcerts.ocpp import frames
from bfcerts.ocpp.frames import Call, CallError, CallResult, ErrorCode, Malformed
from bfcerts.ocpp.redaction import redact

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=5) | st.dictionaries(st.text(), children, max_size=5),
    max_leaves=30,
)


def test_the_three_kinds_of_frame() -> None:
    assert frames.parse(b'[2,"a1","Heartbeat",{}]') == Call("a1", "Heartbeat", {})
    assert frames.parse(b'[3,"a1",{"status":"Accepted"}]') == CallResult("a1", {"status": "Accepted"})
    assert frames.parse(b'[4,"a1","GenericError","no",{}]') == CallError("a1", "GenericError", "no")


def test_what_we_build_can_be_read() -> None:
    assert frames.parse(frames.call("a1", "Reset", {"type": "OnIdle"})) == Call("a1", "Reset", {"type": "OnIdle"})
    assert frames.parse(frames.call_result("a1", {})) == CallResult("a1", {})
    refusal = frames.call_error("a1", ErrorCode.NOT_IMPLEMENTED, "x" * 300)
    assert frames.parse(refusal) == CallError("a1", "NotImplemented", "x" * 255)


def test_a_refusal_is_not_cut_before_its_secrets_are_taken_out() -> None:
    key = "Zx9-Qk3.Lm7_Rt5*Wv1+Yb8=Nc4"
    said = "x" * (frames.LONGEST_DESCRIPTION - 10) + key

    refusal = frames.parse(json.dumps([4, "a1", "InternalError", said, {}]).encode())

    assert isinstance(refusal, CallError)
    assert key[:5] not in redact(refusal.description, [key])


@pytest.mark.parametrize(
    ("raw", "message_id", "code"),
    [
        (b"", None, ErrorCode.RPC_FRAMEWORK_ERROR),
        (b"hello", None, ErrorCode.RPC_FRAMEWORK_ERROR),
        (b'{"a":1}', None, ErrorCode.RPC_FRAMEWORK_ERROR),
        (b"[]", None, ErrorCode.RPC_FRAMEWORK_ERROR),
        (b"\xff\xfe", None, ErrorCode.RPC_FRAMEWORK_ERROR),
        (b'[2,"a1","Heartbeat",{"n":NaN}]', None, ErrorCode.RPC_FRAMEWORK_ERROR),
        (b'[2,"a1","\\ud800",{}]', None, ErrorCode.RPC_FRAMEWORK_ERROR),
        (b'["2","a1","Heartbeat",{}]', "a1", ErrorCode.RPC_FRAMEWORK_ERROR),
        (b'[true,"a1","Heartbeat",{}]', "a1", ErrorCode.RPC_FRAMEWORK_ERROR),
        (b'[9,"a1","Heartbeat",{}]', "a1", ErrorCode.MESSAGE_TYPE_NOT_SUPPORTED),
        (b"[123456789012345678901234567890,1]", None, ErrorCode.RPC_FRAMEWORK_ERROR),
        (b'[2,7,"Heartbeat",{}]', None, ErrorCode.RPC_FRAMEWORK_ERROR),
        (b'[2,"","Heartbeat",{}]', None, ErrorCode.RPC_FRAMEWORK_ERROR),
        (b'[2,"' + b"x" * 37 + b'","Heartbeat",{}]', None, ErrorCode.RPC_FRAMEWORK_ERROR),
        (b'[2,"a1","Heartbeat"]', "a1", ErrorCode.RPC_FRAMEWORK_ERROR),
        (b'[2,"a1","Heartbeat",{},{}]', "a1", ErrorCode.RPC_FRAMEWORK_ERROR),
        (b'[2,"a1",5,{}]', "a1", ErrorCode.RPC_FRAMEWORK_ERROR),
        (b'[2,"a1","",{}]', "a1", ErrorCode.RPC_FRAMEWORK_ERROR),
        (b'[2,"a1","Heartbeat",[]]', "a1", ErrorCode.FORMAT_VIOLATION),
        (b'[2,"a1","Heartbeat",null]', "a1", ErrorCode.FORMAT_VIOLATION),
    ],
)
def test_a_broken_request_is_named_by_its_code(raw: bytes, message_id: str | None, code: ErrorCode) -> None:
    frame = frames.parse(raw)
    assert isinstance(frame, Malformed)
    assert (frame.message_id, frame.code, frame.answers) == (message_id, code, False)


@pytest.mark.parametrize("raw", [b'[3,"a1"]', b'[3,"a1",[]]', b'[3,"a1",{},{}]', b'[4,"a1"]', b'[4,"a1",5,"",{}]'])
def test_a_broken_answer_is_known_as_one(raw: bytes) -> None:
    frame = frames.parse(raw)
    assert isinstance(frame, Malformed)
    assert (frame.message_id, frame.answers) == ("a1", True)


def test_an_id_that_cannot_be_read_is_answered_with_minus_one() -> None:
    assert json.loads(frames.call_error(None, ErrorCode.RPC_FRAMEWORK_ERROR, "no"))[1] == "-1"


@pytest.mark.parametrize("depth", [65, 500, 1000, 5000])
def test_deep_nesting_is_refused_before_anybody_walks_it(depth: int) -> None:
    raw = b'[2,"a1","DataTransfer",{"vendorId":"v","data":' + b"[" * depth + b"]" * depth + b"}]"
    frame = frames.parse(raw)
    assert isinstance(frame, Malformed)


def test_many_objects_side_by_side_are_not_deep() -> None:
    raw = b'[2,"a1","NotifyReport",{"reportData":[' + b",".join([b'{"a":{}}'] * 500) + b"]}]"
    assert isinstance(frames.parse(raw), Call)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_harm(raw: bytes) -> None:
    assert frames.parse(raw) is not None


@given(JSON)
def test_any_json_is_read_without_harm(value: object) -> None:
    assert frames.parse(json.dumps(value).encode()) is not None


@given(st.lists(JSON, max_size=6), st.sampled_from([2, 3, 4, 5]))
def test_any_array_that_begins_like_a_frame_is_read_without_harm(rest: list[object], kind: int) -> None:
    frame = frames.parse(json.dumps([kind, *rest]).encode())
    assert isinstance(frame, Call | CallResult | CallError | Malformed)
    assert frame.message_id is None or 1 <= len(frame.message_id) <= frames.LONGEST_MESSAGE_ID
