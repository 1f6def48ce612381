"""Upstreams: the CSMSs that chargers are relayed to."""

from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from inventory.api.filters import Narrowing
from inventory.api.serializers.upstreams import UpstreamCandidateSerializer, UpstreamSerializer
from inventory.api.views.fleet import CatalogueDoor
from inventory.choices import SubjectKind
from inventory.models import ManagedIdentity, Upstream
from inventory.services import upstreams

_STATION = OpenApiParameter("station", OpenApiTypes.STR, required=True, description="The charger's station id.")


class UpstreamFilter(Narrowing):
    """Upstreams."""

    class Meta:
        model = Upstream
        fields = ["cohort", "identity", "enabled", "when_away"]


class UpstreamViewSet(CatalogueDoor):
    """Which chargers are relayed to which CSMS."""

    queryset = Upstream.objects.all()
    serializer_class = UpstreamSerializer
    filterset_class = UpstreamFilter

    @extend_schema(parameters=[_STATION], responses=UpstreamCandidateSerializer(many=True), filters=False)
    @action(detail=False, pagination_class=None, filter_backends=[])
    def applying(self, request: Request) -> Response:
        """Where a charger is relayed to, and why: the enabled upstreams, best first."""
        station = request.query_params.get("station", "")
        if not station:
            return Response([])
        identity = get_object_or_404(ManagedIdentity, kind=SubjectKind.CHARGER, authoritative_identifier=station)
        return Response(UpstreamCandidateSerializer(upstreams.explain(identity), many=True).data)
