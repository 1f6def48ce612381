"""Tables that keep the workers honest: periodic tasks, queue canaries, token buckets."""

from django.db import models
from django.db.models import Q


class PeriodicTask(models.Model):
    """One recurring duty: when it is due next, and when it last succeeded."""

    name = models.CharField(max_length=60, primary_key=True)
    next_run_at = models.DateTimeField()
    lease_until = models.DateTimeField(null=True, blank=True)
    last_started_at = models.DateTimeField(null=True, blank=True)
    last_succeeded_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)

    def __str__(self) -> str:
        return self.name


class QueueBeat(models.Model):
    """The canary of one django-q2 cluster: the last time that a pulse really ran in a worker of it."""

    cluster = models.CharField(max_length=120, primary_key=True, help_text="Queue, host and process of the cluster.")
    queue = models.CharField(max_length=8)
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["queue", "-beat_at"])]

    def __str__(self) -> str:
        return self.cluster


class Setback(models.Model):
    """A piece of a recurring duty's work that failed, left out until a back-off is over (`inventory.jobs.setbacks`)."""

    work = models.CharField(max_length=60, help_text="What was done, as the name of a duty.")
    key = models.BigIntegerField(help_text="Of the row that it was done to.")
    identity = models.ForeignKey(
        "inventory.ManagedIdentity", null=True, blank=True, on_delete=models.PROTECT, related_name="setbacks"
    )
    tries = models.PositiveIntegerField(default=1)
    since = models.DateTimeField()
    until = models.DateTimeField()
    error = models.TextField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["work", "key"], name="setback_once")]
        indexes = [
            models.Index(fields=["work", "until"], name="setback_of_work"),
            models.Index(fields=["until"], name="setback_until"),
        ]
        permissions = [("retry_setback", "Can have work that was set aside tried again now")]

    def __str__(self) -> str:
        return f"{self.work} {self.key}"


class RateBucket(models.Model):
    """A token bucket shared by all processes: DRF's throttles are not atomic, one UPDATE is."""

    name = models.CharField(max_length=80, primary_key=True)
    tokens = models.FloatField()
    updated_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name


class EventCursor(models.Model):
    """How far a reader of the event log has come: by writing transaction, so that no late commit is passed over."""

    name = models.CharField(max_length=60, primary_key=True)
    transaction = models.BigIntegerField(default=0)
    event_id = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return self.name

    @classmethod
    def position(cls, name: str) -> tuple[int, int]:
        """Transaction and id of the last event that was read."""
        cursor, _ = cls.objects.get_or_create(name=name)
        return cursor.transaction, cursor.event_id

    @classmethod
    def advance(cls, name: str, transaction: int, event_id: int) -> None:
        """Everything up to this event has been read; a reader that is behind never takes the position back."""
        cls.objects.filter(
            Q(transaction__lt=transaction) | Q(transaction=transaction, event_id__lt=event_id), name=name
        ).update(transaction=transaction, event_id=event_id)
