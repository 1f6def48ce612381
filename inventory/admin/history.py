"""The history of an object: what changed, when, by whom and why (NFR-001)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, TypeAlias

from django.core.exceptions import PermissionDenied
from django.db.models import DateTimeField, DurationField, Field, ForeignKey, Model
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from bfcerts.console import navigation
from bfcerts.console.navigation import Crumb
from bfcerts.console.presentation import NOTHING, exact_span

AnyField: TypeAlias = "Field[Any, Any]"
SHOWN = 50
_NOISE = frozenset({"updated_at", "created_at", "id"})


@dataclass(frozen=True, slots=True)
class Change:
    """One field's change."""

    name: str
    before: str
    after: str


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


def entries_of(instance: Model, limit: int = SHOWN, before: int | None = None) -> list[Entry]:
    """The newest entries of an object's history; costs one query, and one for each kind of object it refers to.

    :param before: only entries older than this number.
    """
    history_model: Any = type(instance).history.model  # type: ignore[attr-defined]
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


class HistoryMixin:
    """Gives a ModelAdmin the history page of its objects, from our own history tables."""

    object_history_template: ClassVar[str] = "admin/console/history.html"

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        instance = self.get_object(request, object_id)  # type: ignore[attr-defined]
        if instance is None:
            raise Http404
        if not self.has_view_permission(request, instance):  # type: ignore[attr-defined]
            raise PermissionDenied
        before = request.GET.get("before", "")
        entries = entries_of(instance, SHOWN + 1, int(before) if before.isdecimal() else None)
        options = instance._meta
        page = reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[instance.pk])
        context = {
            **self.admin_site.each_context(request),  # type: ignore[attr-defined]
            "title": f"History of {instance}",
            "crumbs": navigation.crumbs(type(instance), Crumb(str(instance), page), Crumb("History")),
            "entries": entries[:SHOWN],
            "older": entries[SHOWN - 1].number if len(entries) > SHOWN else None,
        }
        request.current_app = self.admin_site.name  # type: ignore[attr-defined]
        return TemplateResponse(request, self.object_history_template, context | (extra_context or {}))
