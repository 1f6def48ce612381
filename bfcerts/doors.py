"""The web process's own answers: liveness, readiness, and errors in the look of where they happened."""

from http import HTTPStatus

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from inventory.api import problems

API_PREFIX = "/api/"


def healthz(request: HttpRequest) -> HttpResponse:
    """Liveness: the process answers. It asks nothing of anybody else."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> HttpResponse:
    """Readiness: the database can be reached."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return JsonResponse({"status": "unavailable", "database": "unreachable"}, status=503)
    return JsonResponse({"status": "ok", "database": "reachable"})


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _refuse(request, HTTPStatus.BAD_REQUEST, "bad_request", "The request could not be understood.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _refuse(request, HTTPStatus.FORBIDDEN, "not_permitted", "You may not do this. Ask an administrator.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _refuse(request, HTTPStatus.NOT_FOUND, "not_found", "There is nothing at this address.")


def server_error(request: HttpRequest) -> HttpResponse:
    return _refuse(request, HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", problems.DEFECT)


def _refuse(request: HttpRequest, status: HTTPStatus, code: str, sentence: str) -> HttpResponse:
    if request.path.startswith(API_PREFIX):
        document = problems.problem(status=status, code=code, detail=sentence, instance=request.path)
        return JsonResponse(document, status=status, content_type=problems.CONTENT_TYPE)
    return render(request, f"{status.value}.html", {"sentence": sentence}, status=status)
