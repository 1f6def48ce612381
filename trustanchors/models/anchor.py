"""Trust anchors: CA certificates that endpoints are given to trust, each in one trust domain for ever."""

from django.db import models
from django.db.models import Q

from inventory.audit import history
from inventory.purposes import PURPOSE_CHOICES


class TrustAnchor(models.Model):
    """One CA certificate of one trust domain. What it says never changes; the database refuses that."""

    purpose = models.CharField(max_length=40, choices=PURPOSE_CHOICES)
    trust_domain = models.CharField(max_length=40, editable=False)
    name = models.CharField(max_length=120, help_text="A name for people.")
    certificate_pem = models.TextField()
    fingerprint = models.CharField(max_length=64, unique=True, help_text="SHA-256, lower-case hex.")
    public_key_sha256 = models.CharField(max_length=64, db_index=True)
    subject = models.TextField()
    issuer = models.TextField()
    serial_number = models.CharField(max_length=64, help_text="Lower-case hex without leading zeros.")
    key_algorithm = models.CharField(max_length=30)
    self_signed = models.BooleanField(help_text="A root. Anything else is sent only to families that take it.")
    not_before = models.DateTimeField()
    not_after = models.DateTimeField(db_index=True)
    hash_data = models.JSONField(
        help_text="CertificateHashData by hash algorithm, as a station reports it (OCPP 2.0.1 M03)."
    )
    created_at = models.DateTimeField()

    history = history(excluded_fields=["certificate_pem"])

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(fingerprint=""), name="anchor_has_fingerprint"),
            models.CheckConstraint(condition=Q(trust_domain=models.F("purpose")), name="anchor_in_its_trust_domain"),
        ]

    def __str__(self) -> str:
        return self.name
