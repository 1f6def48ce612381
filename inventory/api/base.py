"""What every view of the API has: JSON in and out, cursor pages, view permission, ETags, attributed verbs."""

from collections.abc import Callable
from typing import Any, ClassVar, cast

from django.contrib.auth.models import User
from django.db.models import Model, QuerySet
from django.urls import reverse
from rest_framework import mixins, serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import BasePermission
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from inventory.actors import Actor
from inventory.api.conditional import etag_of, on_version
from inventory.api.idempotency import IdempotentPosts
from inventory.api.pagination import NewestFirst
from inventory.api.parsers import StorableJSONParser
from inventory.api.schema import DoorSchema
from inventory.models import CertificateJob


class MayView(BasePermission):
    """Whoever uses a model's doors may view it. What a verb needs beyond that is checked in its service."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        queryset: QuerySet[Model] | None = getattr(view, "queryset", None)
        if queryset is None:
            return False
        options = queryset.model._meta
        user = request.user
        return bool(user.is_authenticated and user.has_perm(f"{options.app_label}.view_{options.model_name}"))


class ReasonSerializer(serializers.Serializer[Any]):
    """What every verb asks for."""

    reason = serializers.CharField(max_length=1000, help_text="Why; it stays in the audit history with your name.")


class RunNowSerializer(ReasonSerializer):
    """A job that is to be taken up now."""

    override_forecast = serializers.BooleanField(
        default=False,
        help_text="Make a server certificate although chargers could not reconnect; a permission of its own.",
    )


class Door(IdempotentPosts, GenericViewSet[Any]):
    """Base of every collection."""

    renderer_classes = [JSONRenderer]
    parser_classes = [StorableJSONParser]
    permission_classes = [MayView]
    pagination_class = NewestFirst
    lookup_value_regex = "[0-9]{1,18}"
    schema = DoorSchema()

    list_serializer_class: ClassVar[type[serializers.BaseSerializer[Any]] | None] = None
    """What a list shows of each, where that is less than the detail."""
    unlisted_fields: ClassVar[tuple[str, ...]] = ()
    """Large columns that only the detail reads."""

    def get_queryset(self) -> QuerySet[Any]:
        queryset = super().get_queryset()
        return queryset.defer(*self.unlisted_fields) if self.action == "list" else queryset

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Any]]:
        if self.action == "list" and self.list_serializer_class is not None:
            return self.list_serializer_class
        return super().get_serializer_class()

    @property
    def actor(self) -> Actor:
        """The person or integration that signed in."""
        return Actor.person(cast(User, self.request.user))

    def asked(self, serializer_class: type[serializers.BaseSerializer[Any]]) -> dict[str, Any]:
        """The checked body of a verb."""
        return self.checked(serializer_class(data=self.request.data))

    def checked(self, serializer: serializers.BaseSerializer[Any]) -> dict[str, Any]:
        """The values of a body; what it does not know it refuses, so that a misspelt name is not taken for done.

        :raises ValidationError: naming what is wrong by its place.
        """
        known = set(getattr(serializer, "fields", ()))
        if isinstance(self.request.data, dict) and (unknown := set(self.request.data) - known):
            sentence = f"There is no such field; use {', '.join(sorted(known))}."
            raise ValidationError({name: [sentence] for name in sorted(unknown)})
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def carry_out(self, target: Model, work: Callable[[], Any]) -> Any:
        """Call a service on the version of the target that the caller has seen."""
        return on_version(self.request, target, work)

    def shown(self, instance: Model) -> Response:
        """An object of this collection, read again, as the answer of a verb."""
        current = self.get_queryset().get(pk=instance.pk)
        return Response(self.get_serializer(current).data, headers={"ETag": etag_of(current)})

    def made(self, instance: Model) -> Response:
        """Something new in this collection: 201, the object, and where it is."""
        current = self.get_queryset().get(pk=instance.pk)
        headers = {"ETag": etag_of(current), **location(self.basename, current)}
        return Response(self.get_serializer(current).data, status=status.HTTP_201_CREATED, headers=headers)


class Listing(mixins.ListModelMixin, mixins.RetrieveModelMixin, Door):
    """A collection that is read."""

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        instance = self.get_object()
        return Response(self.get_serializer(instance).data, headers={"ETag": etag_of(instance)})


def location(route: str, instance: Model) -> dict[str, str]:
    """The Location header of something made."""
    return {"Location": reverse(f"api:{route}-detail", args=[instance.pk])}


def job_started(job: CertificateJob, view: Door) -> Response:
    """The answer of a verb that works on: 202, the job, and where to look how it goes."""
    from inventory.api.serializers.certificates import JobSerializer

    body = JobSerializer(job, context=view.get_serializer_context()).data
    headers = location("certificate-jobs", job)
    return Response(body, status=status.HTTP_202_ACCEPTED, headers=headers)
