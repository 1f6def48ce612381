"""External answers, as they came; written once, never changed."""

from django.db import models
from django.db.models import Q

from provisioning.choices import EvidenceKind, ExternalSystem, Outcome


class ProvisioningEvidence(models.Model):
    """One external answer about one identity's certificate. The same answer arriving twice is one row (`dedupe_key`).

    Whether it can be relied on now is asked of `provisioning.freshness.standing`, never read from the row alone.
    """

    identity = models.ForeignKey(
        "inventory.ManagedIdentity", on_delete=models.PROTECT, related_name="provisioning_evidence"
    )
    case = models.ForeignKey(
        "provisioning.ProvisioningCase", null=True, blank=True, on_delete=models.PROTECT, related_name="evidence"
    )
    record = models.ForeignKey(
        "inventory.CertificateRecord", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    system = models.CharField(max_length=15, choices=ExternalSystem.choices)
    kind = models.CharField(max_length=20, choices=EvidenceKind.choices)
    outcome = models.CharField(max_length=15, choices=Outcome.choices)
    status = models.CharField(max_length=80, blank=True, help_text="The system's own word.")
    summary = models.TextField(help_text="What it says, in a sentence.")
    authoritative = models.BooleanField(help_text="It comes from whoever decides on this path.")
    observed_at = models.DateTimeField(help_text="When it was true, by the system's own time.")
    received_at = models.DateTimeField()
    fresh_until = models.DateTimeField(help_text="Afterwards it says nothing about now.")
    trace_id = models.CharField(max_length=120, blank=True)
    external_reference = models.CharField(max_length=300, blank=True, help_text="The system's own name of it.")
    content = models.JSONField(default=dict, blank=True, help_text="The answer without secrets.")
    artifact = models.ForeignKey(
        "inventory.Artifact",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="The answer without secrets, where it is large.",
    )
    fingerprint = models.CharField(max_length=64, blank=True, help_text="Of the certificate that it speaks of.")
    not_after = models.DateTimeField(null=True, blank=True, help_text="Of the certificate that it speaks of.")
    actor = models.CharField(max_length=150)
    correlation_id = models.CharField(max_length=64)
    dedupe_key = models.CharField(max_length=160, unique=True)

    class Meta:
        verbose_name_plural = "provisioning evidence"
        constraints = [
            models.CheckConstraint(condition=Q(fresh_until__gte=models.F("observed_at")), name="fresh_after_observed"),
            models.CheckConstraint(condition=~Q(summary=""), name="evidence_says_something"),
        ]
        indexes = [
            models.Index(fields=["case", "-id"]),
            models.Index(fields=["identity", "-id"]),
            models.Index(fields=["system", "-id"]),
            models.Index(fields=["kind", "-id"]),
            models.Index(fields=["outcome", "-id"]),
            models.Index(fields=["trace_id"], condition=~Q(trace_id=""), name="evidence_by_trace"),
            models.Index(fields=["fingerprint"], condition=~Q(fingerprint=""), name="evidence_by_fingerprint"),
        ]
        permissions = [
            ("record_provisioningevidence", "Can record provisioning outcomes"),
            ("attest_provisioningevidence", "Can record what the responsible authority has said"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.get_outcome_display().lower()} ({self.get_system_display()})"
