"""Evidence from the wire: committed before the station gets its answer, handled by a worker."""

from django.db import models
from django.db.models import Q

from bfcerts.ocpp.canonical import Evidence


class InboxMessage(models.Model):
    """One observed fact. A message repeated by a station on one session is stored once."""

    class State(models.TextChoices):
        PENDING = "pending", "Pending"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    id = models.BigAutoField(primary_key=True)
    station_id = models.CharField(max_length=64, blank=True)
    session_id = models.UUIDField(null=True, blank=True)
    kind = models.CharField(max_length=30, choices=[(kind.value, kind.value) for kind in Evidence])
    message_id = models.CharField(
        max_length=100,
        blank=True,
        help_text="Message id and content digest; deduplicates within the session.",
    )
    payload = models.JSONField()
    received_at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=State.choices, default=State.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_run_at = models.DateTimeField()
    lease_until = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["session_id", "kind", "message_id"],
                condition=~Q(message_id=""),
                name="inbox_message_once_per_session",
            ),
        ]
        indexes = [
            models.Index(fields=["next_run_at", "id"], condition=Q(state="pending"), name="inbox_due"),
            models.Index(
                fields=["lease_until"],
                condition=Q(state="pending", lease_until__isnull=False),
                name="inbox_leased",
            ),
            models.Index(fields=["station_id", "-received_at"]),
            models.Index(fields=["state", "finished_at"], condition=Q(finished_at__isnull=False), name="inbox_ended"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} from {self.station_id or 'unknown'} at {self.received_at:%Y-%m-%d %H:%M:%S}Z"
