"""Keys that vendors ship their chargers with, entered by operators so that they are found in use."""

from django.db import models

from inventory.audit import history


class KnownDefaultKey(models.Model):
    """A vendor's default key, stored as the same keyed digest as the keys in use and never readable."""

    label = models.CharField(max_length=120, unique=True, help_text="Whose default it is, as “Volta Eagle until 2024”.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField()

    history = history(excluded_fields=["digest"])

    class Meta:
        ordering = ["label"]

    def __str__(self) -> str:
        return self.label
