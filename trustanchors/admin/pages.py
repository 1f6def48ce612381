"""A page that is read, with the verbs of its object on it."""

from typing import Any

from django.http import HttpRequest, HttpResponse

from inventory.admin.actions import ActionsMixin
from inventory.admin.history import HistoryMixin


class PageWithVerbs(ActionsMixin, HistoryMixin):
    """Shows what can be done above the facts."""

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        target = self.get_object(request, object_id) if object_id else None
        context = {"actions": self.offered(request, target)} if target is not None else {}
        response: HttpResponse = super().changeform_view(request, object_id, form_url, context | (extra_context or {}))
        return response
