"""Request bodies: JSON that everything behind the door can hold."""

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.parsers import JSONParser

DEEPEST = 32
"""Levels of nesting; no body that means something here has more than a few."""


class StorableJSONParser(JSONParser):
    """JSON as DRF reads it, without what would fail only later: endless nesting, and halves of characters.

    :raises ParseError: when it is not JSON, or nested too deeply.
    :raises ValidationError: when a text has a lone surrogate (RFC 8259 §8.2), naming its place.
    """

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            body = super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise ParseError from error
        _check(body)
        return body


def _check(body: Any) -> None:
    open_values: list[tuple[str, int, Any]] = [("", 0, body)]
    while open_values:
        pointer, depth, value = open_values.pop()
        if depth > DEEPEST:
            raise ParseError
        match value:
            case str() if not _is_text(value):
                raise ValidationError({pointer: ["It has half of a surrogate pair (\\ud800 to \\udfff) in it."]})
            case dict():
                for name, inner in value.items():
                    if not _is_text(name):
                        raise ValidationError({pointer: ["A name in it has half of a surrogate pair in it."]})
                    open_values.append((f"{pointer}/{name}" if pointer else name, depth + 1, inner))
            case list():
                open_values += [(f"{pointer}/{n}", depth + 1, inner) for n, inner in enumerate(value)]


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
