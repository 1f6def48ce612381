"""API tokens of the person who asks: made, listed and revoked by themselves; shown once, stored hashed."""

from datetime import timedelta
from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from knox.auth import TokenAuthentication
from knox.models import AuthToken
from rest_framework import serializers, status
from rest_framework.authentication import BasicAuthentication, SessionAuthentication
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from inventory.api.idempotency import IdempotentPosts
from inventory.api.parsers import StorableJSONParser
from inventory.api.schema import DoorSchema

DEFAULT_HOURS = 10
LONGEST_HOURS = 24 * 90


class TokenRequestSerializer(serializers.Serializer[Any]):
    """How long the token shall work."""

    lifetime_hours = serializers.IntegerField(
        min_value=1, max_value=LONGEST_HOURS, required=False, default=DEFAULT_HOURS
    )


class TokenSerializer(serializers.Serializer[Any]):
    """A token without its secret; `key` is its beginning, by which it is revoked."""

    key = serializers.CharField(source="token_key")
    created = serializers.DateTimeField()
    expires = serializers.DateTimeField(source="expiry")


class NewTokenSerializer(TokenSerializer):
    """A new token. This is the only time that it is shown."""

    token = serializers.CharField()


class TokenViewSet(IdempotentPosts, GenericViewSet[Any]):
    """Your own tokens."""

    renderer_classes = [JSONRenderer]
    parser_classes = [StorableJSONParser]
    permission_classes = [IsAuthenticated]
    pagination_class = None
    filter_backends: list[Any] = []
    serializer_class = TokenSerializer
    lookup_field = "key"
    lookup_value_regex = "[0-9a-f]{15}"
    schema = DoorSchema()
    queryset = AuthToken.objects.none()
    remembers_answers = False

    def get_authenticators(self) -> list[Any]:
        """A token cannot make further tokens: one that leaks must end when it ends."""
        by_password: list[Any] = [BasicAuthentication(), SessionAuthentication()]
        request: Request | None = getattr(self, "request", None)
        making = request is not None and request.method == "POST"
        return by_password if making else [TokenAuthentication(), *by_password]

    @extend_schema(request=TokenRequestSerializer, responses={201: NewTokenSerializer})
    def create(self, request: Request) -> Response:
        """Sign in with user name and password (Basic), or with a session, for a token."""
        asked = TokenRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        lifetime = timedelta(hours=asked.validated_data["lifetime_hours"])
        made, token = AuthToken.objects.create(user=request.user, expiry=lifetime)
        body = TokenSerializer(made).data | {"token": token}
        return Response(body, status=status.HTTP_201_CREATED, headers={"Cache-Control": "no-store"})

    @extend_schema(responses=TokenSerializer(many=True))
    def list(self, request: Request) -> Response:
        """Your tokens that work, newest first."""
        tokens = AuthToken.objects.filter(user=request.user).order_by("-created")
        return Response(TokenSerializer(tokens, many=True).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, key: str) -> Response:
        """Revoke one of your tokens; it stops working at once."""
        get_object_or_404(AuthToken, user=request.user, token_key=key).delete()
        return Response(status=status.HTTP_204_NO_CONTENT)
