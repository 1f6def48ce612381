"""Who wants to be told of changes in the pools, and the outbox of what is to be told."""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from inventory.audit import history
from provisioning.models.pool_node import PoolNode
from provisioning.pools.choices import PoolEvent, PushState


class PoolWebhook(models.Model):
    """An address of a node that is told of events. The secret that signs them is stored encrypted."""

    unversioned_fields = ("sealed_secret", "failures", "paused_until", "lease_until", "lease_token")

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    node = models.ForeignKey(PoolNode, on_delete=models.PROTECT, related_name="webhooks")
    url = models.CharField("address", max_length=400)
    events = ArrayField(models.CharField(max_length=40, choices=PoolEvent.choices), default=list)
    description = models.CharField(max_length=200, blank=True)
    enabled = models.BooleanField(default=True)
    sealed_secret = models.BinaryField(editable=False)
    created_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveIntegerField(default=0, help_text="In a row, since something was last delivered.")
    paused_until = models.DateTimeField(null=True, blank=True, help_text="Nothing is sent there before.")
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)
    lease_token = models.UUIDField(null=True, blank=True, editable=False)

    history = history(excluded_fields=["sealed_secret", "failures", "paused_until", "lease_until", "lease_token"])

    class Meta:
        permissions = [("switch_poolwebhook", "Can switch a webhook of the pools on or off")]

    def __str__(self) -> str:
        return self.url


class PoolPush(models.Model):
    """One event for one webhook, from before it is sent until long after it was taken."""

    unversioned_fields = ("body", "attempts", "next_run_at", "status", "detail")

    event_id = models.UUIDField(default=uuid.uuid4, editable=False)
    webhook = models.ForeignKey(PoolWebhook, on_delete=models.PROTECT, related_name="pushes")
    event_type = models.CharField(max_length=40, choices=PoolEvent.choices)
    body = models.BinaryField(help_text="Exactly what is signed and sent.")
    pcid = models.CharField("PCID", max_length=18, blank=True, db_index=True)
    emaid = models.CharField("EMAID", max_length=15, blank=True, db_index=True)
    tells = models.ForeignKey(
        PoolNode, null=True, blank=True, on_delete=models.PROTECT, help_text="Who hears how this one ends."
    )
    state = models.CharField(max_length=10, choices=PushState.choices, default=PushState.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField()
    next_run_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    status = models.PositiveSmallIntegerField(null=True, blank=True, help_text="HTTP status of the last answer.")
    detail = models.CharField(max_length=400, blank=True, help_text="Why the last attempt failed.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["event_id", "webhook"], name="an_event_is_pushed_once")]
        indexes = [
            models.Index(fields=["state", "-id"], name="pool_push_by_state"),
            models.Index(fields=["ended_at"], condition=Q(state="delivered"), name="pool_push_over"),
            models.Index(fields=["webhook", "next_run_at"], condition=Q(state="waiting"), name="pool_push_due"),
        ]
        permissions = [("resend_poolpush", "Can send a push again that was given up")]

    def __str__(self) -> str:
        return f"{self.event_type} {self.event_id}"
