"""Identities, families, cohorts, policies and issuing authorities."""

from typing import Any

from rest_framework import serializers

from inventory.choices import SubjectKind
from inventory.models import ChargerFamily, Cohort, IssuingAuthority, LifecyclePolicy, ManagedIdentity
from inventory.purposes import PURPOSE_CHOICES

REASON = "Why; it stays in the audit history with your name."


class IdentitySerializer(serializers.ModelSerializer[ManagedIdentity]):
    """A subject that can hold certificates."""

    class Meta:
        model = ManagedIdentity
        fields = [
            "id",
            "kind",
            "authoritative_identifier",
            "serial_number",
            "name",
            "owner",
            "site",
            "region",
            "tags",
            "family",
            "firmware_version",
            "parent",
            "program",
            "mode",
            "pilot",
            "allowed_purposes",
            "enabled",
            "security_profile",
            "fallback_until",
            "created_at",
            "updated_at",
        ]


class CreatedIdentitySerializer(IdentitySerializer):
    """A subject that was taken into the inventory."""

    hint = serializers.CharField(help_text="What may be a mistake, such as an identifier known in other capitals.")

    class Meta(IdentitySerializer.Meta):
        fields = [*IdentitySerializer.Meta.fields, "hint"]


class IdentityChangeSerializer(serializers.ModelSerializer[ManagedIdentity]):
    """What may be changed of an identity; its kind and identifier never, `enabled` by its own verbs."""

    reason = serializers.CharField(max_length=1000, write_only=True, help_text=REASON)
    tags = serializers.ListField(child=serializers.CharField(max_length=60), required=False)
    allowed_purposes = serializers.ListField(child=serializers.ChoiceField(choices=PURPOSE_CHOICES), required=False)

    def get_validators(self) -> list[Any]:
        return []

    class Meta:
        model = ManagedIdentity
        fields = [
            "serial_number",
            "name",
            "owner",
            "site",
            "region",
            "tags",
            "family",
            "firmware_version",
            "parent",
            "program",
            "mode",
            "pilot",
            "allowed_purposes",
            "reason",
        ]


class IdentityCreationSerializer(IdentityChangeSerializer):
    """A new identity."""

    kind = serializers.ChoiceField(choices=SubjectKind.choices)
    authoritative_identifier = serializers.CharField(max_length=255)

    class Meta(IdentityChangeSerializer.Meta):
        fields = ["kind", "authoritative_identifier", *IdentityChangeSerializer.Meta.fields]


class CutOverSerializer(serializers.Serializer[Any]):
    """Whether a charger is cut over although it could not come back."""

    override_forecast = serializers.BooleanField(
        default=False,
        help_text="Also where the forecast says that it could not reconnect: that needs a permission of its own.",
    )
    reason = serializers.CharField(max_length=1000, help_text=REASON)


class CatalogueSerializer(serializers.ModelSerializer[Any]):
    """Base of what people edit directly: checked as a whole by the service, and always with a reason."""

    reason = serializers.CharField(max_length=1000, write_only=True, help_text=REASON)

    def get_validators(self) -> list[Any]:
        return []


class FamilySerializer(CatalogueSerializer):
    """What stations of one vendor, model and firmware range do and want."""

    class Meta:
        model = ChargerFamily
        fields = [
            "id",
            "name",
            "vendor",
            "model",
            "firmware_from",
            "firmware_to",
            "subject_rule",
            "chain_content",
            "can_lower_profile",
            "unsolicited_reads",
            "certificate_store_size",
            "accepts_intermediate_roots",
            "protocol_variant",
            "key_form",
            "reconnects_by_itself",
            "key_path",
            "key_path_approved_at",
            "key_path_approved_by",
            "notes",
            "reason",
        ]
        read_only_fields = ["key_path", "key_path_approved_at", "key_path_approved_by"]


class CohortSerializer(CatalogueSerializer):
    """A named set of identities; its members are at /identities?cohort=…"""

    filter = serializers.DictField(required=False, help_text='For example {"site": ["Depot North"], "tag": "pilot"}.')

    class Meta:
        model = Cohort
        fields = ["id", "name", "description", "kind", "filter", "created_at", "reason"]
        read_only_fields = ["created_at"]


class PolicySerializer(CatalogueSerializer):
    """A lifecycle policy. Durations are ISO 8601, as P180D."""

    validity = serializers.DurationField(format="iso-8601", required=False, allow_null=True)
    renewal_threshold = serializers.DurationField(format="iso-8601", required=False, allow_null=True)
    renewal_lead = serializers.DurationField(format="iso-8601", required=False)
    escalation_threshold = serializers.DurationField(format="iso-8601", required=False, allow_null=True)
    incident_threshold = serializers.DurationField(format="iso-8601", required=False, allow_null=True)
    cut_over_deadline = serializers.DurationField(format="iso-8601", required=False)
    rollback_window = serializers.DurationField(format="iso-8601", required=False)
    csr_deadline = serializers.DurationField(format="iso-8601", required=False)
    delivery_deadline = serializers.DurationField(format="iso-8601", required=False)
    retry_delay = serializers.DurationField(format="iso-8601", required=False)
    retry_delay_limit = serializers.DurationField(format="iso-8601", required=False)
    allowed_key_algorithms = serializers.ListField(child=serializers.CharField(max_length=20), required=False)

    class Meta:
        model = LifecyclePolicy
        fields = [
            "id",
            "name",
            "purpose",
            "mode",
            "program",
            "family",
            "cohort",
            "enabled",
            "validity",
            "renewal_threshold",
            "renewal_lead",
            "escalation_threshold",
            "incident_threshold",
            "cut_over_deadline",
            "rollback_window",
            "csr_deadline",
            "delivery_deadline",
            "retry_attempts",
            "retry_delay",
            "retry_delay_limit",
            "allowed_key_algorithms",
            "notes",
            "updated_at",
            "reason",
        ]
        read_only_fields = ["updated_at"]


class AuthoritySerializer(serializers.ModelSerializer[IssuingAuthority]):
    """The public side of an issuing CA."""

    class Meta:
        model = IssuingAuthority
        fields = [
            "id",
            "trust_domain",
            "name",
            "reference",
            "fingerprint",
            "not_after",
            "trusted",
            "issues",
            "status",
            "certificate_pem",
            "chain_pem",
            "root_pem",
            "updated_at",
        ]


class MembersSerializer(serializers.Serializer[Any]):
    """Identities to add to a static cohort, or to remove from it."""

    identifiers = serializers.ListField(
        child=serializers.CharField(max_length=255),
        min_length=1,
        max_length=1000,
        help_text="Authoritative identifiers.",
    )
    reason = serializers.CharField(max_length=1000, help_text=REASON)


class MembersChangedSerializer(serializers.Serializer[Any]):
    """How many identities were named."""

    identities = serializers.IntegerField()
