"""Checks a request against botocore's own model of the service, as the service does before it acts."""

import base64
import binascii
import re
from typing import Any

from botocore.model import Shape, StructureShape

from tests.acm_pca.errors import ServiceError

_TYPES: dict[str, type | tuple[type, ...]] = {"string": str, "integer": int, "long": int, "blob": bytes}


def parse_members(shape: StructureShape | None, values: Any) -> dict[str, Any]:
    """The members of a request with blobs decoded.

    :raises ServiceError: ValidationException or SerializationException for what the model does not allow.
    """
    if shape is None or not isinstance(values, dict):
        raise ServiceError("SerializationException", "The request is not a JSON object.")
    missing = [name for name in shape.required_members if name not in values]
    if missing:
        raise _invalid(missing[0], "must not be null")
    return {name: _parse(name, shape.members[name], value) for name, value in values.items() if name in shape.members}


def _parse(name: str, shape: Shape, value: Any) -> Any:
    if isinstance(shape, StructureShape):
        return parse_members(shape, value)
    if shape.type_name == "blob":
        try:
            value = base64.b64decode(value, validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise ServiceError("SerializationException", f"{name} is not base64.") from None
    expected = _TYPES.get(shape.type_name)
    if expected is not None and not isinstance(value, expected):
        raise ServiceError("SerializationException", f"{name} is of the wrong type.")
    if isinstance(value, str | bytes):
        _check_length(name, shape, value)
    if isinstance(value, str):
        _check_text(name, shape, value)
    if isinstance(value, int) and value < shape.metadata.get("min", value):
        raise _invalid(name, f"must be at least {shape.metadata['min']}")
    return value


def _check_length(name: str, shape: Shape, value: str | bytes) -> None:
    if len(value) > shape.metadata.get("max", len(value)):
        raise _invalid(name, f"must have length less than or equal to {shape.metadata['max']}")
    if len(value) < shape.metadata.get("min", 0):
        raise _invalid(name, f"must have length greater than or equal to {shape.metadata['min']}")


def _check_text(name: str, shape: Shape, value: str) -> None:
    choices = shape.metadata.get("enum")
    if choices and value not in choices:
        raise _invalid(name, f"must satisfy enum value set: {choices}")
    pattern = shape.metadata.get("pattern")
    if pattern and not re.fullmatch(pattern, value):
        raise _invalid(name, f"must satisfy regular expression pattern: {pattern}")


def _invalid(name: str, constraint: str) -> ServiceError:
    return ServiceError("ValidationException", f"Value at '{name}' failed to satisfy constraint: Member {constraint}")
