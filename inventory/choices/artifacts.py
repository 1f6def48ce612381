"""Artifacts, and the logs of stations that they hold."""

from django.db import models


class ArtifactKind(models.TextChoices):
    """What is kept in the artifact store."""

    SECURITY_LOG = "security_log", "Security log"
    BUNDLE = "bundle", "Released trust-anchor bundle"
    CHAIN = "chain", "Issued chain"
    EXTERNAL_ANSWER = "external_answer", "Answer of an external party"


class StationLogState(models.TextChoices):
    """The way of a log from the request to the artifact."""

    REQUESTED = "requested", "Asked for"
    ACCEPTED = "accepted", "The station agreed"
    UPLOADING = "uploading", "Uploading"
    UPLOADED = "uploaded", "Kept"
    FAILED = "failed", "Failed"


LOG_OPEN_STATES = (StationLogState.REQUESTED, StationLogState.ACCEPTED, StationLogState.UPLOADING)
LOG_COLOURS: dict[str, str] = {
    StationLogState.REQUESTED: "info",
    StationLogState.ACCEPTED: "info",
    StationLogState.UPLOADING: "info",
    StationLogState.UPLOADED: "success",
    StationLogState.FAILED: "danger",
}
