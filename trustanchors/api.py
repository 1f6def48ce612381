"""Trust anchors over the API: anchors, bundles, rollouts and installations, with the verbs of their services."""

from collections.abc import Callable, Sequence
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter

from inventory.api.base import Listing, ReasonSerializer
from inventory.api.filters import Narrowing
from inventory.api.serializers.certificates import AvailableActionSerializer
from inventory.api.views.fleet import WithHistory
from inventory.models import Cohort
from inventory.purposes import PURPOSE_CHOICES
from trustanchors.models import BundleInstallation, BundleRollout, RolloutFamily, TrustAnchor, TrustAnchorBundle
from trustanchors.services import actions, anchors, bundles, control, releasing, withdrawal
from trustanchors.services.releasing import Pace

REASON = "Why; it stays in the audit history with your name."
DEFAULT = Pace()


class TrustAnchorSerializer(serializers.ModelSerializer[TrustAnchor]):
    """One CA certificate of one trust domain."""

    hash_data = serializers.DictField(read_only=True)

    class Meta:
        model = TrustAnchor
        fields = [
            "id",
            "purpose",
            "name",
            "fingerprint",
            "subject",
            "issuer",
            "serial_number",
            "key_algorithm",
            "self_signed",
            "not_before",
            "not_after",
            "hash_data",
            "certificate_pem",
            "created_at",
        ]


class NewTrustAnchorSerializer(serializers.Serializer[Any]):
    """A CA certificate to be trusted."""

    certificate_pem = serializers.CharField(max_length=65536)
    purpose = serializers.ChoiceField(choices=PURPOSE_CHOICES)
    name = serializers.CharField(max_length=120, required=False, default="")
    reason = serializers.CharField(max_length=1000, help_text=REASON)


class TrustAnchorBundleSerializer(serializers.ModelSerializer[TrustAnchorBundle]):
    """A numbered version of the anchors of one purpose."""

    anchors = serializers.SerializerMethodField(help_text="In their order.")

    class Meta:
        model = TrustAnchorBundle
        fields = [
            "id",
            "purpose",
            "version",
            "state",
            "anchors",
            "note",
            "digest",
            "created_at",
            "released_at",
            "withdrawn_at",
            "emergency",
            "deletes_needed",
        ]

    def get_anchors(self, bundle: TrustAnchorBundle) -> list[int]:
        return [place.anchor_id for place in bundle.places.all()]


class BundleAnchorsSerializer(serializers.Serializer[Any]):
    """The anchors of a bundle, in their order."""

    anchors = serializers.PrimaryKeyRelatedField(queryset=TrustAnchor.objects.all(), many=True)
    reason = serializers.CharField(max_length=1000, help_text=REASON)


class NewTrustAnchorBundleSerializer(BundleAnchorsSerializer):
    """The next version of a purpose."""

    purpose = serializers.ChoiceField(choices=PURPOSE_CHOICES)
    note = serializers.CharField(max_length=2000, required=False, default="")


class BundleReleaseSerializer(serializers.Serializer[Any]):
    """To whom a bundle is released, with which others, and how fast. A plan (`bundle_release`) shows it before."""

    cohort = serializers.PrimaryKeyRelatedField(queryset=Cohort.objects.all())
    together_with = serializers.PrimaryKeyRelatedField(
        queryset=TrustAnchorBundle.objects.all(),
        many=True,
        required=False,
        help_text="Bundles of other purposes that the same chargers get with it.",
    )

    threshold_percent = serializers.IntegerField(default=DEFAULT.threshold_percent, min_value=1, max_value=100)
    concurrency = serializers.IntegerField(default=DEFAULT.concurrency, min_value=1, max_value=10_000)
    rate_per_minute = serializers.IntegerField(default=DEFAULT.rate_per_minute, min_value=1, max_value=10_000)
    failure_limit = serializers.IntegerField(default=DEFAULT.failure_limit, min_value=1, max_value=10_000)
    deadline = serializers.DurationField(default=DEFAULT.deadline)
    check_interval = serializers.DurationField(default=DEFAULT.check_interval)
    reason = serializers.CharField(max_length=1000, help_text=REASON)


