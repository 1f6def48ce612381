"""Durations as people write them: “180 days”, “4 hours 30 minutes”."""

import re
from datetime import timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminTextInputWidget

from bfcerts.console.presentation import exact_span

_UNITS = {"day": "days", "hour": "hours", "minute": "minutes", "second": "seconds"}
_PART = re.compile(r"(\d{1,6})\s*(day|hour|minute|second)s?", re.IGNORECASE)


class DurationField(forms.Field):
    """A duration in words. Empty means none, where the model allows it."""

    widget = UnfoldAdminTextInputWidget

    def __init__(self, *, encoder: Any = None, **options: Any) -> None:
        super().__init__(**options)

    def prepare_value(self, value: Any) -> Any:
        return exact_span(value) if isinstance(value, timedelta) else value

    def to_python(self, value: Any) -> timedelta | None:
        """Read “7 days 4 hours”.

        :raises ValidationError: saying how to write it.
        """
        if value in self.empty_values:
            return None
        text = str(value).replace(",", " ").replace(" and ", " ").strip()
        parts = _PART.findall(text)
        if not parts or _PART.sub("", text).strip():
            raise ValidationError("Write a number with days, hours, minutes or seconds, for example “7 days 4 hours”.")
        amounts = dict.fromkeys(_UNITS.values(), 0)
        for number, unit in parts:
            amounts[_UNITS[unit.lower()]] += int(number)
        return timedelta(**amounts)

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(initial != self.to_python(data))
        except ValidationError:
            return True
