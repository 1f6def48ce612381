"""Certificate jobs: the durable, idempotent work items. The table is the truth; queues only wake workers (D-007)."""

from datetime import datetime
from typing import Any, Self

from django.db import models
from django.db.models import Q

from inventory.audit import history
from inventory.choices import JOB_OPEN_STATES, JobAction, JobQueue, JobState
from inventory.purposes import PURPOSE_CHOICES

OPEN = Q(state__in=["queued", "running", "waiting"])


class CertificateJobQuerySet(models.QuerySet["CertificateJob"]):
    """Intent-named questions; time is a parameter."""

    def open(self) -> Self:
        return self.filter(state__in=JOB_OPEN_STATES)

    def due(self, now: datetime, queue: str) -> Self:
        """Jobs whose next step may run: the hour has come and nobody holds a lease."""
        return self.filter(OPEN, queue=queue, next_run_at__lte=now).filter(
            Q(lease_until__isnull=True) | Q(lease_until__lte=now)
        )


class CertificateJob(models.Model):
    """One work item: its action, actor, reason, correlation id, idempotency key, step, attempts, deadline, outcome."""

    action = models.CharField(max_length=10, choices=JobAction.choices)
    identity = models.ForeignKey("inventory.ManagedIdentity", on_delete=models.PROTECT, related_name="jobs")
    purpose = models.CharField(max_length=40, choices=PURPOSE_CHOICES)
    slot = models.CharField(max_length=120, blank=True)
    record = models.ForeignKey(
        "inventory.CertificateRecord",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="jobs",
        help_text="The record that the job makes or works on.",
    )
    target = models.CharField(
        max_length=80,
        blank=True,
        help_text="Tells jobs of the same action apart, as the record that one revokes.",
    )
    state = models.CharField(max_length=10, choices=JobState.choices, default=JobState.QUEUED)
    queue = models.CharField(max_length=8, choices=JobQueue.choices, default=JobQueue.GENERAL)
    step = models.CharField(max_length=40)
    waiting_for = models.CharField(max_length=200, blank=True)
    waiting_until = models.DateTimeField(null=True, blank=True)
    actor = models.CharField(max_length=150)
    reason = models.TextField()
    correlation_id = models.CharField(max_length=64, db_index=True)
    idempotency_key = models.CharField(max_length=160, unique=True)
    parameters = models.JSONField(default=dict, blank=True)
    attempts = models.PositiveIntegerField(default=0, help_text="Of the present step; raised before the work.")
    unexpected_ends = models.PositiveSmallIntegerField(
        default=0, help_text="Errors and vanished workers in a row, of the present step."
    )
    next_run_at = models.DateTimeField()
    lease_owner = models.CharField(max_length=100, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    deadline = models.DateTimeField(null=True, blank=True, help_text="The job fails if it is still open then.")
    outcome = models.TextField(blank=True, help_text="How it ended, or what went wrong last, in a sentence.")
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    history = history()
    objects = CertificateJobQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["identity", "purpose", "slot", "action", "target"],
                condition=OPEN,
                name="one_open_job_per_action",
            ),
            models.UniqueConstraint(
                fields=["identity", "purpose", "slot"],
                condition=OPEN & Q(action__in=["issue", "renew"]),
                name="one_open_issuing_job",
            ),
            models.CheckConstraint(
                condition=~Q(state="waiting") | (~Q(waiting_for="") & Q(waiting_until__isnull=False)),
                name="waiting_names_its_end",
            ),
            models.CheckConstraint(condition=OPEN | Q(finished_at__isnull=False), name="ended_job_has_time"),
        ]
        indexes = [
            models.Index(fields=["queue", "next_run_at"], condition=OPEN, name="job_due"),
            models.Index(fields=["identity", "-id"]),
            models.Index(fields=["state", "-id"]),
            models.Index(fields=["action", "-id"]),
            models.Index(fields=["purpose", "-id"]),
            models.Index(fields=["lease_until"], condition=OPEN, name="job_leases"),
        ]
        permissions = [
            ("cancel_certificatejob", "Can cancel jobs"),
            ("retry_certificatejob", "Can run a waiting job now"),
        ]

    def __str__(self) -> str:
        return f"{self.get_action_display()} {self.get_purpose_display()} for {self.identity}"

    @property
    def is_open(self) -> bool:
        return self.state in JOB_OPEN_STATES

    def parameter(self, name: str, default: Any = None) -> Any:
        return self.parameters.get(name, default)


class UntoldJobEnd(models.Model):
    """The end of a job that somebody who listens for it failed to take in, and is told again (`inventory.seams`)."""

    listener = models.CharField(max_length=40)
    job = models.ForeignKey(CertificateJob, on_delete=models.PROTECT, related_name="untold_ends")
    failed_at = models.DateTimeField(help_text="For the first time.")
    tries = models.PositiveIntegerField(default=1)
    next_run_at = models.DateTimeField()
    last_error = models.TextField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["listener", "job"], name="job_end_untold_once")]
        indexes = [models.Index(fields=["next_run_at"], name="untold_job_end_due")]

    def __str__(self) -> str:
        return f"{self.listener}: {self.job}"
