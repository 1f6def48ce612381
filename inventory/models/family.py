"""Charger families: what stations of one vendor, model and firmware range do and want."""

from django.db import models

from inventory.audit import history
from inventory.choices import ChainContent, SubjectRule


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
    notes = models.TextField(blank=True)

    history = history()

    class Meta:
        verbose_name_plural = "charger families"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
