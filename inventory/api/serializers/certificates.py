"""Certificates, jobs, evidence, and what the verbs on them carry."""

from typing import Any

from rest_framework import serializers

from inventory.choices import STATEABLE_EVIDENCE, EvidenceKind, RecordState, RevocationReason
from inventory.models import CertificateJob, CertificateRecord, Evidence, ManagedIdentity
from inventory.purposes import PURPOSE_CHOICES

REASON = "Why; it stays in the audit history with your name."
_RECORD = [
    "id",
    "identity",
    "authoritative_identifier",
    "purpose",
    "slot",
    "trust_domain",
    "mode",
    "state",
    "native_status",
    "registered_externally",
    "replaces",
    "authority",
    "responsible_authority",
    "key_algorithm",
    "public_key_sha256",
    "serial_number",
    "issuer",
    "subject",
    "subject_alternative_names",
    "fingerprint",
    "not_before",
    "not_after",
    "activation_evidence",
    "requested_at",
    "issued_at",
    "installed_at",
    "activated_at",
    "deactivated_at",
    "retired_at",
    "rollback_until",
    "confirm_by",
    "revoked_at",
    "revocation_reason",
    "revocation_propagated_at",
    "deleted_at",
    "failure_reason",
    "escalated_at",
    "incident_at",
    "updated_at",
]


class RecordSerializer(serializers.ModelSerializer[CertificateRecord]):
    """One certificate and its lifecycle state."""

    authoritative_identifier = serializers.CharField(source="identity.authoritative_identifier", read_only=True)
    subject_alternative_names = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = CertificateRecord
        fields = _RECORD


class RecordDetailSerializer(RecordSerializer):
    """One certificate, with its PEM."""

    class Meta(RecordSerializer.Meta):
        fields = [*_RECORD, "certificate_pem", "chain_pem", "csr_pem"]


class JobSerializer(serializers.ModelSerializer[CertificateJob]):
    """One durable work item."""

    class Meta:
        model = CertificateJob
        fields = [
            "id",
            "action",
            "identity",
            "purpose",
            "slot",
            "record",
            "state",
            "queue",
            "step",
            "waiting_for",
            "waiting_until",
            "actor",
            "reason",
            "correlation_id",
            "idempotency_key",
            "attempts",
            "next_run_at",
            "deadline",
            "outcome",
            "created_at",
            "started_at",
            "finished_at",
        ]


class EvidenceSerializer(serializers.ModelSerializer[Evidence]):
    """One observed fact about a certificate."""

    detail = serializers.DictField(read_only=True)

    class Meta:
        model = Evidence
        fields = ["id", "record", "kind", "observed_at", "source", "detail", "correlation_id"]


class IssueSerializer(serializers.Serializer[Any]):
    """What certificate an identity shall get, and from which request."""

    purpose = serializers.ChoiceField(choices=PURPOSE_CHOICES)
    slot = serializers.CharField(max_length=120, required=False, default="", allow_blank=True)
    csr_pem = serializers.CharField(
        max_length=20_000,
        required=False,
        default=None,
        allow_null=True,
        help_text="Without it the endpoint is asked for one.",
    )
    reason = serializers.CharField(max_length=1000, help_text=REASON)


class ForceableSerializer(serializers.Serializer[Any]):
    """A verb that may take the last working credential, if forced."""

    force = serializers.BooleanField(required=False, default=False)
    reason = serializers.CharField(max_length=1000, help_text=REASON)


class RevokeSerializer(serializers.Serializer[Any]):
    """A revocation, with what the CA is told."""

    revocation_reason = serializers.ChoiceField(
        choices=RevocationReason.choices, required=False, default=RevocationReason.UNSPECIFIED
    )
    reason = serializers.CharField(max_length=1000, help_text=REASON)


class ActivateSerializer(serializers.Serializer[Any]):
    """The evidence on which a certificate becomes active."""

    evidence = serializers.PrimaryKeyRelatedField(queryset=Evidence.objects.all())
    reason = serializers.CharField(max_length=1000, help_text=REASON)


class RegistrationSerializer(serializers.Serializer[Any]):
    """A certificate that others issued, taken into the inventory."""

    identity = serializers.PrimaryKeyRelatedField(queryset=ManagedIdentity.objects.all())
    purpose = serializers.ChoiceField(choices=PURPOSE_CHOICES)
    slot = serializers.CharField(max_length=120, required=False, default="", allow_blank=True)
    certificate_pem = serializers.CharField(max_length=20_000)
    chain_pem = serializers.CharField(max_length=100_000, required=False, default="", allow_blank=True)
    state = serializers.ChoiceField(
        choices=[
            (state.value, state.label)
            for state in (RecordState.ISSUED, RecordState.INSTALLED_PENDING_ACTIVATION, RecordState.ACTIVE)
        ],
        required=False,
        default=RecordState.ISSUED,
    )
    evidence_kind = serializers.ChoiceField(
        choices=[(kind.value, kind.label) for kind in EvidenceKind if kind in STATEABLE_EVIDENCE],
        required=False,
        default=None,
        allow_null=True,
    )
    evidence_detail = serializers.DictField(required=False, default=None, allow_null=True)
    responsible_authority = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)
    native_status = serializers.CharField(max_length=40, required=False, default="", allow_blank=True)
    reason = serializers.CharField(max_length=1000, help_text=REASON)


class AvailableActionSerializer(serializers.Serializer[Any]):
    """One verb: whether you may use it now, why not, and what it will do."""

    verb = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # hides Field.label
    allowed = serializers.BooleanField()
    why_not = serializers.CharField()
    explanation = serializers.CharField()
    dangerous = serializers.BooleanField()


class PolicyCandidateSerializer(serializers.Serializer[Any]):
    """One policy of the purpose, and why it applies or not."""

    policy = serializers.IntegerField(source="policy.pk")
    name = serializers.CharField(source="policy.name")
    matches = serializers.BooleanField()
    why = serializers.CharField()
    specificity = serializers.IntegerField()
    won = serializers.BooleanField()


class HistoryChangeSerializer(serializers.Serializer[Any]):
    """One field's change."""

    name = serializers.CharField()
    before = serializers.CharField()
    after = serializers.CharField()


class HistoryEntrySerializer(serializers.Serializer[Any]):
    """Who changed what, when and why."""

    number = serializers.IntegerField()
    at = serializers.DateTimeField()
    actor = serializers.CharField()
    reason = serializers.CharField()
    correlation_id = serializers.CharField()
    created = serializers.BooleanField()
    changes = HistoryChangeSerializer(many=True)
