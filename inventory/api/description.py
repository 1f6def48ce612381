"""The API's own description, told to those who may use the API."""

from typing import Any

from drf_spectacular.views import SpectacularAPIView
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response


class DescriptionView(SpectacularAPIView):
    """OpenAPI; refused like everything else to whoever has not signed in."""

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        final: Response = super().finalize_response(request, response, *args, **kwargs)
        if final.exception:
            # Problem details are JSON, whatever form of the description was asked for.
            final.accepted_renderer, final.accepted_media_type = JSONRenderer(), JSONRenderer.media_type
        return final
