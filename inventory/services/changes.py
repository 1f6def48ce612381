"""What changed of an object, when, by whom and why: its audit history in words (NFR-001)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from django.db.models import DateTimeField, DurationField, Field, ForeignKey, Model

from bfcerts.console.presentation import NOTHING, exact_span

AnyField: TypeAlias = "Field[Any, Any]"
SHOWN = 50
"""Entries on one page."""
_TECHNICAL = frozenset(
    {
        "attempts",
        "correlation_id",
        "dedupe_key",
        "excluded",
        "idempotency_key",
        "issuer_sha256",
        "lease_owner",
        "lease_until",
        "next_run_at",
        "parameters",
        "public_key_sha256",
        "risk",
        "steps",
    }
)
"""Fields of the machinery, by their names."""
_NOISE = frozenset({"updated_at", "created_at", "id"})


@dataclass(frozen=True, slots=True)
class Change:
    """One field's change."""

    name: str
    before: str
    after: str

    @property
    def technical(self) -> bool:
        """Whether only a technician wants to see it."""
        return self.name.replace(" ", "_") in _TECHNICAL


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the history."""

    number: int
    at: datetime
    actor: str
    reason: str
    correlation_id: str
    created: bool
    changes: list[Change]

    @property
    def told(self) -> list[Change]:
        """What changed for people."""
        return [change for change in self.changes if not change.technical]

    @property
    def technical(self) -> list[Change]:
        """What changed of the machinery."""
        return [change for change in self.changes if change.technical]


def entries_of(instance: Model, limit: int = SHOWN, before: int | None = None) -> list[Entry]:
    """The newest entries of an object's history; costs one query, and one for each kind of object it refers to.

    :param before: only entries older than this number.
    """
    history_model: Any = type(instance).history.model  # type: ignore[attr-defined]  # simple-history
    rows = history_model.objects.filter(id=instance.pk).order_by("-history_id")
    if before is not None:
        rows = rows.filter(history_id__lt=before)
    found = list(rows[: limit + 1])
    fields = [field for field in history_model.tracked_fields if field.name not in _NOISE]
    names = _names(found, fields)
    older = [*found[1:], None]
    return [
        Entry(
            number=row.history_id,
            at=row.history_date,
            actor=row.actor,
            reason=row.history_change_reason or "",
            correlation_id=row.correlation_id,
            created=row.history_type == "+",
            changes=list(_changes(row, previous, fields, names)) if previous is not None else [],
        )
        for row, previous in zip(found[:limit], older, strict=False)
    ]


def _changes(row: Any, previous: Any, fields: Iterable[AnyField], names: dict[str, dict[Any, str]]) -> Iterable[Change]:
    for field in fields:
        old, new = getattr(previous, field.attname), getattr(row, field.attname)
        if old != new:
            yield Change(str(field.verbose_name), _shown(field, old, names), _shown(field, new, names))


def _names(rows: list[Any], fields: Iterable[AnyField]) -> dict[str, dict[Any, str]]:
    """What the objects that a foreign key changed between are called; asked only for those that changed."""
    names: dict[str, dict[Any, str]] = {}
    for field in fields:
        if not isinstance(field, ForeignKey):
            continue
        keys = {getattr(row, field.attname) for row in rows}
        if len(keys) > 1:
            related = field.related_model._default_manager.in_bulk([key for key in keys if key is not None])
            names[field.attname] = {key: str(item) for key, item in related.items()}
    return names


def _shown(field: AnyField, value: Any, names: dict[str, dict[Any, str]]) -> str:
    if value in (None, "", [], {}):
        return NOTHING
    if field.attname in names:
        return names[field.attname].get(value, f"#{value}")
    if field.flatchoices:
        return str(dict(field.flatchoices).get(value, value))
    if isinstance(field, DateTimeField):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(field, DurationField):
        return exact_span(value)
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return str(value)
