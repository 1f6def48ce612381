"""Pages that refresh themselves: the same view answers with the whole page, or with the part that lives."""

from typing import Any

from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.cache import patch_vary_headers

HEADER = "X-Live"
FRAGMENT = "fragment"


def is_fragment(request: HttpRequest) -> bool:
    """Whether only the living part is asked for, as `console.js` does every few seconds."""
    return request.headers.get(HEADER) == FRAGMENT


def live_base(request: HttpRequest) -> str:
    """The template that a live page extends."""
    return "console/fragment.html" if is_fragment(request) else "console/live_page.html"


def live_response(request: HttpRequest, template: str, context: dict[str, Any]) -> TemplateResponse:
    """Answer with a live page or its fragment."""
    response = TemplateResponse(request, template, context | {"live_base": live_base(request)})
    return mark(request, response)


def mark(request: HttpRequest, response: TemplateResponse) -> TemplateResponse:
    """Tell `console.js` that this is the fragment it asked for, and not, say, the sign-in page."""
    patch_vary_headers(response, [HEADER])
    if is_fragment(request):
        response.headers[HEADER] = FRAGMENT
    return response
