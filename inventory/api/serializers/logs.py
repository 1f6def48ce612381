"""Domain events and security events."""

from rest_framework import serializers

from inventory.models import DomainEvent, SecurityEvent


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
