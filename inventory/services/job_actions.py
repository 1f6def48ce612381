"""What this operator may do now with a job, and what it would mean; the sibling of `inventory.services.actions`."""

from inventory.actors import Actor
from inventory.choices import JobAction
from inventory.models import CertificateJob
from inventory.services.actions import AvailableAction


def for_job(job: CertificateJob, actor: Actor) -> list[AvailableAction]:
    """The verbs of a job."""
    ended = "" if job.is_open else f"It has ended ({job.get_state_display().lower()})."
    revoking = "A revocation is not taken back: the CA has to learn of it."
    return [
        _offer(
            "run_now",
            "Run now",
            "The wait for the next try ends now; a worker takes the job up at once.",
            ended,
            actor,
            "retry_certificatejob",
        ),
        _offer(
            "cancel",
            "Cancel",
            "The job ends. What the endpoint has and uses stays as it is; a certificate that was issued and not "
            "delivered is given up. This cannot be undone, but the work can be started anew.",
            ended or (revoking if job.action == JobAction.REVOKE else ""),
            actor,
            "cancel_certificatejob",
            dangerous=True,
        ),
    ]


def _offer(
    verb: str, label: str, explanation: str, obstacle: str, actor: Actor, permission: str, *, dangerous: bool = False
) -> AvailableAction:
    missing = "" if actor.may(permission) else f"You lack the permission “{permission}”."
    why_not = obstacle or missing
    return AvailableAction(verb, label, not why_not, why_not, explanation, dangerous)
