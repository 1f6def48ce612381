"""Filters as drop-downs and fields. What is asked and means nothing is left out, and said."""

from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.contrib.admin import FieldListFilter
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter, FieldTextFilter
from unfold.widgets import INPUT_CLASSES


def _not_known(value: str, title: str, answers: list[str]) -> str:
    return f"“{value}” is no choice of the filter “{title}”, so it is left out. It knows: {', '.join(answers)}."


class QuestionFilter(DropdownFilter):
    """A drop-down whose choices and meaning the subclass states.

    `answers` are the values with their labels, in order.
    """

    answers: tuple[tuple[str, str], ...] = ()

    @property
    def complaint(self) -> str:
        """What is wrong with what was asked; else empty."""
        value = str(self.value() or "")
        if not value or not self.answers or value in dict(self.answers):
            return ""
        return _not_known(value, self.title, [label for _, label in self.answers])

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(self.answers)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return self.narrow(queryset, str(value)) if value else queryset

    def narrow(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        """What is left for an answer; unknown answers leave nothing out."""
        raise NotImplementedError


class ChoiceFilter(ChoicesDropdownFilter):
    """A drop-down of a field's own choices."""

    @property
    def complaint(self) -> str:
        """What is wrong with what was asked; else empty."""
        value = str(self.value() or "")
        answers = {str(answer): str(label) for answer, label in self.field.flatchoices}
        if not value or value in answers:
            return ""
        return _not_known(value, self.title, [label or "none" for label in answers.values()])

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        narrowed: QuerySet[Any] = queryset if self.complaint else super().queryset(request, queryset)
        return narrowed


class WordsFilter(FieldTextFilter):
    """Part of a text. In an address it goes by the field's own name, as in the API: `?site=Depot`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.lookup_kwarg = self.field_path
        self.lookup_val = self.used_parameters.get(self.field_path)

    def expected_parameters(self) -> list[str | None]:
        return [self.field_path]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        words = str(self.value() or "").strip()
        return queryset.filter(**{f"{self.field_path}__icontains": words}) if words else queryset


_DAY, _MINUTE = "%Y-%m-%d", "%Y-%m-%d %H:%M"


def _span_of(text: str) -> tuple[datetime, datetime] | None:
    """The day or the minute that a text names, in UTC, and its end."""
    for form, length in ((_DAY, timedelta(days=1)), (_MINUTE, timedelta(minutes=1))):
        try:
            begins = datetime.strptime(text.replace("T", " ").strip(), form).replace(tzinfo=UTC)
            return begins, begins + length
        except (ValueError, OverflowError):
            continue
    return None


class PeriodForm(forms.Form):
    """From when until when."""

    def __init__(self, name: str, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for end, words in (("from", "From"), ("to", "Until, that included")):
            attributes = {"placeholder": "2026-01-31 or 2026-01-31 14:05", "class": " ".join(INPUT_CLASSES)}
            self.fields[f"{name}_{end}"] = forms.CharField(
                label=words, required=False, widget=forms.TextInput(attrs={**attributes, "aria-label": words})
            )


class PeriodFilter(FieldListFilter):
    """From a day or a minute to another, both included, in UTC: `?occurred_at_from=2026-01-30`."""

    template = "console/filters_period.html"

    def _asked(self, end: str) -> str:
        values = self.used_parameters.get(f"{self.field_path}_{end}") or [""]
        return str(values[-1] if isinstance(values, list) else values).strip()

    @property
    def complaint(self) -> str:
        """What is wrong with what was asked; else empty."""
        unread = [text for end in ("from", "to") if (text := self._asked(end)) and _span_of(text) is None]
        if unread:
            return (
                f"“{unread[0]}” is no time that the filter “{self.title}” can read, so it is left out. "
                "Write a day as 2026-01-31, or a minute as 2026-01-31 14:05, in UTC."
            )
        begins, ends = _span_of(self._asked("from")), _span_of(self._asked("to"))
        if begins and ends and ends[1] <= begins[0]:
            return f"The filter “{self.title}” ends before it begins, so nothing can be shown."
        return ""

    def expected_parameters(self) -> list[str | None]:
        return [f"{self.field_path}_from", f"{self.field_path}_to"]

    def has_output(self) -> bool:
        return True

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if begins := _span_of(self._asked("from")):
            queryset = queryset.filter(**{f"{self.field_path}__gte": begins[0]})
        if ends := _span_of(self._asked("to")):
            queryset = queryset.filter(**{f"{self.field_path}__lt": ends[1]})
        return queryset

    def choices(self, changelist: Any) -> Any:
        data = {f"{self.field_path}_{end}": self._asked(end) for end in ("from", "to")}
        yield {"form": PeriodForm(self.field_path, data=data)}
