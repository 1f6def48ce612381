"""Filters as drop-downs, for questions that a field's own choices do not answer."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter


class QuestionFilter(DropdownFilter):  # type: ignore[misc]
    """A drop-down whose choices and meaning the subclass states.

    `answers` are the values with their labels, in order.
    """

    answers: tuple[tuple[str, str], ...] = ()

    @property
    def misunderstood(self) -> str:
        """What was asked and is none of the answers; else empty."""
        value = str(self.value() or "")
        return value if value and self.answers and value not in dict(self.answers) else ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(self.answers)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return self.narrow(queryset, str(value)) if value else queryset

    def narrow(self, queryset: QuerySet[Any], value: str) -> QuerySet[Any]:
        """What is left for an answer; unknown answers leave nothing out."""
        raise NotImplementedError
