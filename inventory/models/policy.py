"""Lifecycle policies: validity, thresholds, retry, deadlines, windows; the narrowest match wins (NFR-004)."""

from datetime import timedelta

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q

from inventory.audit import history
from inventory.choices import OperatingMode
from inventory.models.authority import IssuingAuthority
from inventory.purposes import POLICY_SUBJECT_CHOICES


def default_key_algorithms() -> list[str]:
    return ["EC-P256", "EC-P384", "RSA-2048", "RSA-3072", "RSA-4096"]


class LifecyclePolicy(models.Model):
    """One policy row: what it applies to, and the values.

    It applies to a purpose (or root, intermediate, AuthorizationKey), narrowed by any of operating mode, program,
    charger family and cohort. `inventory.services.policies` resolves and explains.
    """

    name = models.CharField(max_length=120, unique=True)
    purpose = models.CharField(max_length=40, choices=POLICY_SUBJECT_CHOICES)
    mode = models.CharField(max_length=15, choices=OperatingMode.choices, blank=True)
    program = models.CharField(max_length=60, blank=True)
    family = models.ForeignKey(
        "inventory.ChargerFamily", null=True, blank=True, on_delete=models.PROTECT, related_name="policies"
    )
    cohort = models.ForeignKey(
        "inventory.Cohort", null=True, blank=True, on_delete=models.PROTECT, related_name="policies"
    )
    enabled = models.BooleanField(default=True)

    validity = models.DurationField(null=True, blank=True, help_text="Empty: the issuing authority decides.")
    renewal_threshold = models.DurationField(
        null=True,
        blank=True,
        help_text="Before expiry; by then renewal has started. Empty: no automatic renewal.",
    )
    renewal_lead = models.DurationField(
        default=timedelta(0), help_text="Starts are spread over this time before the threshold."
    )
    escalation_threshold = models.DurationField(null=True, blank=True)
    incident_threshold = models.DurationField(null=True, blank=True)
    cut_over_deadline = models.DurationField(
        default=timedelta(hours=4), help_text="How long a charger has to reconnect with what is new."
    )
    rollback_window = models.DurationField(default=timedelta(days=7), help_text="How long what is old still works.")
    csr_deadline = models.DurationField(
        default=timedelta(hours=1), help_text="How long to wait for a request after asking for it."
    )
    delivery_deadline = models.DurationField(
        default=timedelta(days=3), help_text="How long to try to deliver, as to a station that is offline."
    )
    retry_attempts = models.PositiveSmallIntegerField(default=8)
    retry_delay = models.DurationField(default=timedelta(seconds=30), help_text="First delay; doubles each time.")
    retry_delay_limit = models.DurationField(default=timedelta(hours=1))
    allowed_key_algorithms = ArrayField(models.CharField(max_length=20), default=default_key_algorithms, blank=True)
    notes = models.TextField(blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    history = history()

    class Meta:
        verbose_name_plural = "lifecycle policies"
        ordering = ["purpose", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["purpose", "mode", "program", "family", "cohort"],
                condition=Q(enabled=True),
                nulls_distinct=False,
                name="one_policy_per_scope",
            ),
            models.CheckConstraint(
                condition=Q(cut_over_deadline__lt=F("rollback_window")),
                name="cut_over_ends_before_rollback_window",
                violation_error_message="The cut-over deadline must end before the rollback window.",
            ),
            models.CheckConstraint(
                condition=Q(renewal_threshold__isnull=True)
                | Q(validity__isnull=True)
                | Q(validity__gt=F("renewal_threshold") + F("renewal_lead")),
                name="renewal_starts_within_validity",
                violation_error_message="Renewal threshold and lead together must be shorter than the validity.",
            ),
            models.CheckConstraint(
                condition=Q(escalation_threshold__isnull=True)
                | Q(renewal_threshold__isnull=True)
                | Q(escalation_threshold__lt=F("renewal_threshold")),
                name="escalation_after_renewal_start",
                violation_error_message="Escalation must come after the renewal threshold, closer to expiry.",
            ),
            models.CheckConstraint(
                condition=Q(incident_threshold__isnull=True)
                | Q(escalation_threshold__isnull=True)
                | Q(incident_threshold__lt=F("escalation_threshold")),
                name="incident_after_escalation",
                violation_error_message="The incident threshold must come after escalation, closer to expiry.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse what the issuing CA cannot do when it is configured, not when it is used."""
        super().clean()
        if self.validity is None or not self.enabled or self.mode not in ("", OperatingMode.MANAGED):
            return
        issuing = IssuingAuthority.objects.filter(trust_domain=self.purpose, issues=True).first()
        refusal = issuing.refusal_of(self.validity) if issuing else None
        if refusal:
            raise ValidationError({"validity": refusal})
