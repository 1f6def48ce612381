"""Upstreams over the API."""

from typing import Any

from rest_framework import serializers

from inventory.api.serializers.fleet import CatalogueSerializer
from inventory.models import Upstream


class UpstreamSerializer(CatalogueSerializer):
    """A CSMS that chargers are relayed to. `credential` names an entry of the gateway's environment."""

    class Meta:
        model = Upstream
        fields = [
            "id",
            "name",
            "url",
            "cohort",
            "identity",
            "enabled",
            "when_away",
            "credential",
            "ca_bundle",
            "notes",
            "updated_at",
            "reason",
        ]
        read_only_fields = ["updated_at"]


class UpstreamCandidateSerializer(serializers.Serializer[Any]):
    """One enabled upstream, and why it applies to a charger or not."""

    upstream = serializers.IntegerField(source="upstream.pk")
    name = serializers.CharField(source="upstream.name")
    matches = serializers.BooleanField()
    won = serializers.BooleanField()
    why = serializers.CharField()
