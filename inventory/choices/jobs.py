"""Jobs: what they do, how they stand, which worker takes them, and at which step."""

from django.db import models


class JobAction(models.TextChoices):
    """What a certificate job does."""

    ISSUE = "issue", "Issue"
    RENEW = "renew", "Renew"
    INSTALL = "install", "Install"
    REVOKE = "revoke", "Revoke at the CA"
    DELETE = "delete", "Delete from the device"
    CUT_OVER = "cut_over", "Cut over to Profile 3"
    COMMAND = "command", "Station command"


ISSUING_ACTIONS = (JobAction.ISSUE, JobAction.RENEW)


class JobState(models.TextChoices):
    """The life of a job; `waiting` always names what it waits for and until when."""

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    WAITING = "waiting", "Waiting"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


JOB_OPEN_STATES = (JobState.QUEUED, JobState.RUNNING, JobState.WAITING)
JOB_COLOURS: dict[str, str] = {
    JobState.QUEUED: "info",
    JobState.RUNNING: "info",
    JobState.WAITING: "warning",
    JobState.SUCCEEDED: "success",
    JobState.FAILED: "danger",
    JobState.CANCELLED: "default",
}


class JobQueue(models.TextChoices):
    """Which worker may run a job's present step."""

    GENERAL = "general", "General worker"
    PKI = "pki", "PKI worker"


class JobStep(models.TextChoices):
    """Every step of a job, in the words of whoever waits for it."""

    REQUEST_CSR = "request_csr", "Ask the endpoint for a certificate signing request"
    AWAIT_TRIGGER = "await_trigger", "The station takes the request for a CSR"
    AWAIT_CSR = "await_csr", "The endpoint sends its certificate signing request"
    ISSUE = "issue", "The CA issues the certificate"
    NEWER_CSR = "newer_csr", "Take up the newer certificate signing request"
    DELIVER = "deliver", "Send the certificate to the endpoint"
    AWAIT_INSTALL = "await_install", "The endpoint installs the certificate"
    AWAIT_ACTIVATION = "await_activation", "The endpoint connects with the certificate"
    AWAIT_DOUBTFUL = "await_doubtful", "The endpoint connects with the certificate that it may have"
    REVOKE_AT_AUTHORITY = "revoke_at_authority", "Tell the CA of the revocation"
    SEND_NETWORK_PROFILE = "send_network_profile", "Send the network profile to the station"
    SEND_PRIORITY = "send_priority", "Tell the station to use the new network profile first"
    SEND_SECURITY_PROFILE = "send_security_profile", "Tell the station its new security profile"
    SEND_RESET = "send_reset", "Restart the station"
    CUT_OVER_UNANSWERED = "cut_over_unanswered", "The station comes back on Profile 3"
