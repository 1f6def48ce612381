"""Identities with their verbs; families, cohorts, policies; issuing authorities."""

from collections.abc import Callable
from typing import Any

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from bfcerts.ocpp.models import OutboxCommand, StationSession
from inventory.api import filters
from inventory.api.base import Door, Listing, ReasonSerializer, job_started, location
from inventory.api.conditional import require_if_match
from inventory.api.idempotency import service_key
from inventory.api.serializers.certificates import (
    AvailableActionSerializer,
    HistoryEntrySerializer,
    IssueSerializer,
    JobSerializer,
    PolicyCandidateSerializer,
)
from inventory.api.serializers.fleet import (
    AuthoritySerializer,
    CatalogueSerializer,
    CohortSerializer,
    CreatedIdentitySerializer,
    CutOverSerializer,
    FamilySerializer,
    IdentityChangeSerializer,
    IdentityCreationSerializer,
    IdentitySerializer,
    MembersChangedSerializer,
    MembersSerializer,
    PolicySerializer,
)
from inventory.api.serializers.logs import StationLogSerializer
from inventory.api.serializers.stations import CommandSerializer, ResetSerializer
from inventory.api.serializers.upstreams import UpstreamStandingSerializer
from inventory.models import ChargerFamily, Cohort, IssuingAuthority, LifecyclePolicy, ManagedIdentity
from inventory.services import (
    actions,
    catalogue,
    identities,
    lifecycle,
    policies,
    station_commands,
    station_logs,
    upstream_standing,
)
from inventory.services.changes import entries_of

_PURPOSE = OpenApiParameter("purpose", OpenApiTypes.STR, required=True, description="The purpose to resolve for.")

_OF_UPSTREAMS = ("view_upstream", "ocpp.view_stationsession", "view_securityevent")
"""What somebody may see who is told of a charger's upstream."""


class WithHistory(Door):
    """A collection whose objects have an audit history."""

    @extend_schema(responses=HistoryEntrySerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None, filter_backends=[])
    def history(self, request: Request, pk: str) -> Response:
        """The newest fifty changes, with actor and reason."""
        return Response(HistoryEntrySerializer(entries_of(self.get_object()), many=True).data)


