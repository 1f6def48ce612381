"""The lists of the console: quick at a million rows, nothing deleted, and nothing done by a GET."""

from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.views.main import ERROR_FLAG
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

from bfcerts.console import navigation
from bfcerts.console.live import asks_for_part, only_if_changed
from bfcerts.console.navigation import Crumb
from bfcerts.console.paginator import CappedPaginator

Shown = TypeVar("Shown", bound=Model)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A filter that may know what a search did not find."""

    label: str
    query: str


def key_of(text: str) -> int:
    """The key in an address; -1, which nothing has, for what is none."""
    return int(text) if text.isdecimal() and len(text) < 19 else -1


def _say_what_was_not_understood(request: HttpRequest, response: TemplateResponse) -> None:
    """A filter that means nothing is left out; whoever followed a link must not take the whole list for its answer."""
    changelist = (response.context_data or {}).get("cl")
    for spec in getattr(changelist, "filter_specs", []):
        if complaint := getattr(spec, "complaint", ""):
            messages.warning(request, complaint)
    if ERROR_FLAG in request.GET:
        messages.warning(request, "The address had a filter that is not known here, so everything is shown.")


class ConsoleAdmin(ModelAdmin):
    """Base of every list.

    Counts are capped, pages beyond the cap go by key, there is no date hierarchy, no sorting that has no index, no
    bulk action and no deletion: what is audited stays.
    """

    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 0
    list_filter_submit = True
    actions = None
    ordering: ClassVar[tuple[str, ...]] = ("-id",)
    sortable_by: ClassVar[tuple[str, ...]] = ()
    view_on_site = False
    keyset_field: ClassVar[str] = "id"
    """Where the list is ordered by this field, newest first, it goes on by key beyond the cap; else empty."""
    unread_fields: ClassVar[tuple[str, ...]] = ()
    """Large columns that the list does not show and so does not read."""

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        queryset: QuerySet[Any] = super().get_queryset(request)
        match = request.resolver_match
        if match is not None and str(match.url_name).endswith("_changelist"):
            return queryset.defer(*self.unread_fields)
        return queryset

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """The list of a request; it also knows what an empty page advises."""
        changelist: ChangeList = super().get_changelist_instance(request)
        changelist.entry = navigation.entry_of(self.model)
        changelist.may_add = self.has_add_permission(request)
        changelist.elsewhere = self.elsewhere(changelist.query) if changelist.query else []
        return changelist

    def elsewhere(self, term: str) -> list[Elsewhere]:
        """Which filters may know what a search did not find."""
        return []

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        entry = navigation.entry_of(self.model)
        context = {
            "title": entry.title if entry else str(self.opts.verbose_name_plural),
            "crumbs": navigation.crumbs(self.model),
        }
        response: HttpResponse = super().changelist_view(request, context | (extra_context or {}))
        if not isinstance(response, TemplateResponse):
            return response
        if asks_for_part(request):
            response.template_name = "console/list_fragment.html"
            only_if_changed(request, response)
        else:
            _say_what_was_not_understood(request, response)
        return response

    def viewable(self, request: HttpRequest, objects: QuerySet[Shown], object_id: str) -> Shown:
        """The object of an address, for whoever may see it.

        :param objects: where to look, with what its page needs of others.
        """
        found = objects.filter(pk=key_of(object_id)).first()
        if found is None:
            raise Http404
        if not self.has_view_permission(request, found):
            raise PermissionDenied
        return found

    def crumb_title(self, target: Any) -> str:
        """What an object is called in the path at the top of its pages."""
        return str(target)

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Model | None = None,
    ) -> HttpResponse:
        last = Crumb(self.crumb_title(obj) if obj is not None else "Add")
        context = {"crumbs": navigation.crumbs(self.model, last)} | context
        context["show_save_and_add_another"] = False
        response: HttpResponse = super().render_change_form(request, context, add, change, form_url, obj)
        return response


class ReadOnlyAdmin(ConsoleAdmin):
    """A list of what only the system writes: state machines, logs, evidence."""

    def crumb_title(self, target: Any) -> str:
        entry = navigation.entry_of(self.model)
        return f"{entry.one[:1].upper()}{entry.one[1:]} {target.pk}" if entry else str(target)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