class BundleWithdrawalSerializer(ReasonSerializer):
    """A withdrawal."""

    emergency = serializers.BooleanField(default=False, help_text="Delete the anchors from the chargers too.")
    delete_needed = serializers.BooleanField(
        default=False,
        help_text="In an emergency: delete also what the present server chain or the charger identity CA needs.",
    )
    override_forecast = serializers.BooleanField(
        default=False,
        help_text="Although chargers could not reconnect, as the forecast `anchor_withdrawal` lists them; a permission "
        "of its own.",
    )


class RolloutFamilySerializer(serializers.ModelSerializer[RolloutFamily]):
    """How a rollout goes in one family."""

    class Meta:
        model = RolloutFamily
        fields = [
            "id",
            "family",
            "proven_at",
            "halted_by",
            "failure_limit",
            "stopped",
            "targets",
            "confirmed",
            "failed",
            "withdrawn",
        ]


class BundleRolloutSerializer(serializers.ModelSerializer[BundleRollout]):
    """One release of a bundle to a cohort."""

    families = RolloutFamilySerializer(many=True, read_only=True)

    class Meta:
        model = BundleRollout
        fields = [
            "id",
            "bundle",
            "purpose",
            "cohort",
            "state",
            "previous",
            "replaced_at",
            "threshold_percent",
            "concurrency",
            "rate_per_minute",
            "failure_limit",
            "deadline",
            "check_interval",
            "targets",
            "confirmed",
            "failed",
            "withdrawn",
            "gate_open",
            "outcome",
            "families",
            "created_at",
            "started_at",
            "completed_at",
        ]


class AllowRolloutFamilySerializer(ReasonSerializer):
    """A family that its failures have stopped."""

    family = serializers.IntegerField(min_value=1, help_text="The id in `families` of the rollout.")
    further_failures = serializers.IntegerField(min_value=1, max_value=10_000)


class BundleInstallationSerializer(serializers.ModelSerializer[BundleInstallation]):
    """A bundle on one endpoint."""

    authoritative_identifier = serializers.CharField(source="identity.authoritative_identifier", read_only=True)
    steps = serializers.ListField(child=serializers.DictField(), read_only=True)
    listed = serializers.ListField(child=serializers.DictField(), read_only=True, allow_null=True)

    class Meta:
        model = BundleInstallation
        fields = [
            "id",
            "rollout",
            "identity",
            "authoritative_identifier",
            "purpose",
            "current",
            "state",
            "reason_code",
            "detail",
            "canary",
            "round",
            "steps",
            "listed",
            "started_at",
            "delivered_at",
            "installed_at",
            "activated_at",
            "returned_at",
            "checked_at",
            "next_check_at",
            "mismatched_at",
            "deadline",
        ]


class AnchorFilter(Narrowing):
    """Anchors."""

    class Meta:
        model = TrustAnchor
        fields = ["purpose", "fingerprint"]


class BundleFilter(Narrowing):
    """Bundles."""

    class Meta:
        model = TrustAnchorBundle
        fields = ["purpose", "version", "state"]


class RolloutFilter(Narrowing):
    """Rollouts."""

    class Meta:
        model = BundleRollout
        fields = ["bundle", "cohort", "purpose", "state"]


class InstallationFilter(Narrowing):
    """Installations."""

    class Meta:
        model = BundleInstallation
        fields = ["rollout", "identity", "purpose", "state", "current"]


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


router = SimpleRouter(trailing_slash=False)
router.register("trust-anchors", AnchorViewSet, basename="trust-anchors")
router.register("trust-anchor-bundles", BundleViewSet, basename="trust-anchor-bundles")
router.register("bundle-rollouts", RolloutViewSet, basename="bundle-rollouts")
router.register("bundle-installations", InstallationViewSet, basename="bundle-installations")
urlpatterns = router.urls
