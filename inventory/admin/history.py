"""The history page of an object."""

from typing import Any, ClassVar

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from bfcerts.console import navigation
from bfcerts.console.modeladmin import ConsoleAdmin
from bfcerts.console.navigation import Crumb
from inventory.services.changes import SHOWN, entries_of


class HistoryMixin(ConsoleAdmin):
    """Gives a ModelAdmin the history page of its objects, from our own history tables."""

    object_history_template: ClassVar[str] = "admin/console/history.html"

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        instance = self.get_object(request, object_id)
        if instance is None:
            raise Http404
        if not self.has_view_permission(request, instance):
            raise PermissionDenied
        before = request.GET.get("before", "")
        entries = entries_of(instance, SHOWN + 1, int(before) if before.isdecimal() else None)
        options = instance._meta
        page = reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[instance.pk])
        context = {
            **self.admin_site.each_context(request),
            "title": f"History of {instance}",
            "crumbs": navigation.crumbs(type(instance), Crumb(str(instance), page), Crumb("History")),
            "entries": entries[:SHOWN],
            "older": entries[SHOWN - 1].number if len(entries) > SHOWN else None,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, self.object_history_template, context | (extra_context or {}))
