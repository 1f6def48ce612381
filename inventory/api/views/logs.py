"""The append-only logs, the sessions of stations and the commands to them: read, and nothing else."""

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request

from bfcerts.ocpp.models import OutboxCommand, StationQuestion, StationSession
from inventory.api import filters
from inventory.api.base import Listing
from inventory.api.pagination import NewestFirst
from inventory.api.serializers.logs import (
    ArtifactSerializer,
    DomainEventSerializer,
    SecurityEventSerializer,
    StationLogSerializer,
)
from inventory.api.serializers.stations import CommandSerializer, QuestionSerializer, SessionSerializer
from inventory.downloads import downloaded
from inventory.models import Artifact, DomainEvent, SecurityEvent, StationLog
from inventory.services import artifacts


class DomainEventViewSet(Listing):
    """What became of identities, certificates and jobs."""

    queryset = DomainEvent.objects.all()
    serializer_class = DomainEventSerializer
    filterset_class = filters.DomainEventFilter


class SecurityEventViewSet(Listing):
    """Security-relevant facts, in one normal form."""

    queryset = SecurityEvent.objects.all()
    serializer_class = SecurityEventSerializer
    filterset_class = filters.SecurityEventFilter


class LatestConnectionFirst(NewestFirst):
    """Sessions have no running number."""

    ordering = ("-connected_at", "-id")


class SessionViewSet(Listing):
    """Connections of stations, open and past."""

    queryset = StationSession.objects.all()
    serializer_class = SessionSerializer
    filterset_class = filters.SessionFilter
    pagination_class = LatestConnectionFirst
    lookup_value_regex = "[0-9a-f-]{36}"


class CommandViewSet(Listing):
    """Commands to stations and their answers."""

    queryset = OutboxCommand.objects.defer("secret_payload")
    serializer_class = CommandSerializer
    filterset_class = filters.CommandFilter


class QuestionViewSet(Listing):
    """Questions of stations to partners, and what was answered."""

    queryset = StationQuestion.objects.all()
    serializer_class = QuestionSerializer
    filterset_class = filters.QuestionFilter


class StationLogViewSet(Listing):
    """Logs that stations were asked for."""

    queryset = StationLog.objects.all()
    serializer_class = StationLogSerializer
    filterset_class = filters.StationLogFilter


class ArtifactViewSet(Listing):
    """What is kept in the artifact store: security logs, released bundles, issued chains."""

    queryset = Artifact.objects.all()
    serializer_class = ArtifactSerializer
    filterset_class = filters.ArtifactFilter

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY}, filters=False)
    @action(detail=True, pagination_class=None, filter_backends=[])
    def content(self, request: Request, pk: str) -> StreamingHttpResponse:
        """The bytes that were kept; that you took them is recorded."""
        artifact = self.get_object()
        return downloaded(artifact, artifacts.read(artifact=artifact, actor=self.actor))
