"""The real routes, and two views that fail: by a defect, and because the database is away."""

from django.db import OperationalError
from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from bfcerts.urls import handler400, handler403, handler404, handler500
from bfcerts.urls import urlpatterns as real_urls


class Broken(APIView):
    def get(self, request: Request) -> Response:
        raise RuntimeError("the secret of the house")


class WithoutDatabase(APIView):
    def get(self, request: Request) -> Response:
        raise OperationalError("connection refused")


urlpatterns = [
    path("api/v1/broken", Broken.as_view()),
    path("api/v1/without-database", WithoutDatabase.as_view()),
    *real_urls,
]
__all__ = ["handler400", "handler403", "handler404", "handler500"]
