"""Gateway nodes and the sessions they hold."""

import uuid

from django.db import models
from django.db.models import Q

from bfcerts.ocpp.registry import UpstreamState


class GatewayNode(models.Model):
    """One running gateway process. A node that stopped beating is gone, and so are its sessions."""

    name = models.CharField(max_length=100, primary_key=True)
    run = models.UUIDField(default=uuid.uuid4, help_text="Changes at every start of the process.")
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.name


class StationSession(models.Model):
    """One WebSocket connection of one station; at most one of a station is open."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    station_id = models.CharField(max_length=64, help_text="The charge point id, from the connection's path.")
    node = models.CharField(max_length=100, db_index=True)
    listener = models.CharField(max_length=20, help_text="profile2, profile3 or dual.")
    protocol = models.CharField(max_length=20, help_text="The WebSocket subprotocol, as ocpp2.0.1.")
    security_profile = models.PositiveSmallIntegerField()
    certificate_fingerprint = models.CharField(max_length=64, blank=True, help_text="SHA-256, lower-case hex.")
    renewal_only = models.BooleanField(
        default=False, help_text="It came in with an expired certificate, only to renew it."
    )
    address = models.GenericIPAddressField()
    connected_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    close_reason = models.CharField(max_length=200, blank=True)
    upstream = models.CharField(
        max_length=60, blank=True, db_default="", help_text="Name of the CSMS that it is relayed to; empty for none."
    )
    upstream_state = models.CharField(
        max_length=10,
        blank=True,
        db_default=UpstreamState.NONE.value,
        choices=[(state.value, state.name.capitalize()) for state in UpstreamState if state],
        help_text="How the connection to it stands.",
    )
    upstream_since = models.DateTimeField(null=True, blank=True)
    upstream_detail = models.CharField(max_length=300, blank=True, db_default="", help_text="Why it is away.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["station_id"],
                condition=Q(closed_at__isnull=True),
                name="one_open_session_per_station",
            ),
        ]
        indexes = [
            models.Index(fields=["station_id", "-connected_at"]),
            models.Index(
                fields=["certificate_fingerprint"],
                condition=Q(closed_at__isnull=True),
                name="open_session_by_cert",
            ),
            models.Index(fields=["node"], condition=Q(closed_at__isnull=True), name="open_session_by_node"),
            models.Index(fields=["closed_at"], condition=Q(closed_at__isnull=False), name="session_closed"),
            models.Index(fields=["-connected_at", "-id"], name="session_newest"),
            models.Index(fields=["certificate_fingerprint", "-connected_at"], name="session_by_certificate"),
        ]

    def __str__(self) -> str:
        return f"{self.station_id} on profile {self.security_profile} since {self.connected_at:%Y-%m-%d %H:%M:%S}Z"
