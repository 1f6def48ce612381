"""The append-only logs, the sessions of stations and the commands to them: read, and nothing else."""

from bfcerts.ocpp.models import OutboxCommand, StationSession
from inventory.api import filters
from inventory.api.base import Listing
from inventory.api.pagination import NewestFirst
from inventory.api.serializers.logs import DomainEventSerializer, SecurityEventSerializer
from inventory.api.serializers.stations import CommandSerializer, SessionSerializer
from inventory.models import DomainEvent, SecurityEvent


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
