"""Tables that keep the workers honest: periodic tasks, queue canaries, token buckets."""

from django.db import models


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


class RateBucket(models.Model):
    """A token bucket shared by all processes: DRF's throttles are not atomic, one UPDATE is."""

    name = models.CharField(max_length=80, primary_key=True)
    tokens = models.FloatField()
    updated_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
