"""The real routes, and views that fail: by a defect, without the database, and because of another change."""

from django.db import OperationalError, connection
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


class InTheWay(APIView):
    def get(self, request: Request) -> Response:
        with connection.cursor() as cursor:
            cursor.execute("DO $$ BEGIN RAISE deadlock_detected; END $$")
        raise AssertionError


urlpatterns = [
    path("api/v1/in-the-way", InTheWay.as_view()),
    path("api/v1/broken", Broken.as_view()),
    path("api/v1/without-database", WithoutDatabase.as_view()),
    *real_urls,
]
__all__ = ["handler400", "handler403", "handler404", "handler500"]
