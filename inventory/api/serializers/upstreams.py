"""Upstreams over the API."""

from typing import Any

from rest_framework import serializers

from inventory.api.serializers.fleet import CatalogueSerializer
from inventory.models import Upstream
from inventory.services.upstream_standing import RouteScope, RouteState


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


class UpstreamStandingSerializer(serializers.Serializer[Any]):
    """Where a charger is relayed to, and how that connection stands. No address holds a secret."""

    upstream = serializers.IntegerField(source="route.upstream.pk", default=None, allow_null=True)
    name = serializers.CharField(source="route.upstream.name", default="")
    why = serializers.CharField(source="route.why", default="")
    scope = serializers.ChoiceField([scope.value for scope in RouteScope])
    address = serializers.CharField()
    state = serializers.ChoiceField([state.value for state in RouteState])
    since = serializers.DateTimeField(allow_null=True)
    detail = serializers.CharField(help_text="Why it is away.")
    refused_calls = serializers.IntegerField(help_text="Calls of upstreams to it that were refused, all in all.")


class UpstreamCandidateSerializer(serializers.Serializer[Any]):
    """One enabled upstream, and why it applies to a charger or not."""

    upstream = serializers.IntegerField(source="upstream.pk")
    name = serializers.CharField(source="upstream.name")
    matches = serializers.BooleanField()
    won = serializers.BooleanField()
    why = serializers.CharField()
