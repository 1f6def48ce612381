"""Evidence: observed facts that can move a record; written once, never changed."""

from django.db import models

from inventory.choices import EvidenceKind


class Evidence(models.Model):
    """One observed fact about a certificate. The same fact arriving twice is one row (`dedupe_key`)."""

    record = models.ForeignKey("inventory.CertificateRecord", on_delete=models.PROTECT, related_name="evidence")
    kind = models.CharField(max_length=30, choices=EvidenceKind.choices)
    observed_at = models.DateTimeField()
    source = models.CharField(max_length=120, help_text="Who observed it: a gateway session, a partner, a person.")
    detail = models.JSONField(default=dict, blank=True)
    correlation_id = models.CharField(max_length=64, blank=True)
    dedupe_key = models.CharField(max_length=160, unique=True)

    class Meta:
        verbose_name_plural = "evidence"
        indexes = [
            models.Index(fields=["record", "-observed_at"]),
            models.Index(fields=["kind", "-id"]),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} at {self.observed_at:%Y-%m-%d %H:%M:%S}Z"
