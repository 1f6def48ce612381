"""What every address of the pools has around it: who asks, how much, in which words it is refused."""

import hashlib
import json
import logging
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from django.conf import settings
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from inventory.audit import current_attribution
from inventory.errors import InventoryError
from provisioning.pools import callers
from provisioning.pools.callers import Caller
from provisioning.pools.errors import PoolError, TooManyRequestsError

logger = logging.getLogger(__name__)

LARGEST_BODY: Final = 262144
DEFECT: Final = (
    "Something went wrong on our side and was logged. Send the request again; if it stays, report the traceId."
)
BUSY: Final = "The pools cannot be reached at the moment. Send the request again in a moment."
_HALF_CHARACTER: Final = re.compile("[\ud800-\udfff\x00]")
_STATUSES: Final = frozenset({400, 401, 403, 404, 429, 503})


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a caller that is known."""

    caller: Caller
    request: HttpRequest
    body: dict[str, Any]
    now: datetime

    def flag(self, header: str, *, default: bool) -> bool:
        """A header that is true or false.

        :raises PoolError: for anything else.
        """
        value = str(self.request.headers.get(header, "")).strip().lower()
        if value not in ("", "true", "false"):
            raise PoolError(f"{header} : must be true or false")
        return default if not value else value == "true"

    def asked(self, name: str) -> str:
        """A parameter of the query; empty without it."""
        return str(self.request.GET.get(name, ""))[:200]


Handler = Callable[..., HttpResponse]


def door(**handlers: Handler) -> Callable[..., HttpResponse]:
    """The view of one address.

    :param handlers: by method in lower case; each is given the `Call` and the parts of the path.
    """

    @csrf_exempt
    def view(request: HttpRequest, **parts: str) -> HttpResponse:
        if not settings.CONFIGURATION.pools_enabled:
            raise Http404
        handler = handlers.get((request.method or "").lower())
        if handler is None:
            allowed = ", ".join(sorted(name.upper() for name in handlers))
            return refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"Use {allowed} here.", Allow=allowed)
        now = timezone.now()
        try:
            caller = callers.known(
                token=_token(request),
                certificate_sha256=_certificate(request),
                address=str(request.META.get("REMOTE_ADDR", "")),
                now=now,
            )
            return handler(Call(caller, request, _body(request), now), **parts)
        except TooManyRequestsError as error:
            retry = {"Retry-After": str(max(1, round(error.seconds)))}
            return refusal(HTTPStatus.TOO_MANY_REQUESTS, error.message, **retry)
        except InventoryError as error:
            status = error.status if error.status in _STATUSES else HTTPStatus.BAD_REQUEST
            challenge = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
            return refusal(status, error.message, **challenge)
        except OperationalError:
            logger.exception("a request of the pools met the database in trouble")
            return refusal(HTTPStatus.SERVICE_UNAVAILABLE, BUSY, **{"Retry-After": "5"})
        except Exception:  # whatever it is, a caller gets OPCP's shape and no traceback
            logger.exception("a request of the pools failed")
            return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, DEFECT)

    return view


def refusal(status: int, sentence: str, **headers: str) -> JsonResponse:
    """An error as OPCP has it; the trace id is the correlation id of what was attempted."""
    body = {"errorMessages": [sentence], "traceId": trace_id()}
    return JsonResponse(body, status=status, headers=headers)


def trace_id() -> str:
    return str(uuid.UUID(current_attribution().correlation_id))


def _token(request: HttpRequest) -> str:
    scheme, _, token = str(request.headers.get("Authorization", "")).partition(" ")
    return token.strip()[:1000] if scheme.lower() == "bearer" else ""


def _certificate(request: HttpRequest) -> str:
    """Of the TLS handshake that ended in this process, where it asked for a certificate. No header counts."""
    shown = getattr(request.META.get("gunicorn.socket"), "getpeercert", None)
    der = shown(True) if shown is not None else None
    return hashlib.sha256(der).hexdigest() if der else ""


def _body(request: HttpRequest) -> dict[str, Any]:
    """
    :raises PoolError: for a body that is no JSON object of a size that is read.
    """
    length = str(request.META.get("CONTENT_LENGTH") or "0")
    if not length.isdigit() or int(length) > LARGEST_BODY:
        raise PoolError(f"A body has at most {LARGEST_BODY} octets.")
    if int(length) == 0:
        return {}
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        raise PoolError("The body is not JSON that can be read.") from None
    if not isinstance(body, dict):
        raise PoolError("The body is not a JSON object.")
    if _unstorable(body):
        raise PoolError("The body holds characters that cannot be stored.")
    return body


def _unstorable(body: dict[str, Any]) -> bool:
    texts = [*body, *(value for value in body.values() if isinstance(value, str))]
    lists = (value for value in body.values() if isinstance(value, list))
    texts += [item for value in lists for item in value if isinstance(item, str)]
    return any(_HALF_CHARACTER.search(text) for text in texts)
