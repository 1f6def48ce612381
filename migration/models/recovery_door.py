"""Narrow doors: for one charger, for a time, with what would not let it in otherwise."""

from django.db import models
from django.db.models import F, Q

from inventory.audit import history
from migration.key_choices import DoorKind, RecoveryCause


class RecoveryDoor(models.Model):
    """One door that an operator opened for a charger whose certificate expired, was revoked or lost.

    It closes by itself at its end, or when the charger is back on Profile 3 with a certificate that works.
    """

    identity = models.ForeignKey("inventory.ManagedIdentity", on_delete=models.PROTECT, related_name="recovery_doors")
    kind = models.CharField(max_length=20, choices=DoorKind.choices)
    cause = models.CharField(max_length=10, choices=RecoveryCause.choices)
    key = models.OneToOneField(
        "migration.AuthorizationKey", null=True, blank=True, on_delete=models.PROTECT, related_name="recovery_door"
    )
    certificate = models.ForeignKey(
        "inventory.CertificateRecord",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="recovery_doors",
        help_text="The expired certificate that lets in, and no other.",
    )
    opened_at = models.DateTimeField()
    opened_by = models.CharField(max_length=150)
    reason = models.TextField()
    until = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    closing = models.CharField(max_length=200, blank=True, help_text="Why it was closed.")

    history = history()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["identity"], condition=Q(closed_at__isnull=True), name="one_open_recovery_door"
            ),
            models.CheckConstraint(condition=Q(until__gt=F("opened_at")), name="recovery_door_ends_after_its_start"),
            models.CheckConstraint(
                condition=~Q(kind="profile_2_key") | Q(key__isnull=False), name="profile_2_door_has_a_key"
            ),
            models.CheckConstraint(
                condition=~Q(kind="expired_certificate")
                | Q(certificate__isnull=False, key__isnull=True, cause="expired"),
                name="renewal_door_has_a_certificate",
            ),
        ]
        indexes = [
            models.Index(fields=["until"], condition=Q(closed_at__isnull=True), name="open_recovery_door_by_end")
        ]
        permissions = [
            ("open_recoverydoor", "Can open a narrow door for a charger that lost its certificate"),
            ("close_recoverydoor", "Can close a narrow door"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} for {self.identity}"
