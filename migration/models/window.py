"""When work may be done at a site, in its own time, and when not."""

from zoneinfo import available_timezones

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from inventory.audit import history

EVERY_DAY = [1, 2, 3, 4, 5, 6, 7]


def every_day() -> list[int]:
    return list(EVERY_DAY)


def check_time_zone(name: str) -> None:
    """Refuse what is no name of the IANA time zone database."""
    if name not in available_timezones():
        raise ValidationError(f"“{name}” is no time zone; use a name like Europe/Berlin.")


class MigrationWindow(models.Model):
    """Hours of the day in which chargers of a site may be moved. Without any, every hour will do."""

    site = models.CharField(
        max_length=120, blank=True, help_text="As its chargers name it; empty: every site without windows of its own."
    )
    weekdays = ArrayField(
        models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(7)]),
        default=every_day,
        help_text="Days on which it opens: 1 is Monday, 7 is Sunday.",
    )
    opens = models.TimeField(help_text="Local time.")
    closes = models.TimeField(help_text="Local time; before the opening time: on the next day.")
    time_zone = models.CharField(max_length=60, default="UTC", validators=[check_time_zone])
    enabled = models.BooleanField(default=True)

    history = history()

    class Meta:
        ordering = ["site", "opens"]
        constraints = [
            models.CheckConstraint(condition=~Q(opens=F("closes")), name="window_opens_and_closes"),
            models.CheckConstraint(condition=Q(weekdays__len__gte=1), name="window_has_a_day"),
        ]
        indexes = [models.Index(fields=["site"])]

    def __str__(self) -> str:
        return f"{self.site or 'Every site'}, {self.opens:%H:%M} to {self.closes:%H:%M} {self.time_zone}"


class Blackout(models.Model):
    """Days on which nothing is moved, whatever the windows say."""

    site = models.CharField(max_length=120, blank=True, help_text="As its chargers name it; empty: every site.")
    first_day = models.DateField()
    last_day = models.DateField(help_text="Inclusive.")
    time_zone = models.CharField(max_length=60, default="UTC", validators=[check_time_zone])
    note = models.CharField(max_length=200, blank=True, help_text="For example: public holiday.")
    enabled = models.BooleanField(default=True)

    history = history()

    class Meta:
        ordering = ["first_day", "site"]
        constraints = [
            models.CheckConstraint(condition=Q(last_day__gte=F("first_day")), name="blackout_ends_after_it_begins"),
        ]
        indexes = [models.Index(fields=["last_day"])]

    def __str__(self) -> str:
        return f"{self.site or 'Every site'}, {self.first_day} to {self.last_day}"
