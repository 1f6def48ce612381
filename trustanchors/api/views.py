"""Trust anchors, bundles, rollouts and installations, with the verbs of their services."""

from collections.abc import Callable, Sequence

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from inventory.api.base import Listing, ReasonSerializer
from inventory.api.serializers.certificates import AvailableActionSerializer
from inventory.api.views.fleet import WithHistory
from trustanchors.api.filters import AnchorFilter, BundleFilter, InstallationFilter, RolloutFilter
from trustanchors.api.serializers import (
    AllowRolloutFamilySerializer,
    BundleAnchorsSerializer,
    BundleInstallationSerializer,
    BundleReleaseSerializer,
    BundleRolloutSerializer,
    BundleWithdrawalSerializer,
    NewTrustAnchorBundleSerializer,
    NewTrustAnchorSerializer,
    TrustAnchorBundleSerializer,
    TrustAnchorSerializer,
)
from trustanchors.models import BundleInstallation, BundleRollout, TrustAnchor, TrustAnchorBundle
from trustanchors.services import actions, anchors, bundles, control, releasing, withdrawal
from trustanchors.services.releasing import Pace


class AnchorViewSet(WithHistory, Listing):
    """CA certificates that endpoints are given to trust."""

    queryset = TrustAnchor.objects.all()
    serializer_class = TrustAnchorSerializer
    filterset_class = AnchorFilter

    @extend_schema(request=NewTrustAnchorSerializer, responses={201: TrustAnchorSerializer})
    def create(self, request: Request) -> Response:
        """Take in a CA certificate; refused are leaves, what is expired or weak, known, or of another trust domain."""
        values = self.asked(NewTrustAnchorSerializer)
        return self.made(anchors.add(actor=self.actor, purpose_key=values.pop("purpose"), **values))


class BundleViewSet(WithHistory, Listing):
    """Numbered versions of what endpoints are to trust for a purpose."""

    queryset = TrustAnchorBundle.objects.prefetch_related("places")
    serializer_class = TrustAnchorBundleSerializer
    filterset_class = BundleFilter

    @extend_schema(request=NewTrustAnchorBundleSerializer, responses={201: TrustAnchorBundleSerializer})
    def create(self, request: Request) -> Response:
        """Make the next version, as a draft."""
        values = self.asked(NewTrustAnchorBundleSerializer)
        return self.made(bundles.draft(actor=self.actor, purpose_key=values.pop("purpose"), **values))

    @extend_schema(responses=AvailableActionSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None, filter_backends=[], url_path="actions")
    def available_actions(self, request: Request, pk: str) -> Response:
        """What you may do with it now, and what that would mean."""
        offered = actions.for_bundle(self.get_object(), self.actor)
        return Response(AvailableActionSerializer(offered, many=True).data)

    @extend_schema(request=BundleAnchorsSerializer, responses=TrustAnchorBundleSerializer)
    @action(detail=True, methods=["post"], url_path="change-anchors")
    def change_anchors(self, request: Request, pk: str) -> Response:
        """Give a draft other anchors, or another order."""
        bundle, values = self.get_object(), self.asked(BundleAnchorsSerializer)
        return self.shown(self.carry_out(bundle, lambda: bundles.change(bundle=bundle, actor=self.actor, **values)))

    @extend_schema(request=BundleReleaseSerializer, responses={201: BundleRolloutSerializer(many=True)})
    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: str) -> Response:
        """Release it to a cohort, alone or with bundles of other purposes."""
        bundle, values = self.get_object(), self.asked(BundleReleaseSerializer)
        together = [bundle, *values.pop("together_with", [])]
        cohort, reason = values.pop("cohort"), values.pop("reason")

        def release() -> Sequence[BundleRollout]:
            return releasing.release(
                bundles=together, cohort=cohort, pace=Pace(**values), actor=self.actor, reason=reason
            )

        started = [one.pk for one in self.carry_out(bundle, release)]
        rollouts = BundleRollout.objects.filter(pk__in=started).order_by("pk")
        return Response(BundleRolloutSerializer(rollouts, many=True).data, status=201)

    @extend_schema(request=BundleWithdrawalSerializer, responses=TrustAnchorBundleSerializer)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: str) -> Response:
        """Withdraw it for good: its gates close at once."""
        bundle, values = self.get_object(), self.asked(BundleWithdrawalSerializer)
        changed = self.carry_out(bundle, lambda: withdrawal.withdraw(bundle=bundle, actor=self.actor, **values))
        return self.shown(changed)


