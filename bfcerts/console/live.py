"""Pages and lists that refresh themselves: the same view answers with the whole page, or with the part that lives.

`console.js` asks every few seconds, with the entity tag of what it shows; where nothing has changed it is told just
that (RFC 9110 §15.4.5).
"""

import hashlib
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.template.response import SimpleTemplateResponse, TemplateResponse

HEADER = "X-Live"
FRAGMENT = "fragment"
MARK = "<!--live-->"
"""How a fragment begins, so that `console.js` does not take the sign-in page for one."""


def asks_for_part(request: HttpRequest) -> bool:
    """Whether only the part that lives is wanted."""
    return request.headers.get(HEADER) == FRAGMENT


def live_base(request: HttpRequest) -> str:
    """The template that a live page extends."""
    return "console/fragment.html" if asks_for_part(request) else "console/live_page.html"


def live_response(request: HttpRequest, template: str, context: dict[str, Any]) -> TemplateResponse:
    """Answer with a live page or its fragment."""
    response = TemplateResponse(request, template, context | {"live_base": live_base(request)})
    if asks_for_part(request):
        only_if_changed(request, response)
    return response


def only_if_changed(request: HttpRequest, response: SimpleTemplateResponse) -> None:
    """Once it is rendered, give the answer its entity tag, or say that whoever asks has it already."""

    def compare(rendered: HttpResponse) -> HttpResponse:
        tag = f'"{hashlib.sha256(rendered.content).hexdigest()[:32]}"'
        if request.headers.get("If-None-Match") == tag:
            return HttpResponseNotModified(headers={"ETag": tag})
        rendered.headers["ETag"] = tag
        return rendered

    response.add_post_render_callback(compare)
