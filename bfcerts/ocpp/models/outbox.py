"""Commands to stations: durable rows, delivered by whichever node holds the connection."""

import uuid

from django.db import models
from django.db.models import Q

from bfcerts.ocpp.canonical import Action, CommandOutcome


class OutboxCommand(models.Model):
    """One command to one station. Its message id goes out on the wire, so a retry is the same message.

    `queued → sent → answered | failed | expired | cancelled`; a sent command whose answer was lost with its
    connection goes back to queued, or, where it was withdrawn meanwhile, is cancelled.
    """

    class State(models.TextChoices):
        QUEUED = "queued", "Queued"
        SENT = "sent", "Sent"
        ANSWERED = "answered", "Answered"
        FAILED = "failed", "Failed"
        EXPIRED = "expired", "Expired"
        CANCELLED = "cancelled", "Cancelled"

    OPEN_STATES = (State.QUEUED, State.SENT)

    id = models.BigAutoField(primary_key=True, help_text="Order of sending to one station.")
    message_id = models.UUIDField(default=uuid.uuid4, unique=True)
    station_id = models.CharField(max_length=64)
    action = models.CharField(max_length=40, choices=[(action.value, action.value) for action in Action])
    payload = models.JSONField(help_text="Canonical payload, as bfcerts.ocpp.canonical builds it; no secrets.")
    secret_payload = models.BinaryField(
        null=True,
        blank=True,
        editable=False,
        help_text="Encrypted values merged in at the gateway; emptied at the end.",
    )
    dedupe_key = models.CharField(max_length=120, unique=True, help_text="The same key is the same command.")
    reference = models.CharField(max_length=80, blank=True, db_index=True, help_text="Opaque to the wire: who asked.")
    correlation_id = models.CharField(max_length=64, blank=True)
    state = models.CharField(max_length=12, choices=State.choices, default=State.QUEUED)
    outcome = models.CharField(max_length=12, blank=True, choices=[(item.value, item.value) for item in CommandOutcome])
    attempts = models.PositiveSmallIntegerField(default=0)
    session_id = models.UUIDField(null=True, blank=True, help_text="The session it was last sent on.")
    created_at = models.DateTimeField()
    not_before = models.DateTimeField()
    deadline = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(
        null=True, blank=True, help_text="From then on it is not sent, nor sent again; an answer may still come."
    )
    finished_at = models.DateTimeField(null=True, blank=True)
    answer = models.JSONField(null=True, blank=True, help_text="The station's answer, secrets redacted.")
    error_code = models.CharField(max_length=60, blank=True)
    error_description = models.TextField(blank=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["station_id", "id"],
                condition=Q(state__in=["queued", "sent"]),
                name="outbox_open_by_station",
            ),
            models.Index(
                fields=["deadline"], condition=Q(state__in=["queued", "sent"]), name="outbox_open_by_deadline"
            ),
            models.Index(fields=["not_before"], condition=Q(state="queued"), name="outbox_queued_by_time"),
            models.Index(fields=["session_id"], condition=Q(state="sent"), name="outbox_sent_by_session"),
            models.Index(fields=["finished_at", "id"], condition=Q(finished_at__isnull=False), name="outbox_ended"),
            models.Index(fields=["station_id", "-id"], name="outbox_by_station"),
            models.Index(fields=["correlation_id", "-id"], name="outbox_by_correlation"),
            models.Index(
                fields=["state", "-id"],
                condition=Q(state__in=["failed", "expired", "cancelled"]),
                name="outbox_unanswered_by_state",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action} to {self.station_id} ({self.state})"
