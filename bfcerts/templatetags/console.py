"""Template tags of the console; the showing itself is in `bfcerts.console.presentation`."""

from datetime import datetime, timedelta
from typing import Any

from django import template
from django.contrib.admin.views.main import ChangeList
from django.utils.safestring import SafeString

from bfcerts.console import presentation

register = template.Library()


@register.simple_tag
def moment(value: datetime | None, now: datetime | None = None) -> SafeString | str:
    return presentation.moment(value, now)


@register.simple_tag
def exact_moment(value: datetime | None) -> SafeString | str:
    return presentation.exact_moment(value)


@register.simple_tag
def copyable(value: str, label: str = "value", shown: str = "") -> SafeString | str:
    return presentation.copyable(value, label=label, shown=shown)


@register.filter
def grouped(value: str) -> str:
    return presentation.grouped(value)


@register.filter
def listener_words(value: str) -> str:
    return presentation.listener_words(value)


@register.filter
def protocol_words(value: str) -> str:
    return presentation.protocol_words(value)


@register.filter
def short(value: str) -> str:
    return presentation.short(value)


@register.filter
def exact_span(value: timedelta | None) -> str:
    return presentation.exact_span(value)


@register.filter
def document(value: Any) -> SafeString | str:
    return presentation.document(value)


@register.simple_tag
def older_url(changelist: ChangeList) -> str:
    """The next stretch of a list that was cut at its cap, by the key of the last row shown; empty elsewhere."""
    field = getattr(changelist.model_admin, "keyset_field", "")
    rows = list(changelist.result_list)
    last_page = changelist.page_num == changelist.paginator.num_pages
    if not field or not rows or not last_page or not getattr(changelist.paginator, "capped", False):
        return ""
    value = getattr(rows[-1], field)
    key = value.isoformat() if isinstance(value, datetime) else str(value)
    return str(changelist.get_query_string({f"{field}__lt": key}))


@register.simple_tag
def newest_url(changelist: ChangeList) -> str:
    """Back to the start of a list that was entered by key; empty elsewhere."""
    field = getattr(changelist.model_admin, "keyset_field", "")
    if not field or f"{field}__lt" not in changelist.params:
        return ""
    return str(changelist.get_query_string(remove=[f"{field}__lt"]))
