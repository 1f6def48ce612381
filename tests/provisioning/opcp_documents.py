"""The published OpenAPI documents of OPCP, read in place where they are present, with their known faults put right."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it has no types of its own

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "opcp"
_WRONG_PATTERNS = ("cpsV2GRootCertificateFingerprint", "cpsRootCertificateDN", "distinguishedName")
"""A fingerprint with the pattern of a UUID, and the patterns of name and fingerprint swapped."""


def document(name: str) -> dict[str, Any] | None:
    """One of the documents, or None where they are not present."""
    path = FOLDER / f"{name}.json"
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def faults(name: str, path: str, method: str, status: str, answer: Any) -> list[str]:
    """What a document says is wrong with an answer; nothing where it is not present."""
    whole = document(name)
    if whole is None:
        return []
    content = whole["paths"][path][method]["responses"][status]["content"]["application/json"]
    schema = _resolved(content["schema"], whole)
    return [error.message for error in Draft202012Validator(schema).iter_errors(answer)]


def _resolved(schema: Any, whole: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_resolved(item, whole) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        file, _, pointer = str(schema["$ref"]).partition("#/")
        source = whole if not file else document(file.removeprefix("./").removesuffix(".json")) or {}
        for part in pointer.split("/"):
            source = source[part]
        return _resolved(source, whole)
    found = {name: _resolved(value, whole) for name, value in schema.items()}
    found.pop("maxProperties", None)
    for name in _WRONG_PATTERNS:
        if isinstance(found.get("properties"), dict) and name in found["properties"]:
            found["properties"][name].pop("pattern", None)
    return found