class IdentityViewSet(WithHistory, Listing):
    """Every subject that can hold certificates."""

    queryset = ManagedIdentity.objects.all()
    serializer_class = IdentitySerializer
    filterset_class = filters.IdentityFilter

    @extend_schema(request=IdentityCreationSerializer, responses={201: CreatedIdentitySerializer})
    def create(self, request: Request) -> Response:
        """Take a subject into the inventory."""
        values = self.asked(IdentityCreationSerializer)
        identity = identities.create(actor=self.actor, **values)
        response = self.made(identity)
        response.data["hint"] = identities.alike(identity)
        return response

    @extend_schema(request=IdentityChangeSerializer(partial=True), responses=IdentitySerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change what may be changed; If-Match is required."""
        require_if_match(request)
        identity = self.get_object()
        changes = self.checked(IdentityChangeSerializer(data=request.data, partial=True))
        reason = needed(changes.pop("reason", ""))
        changed = self.carry_out(
            identity,
            lambda: identities.update(identity=identity, changes=changes, actor=self.actor, reason=reason),
        )
        return self.shown(changed)

    @extend_schema(responses=AvailableActionSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None, filter_backends=[], url_path="actions")
    def available_actions(self, request: Request, pk: str) -> Response:
        """What you may do with it now, and what that would mean."""
        offered = actions.for_identity(self.get_object(), self.actor, timezone.now())
        return Response(AvailableActionSerializer(offered, many=True).data)

    @extend_schema(parameters=[_PURPOSE], responses=PolicyCandidateSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None, filter_backends=[])
    def policy(self, request: Request, pk: str) -> Response:
        """Which lifecycle policy applies for a purpose, and why."""
        resolved = policies.resolve(self.get_object(), request.query_params.get("purpose", ""))
        return Response(PolicyCandidateSerializer(resolved.explanation, many=True).data)

    @extend_schema(responses=UpstreamStandingSerializer, filters=False)
    @action(detail=True, pagination_class=None, filter_backends=[])
    def upstream(self, request: Request, pk: str) -> Response:
        """Where a charger is relayed to now, how that connection stands, and how many calls were refused."""
        for permission in _OF_UPSTREAMS:
            self.actor.require(permission)
        identity = self.get_object()
        station = identity.authoritative_identifier
        session = StationSession.objects.filter(station_id=station, closed_at__isnull=True).first()
        found = upstream_standing.standing(identity, session)
        return Response(UpstreamStandingSerializer(found).data)

    @extend_schema(request=IssueSerializer, responses={202: JobSerializer})
    @action(detail=True, methods=["post"])
    def issue(self, request: Request, pk: str) -> Response:
        """Start the issuance of a certificate."""
        identity, values = self.get_object(), self.asked(IssueSerializer)
        job = self.carry_out(
            identity,
            lambda: lifecycle.issue(
                identity=identity, actor=self.actor, idempotency_key=service_key(request), **values
            ),
        )
        return job_started(job, self)

    @extend_schema(request=CutOverSerializer, responses={202: JobSerializer})
    @action(detail=True, methods=["post"], url_path="cut-over")
    def cut_over(self, request: Request, pk: str) -> Response:
        """Move a charger to Profile 3 (OCPP 2.0.1 A05, B09, B10); refused where it could not come back."""
        identity, values = self.get_object(), self.asked(CutOverSerializer)
        job = self.carry_out(identity, lambda: station_commands.cut_over(identity=identity, actor=self.actor, **values))
        return job_started(job, self)

    @extend_schema(request=ReasonSerializer, responses={202: CommandSerializer})
    @action(detail=True, methods=["post"], url_path="request-csr")
    def request_csr(self, request: Request, pk: str) -> Response:
        """Ask a charger for a certificate signing request."""
        return self._command(station_commands.request_csr, self.asked(ReasonSerializer))

    @extend_schema(request=ReasonSerializer, responses={202: CommandSerializer})
    @action(detail=True, methods=["post"], url_path="list-certificates")
    def list_certificates(self, request: Request, pk: str) -> Response:
        """Ask a charger what it has installed."""
        return self._command(station_commands.list_certificates, self.asked(ReasonSerializer))

    @extend_schema(request=ReasonSerializer, responses={202: CommandSerializer})
    @action(detail=True, methods=["post"], url_path="install-trust-anchors")
    def install_trust_anchors(self, request: Request, pk: str) -> Response:
        """Send a charger the roots that it needs."""
        return self._command(station_commands.install_trust_anchors, self.asked(ReasonSerializer))

    @extend_schema(request=ReasonSerializer, responses={202: StationLogSerializer})
    @action(detail=True, methods=["post"], url_path="fetch-security-log")
    def fetch_security_log(self, request: Request, pk: str) -> Response:
        """Ask a charger to upload its security log to an address of ours (OCPP 2.0.1 N01)."""
        identity, values = self.get_object(), self.asked(ReasonSerializer)
        log = self.carry_out(identity, lambda: station_logs.fetch(identity=identity, actor=self.actor, **values))
        body = StationLogSerializer(log, context=self.get_serializer_context()).data
        return Response(body, status=status.HTTP_202_ACCEPTED, headers=location("station-logs", log))

    @extend_schema(request=ResetSerializer, responses={202: CommandSerializer})
    @action(detail=True, methods=["post"])
    def reset(self, request: Request, pk: str) -> Response:
        """Restart a charger."""
        return self._command(station_commands.reset, self.asked(ResetSerializer))

    @extend_schema(request=ReasonSerializer, responses=IdentitySerializer)
    @action(detail=True, methods=["post"])
    def enable(self, request: Request, pk: str) -> Response:
        """Let an identity in again."""
        return self._set_enabled(True)

    @extend_schema(request=ReasonSerializer, responses=IdentitySerializer)
    @action(detail=True, methods=["post"])
    def disable(self, request: Request, pk: str) -> Response:
        """Refuse an identity at every door from now on."""
        return self._set_enabled(False)

    def _set_enabled(self, enabled: bool) -> Response:
        identity, values = self.get_object(), self.asked(ReasonSerializer)
        changed = self.carry_out(
            identity,
            lambda: identities.set_enabled(identity=identity, enabled=enabled, actor=self.actor, **values),
        )
        return self.shown(changed)

    def _command(self, service: Callable[..., OutboxCommand], values: dict[str, Any]) -> Response:
        identity = self.get_object()
        command = self.carry_out(identity, lambda: service(identity=identity, actor=self.actor, **values))
        body = CommandSerializer(command).data
        return Response(body, status=status.HTTP_202_ACCEPTED, headers=location("station-commands", command))


def needed(reason: str) -> str:
    """The reason of a change.

    :raises ValidationError: where there is none.
    """
    if not reason.strip():
        raise ValidationError({"reason": ["This field is required."]})
    return reason


class CatalogueDoor(WithHistory, Listing):
    """A collection that people edit directly, through its service; an app above names its own in `save`."""

    serializer_class: type[CatalogueSerializer]

    def create(self, request: Request) -> Response:
        """Add an entry."""
        values = self.asked(self.serializer_class)
        reason = values.pop("reason")
        model: Callable[..., Any] = self.serializer_class.Meta.model
        return self.made(self.save(model(**values), reason))

    def partial_update(self, request: Request, pk: str) -> Response:
        """Change an entry; If-Match is required."""
        require_if_match(request)
        entry = self.get_object()
        values = self.checked(self.serializer_class(entry, data=request.data, partial=True))
        reason = needed(values.pop("reason", ""))

        def work() -> Any:
            for name, value in values.items():
                setattr(entry, name, value)
            return self.save(entry, reason)

        return self.shown(self.carry_out(entry, work))

    def save(self, entry: Any, reason: str) -> Any:
        """Store a new or changed entry by its service."""
        return catalogue.save(entry=entry, actor=self.actor, reason=reason)


class FamilyViewSet(CatalogueDoor):
    """Charger families."""

    queryset = ChargerFamily.objects.all()
    serializer_class = FamilySerializer
    filterset_class = filters.FamilyFilter


class CohortViewSet(CatalogueDoor):
    """Cohorts."""

    queryset = Cohort.objects.all()
    serializer_class = CohortSerializer
    filterset_class = filters.CohortFilter

    @extend_schema(request=MembersSerializer, responses=MembersChangedSerializer)
    @action(detail=True, methods=["post"], url_path="add-members")
    def add_members(self, request: Request, pk: str) -> Response:
        """Put identities into a static cohort."""
        return self._members(catalogue.add_members)

    @extend_schema(request=MembersSerializer, responses=MembersChangedSerializer)
    @action(detail=True, methods=["post"], url_path="remove-members")
    def remove_members(self, request: Request, pk: str) -> Response:
        """Take identities out of a static cohort."""
        return self._members(catalogue.remove_members)

    def _members(self, service: Callable[..., int]) -> Response:
        cohort, values = self.get_object(), self.asked(MembersSerializer)
        count = self.carry_out(cohort, lambda: service(cohort=cohort, actor=self.actor, **values))
        return Response({"identities": count})


class PolicyViewSet(CatalogueDoor):
    """Lifecycle policies."""

    queryset = LifecyclePolicy.objects.all()
    serializer_class = PolicySerializer
    filterset_class = filters.PolicyFilter


class AuthorityViewSet(WithHistory, Listing):
    """Issuing authorities: their public side."""

    queryset = IssuingAuthority.objects.all()
    serializer_class = AuthoritySerializer
    filterset_class = filters.AuthorityFilter
