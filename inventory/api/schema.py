"""How the API describes itself: problems as the default answer, and the headers that every door knows."""

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from inventory.api.problems import CONTENT_TYPE

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="A request repeated with its key within 24 hours has its effect once and the same answer.",
)
IF_MATCH = "The ETag that you last read; the request is refused with 412 when the object has changed since."
IF_MATCH_REQUIRED = OpenApiParameter(
    "If-Match", OpenApiTypes.STR, OpenApiParameter.HEADER, required=True, description=IF_MATCH
)
IF_MATCH_OPTIONAL = OpenApiParameter("If-Match", OpenApiTypes.STR, OpenApiParameter.HEADER, description=IF_MATCH)
ETAG = OpenApiParameter(
    "ETag", OpenApiTypes.STR, OpenApiParameter.HEADER, response=[200], description="The version of the object."
)


class ProblemErrorSerializer(serializers.Serializer[Any]):
    """One thing that is wrong with a request."""

    pointer = serializers.CharField(help_text="Where in the request, as a JSON pointer (RFC 6901).")
    detail = serializers.CharField()


class ChangedTargetSerializer(serializers.Serializer[Any]):
    """One identity that is no longer as a plan has it."""

    identity = serializers.IntegerField()
    identifier = serializers.CharField()
    change = serializers.ChoiceField(["gone", "new", "changed"])
    planned = serializers.CharField()
    present = serializers.CharField()


class ProblemSerializer(serializers.Serializer[Any]):
    """Problem details (RFC 9457)."""

    type = serializers.CharField(help_text="urn:bfcerts:problem: and the code.")
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="What is wrong, with what, and what to do now.")
    code = serializers.CharField(help_text="For programs.")
    instance = serializers.CharField()
    correlation_id = serializers.CharField()
    errors = ProblemErrorSerializer(many=True, required=False)  # type: ignore[assignment]  # hides Serializer.errors
    reason_code = serializers.CharField(required=False, help_text="Which rule a certificate request broke.")
    changes = serializers.DictField(
        child=serializers.IntegerField(), required=False, help_text="How many targets of a plan are gone, new, changed."
    )
    changed_targets = ChangedTargetSerializer(many=True, required=False)


class DoorSchema(AutoSchema):
    """drf-spectacular's schema with our headers and problems."""

    def get_summary(self) -> str | None:
        """The first sentence of what it does; of what a collection gives by itself, what it is a collection of."""
        sentence = self.get_description().strip().split("\n\n")[0].replace("\n", " ").split(". ")[0].rstrip(".")
        prefix = {"list": "List: ", "retrieve": "One of: "}.get(getattr(self.view, "action", ""), "")
        return f"{prefix}{sentence[:1].lower() + sentence[1:]}" if prefix else sentence

    def get_override_parameters(self) -> list[Any]:
        on_one = "{" in self.path
        match self.method:
            case "POST":
                return [IDEMPOTENCY_KEY, IF_MATCH_OPTIONAL] if on_one else [IDEMPOTENCY_KEY]
            case "PATCH":
                return [IF_MATCH_REQUIRED, ETAG]
            case "GET" if self.path.endswith("}"):
                return [ETAG]
            case _:
                return []

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        problem = OpenApiResponse(ProblemSerializer, description="What is wrong, and what to do now.")
        bodies["default"] = self._get_response_for_code(  # type: ignore[no-untyped-call]  # of a library
            problem, "default", [CONTENT_TYPE], direction
        )
        return bodies
