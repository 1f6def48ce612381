"""What is kept in the artifact store, and the security logs that stations are asked for."""

from django.db import models
from django.db.models import Q

from inventory.audit import history
from inventory.choices import LOG_OPEN_STATES, ArtifactKind, StationLogState


class Artifact(models.Model):
    """One thing in the artifact store, with its digest and how long it is kept. Its content is not in the database."""

    kind = models.CharField(max_length=20, choices=ArtifactKind.choices)
    name = models.CharField(max_length=200, unique=True, help_text="Where it is in the store.")
    origin = models.CharField(max_length=80, unique=True, help_text="What it was made of; the same is kept once.")
    identity = models.ForeignKey(
        "inventory.ManagedIdentity", null=True, blank=True, on_delete=models.PROTECT, related_name="artifacts"
    )
    sha256 = models.CharField("SHA-256", max_length=64)
    size = models.PositiveBigIntegerField(help_text="Bytes.")
    content_type = models.CharField(max_length=100)
    created_at = models.DateTimeField()
    retain_until = models.DateTimeField(null=True, blank=True, help_text="Deleted afterwards; empty: kept for good.")
    deleted_at = models.DateTimeField(null=True, blank=True)

    history = history()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(deleted_at__isnull=True) | Q(retain_until__isnull=False), name="kept_for_good_is_kept"
            ),
        ]
        indexes = [
            models.Index(fields=["retain_until"], condition=Q(deleted_at__isnull=True), name="artifact_retention"),
            models.Index(fields=["identity", "-id"]),
            models.Index(fields=["kind", "-id"]),
        ]
        permissions = [("download_artifact", "Can download what the artifact store keeps")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.name}"


class StationLog(models.Model):
    """One log that a station was asked for: from the request to the artifact, or to why there is none (FR-010).

    OCPP 2.0.1 N01; OCPP 1.6 security whitepaper, GetLog. `request_id` is what the station repeats.
    """

    identity = models.ForeignKey("inventory.ManagedIdentity", on_delete=models.PROTECT, related_name="logs")
    request_id = models.PositiveIntegerField()
    log_type = models.CharField(max_length=20, default="SecurityLog")
    state = models.CharField(max_length=10, choices=StationLogState.choices, default=StationLogState.REQUESTED)
    station_status = models.CharField(
        max_length=40, blank=True, help_text="What the station last said of it, in its own words."
    )
    detail = models.CharField(max_length=500, blank=True, help_text="How it ended, in a sentence.")
    upload_until = models.DateTimeField()
    upload_begun_at = models.DateTimeField(null=True, blank=True, help_text="An upload is under way since.")
    upload_claim = models.CharField(
        max_length=16, blank=True, editable=False, help_text="Which upload that is; another one's end changes nothing."
    )
    artifact = models.OneToOneField(Artifact, null=True, blank=True, on_delete=models.PROTECT, related_name="log")
    actor = models.CharField(max_length=150)
    reason = models.TextField()
    correlation_id = models.CharField(max_length=64, db_index=True)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    history = history(excluded_fields=["upload_begun_at", "upload_claim"])

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["identity", "request_id"], name="log_request_once"),
            models.UniqueConstraint(
                fields=["identity"], condition=Q(state__in=LOG_OPEN_STATES), name="one_open_log_request"
            ),
            models.CheckConstraint(
                condition=~Q(state="uploaded") | Q(artifact__isnull=False), name="uploaded_log_is_kept"
            ),
        ]
        indexes = [
            models.Index(fields=["upload_until"], condition=Q(state__in=LOG_OPEN_STATES), name="log_deadlines"),
            models.Index(
                fields=["upload_begun_at"], condition=Q(upload_begun_at__isnull=False), name="log_being_uploaded"
            ),
            models.Index(fields=["identity", "-id"]),
        ]

    def __str__(self) -> str:
        return f"{self.log_type} of {self.identity} ({self.get_state_display()})"

    @property
    def is_open(self) -> bool:
        return self.state in LOG_OPEN_STATES


class AbandonedUpload(models.Model):
    """Where an upload that was given up may still put something: deleted once more when it is over for certain."""

    name = models.CharField(max_length=200, unique=True)
    delete_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.name