class RolloutViewSet(WithHistory, Listing):
    """Releases of bundles to cohorts."""

    queryset = BundleRollout.objects.prefetch_related("families")
    serializer_class = BundleRolloutSerializer
    filterset_class = RolloutFilter

    @extend_schema(responses=AvailableActionSerializer(many=True), filters=False)
    @action(detail=True, pagination_class=None, filter_backends=[], url_path="actions")
    def available_actions(self, request: Request, pk: str) -> Response:
        """What you may do with it now, and what that would mean."""
        offered = actions.for_rollout(self.get_object(), self.actor)
        return Response(AvailableActionSerializer(offered, many=True).data)

    @extend_schema(request=ReasonSerializer, responses=BundleRolloutSerializer)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        """Begin no further charger."""
        return self._verb(control.pause)

    @extend_schema(request=ReasonSerializer, responses=BundleRolloutSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        """Go on."""
        return self._verb(control.resume)

    @extend_schema(request=ReasonSerializer, responses=BundleRolloutSerializer)
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, pk: str) -> Response:
        """End it before its end; its gate closes."""
        return self._verb(control.stop)

    @extend_schema(request=ReasonSerializer, responses=BundleRolloutSerializer)
    @action(detail=True, methods=["post"], url_path="roll-back")
    def roll_back(self, request: Request, pk: str) -> Response:
        """Give the cohort the version before; the answer is the new rollout."""
        return self._verb(releasing.roll_back)

    @extend_schema(request=ReasonSerializer, responses=BundleRolloutSerializer)
    @action(detail=True, methods=["post"], url_path="retry-failed")
    def retry_failed(self, request: Request, pk: str) -> Response:
        """Begin anew on every endpoint that failed or is mismatched."""
        return self._verb(control.retry_failed)

    @extend_schema(request=AllowRolloutFamilySerializer, responses=BundleRolloutSerializer)
    @action(detail=True, methods=["post"], url_path="allow-family")
    def allow_family(self, request: Request, pk: str) -> Response:
        """Let a family go on that its failures have stopped."""
        rollout, values = self.get_object(), self.asked(AllowRolloutFamilySerializer)
        family = values.pop("family")
        self.carry_out(
            rollout, lambda: control.allow_family(rollout=rollout, family_id=family, actor=self.actor, **values)
        )
        return self.shown(rollout)

    def _verb(self, service: Callable[..., BundleRollout]) -> Response:
        rollout, values = self.get_object(), self.asked(ReasonSerializer)
        return self.shown(self.carry_out(rollout, lambda: service(rollout=rollout, actor=self.actor, **values)))


class InstallationViewSet(WithHistory, Listing):
    """Bundles on endpoints, step by step."""

    queryset = BundleInstallation.objects.select_related("identity")
    serializer_class = BundleInstallationSerializer
    filterset_class = InstallationFilter

    def get_queryset(self) -> "QuerySet[BundleInstallation]":
        return super().get_queryset().select_related("identity", "rollout")

    @extend_schema(request=ReasonSerializer, responses=BundleInstallationSerializer)
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Begin anew on one endpoint."""
        installation, values = self.get_object(), self.asked(ReasonSerializer)
        changed = self.carry_out(
            installation, lambda: control.retry(installation=installation, actor=self.actor, **values)
        )
        return self.shown(changed)
