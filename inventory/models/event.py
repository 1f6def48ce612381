"""The append-only logs: domain events and security events. The database refuses to change or delete them."""

import uuid

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Func, Q

from inventory.choices import EventType, SecurityCategory, SecuritySource, Severity


class CurrentTransaction(Func):
    """The writing transaction's id: readers that replay the log order by it and lose nothing to late commits."""

    template = "(pg_current_xact_id()::text::bigint)"
    output_field = models.BigIntegerField()


class DomainEvent(models.Model):
    """One entry of the event log. Its payload has the fields that the two event dictionaries name."""

    id = models.BigAutoField(primary_key=True)
    event_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    transaction = models.BigIntegerField(db_default=CurrentTransaction(), editable=False)
    type = models.CharField(max_length=40, choices=EventType.choices)
    occurred_at = models.DateTimeField()
    actor = models.CharField(max_length=150)
    reason = models.TextField()
    correlation_id = models.CharField(max_length=64)
    identity = models.ForeignKey(
        "inventory.ManagedIdentity", null=True, on_delete=models.PROTECT, related_name="events"
    )
    record = models.ForeignKey(
        "inventory.CertificateRecord", null=True, on_delete=models.PROTECT, related_name="events"
    )
    job = models.ForeignKey("inventory.CertificateJob", null=True, on_delete=models.PROTECT, related_name="events")
    resulting_state = models.CharField(max_length=30, blank=True)
    payload = models.JSONField(default=dict)
    dedupe_key = models.CharField(max_length=160, help_text="The same happening is one event.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["dedupe_key"], condition=~Q(dedupe_key=""), name="event_once"),
        ]
        indexes = [
            models.Index(fields=["identity", "-id"]),
            models.Index(fields=["record", "-id"]),
            models.Index(fields=["type", "-id"]),
            models.Index(fields=["type", "transaction", "id"], name="event_for_readers"),
            models.Index(fields=["correlation_id"]),
            models.Index(fields=["actor", "-id"]),
            BrinIndex(fields=["occurred_at"], name="event_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.type} at {self.occurred_at:%Y-%m-%d %H:%M:%S}Z"


class SecurityEvent(models.Model):
    """A security-relevant fact from a charger, a TLS endpoint, a CA, a broker or an operator (FR-010)."""

    id = models.BigAutoField(primary_key=True)
    event_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    type = models.CharField(max_length=60, help_text="The normal form's name.")
    native_type = models.CharField(max_length=60, blank=True, help_text="The source's own name, verbatim.")
    category = models.CharField(max_length=20, choices=SecurityCategory.choices)
    severity = models.CharField(max_length=10, choices=Severity.choices)
    source = models.CharField(max_length=24, choices=SecuritySource.choices)
    occurred_at = models.DateTimeField(help_text="When it happened, by the source's clock.")
    recorded_at = models.DateTimeField()
    identity = models.ForeignKey(
        "inventory.ManagedIdentity", null=True, on_delete=models.PROTECT, related_name="security_events"
    )
    record = models.ForeignKey("inventory.CertificateRecord", null=True, on_delete=models.PROTECT, related_name="+")
    job = models.ForeignKey("inventory.CertificateJob", null=True, on_delete=models.PROTECT, related_name="+")
    session_id = models.UUIDField(null=True)
    station_id = models.CharField(max_length=64, blank=True, help_text="As claimed, where no identity is known.")
    address = models.GenericIPAddressField(null=True)
    message = models.TextField(help_text="What happened, in a sentence for the operator.")
    technical_detail = models.TextField(blank=True, help_text="techInfo or statusInfo, verbatim.")
    payload = models.JSONField(default=dict)
    correlation_id = models.CharField(max_length=64, blank=True)
    dedupe_key = models.CharField(max_length=160)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["dedupe_key"], condition=~Q(dedupe_key=""), name="security_event_once"),
        ]
        indexes = [
            models.Index(fields=["identity", "-id"]),
            models.Index(fields=["severity", "-id"]),
            models.Index(fields=["type", "-id"]),
            models.Index(fields=["category", "-id"]),
            models.Index(fields=["source", "-id"]),
            models.Index(fields=["correlation_id"], condition=~Q(correlation_id=""), name="security_by_correlation"),
            models.Index(fields=["station_id", "-id"], condition=~Q(station_id=""), name="security_by_station"),
            models.Index(
                fields=["identity"], condition=Q(type="UpstreamCallRefused"), name="security_refused_upstream"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} at {self.occurred_at:%Y-%m-%d %H:%M:%S}Z"
