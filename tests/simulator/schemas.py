"""The published JSON schemas of a protocol version, as they come with the `ocpp` package."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import fastjsonschema

from tests.simulator.frames import Payload


@dataclass(frozen=True, slots=True)
class SchemaProblem:
    """Which rule of the schema a payload breaks (`rule` is the JSON schema keyword) and where."""

    rule: str
    detail: str


@dataclass(frozen=True, slots=True)
class SchemaBook:
    """The schemas of one version; each is compiled when it is first needed and kept for the process."""

    package: str
    """For example ocpp.v201."""
    request_suffix: str = "Request"
    response_suffix: str = "Response"

    def knows(self, action: str) -> bool:
        return action.isalnum() and _file(self.package, action + self.request_suffix).is_file()

    def request_problem(self, action: str, payload: Payload) -> SchemaProblem | None:
        return self._problem(action + self.request_suffix, payload)

    def response_problem(self, action: str, payload: Payload) -> SchemaProblem | None:
        return self._problem(action + self.response_suffix, payload)

    def _problem(self, name: str, payload: Payload) -> SchemaProblem | None:
        try:
            _compiled(self.package, name)(payload)
        except fastjsonschema.JsonSchemaValueException as error:
            return SchemaProblem(str(error.rule), str(error.message))
        return None


def _file(package: str, name: str) -> Any:
    return resources.files(package).joinpath("schemas", f"{name}.json")


@cache
def _compiled(package: str, name: str) -> Callable[[Payload], Any]:
    schema = json.loads(_file(package, name).read_text("utf-8-sig"))
    validate: Callable[[Payload], Any] = fastjsonschema.compile(schema, use_default=False)
    return validate
