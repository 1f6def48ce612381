"""Provisioning over the API: cases with their verbs, what external parties said, references, ownership decisions."""

from collections.abc import Callable
from typing import Any

import django_filters as filters
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter

from inventory.api.base import Listing, ReasonSerializer
from inventory.api.filters import Narrowing
from inventory.api.serializers.certificates import AvailableActionSerializer
from inventory.api.views.fleet import CatalogueDoor, WithHistory
from inventory.errors import InvalidInputError
from provisioning.models import ExternalReference, OwnershipDecision, ProvisioningCase, ProvisioningEvidence
from provisioning.serializers import (
    BlockSerializer,
    ConfirmSerializer,
    DecisionSerializer,
    MatrixRowSerializer,
    OutcomeSerializer,
    ProvisioningCaseListSerializer,
    ProvisioningCaseSerializer,
    ProvisioningEvidenceListSerializer,
    ProvisioningEvidenceSerializer,
    ReferenceSerializer,
    StartSerializer,
)
from provisioning.services import cases, offered, outcomes, ownership
from provisioning.services.outcomes import Answer


class CaseFilter(Narrowing):
    """Provisioning cases."""

    class Meta:
        model = ProvisioningCase
        fields = ["identity", "purpose", "slot", "path", "state", "record", "pcid", "fingerprint"]


class EvidenceFilter(Narrowing):
    """External answers."""

    class Meta:
        model = ProvisioningEvidence
        fields = ["case", "identity", "system", "kind", "outcome", "trace_id", "fingerprint"]


class ReferenceFilter(Narrowing):
    """References of external systems."""

    value = filters.CharFilter()

    class Meta:
        model = ExternalReference
        fields = ["case", "value"]


class DecisionFilter(Narrowing):
    """Ownership decisions."""

    class Meta:
        model = OwnershipDecision
        fields = ["purpose", "program"]


class CaseViewSet(WithHistory, Listing):
    """Every effort to bring a Plug and Charge or vehicle certificate into use."""

    queryset = ProvisioningCase.objects.select_related("identity__parent__family", "activation_evidence")
    serializer_class = ProvisioningCaseSerializer
    list_serializer_class = ProvisioningCaseListSerializer
    filterset_class = CaseFilter

    @extend_schema(request=StartSerializer, responses={201: ProvisioningCaseSerializer})
    def create(self, request: Request) -> Response:
        """Open a case, and take it as far as its prerequisites allow."""
        return self.made(cases.start(actor=self.actor, **self.asked(StartSerializer)))

    @extend_schema(responses=AvailableActionSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None, filter_backends=[], url_path="actions")
    def available_actions(self, request: Request, pk: str) -> Response:
        """What you may do with it now, and what that would mean."""
        found = offered.for_case(self.get_object(), self.actor, timezone.now())
        return Response(AvailableActionSerializer(found, many=True).data)

    @extend_schema(request=ConfirmSerializer, responses=ProvisioningCaseSerializer)
    @action(detail=True, methods=["post"])
    def confirm(self, request: Request, pk: str) -> Response:
        """Confirm a prerequisite that happens out of our sight."""
        return self._verb(cases.confirm, ConfirmSerializer)

    @extend_schema(request=ReasonSerializer, responses=ProvisioningCaseSerializer)
    @action(detail=True, methods=["post"])
    def deliver(self, request: Request, pk: str) -> Response:
        """Judge its prerequisites now, and go on to the delivery."""
        return self._verb(cases.deliver)

    @extend_schema(request=ReasonSerializer, responses=ProvisioningCaseSerializer)
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Try a failed case anew."""
        return self._verb(cases.retry)

    @extend_schema(request=BlockSerializer, responses=ProvisioningCaseSerializer)
    @action(detail=True, methods=["post"])
    def block(self, request: Request, pk: str) -> Response:
        """Block it, because its authority has suspended or revoked the certificate."""
        return self._verb(cases.block, BlockSerializer)

    @extend_schema(request=ReasonSerializer, responses=ProvisioningCaseSerializer)
    @action(detail=True, methods=["post"])
    def unblock(self, request: Request, pk: str) -> Response:
        """Let it go its way once more, on fresh word of its authority."""
        return self._verb(cases.unblock)

    @extend_schema(request=ReasonSerializer, responses=ProvisioningCaseSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """End an open case; its certificate stays as it is."""
        return self._verb(cases.cancel)

    def _verb(
        self,
        verb: Callable[..., ProvisioningCase],
        serializer_class: type[serializers.BaseSerializer[Any]] = ReasonSerializer,
    ) -> Response:
        case, values = self.get_object(), self.asked(serializer_class)
        self.carry_out(case, lambda: verb(case=case, actor=self.actor, **values))
        return self.shown(case)


class EvidenceViewSet(Listing):
    """What external parties said, each with how far it can be relied on now."""

    queryset = ProvisioningEvidence.objects.all()
    serializer_class = ProvisioningEvidenceSerializer
    list_serializer_class = ProvisioningEvidenceListSerializer
    unlisted_fields = ("content",)
    filterset_class = EvidenceFilter

    @extend_schema(request=OutcomeSerializer, responses={201: ProvisioningEvidenceSerializer})
    def create(self, request: Request) -> Response:
        """Record a provisioning outcome; the same answer again is the one that exists."""
        self.actor.require(outcomes.RECORD)
        values = self.asked(OutcomeSerializer)
        case, record, reason = values.pop("case"), values.pop("certificate_record"), values.pop("reason")
        answer = Answer(**values)
        if (case is None) == (record is None):
            raise InvalidInputError("Name either the case that it is about, or the certificate record.")
        if case is not None:
            return self.made(outcomes.record_outcome(case=case, answer=answer, actor=self.actor, reason=reason))
        return self.made(outcomes.record_revocation(record=record, answer=answer, actor=self.actor, reason=reason))


class ReferenceViewSet(Listing):
    """The names that external systems have for what belongs to cases."""

    queryset = ExternalReference.objects.all()
    serializer_class = ReferenceSerializer
    filterset_class = ReferenceFilter


class DecisionViewSet(CatalogueDoor):
    """Who does what for a purpose in a program."""

    queryset = OwnershipDecision.objects.all()
    serializer_class = DecisionSerializer
    filterset_class = DecisionFilter

    def save(self, entry: Any, reason: str) -> Any:
        return ownership.save(entry=entry, actor=self.actor, reason=reason)

    @extend_schema(responses=MatrixRowSerializer(many=True), filters=False)
    @action(detail=False, pagination_class=None, filter_backends=[])
    def matrix(self, request: Request) -> Response:
        """Every purpose in which others have a part, with what is missing of its decisions."""
        return Response(MatrixRowSerializer(ownership.matrix(), many=True).data)


router = SimpleRouter(trailing_slash=False)
router.register("provisioning-cases", CaseViewSet, basename="provisioning-cases")
router.register("provisioning-evidence", EvidenceViewSet, basename="provisioning-evidence")
router.register("external-references", ReferenceViewSet, basename="external-references")
router.register("ownership-decisions", DecisionViewSet, basename="ownership-decisions")
urlpatterns = router.urls
