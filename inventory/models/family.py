"""Charger families: what stations of one vendor, model and firmware range do and want."""

from django.db import models
from django.db.models import Q

from inventory.audit import history
from inventory.choices import ChainContent, KeyForm, KeyPath, ProtocolVariant, SubjectRule


class ChargerFamily(models.Model):
    """Vendor, model and firmware range, with the traits that the certificate path depends on."""

    name = models.CharField(max_length=120, unique=True)
    vendor = models.CharField(max_length=50)
    model = models.CharField(max_length=50)
    firmware_from = models.CharField(max_length=50, blank=True, help_text="Lowest firmware version, inclusive.")
    firmware_to = models.CharField(max_length=50, blank=True, help_text="Highest firmware version, inclusive.")
    subject_rule = models.CharField(
        max_length=20,
        choices=SubjectRule.choices,
        default=SubjectRule.EITHER,
        help_text="What its requests carry as common name; compared exactly.",
    )
    chain_content = models.CharField(
        max_length=30, choices=ChainContent.choices, default=ChainContent.LEAF_AND_INTERMEDIATES
    )
    can_lower_profile = models.BooleanField(
        default=False, help_text="Its stations can go back to a lower security profile when told to."
    )
    unsolicited_reads = models.BooleanField(
        default=True, help_text="Reads that the station did not ask for are tolerated after a connect."
    )
    certificate_store_size = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="How many trust anchors its stations hold; empty: unknown."
    )
    accepts_intermediate_roots = models.BooleanField(
        default=False, help_text="Its stations take anchors that are not self-signed."
    )
    key_form = models.CharField(
        max_length=10, choices=KeyForm.choices, default=KeyForm.LITERAL, help_text="How a new key is written to it."
    )
    reconnects_by_itself = models.BooleanField(
        default=False, help_text="Its stations come back by themselves to use a new key or anchor; others get a Reset."
    )
    key_path = models.CharField(max_length=24, choices=KeyPath.choices, default=KeyPath.UNAPPROVED, editable=False)
    key_path_approved_at = models.DateTimeField(null=True, blank=True, editable=False)
    key_path_approved_by = models.CharField(max_length=150, blank=True, editable=False)
    protocol_variant = models.CharField(
        max_length=40,
        choices=ProtocolVariant.choices,
        default=ProtocolVariant.STANDARD,
        blank=True,
        help_text="Where its stations do not speak as the standard of their OCPP version says.",
    )
    notes = models.TextField(blank=True)

    history = history()

    class Meta:
        verbose_name_plural = "charger families"
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(key_path="unapproved")
                | (Q(key_path_approved_at__isnull=False) & ~Q(key_path_approved_by="")),
                name="approved_key_path_names_who",
            ),
        ]

    def __str__(self) -> str:
        return self.name
