"""The way of a new AuthorizationKey to its charger: one durable row for each, beside the key that it is for."""

from django.db import models
from django.db.models import Q

from migration.key_choices import OPEN_STAGES, DeliveryChannel, RotationStage

_OPEN = [stage.value for stage in OPEN_STAGES]


class KeyRotation(models.Model):
    """What is known of the delivery of one generated key.

    `may_be_stored` is the fact that everything turns on: once a request left and was not clearly refused, the charger
    may come back with the new key at any time, so neither key is ended by the clock.
    """

    key = models.OneToOneField("migration.AuthorizationKey", on_delete=models.PROTECT, related_name="rotation")
    family = models.ForeignKey(
        "inventory.ChargerFamily", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    channel = models.CharField(max_length=15, choices=DeliveryChannel.choices, default=DeliveryChannel.OVER_THE_AIR)
    stage = models.CharField(max_length=15, choices=RotationStage.choices, default=RotationStage.DELIVERING)
    sealed_secret = models.BinaryField(
        null=True, editable=False, help_text="The key, encrypted, until the charger has acknowledged it."
    )
    deliveries = models.PositiveSmallIntegerField(default=0)
    resets = models.PositiveSmallIntegerField(default=0)
    may_be_stored = models.BooleanField(default=False, help_text="The charger may have taken the key.")
    started_at = models.DateTimeField()
    stored_at = models.DateTimeField(null=True, blank=True, help_text="When the charger acknowledged it.")
    connect_by = models.DateTimeField(help_text="By then the charger should have come back with it.")
    give_up_at = models.DateTimeField(help_text="From then on it ends if the charger is seen not to use it.")
    next_step_at = models.DateTimeField(null=True, blank=True)
    other_session = models.UUIDField(
        null=True, blank=True, help_text="The last connection with another key since the new one may be stored."
    )
    booted_without_at = models.DateTimeField(
        null=True, blank=True, help_text="When the charger restarted and still used another key."
    )
    unconfirmed_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    detail = models.TextField(blank=True, help_text="What the charger said last, or why it ended.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(sealed_secret__isnull=True) | Q(stage__in=["delivering", "retrying"]),
                name="key_sealed_only_until_acknowledged",
            ),
            models.CheckConstraint(
                condition=Q(stage__in=_OPEN, ended_at__isnull=True)
                | Q(stage__in=["succeeded", "failed"], ended_at__isnull=False),
                name="ended_rotation_has_time",
            ),
        ]
        indexes = [
            models.Index(fields=["next_step_at"], condition=Q(stage__in=_OPEN), name="rotation_by_next_step"),
            models.Index(fields=["family"], condition=Q(stage__in=_OPEN), name="open_rotation_by_family"),
        ]
        permissions = [("approve_keyrotation", "Can approve how a family takes new AuthorizationKeys")]

    def __str__(self) -> str:
        return f"Rotation to {self.key} ({self.get_stage_display()})"

    @property
    def is_open(self) -> bool:
        """Whether it still goes on."""
        return self.stage in OPEN_STAGES
