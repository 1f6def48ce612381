"""Every refusal of the API as problem details (RFC 9457), with the sentence that the admin shows too."""

import logging
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.exceptions import ValidationError as ModelValidationError
from django.db import OperationalError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from bfcerts.conflicts import is_conflict
from inventory.audit import current_attribution
from inventory.errors import CsrRejectedError, InventoryError, UnattributedChangeError

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:bfcerts:problem:"
DEFECT = "Something went wrong on our side and was logged. Try again; if it stays, report the correlation id."
CONFLICT = "Another change to the same things was made at this moment, and yours was not. Send the request again."
DATABASE_AWAY = "The database cannot be reached at the moment. Try again in a minute."

_SENTENCES = {
    exceptions.NotAuthenticated: "Sign in first: send a token in the header “Authorization: Token …”.",
    exceptions.ParseError: "The body is not JSON that can be read. Correct it and send the request again.",
    exceptions.NotAcceptable: "Answers are application/json; ask for that in the Accept header.",
    exceptions.UnsupportedMediaType: "Send the request body as application/json.",
    exceptions.PermissionDenied: "You may not do this. Ask an administrator for the permission.",
}


class PreconditionRequired(exceptions.APIException):
    """A change was asked for without saying which version it is meant for (RFC 6585 §3)."""

    status_code = HTTPStatus.PRECONDITION_REQUIRED
    default_detail = "Send the ETag that you last read in the header If-Match, so that nobody's change is overwritten."
    default_code = "precondition_required"


def problem(*, status: int, code: str, detail: str, instance: str, **extra: Any) -> dict[str, Any]:
    """The members of one problem document; `code` is for programs, `detail` for people."""
    document = {
        "type": f"{TYPE_PREFIX}{code}",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
        "code": code,
        "instance": instance,
        "correlation_id": _correlation_id(),
    }
    return document | extra


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response:
    """DRF's handler of exceptions: never lets a traceback out, and says what to do now."""
    request = context["request"]
    headers: dict[str, str] = {}
    status, code, detail, extra = _explain(exc)
    if isinstance(exc, exceptions.APIException):
        if header := getattr(exc, "auth_header", None):
            headers["WWW-Authenticate"] = header
        if wait := getattr(exc, "wait", None):
            headers["Retry-After"] = str(int(wait))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s %s failed", request.method, request.path, exc_info=exc)
    set_rollback()
    document = problem(status=status, code=code, detail=detail, instance=request.path, **extra)
    return Response(document, status=status, headers=headers, content_type=CONTENT_TYPE)


def _explain(exc: Exception) -> tuple[int, str, str, dict[str, Any]]:
    match exc:
        case UnattributedChangeError():
            return HTTPStatus.INTERNAL_SERVER_ERROR, exc.code, DEFECT, {}
        case CsrRejectedError():
            return exc.status, exc.code, exc.message, {"reason_code": exc.reason_code}
        case InventoryError():
            return exc.status, exc.code, exc.message, exc.extra
        case exceptions.ValidationError():
            return _validation(list(_errors(exc.detail)))
        case ModelValidationError():
            return _validation(list(_errors(exc.message_dict if hasattr(exc, "error_dict") else exc.messages)))
        case Http404() | exceptions.NotFound():
            return (
                HTTPStatus.NOT_FOUND,
                "not_found",
                "There is nothing here, or it is not for you to see.",
                {},
            )
        case PermissionDenied():
            return HTTPStatus.FORBIDDEN, "not_permitted", _SENTENCES[exceptions.PermissionDenied], {}
        case exceptions.APIException():
            code = "not_permitted" if isinstance(exc, exceptions.PermissionDenied) else exc.default_code
            return exc.status_code, code, _sentence(exc), {}
        case OperationalError() if is_conflict(exc):
            return HTTPStatus.SERVICE_UNAVAILABLE, "conflict_with_another_change", CONFLICT, {}
        case OperationalError():
            return HTTPStatus.SERVICE_UNAVAILABLE, "database_unavailable", DATABASE_AWAY, {}
        case _:
            return HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", DEFECT, {}


def _sentence(exc: exceptions.APIException) -> str:
    """Ours where DRF's says too little; what a view has said in its own words stays."""
    said = str(exc.detail) if isinstance(exc.detail, str) else str(exc.default_detail)
    if isinstance(exc, exceptions.PermissionDenied) and said != str(exc.default_detail):
        return said
    return _SENTENCES.get(type(exc), said)


def _validation(errors: list[dict[str, str]]) -> tuple[int, str, str, dict[str, Any]]:
    places = ", ".join(dict.fromkeys(error["pointer"] or "the request" for error in errors))
    return (
        HTTPStatus.BAD_REQUEST,
        "invalid",
        f"Correct {places} and send the request again.",
        {"errors": errors},
    )


def _errors(detail: Any, pointer: str = "") -> Iterator[dict[str, str]]:
    """Flatten DRF's and Django's nested messages into a pointer (RFC 6901) and a sentence each."""
    match detail:
        case dict():
            for name, inner in detail.items():
                plain = name in ("non_field_errors", "__all__")
                yield from _errors(inner, pointer if plain else f"{pointer}/{name}")
        case list() | tuple():
            for position, inner in enumerate(detail):
                nested = isinstance(inner, dict | list)
                yield from _errors(inner, f"{pointer}/{position}" if nested else pointer)
        case _:
            yield {"pointer": pointer, "detail": str(detail)}


def _correlation_id() -> str:
    try:
        return current_attribution().correlation_id
    except UnattributedChangeError:
        return ""
