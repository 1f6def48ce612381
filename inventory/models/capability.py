"""The capability matrix: what each charger family can do, how we know, and since when."""

from django.db import models
from django.db.models import Q

from inventory.audit import history
from inventory.choices import Capability, CapabilityBasis
from inventory.clock_limits import EARLIEST_PLAUSIBLE
from inventory.models.family import ChargerFamily


class FamilyCapability(models.Model):
    """One cell of the matrix. Where there is no row the capability is unknown, and unknown is not capable."""

    family = models.ForeignKey(ChargerFamily, on_delete=models.CASCADE, related_name="capabilities")
    capability = models.CharField(max_length=40, choices=Capability.choices)
    supported = models.BooleanField()
    basis = models.CharField(max_length=10, choices=CapabilityBasis.choices)
    source = models.CharField(max_length=300, help_text="Who says so, or what was seen.")
    as_of = models.DateTimeField()
    note = models.CharField(
        max_length=500, blank=True, help_text="What this contradicts, where evidence overruled what was known."
    )

    history = history()

    class Meta:
        verbose_name_plural = "family capabilities"
        ordering = ["family", "capability"]
        constraints = [
            models.UniqueConstraint(fields=["family", "capability"], name="one_cell_per_capability"),
            models.CheckConstraint(condition=Q(as_of__gte=EARLIEST_PLAUSIBLE), name="capability_known_since_2000"),
        ]

    def __str__(self) -> str:
        return f"{self.get_capability_display()}: {'yes' if self.supported else 'no'}"


class CapabilityDoubt(models.Model):
    """One station has shown that it cannot what its family can: it counts for that one alone, until another does so."""

    family = models.ForeignKey(ChargerFamily, on_delete=models.CASCADE, related_name="doubts")
    capability = models.CharField(max_length=40, choices=Capability.choices)
    identity = models.ForeignKey("inventory.ManagedIdentity", on_delete=models.CASCADE, related_name="doubts")
    source = models.CharField(max_length=300, help_text="What was seen.")
    since = models.DateTimeField()

    class Meta:
        ordering = ["family", "capability", "since"]
        constraints = [
            models.UniqueConstraint(fields=["identity", "family", "capability"], name="one_doubt_per_station"),
        ]

    def __str__(self) -> str:
        return self.source
