"""Breakers: a family or a site whose failures crossed the limit, stopped alone."""

from django.db import models
from django.db.models import Q

from inventory.audit import history
from migration.states import BreakerKind


class Breaker(models.Model):
    """One family or site that no charger is moved of, until a person has looked and closes it."""

    kind = models.CharField(max_length=6, choices=BreakerKind.choices)
    family = models.ForeignKey(
        "inventory.ChargerFamily", null=True, blank=True, on_delete=models.PROTECT, related_name="breakers"
    )
    site = models.CharField(max_length=120, blank=True)
    rollout = models.ForeignKey("migration.MigrationRollout", on_delete=models.PROTECT, related_name="breakers")
    failures = models.PositiveIntegerField(help_text="How many there were when it opened.")
    why = models.TextField()
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.CharField(max_length=150, blank=True)

    history = history()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["family"], condition=Q(kind="family", closed_at__isnull=True), name="one_open_family_breaker"
            ),
            models.UniqueConstraint(
                fields=["site"], condition=Q(kind="site", closed_at__isnull=True), name="one_open_site_breaker"
            ),
            models.CheckConstraint(
                condition=Q(kind="site", family__isnull=True) | Q(kind="family", family__isnull=False, site=""),
                name="breaker_names_one_thing",
            ),
            models.CheckConstraint(condition=Q(closed_at__isnull=True) | ~Q(closed_by=""), name="closed_by_somebody"),
        ]
        indexes = [models.Index(fields=["-id"], condition=Q(closed_at__isnull=True), name="breaker_open")]
        permissions = [("close_breaker", "Can close breakers")]

    def __str__(self) -> str:
        return self.subject[:1].upper() + self.subject[1:]

    @property
    def subject(self) -> str:
        """What is stopped, as it stands in a sentence."""
        return f"family {self.family}" if self.kind == BreakerKind.FAMILY else f"site {self.site or 'without a name'}"
