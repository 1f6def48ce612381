"""The JSON schemas of OCPP, compiled once: what the PyPI package `ocpp` carries for a protocol version.

A violation is told by the CALLERROR code that OCPP 2.0.1 part 4 §4.3 has for it, and by the place in the payload, never
by the value: the value is the station's and may be anything.
"""

import re
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

import fastjsonschema
import orjson

from bfcerts.ocpp.canonical import Payload
from bfcerts.ocpp.frames import ErrorCode

Validator = Callable[[Any], Any]

HAS_ZONE: Final = re.compile(r"(?:[+-]\d\d:?\d\d|[zZ])\Z")
_ZONE_LEFT_OUT: Final = {
    "date-time": r"^\d{4}-[01]\d-[0-3]\d[tT][0-2]\d:[0-5]\d:[0-5]\d(?:\.\d+)?(?:[+-]\d\d:?\d\d|[zZ])?\Z"
}

_CODES: Final = {
    "type": ErrorCode.TYPE_CONSTRAINT_VIOLATION,
    "required": ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION,
    "minItems": ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION,
    "maxItems": ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION,
    "additionalProperties": ErrorCode.FORMAT_VIOLATION,
}
_SAYINGS: Final = {
    "type": "has the wrong type",
    "required": "lacks a required field",
    "minItems": "has too few items",
    "maxItems": "has too many items",
    "additionalProperties": "has an unknown field",
    "enum": "is not one of the allowed values",
    "format": "has the wrong format",
    "maxLength": "is too long",
    "maximum": "is too large",
    "minimum": "is too small",
}


class SchemaError(Exception):
    """A payload that breaks the schema of its message."""

    def __init__(self, code: ErrorCode, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


class Schemas:
    """The compiled schemas of one protocol version."""

    def __init__(self, requests: Mapping[str, Validator], responses: Mapping[str, Validator]) -> None:
        self._requests = requests
        self._responses = responses
        self.actions = frozenset(requests)

    def check_request(self, action: str, payload: Payload) -> None:
        """
        :raises SchemaError: when the payload is no request of that action.
        """
        _check(self._requests[action], payload)

    def check_response(self, action: str, payload: Payload) -> None:
        """
        :raises SchemaError: when the payload is no answer to that action.
        """
        _check(self._responses[action], payload)


def _check(validate: Validator, payload: Payload) -> None:
    try:
        validate(payload)
    except fastjsonschema.JsonSchemaValueException as error:
        rule = error.rule or ""
        code = _CODES.get(rule, ErrorCode.PROPERTY_CONSTRAINT_VIOLATION)
        place = ".".join(str(part) for part in error.path[1:]) or "the payload"
        raise SchemaError(code, f"{place} {_SAYINGS.get(rule, 'is not valid')}") from None


@cache
def load(package: str, *, zone_required: bool = True) -> Schemas:
    """Compile the schemas in a package's `schemas` folder; about two milliseconds each.

    :param package: for example `ocpp.v201`.
    :param zone_required: whether a dateTime must name its time zone, as RFC 3339 demands.
    """
    formats = {} if zone_required else _ZONE_LEFT_OUT
    requests, responses = {}, {}
    for file in (resources.files(package) / "schemas").iterdir():
        name = file.name.removesuffix(".json")
        if name != file.name:
            definition = orjson.loads(file.read_bytes().removeprefix(BOM_UTF8))
            validate = fastjsonschema.compile(definition, formats=formats, use_default=False)
            if name.endswith("Response"):
                responses[name.removesuffix("Response")] = validate
            else:
                requests[name.removesuffix("Request")] = validate
    return Schemas(requests, responses)
