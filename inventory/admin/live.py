"""Pages that refresh themselves: the same view answers with the whole page, or with the part that lives."""

from typing import Any

from django.http import HttpRequest
from django.template.response import TemplateResponse

HEADER = "X-Live"
FRAGMENT = "fragment"
MARK = "<!--live-->"
"""How a fragment begins, so that `console.js` does not take the sign-in page for one."""


def live_base(request: HttpRequest) -> str:
    """The template that a live page extends; `console.js` asks for the fragment alone every few seconds."""
    only_part = request.headers.get(HEADER) == FRAGMENT
    return "console/fragment.html" if only_part else "console/live_page.html"


def live_response(request: HttpRequest, template: str, context: dict[str, Any]) -> TemplateResponse:
    """Answer with a live page or its fragment."""
    return TemplateResponse(request, template, context | {"live_base": live_base(request)})
