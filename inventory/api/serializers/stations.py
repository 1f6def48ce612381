"""Sessions of stations, commands to them, and what the verbs of stations carry."""

from typing import Any

from rest_framework import serializers

from bfcerts.ocpp.models import OutboxCommand, StationQuestion, StationSession

REASON = "Why; it stays in the audit history with your name."


class SessionSerializer(serializers.ModelSerializer[StationSession]):
    """One connection of a station."""

    class Meta:
        model = StationSession
        fields = [
            "id",
            "station_id",
            "node",
            "listener",
            "protocol",
            "security_profile",
            "certificate_fingerprint",
            "renewal_only",
            "address",
            "connected_at",
            "closed_at",
            "close_reason",
            "upstream",
            "upstream_state",
            "upstream_since",
            "upstream_detail",
        ]


class CommandSerializer(serializers.ModelSerializer[OutboxCommand]):
    """One command to a station, and its answer. Secret values are never shown."""

    payload = serializers.DictField(read_only=True)
    answer = serializers.DictField(read_only=True, allow_null=True)

    class Meta:
        model = OutboxCommand
        fields = [
            "id",
            "message_id",
            "station_id",
            "action",
            "payload",
            "reference",
            "correlation_id",
            "state",
            "outcome",
            "attempts",
            "session_id",
            "created_at",
            "not_before",
            "deadline",
            "sent_at",
            "finished_at",
            "answer",
            "error_code",
            "error_description",
        ]


class QuestionSerializer(serializers.ModelSerializer[StationQuestion]):
    """One question of a station to a partner, and what became of it. The answer's content is the vehicle's."""

    payload = serializers.DictField(read_only=True)

    class Meta:
        model = StationQuestion
        fields = [
            "id",
            "station_id",
            "session_id",
            "kind",
            "payload",
            "times_asked",
            "asked_at",
            "deadline",
            "state",
            "attempts",
            "answered_at",
            "accepted",
            "detail",
            "told",
            "told_at",
        ]


class ResetSerializer(serializers.Serializer[Any]):
    """When a station shall restart (OCPP 2.0.1 B11, B12)."""

    kind = serializers.ChoiceField(choices=["OnIdle", "Immediate"], required=False, default="OnIdle")
    reason = serializers.CharField(max_length=1000, help_text=REASON)
