"""What this operator may do now with a job, and what it would mean; the sibling of `inventory.services.actions`."""

from datetime import datetime

from django.utils import timezone

from inventory.actors import Actor
from inventory.choices import ISSUING_ACTIONS, JobAction, JobState
from inventory.errors import TransitionRefusedError
from inventory.models import CertificateJob, CertificateRecord
from inventory.services import actions, jobs, lifecycle, lockouts, station_commands
from inventory.services.actions import AvailableAction


def for_job(job: CertificateJob, actor: Actor, now: datetime | None = None) -> list[AvailableAction]:
    """The verbs of a job."""
    ended = "" if job.is_open else f"The job has ended ({job.get_state_display().lower()})."
    revoking = "A revocation is not taken back: the CA has to learn of it."
    return [
        _start_again(job, actor, now or timezone.now()),
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


def start_again(
    *, job: CertificateJob, actor: Actor, reason: str, idempotency_key: str | None = None, now: datetime | None = None
) -> CertificateJob:
    """Start the work of a failed or cancelled job anew, by the command that it came from. The old job stays as it is.

    :returns: the new job.
    :raises TransitionRefusedError: when it has not failed, or its work makes no sense any more.
    :raises InventoryError: whatever the command itself refuses, its permission included.
    """
    now = now or timezone.now()
    actor.require(_COMMANDS[JobAction(job.action)][1] if job.action in _COMMANDS else "retry_certificatejob")
    if obstacle := _obstacle(job, now):
        raise TransitionRefusedError(obstacle)
    match job.action:
        case JobAction.ISSUE:
            return lifecycle.issue(
                identity=job.identity,
                purpose=job.purpose,
                slot=job.slot,
                actor=actor,
                reason=reason,
                idempotency_key=idempotency_key,
                now=now,
            )
        case JobAction.CUT_OVER:
            return station_commands.cut_over(identity=job.identity, actor=actor, reason=reason, now=now)
    command = lifecycle.renew if job.action == JobAction.RENEW else lifecycle.install
    record = _record_of(job)
    if record is None:
        raise TransitionRefusedError(_NO_CERTIFICATE)
    return command(record=record, actor=actor, reason=reason, idempotency_key=idempotency_key, now=now)


_COMMANDS = {
    JobAction.ISSUE: ("issue", "issue_certificaterecord"),
    JobAction.RENEW: ("renew", "renew_certificaterecord"),
    JobAction.INSTALL: ("install", "install_certificaterecord"),
    JobAction.CUT_OVER: ("cut_over", "cutover_managedidentity"),
}
"""The commands that can be given again, and their permissions, by what their jobs do."""
_NO_CERTIFICATE = "The certificate that it worked on is not known any more; issue a new one from the identity's page."


def _start_again(job: CertificateJob, actor: Actor, now: datetime) -> AvailableAction:
    """The offer to start anew: under the permission, and with the obstacles, of the command that the job came from."""
    label = "Start again"
    obstacle = _obstacle(job, now)
    command = None if obstacle else _command_of(job, actor, now)
    if command is None:
        return AvailableAction("start_again", label, False, obstacle, "The same work is started by a new job.")
    return AvailableAction(
        "start_again",
        label,
        command.allowed,
        command.why_not,
        f"A new job does the same work, with deadlines of its own; this one stays as it ended. {command.explanation}",
        command.dangerous,
    )


def _obstacle(job: CertificateJob, now: datetime) -> str:
    """Why the work of a job cannot be started anew, whoever asks; empty where it can."""
    who = job.identity.authoritative_identifier
    if job.is_open:
        return "The job is still open."
    if job.state == JobState.SUCCEEDED:
        return "The job has succeeded."
    if job.action == JobAction.REVOKE:
        return "Our doors refuse the certificate already; see to it that its CA revokes it, too."
    if job.action not in _COMMANDS:
        return "Work of this kind is started where it came from."
    if job.action in (JobAction.RENEW, JobAction.INSTALL) and _record_of(job) is None:
        return _NO_CERTIFICATE
    if job.action == JobAction.ISSUE and lockouts.is_out_of_reach(job.identity, now):
        return actions.LOCKED_OUT
    for other in jobs.open_jobs(job.identity, job.purpose, job.slot):
        both_issue = job.action in ISSUING_ACTIONS and other.action in ISSUING_ACTIONS
        if both_issue or (other.action, other.target) == (job.action, job.target):
            return f"Job {other.pk} works on this for {who} already."
    return ""


def _record_of(job: CertificateJob) -> CertificateRecord | None:
    """The certificate that a renewal replaces, or that a delivery sends."""
    key = job.parameters.get("replaces") if job.action == JobAction.RENEW else job.record_id
    if key is None:
        return None
    return CertificateRecord.objects.select_related("identity").filter(pk=key, identity=job.identity_id).first()


def _command_of(job: CertificateJob, actor: Actor, now: datetime) -> AvailableAction | None:
    if job.action in (JobAction.RENEW, JobAction.INSTALL):
        record = _record_of(job)
        offered = actions.for_record(record, actor, now) if record is not None else []
    else:
        offered = actions.for_identity(job.identity, actor, now)
    return next((action for action in offered if action.verb == _COMMANDS[JobAction(job.action)][0]), None)


def _offer(
    verb: str, label: str, explanation: str, obstacle: str, actor: Actor, permission: str, *, dangerous: bool = False
) -> AvailableAction:
    missing = "" if actor.may(permission) else f"You lack the permission “{permission}”."
    why_not = obstacle or missing
    return AvailableAction(verb, label, not why_not, why_not, explanation, dangerous)
