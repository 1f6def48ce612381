"""Questions of stations that only somebody outside can answer: put by the gateway, answered by a worker."""

from django.db import models
from django.db.models import Q

from bfcerts.ocpp.canonical import QuestionKind


class StationQuestion(models.Model):
    """One question of one station. A station that repeats a message, also on its next connection, asks it again.

    `waiting → answered`, or `expired` when its deadline passed first, or `closed` when its station had gone before
    anybody was asked. An answer that comes after that is kept, and reaches no station but one that asks again.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        ANSWERED = "answered", "Answered"
        EXPIRED = "expired", "Expired"
        CLOSED = "closed", "Closed"

    class Told(models.TextChoices):
        ANSWER = "answer", "The answer"
        NOTHING = "nothing", "That there is no answer"

    id = models.BigAutoField(primary_key=True)
    station_id = models.CharField(max_length=64)
    session_id = models.UUIDField(help_text="The connection that waits for the answer, or waited last.")
    kind = models.CharField(max_length=24, choices=[(kind.value, kind.value) for kind in QuestionKind])
    message_id = models.CharField(max_length=100, help_text="Message id and content digest: what is asked again.")
    payload = models.JSONField(help_text="Canonical payload, as bfcerts.ocpp.canonical.QuestionKind says.")
    longest = models.PositiveIntegerField(help_text="Characters that the answer may have.")
    times_asked = models.PositiveIntegerField(default=1)
    asked_at = models.DateTimeField(help_text="When it was put anew last: then its deadline began.")
    deadline = models.DateTimeField()
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    accepted = models.BooleanField(null=True, blank=True)
    content = models.TextField(blank=True, help_text="What the answer brings the station.")
    detail = models.TextField(blank=True, help_text="Why there is no answer, or what else is to be said of it.")
    told = models.CharField(max_length=8, choices=Told.choices, blank=True, help_text="What the station heard last.")
    told_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["station_id", "message_id"], name="question_once_per_station"),
        ]
        indexes = [
            models.Index(fields=["kind", "id"], condition=Q(state="waiting"), name="question_waiting"),
            models.Index(fields=["deadline"], condition=Q(state="waiting"), name="question_deadline"),
            models.Index(fields=["station_id", "-id"], name="question_by_station"),
            models.Index(fields=["asked_at", "id"], name="question_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.station_id} ({self.state})"
