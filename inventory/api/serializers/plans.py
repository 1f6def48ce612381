"""Plans, their targets, and the capability matrix."""

from typing import Any

from rest_framework import serializers

from inventory.choices import Capability
from inventory.models import Plan, PlanTarget


class PlanSerializer(serializers.ModelSerializer[Plan]):
    """What a bulk action would do, and how far it has come."""

    parameters = serializers.DictField(read_only=True)
    excluded = serializers.DictField(read_only=True, help_text="How many are excluded, by reason code.")
    steps = serializers.DictField(read_only=True, help_text="How many included targets take each step.")
    risk = serializers.DictField(read_only=True, help_text="How many are included, by family and by site.")
    refusal = serializers.DictField(
        read_only=True,
        help_text="Why it was refused when it was last applied: code, sentence, by whom, when, and what has changed as "
        "in the problem of a small plan. Empty: it was not.",
    )
    expected_duration = serializers.DurationField(format="iso-8601", read_only=True)

    class Meta:
        model = Plan
        fields = [
            "id",
            "kind",
            "title",
            "parameters",
            "state",
            "digest",
            "candidates",
            "included",
            "excluded",
            "steps",
            "risk",
            "expected_duration",
            "expected_basis",
            "actor",
            "reason",
            "correlation_id",
            "created_at",
            "prepared_at",
            "expires_at",
            "checked",
            "refusal",
            "applied_at",
            "applied_by",
            "applied_reason",
            "run",
            "run_note",
            "finished_at",
        ]


class NewPlanSerializer(serializers.Serializer[Any]):
    """What to plan."""

    kind = serializers.CharField(max_length=40, help_text="GET /plans/kinds names them.")
    parameters = serializers.DictField(help_text="As the kind asks for them.")
    title = serializers.CharField(max_length=200, required=False, help_text="Empty: made from the parameters.")
    reason = serializers.CharField(max_length=1000, help_text="Why; it stays in the audit history with your name.")


class ApplySerializer(serializers.Serializer[Any]):
    """Which plan is meant, exactly."""

    digest = serializers.CharField(max_length=64, help_text="Of the plan as you looked at it.")
    reason = serializers.CharField(max_length=1000, help_text="Why; it stays in the audit history with your name.")


class FieldSerializer(serializers.Serializer[Any]):
    """One parameter of a kind of plan."""

    name = serializers.CharField()
    title = serializers.CharField(source="label")
    help = serializers.CharField()
    needed = serializers.BooleanField(source="required")
    preset = serializers.CharField(source="default")
    values = serializers.SerializerMethodField(help_text="Those that it may have; empty where that is open.")
    is_list = serializers.BooleanField(source="many")

    def get_values(self, field: Any) -> list[str]:
        return [str(value) for value, _ in field.choices]


class KindSerializer(serializers.Serializer[Any]):
    """One kind of plan."""

    key = serializers.CharField()
    title = serializers.CharField(source="label")
    permission = serializers.CharField(help_text="What it takes to plan and to apply it.")
    parameters = FieldSerializer(source="fields", many=True)


class TargetSerializer(serializers.ModelSerializer[PlanTarget]):
    """One identity that a plan looked at."""

    identifier = serializers.CharField(source="identity.authoritative_identifier", read_only=True)

    class Meta:
        model = PlanTarget
        fields = [
            "id",
            "position",
            "identity",
            "identifier",
            "included",
            "reason_code",
            "reason",
            "steps",
            "family_name",
            "site",
            "outcome",
            "detail",
            "job",
        ]


class CapabilitySerializer(serializers.Serializer[Any]):
    """What is known of one capability of a family."""

    capability = serializers.ChoiceField(Capability.choices)
    supported = serializers.BooleanField(allow_null=True, help_text="null: unknown, which is not capable.")
    basis = serializers.CharField(help_text="declared, observed, or empty.")
    source = serializers.CharField()  # type: ignore[assignment]  # hides Field.source
    as_of = serializers.DateTimeField(allow_null=True)
    note = serializers.CharField(help_text="What it contradicts.")
    mandatory = serializers.BooleanField(help_text="Whether Profile 3 takes it, or what stands in for it.")
    stands_in = serializers.CharField(help_text="What takes its place for Profile 3, or empty.")
    doubts = serializers.ListField(
        child=serializers.CharField(), help_text="What single stations have shown against it; it counts for them alone."
    )


class DeclareSerializer(serializers.Serializer[Any]):
    """A statement about a family."""

    capability = serializers.ChoiceField(Capability.choices)
    supported = serializers.BooleanField(allow_null=True, help_text="null takes back what was known.")
    source = serializers.CharField(  # type: ignore[assignment]  # hides Field.source
        max_length=300, required=False, allow_blank=True, default="", help_text="Who says so: a data sheet, a test."
    )
    reason = serializers.CharField(max_length=1000, help_text="Why; it stays in the audit history with your name.")
