"""The queue of a bulk rotation: chargers that wait for their turn, because their family, site or region is busy."""

from django.db import models


class RotationTurn(models.Model):
    """One charger of an applied plan that waits for its turn; the row goes when its rotation begins or is given up."""

    target = models.OneToOneField("inventory.PlanTarget", on_delete=models.PROTECT, related_name="rotation_turn")
    plan = models.ForeignKey("inventory.Plan", on_delete=models.PROTECT, related_name="rotation_turns")
    identity = models.ForeignKey("inventory.ManagedIdentity", on_delete=models.PROTECT, related_name="+")
    family = models.ForeignKey("inventory.ChargerFamily", on_delete=models.PROTECT, related_name="+")
    site = models.CharField(max_length=120, blank=True)
    region = models.CharField(max_length=60, blank=True)
    give_up_at = models.DateTimeField(help_text="Not connected until then, it is left as it is.")

    class Meta:
        indexes = [
            models.Index(fields=["plan", "id"], name="turn_by_plan"),
            models.Index(fields=["give_up_at"], name="turn_by_end"),
        ]

    def __str__(self) -> str:
        return f"{self.identity} waits for its turn"
