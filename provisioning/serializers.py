"""What provisioning looks like over the API."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from inventory.api.base import ReasonSerializer
from inventory.api.serializers.fleet import CatalogueSerializer
from inventory.models import CertificateRecord, ManagedIdentity
from inventory.purposes import PURPOSE_CHOICES, purpose
from provisioning.choices import EvidenceKind, ExternalSystem, Outcome, PathKey
from provisioning.freshness import standing
from provisioning.models import ExternalReference, OwnershipDecision, ProvisioningCase, ProvisioningEvidence
from provisioning.services.ownership import FIELDS
from provisioning.services.prerequisites import judge

_PURPOSES = [choice for choice in PURPOSE_CHOICES if purpose(choice[0]).ownership_to_decide]
_FIELDS = [
    "id",
    "identity",
    "purpose",
    "slot",
    "mode",
    "path",
    "program",
    "state",
    "why",
    "deadline",
    "tries_left",
    "record",
    "job",
    "activation_evidence",
    "responsible_authority",
    "authority_contact",
    "pcid",
    "emaid",
    "serial_number",
    "fingerprint",
    "not_after",
    "blocked_by",
    "blocked_at",
    "last_failure",
    "superseded_at",
    "decided_by",
    "opened_at",
    "entered_state_at",
]


class StandingSerializer(serializers.Serializer[Any]):
    """How far a piece of evidence can be relied on now."""

    standing = serializers.CharField(help_text="For programs: valid, stale, unfinished, not_authoritative or adverse.")
    sentence = serializers.CharField(help_text="For people.")


class PrerequisiteSerializer(serializers.Serializer[Any]):
    """What a case's path asks for, as it stands now."""

    key = serializers.CharField()
    words = serializers.CharField()
    met = serializers.BooleanField()
    why = serializers.CharField()
    since = serializers.DateTimeField(allow_null=True)
    to_confirm = serializers.BooleanField(help_text="A person confirms it.")


class ProvisioningCaseListSerializer(serializers.ModelSerializer[ProvisioningCase]):
    """A provisioning case in a list."""

    class Meta:
        model = ProvisioningCase
        fields = _FIELDS


class ProvisioningCaseSerializer(serializers.ModelSerializer[ProvisioningCase]):
    """A provisioning case, with its prerequisites as they stand now, and how its activation stands."""

    prerequisites = serializers.SerializerMethodField()
    confirmed = serializers.SerializerMethodField()

    class Meta:
        model = ProvisioningCase
        fields = [*_FIELDS, "prerequisites", "confirmed"]

    @extend_schema_field(PrerequisiteSerializer(many=True))
    def get_prerequisites(self, case: ProvisioningCase) -> Any:
        """Judged now; each with what was found."""
        return PrerequisiteSerializer(judge(case, timezone.now()), many=True).data

    @extend_schema_field(StandingSerializer(allow_null=True))
    def get_confirmed(self, case: ProvisioningCase) -> Any:
        """How far what made it active can still be relied on; null where it is not active."""
        evidence = case.activation_evidence
        return None if evidence is None else StandingSerializer(standing(evidence, timezone.now())).data


class StartSerializer(ReasonSerializer):
    """A case to be opened."""

    identity = serializers.PrimaryKeyRelatedField(queryset=ManagedIdentity.objects.all())
    purpose = serializers.ChoiceField(choices=_PURPOSES)
    path = serializers.ChoiceField(choices=PathKey.choices)
    slot = serializers.CharField(
        max_length=120, required=False, default="", allow_blank=True, help_text="The EMAID, of a contract."
    )
    pcid = serializers.CharField(max_length=40, required=False, default="", allow_blank=True)
    responsible_authority = serializers.CharField(
        max_length=200, required=False, default="", allow_blank=True, help_text="As its ownership decision says, else."
    )


class ConfirmSerializer(ReasonSerializer):
    """A prerequisite that a person confirms."""

    prerequisite = serializers.CharField(max_length=40)


class BlockSerializer(ReasonSerializer):
    """What its authority has done."""

    revoked = serializers.BooleanField(default=False, help_text="For good; otherwise it is suspended.")


class ProvisioningEvidenceListSerializer(serializers.ModelSerializer[ProvisioningEvidence]):
    """What an external party said, without the answer itself."""

    standing = serializers.SerializerMethodField()

    class Meta:
        model = ProvisioningEvidence
        exclude = ["content"]

    @extend_schema_field(StandingSerializer)
    def get_standing(self, evidence: ProvisioningEvidence) -> Any:
        """How far it can be relied on now."""
        return StandingSerializer(standing(evidence, timezone.now())).data


class ProvisioningEvidenceSerializer(ProvisioningEvidenceListSerializer):
    """What an external party said."""

    class Meta:
        model = ProvisioningEvidence
        fields = "__all__"


def _text(longest: int, **options: Any) -> Any:
    return serializers.CharField(max_length=longest, required=False, default="", allow_blank=True, **options)


class OutcomeSerializer(ReasonSerializer):
    """What an external party said of a case, or of a certificate that has none."""

    case = serializers.PrimaryKeyRelatedField(queryset=ProvisioningCase.objects.all(), required=False, default=None)
    certificate_record = serializers.PrimaryKeyRelatedField(
        queryset=CertificateRecord.objects.all(), required=False, default=None
    )
    system = serializers.ChoiceField(choices=ExternalSystem.choices)
    kind = serializers.ChoiceField(choices=EvidenceKind.choices)
    outcome = serializers.ChoiceField(choices=Outcome.choices)
    summary = _text(500)
    status = _text(80, help_text="The system's own word.")
    observed_at = serializers.DateTimeField(
        required=False, default=None, help_text="When it was true by the system's own time; evidence ages from then on."
    )
    fresh_until = serializers.DateTimeField(
        required=False, default=None, help_text="Where the system limits it, as nextUpdate does; it only shortens."
    )
    trace_id = _text(120)
    reference_kind = _text(40)
    reference = _text(300, help_text="The system's own name of it.")
    content = serializers.DictField(required=False, default=dict, help_text="The answer; secrets are left out.")
    certificate_pem = _text(20_000, help_text="Stored as far as its ownership decision allows.")
    chain_pem = _text(100_000)
    fingerprint = serializers.RegexField(r"^([0-9a-f]{64})?$", required=False, default="", help_text="SHA-256, hex.")
    not_after = serializers.DateTimeField(required=False, default=None)
    serial_number = _text(64)
    pcid = _text(40)
    emaid = _text(40)
    dedupe_key = _text(140, help_text="The same answer has the same; it is kept once.")


class ReferenceSerializer(serializers.ModelSerializer[ExternalReference]):
    """The name that an external system has for something of a case."""

    class Meta:
        model = ExternalReference
        fields = "__all__"


class DecisionSerializer(CatalogueSerializer):
    """Who does what for a purpose in a program; what is left empty is not decided."""

    missing = serializers.ListField(child=serializers.CharField(), read_only=True)
    complete = serializers.BooleanField(read_only=True)
    mode = serializers.CharField(read_only=True, help_text="The operating mode that follows from our role.")

    class Meta:
        model = OwnershipDecision
        fields = ["id", *FIELDS, "missing", "complete", "mode", "updated_at", "reason"]


class MatrixRowSerializer(serializers.Serializer[Any]):
    """A purpose and program, with what is missing of its decision."""

    title = serializers.CharField()
    decision = serializers.IntegerField(source="decision.pk", default=None, allow_null=True)
    missing = serializers.ListField(child=serializers.CharField())
