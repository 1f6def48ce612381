"""A page of our own for one object, which refreshes itself."""

from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse

from bfcerts.console import navigation
from bfcerts.console.live import live_response
from bfcerts.console.navigation import Crumb
from inventory.admin.actions import ActionsMixin


class LivePage(ActionsMixin):
    """Shows one object on a page of its own, with what can be done with it."""

    page_template: ClassVar[str]

    def shown(self, request: HttpRequest, object_id: str) -> Any:
        """The object, with what its page needs of others.

        :raises PermissionDenied: when this person may not see it.
        :raises Http404: when there is none.
        """
        raise NotImplementedError

    def page_context(self, request: HttpRequest, target: Any) -> dict[str, Any]:
        """What the page shows of it."""
        raise NotImplementedError

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The page of one object; it refreshes itself."""
        target = self.shown(request, object_id)
        title = self.crumb_title(target)
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "crumbs": navigation.crumbs(type(target), Crumb(title)),
            "actions": self.offered(request, target),
            **self.page_context(request, target),
        }
        request.current_app = self.admin_site.name
        return live_response(request, self.page_template, context)
