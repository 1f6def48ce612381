"""Chargers that are away on purpose, and how many of a site may be at once."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from inventory.audit import history


class SitePolicy(models.Model):
    """How many chargers of one site may be away at once; a site without one has the default of the fleet.

    One with an empty site is for the chargers that name none; without it those are not capped.
    """

    DEFAULT_PERCENT = 10

    site = models.CharField(
        max_length=120, unique=True, blank=True, help_text="As its chargers name it; empty: those that name none."
    )
    away_percent = models.PositiveSmallIntegerField(
        default=DEFAULT_PERCENT,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text="Per cent of its chargers that may be away at once; one always may.",
    )
    away_most = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)], help_text="And never more than this many."
    )

    history = history()

    class Meta:
        verbose_name_plural = "site policies"
        ordering = ["site"]
        constraints = [
            models.CheckConstraint(
                condition=Q(away_percent__gte=1, away_percent__lte=100), name="away_percent_1_to_100"
            ),
            models.CheckConstraint(
                condition=Q(away_most__isnull=True) | Q(away_most__gte=1), name="away_most_1_or_more"
            ),
        ]

    def __str__(self) -> str:
        return self.site or "Chargers without a site"


class PlannedAbsence(models.Model):
    """One charger that somebody sends away for a while: to reconnect, to restart, to change its profile.

    It is over when it was given back, or by the clock at `until`, whichever comes first.
    """

    id = models.BigAutoField(primary_key=True)
    identity = models.ForeignKey("inventory.ManagedIdentity", on_delete=models.PROTECT, related_name="absences")
    site = models.CharField(max_length=120, blank=True, help_text="At the time when it left.")
    kind = models.CharField(max_length=80, help_text="Whose work it is away for.")
    started_at = models.DateTimeField()
    until = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["identity"], condition=Q(ended_at__isnull=True), name="away_once"),
            models.CheckConstraint(condition=Q(until__gt=F("started_at")), name="absence_has_an_end"),
        ]
        indexes = [
            models.Index(fields=["site", "until"], condition=Q(ended_at__isnull=True), name="away_by_site"),
            models.Index(fields=["ended_at"], condition=Q(ended_at__isnull=False), name="absence_ended"),
        ]

    def __str__(self) -> str:
        return f"{self.identity} away for {self.kind}"
