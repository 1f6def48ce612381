"""Idempotency-Key on every POST: a request repeated with its key has its effect once and the same answer."""

import hashlib
import json
from collections.abc import Callable
from typing import Any, cast

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.core.exceptions import ValidationError as ModelValidationError
from django.http import Http404
from django.utils import timezone
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from inventory.errors import InventoryError
from inventory.services import repeats
from inventory.services.repeats import Answer

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
LONGEST = 255
REFUSALS = (APIException, InventoryError, ModelValidationError, Http404, PermissionDenied)
_KEPT_HEADERS = ("Location", "ETag")


def service_key(request: Request) -> str | None:
    """The key as services take it: this person's alone, and never too long."""
    key = request.headers.get(HEADER, "")
    if not key:
        return None
    return f"api:{request.user.pk}:{hashlib.sha256(key.encode()).hexdigest()}"


class IdempotentPosts(APIView):
    """Mixin of views: wraps every POST that carries the header."""

    remembers_answers = True
    """False where the answer is a secret: then a repeat is refused instead of answered."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        key = request.headers.get(HEADER, "")
        if request.method != "POST" or not key:
            return
        if len(key) > LONGEST or not key.isprintable():
            raise ValidationError({HEADER: [f"Use 1 to {LONGEST} printable characters."]})
        handler = self.post  # type: ignore[has-type]  # the subclass has it
        self.post = lambda *inner, **options: self._once(handler, key, *inner, **options)

    def _once(
        self, handler: Callable[..., Response], key: str, request: Request, *args: Any, **kwargs: Any
    ) -> Response:
        fresh: list[Response] = []

        def work() -> Answer:
            # Refusals become answers inside the transaction, so that what they leave in the logs is kept.
            try:
                response = handler(request, *args, **kwargs)
            except REFUSALS as error:
                response = self.handle_exception(error)
            fresh.append(response)
            return _answer(response, keep_body=self.remembers_answers)

        digest = repeats.digest_of(str(request.method).encode(), request.get_full_path().encode(), request.body)
        answer, earlier = repeats.once(
            user=cast(User, request.user), key=key, digest=digest, now=timezone.now(), work=work
        )
        if not earlier:
            return fresh[0]
        if not self.remembers_answers:
            raise repeats.AnsweredOnceError(
                "This request was answered already, and its answer is shown only once. Send a new one with a new key."
            )
        return Response(answer.body, status=answer.status, headers={**answer.headers, REPLAYED: "true"})


def _answer(response: Response, *, keep_body: bool) -> Answer:
    body = json.loads(JSONRenderer().render(response.data) or b"null") if keep_body else None
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    return Answer(response.status_code, body, headers)
