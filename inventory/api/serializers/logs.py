"""Domain events and security events."""

from rest_framework import serializers

from inventory.models import Artifact, DomainEvent, SecurityEvent, StationLog


class DomainEventSerializer(serializers.ModelSerializer[DomainEvent]):
    """One entry of the append-only event log."""

    payload = serializers.DictField(read_only=True)

    class Meta:
        model = DomainEvent
        fields = [
            "id",
            "event_id",
            "type",
            "occurred_at",
            "actor",
            "reason",
            "correlation_id",
            "identity",
            "record",
            "job",
            "resulting_state",
            "payload",
        ]


class SecurityEventSerializer(serializers.ModelSerializer[SecurityEvent]):
    """One security-relevant fact, in the normal form."""

    payload = serializers.DictField(read_only=True)

    class Meta:
        model = SecurityEvent
        fields = [
            "id",
            "event_id",
            "type",
            "native_type",
            "category",
            "severity",
            "source",
            "occurred_at",
            "recorded_at",
            "identity",
            "record",
            "job",
            "session_id",
            "station_id",
            "address",
            "message",
            "technical_detail",
            "payload",
            "correlation_id",
        ]


class StationLogSerializer(serializers.ModelSerializer[StationLog]):
    """A log that a station was asked for, and how far it is."""

    class Meta:
        model = StationLog
        fields = [
            "id",
            "identity",
            "request_id",
            "log_type",
            "state",
            "station_status",
            "detail",
            "upload_until",
            "artifact",
            "actor",
            "reason",
            "correlation_id",
            "created_at",
            "finished_at",
        ]


class ArtifactSerializer(serializers.ModelSerializer[Artifact]):
    """What is kept in the artifact store."""

    class Meta:
        model = Artifact
        fields = [
            "id",
            "kind",
            "name",
            "origin",
            "identity",
            "sha256",
            "size",
            "content_type",
            "created_at",
            "retain_until",
            "deleted_at",
        ]
