"""What the API says of trust anchors, bundles, rollouts and installations, and what it asks for."""

from typing import Any

from rest_framework import serializers

from inventory.api.base import ReasonSerializer
from inventory.models import Cohort
from inventory.purposes import PURPOSE_CHOICES
from trustanchors.models import BundleInstallation, BundleRollout, RolloutFamily, TrustAnchor, TrustAnchorBundle
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
