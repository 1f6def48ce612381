"""Revoking: our doors refuse a certificate from the commit on, and its CA is told by a job afterwards.

One and many go the same way. For many the statements are the same number as for one, so that a batch that was stolen
is refused within seconds; transition, history row, event and job are one for each certificate all the same.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

from django.utils import timezone

from inventory.actors import Actor
from inventory.choices import (
    REVOCABLE_STATES,
    STATEABLE_EVIDENCE,
    EvidenceKind,
    JobAction,
    OperatingMode,
    RevocationReason,
)
from inventory.errors import InvalidInputError
from inventory.jobs import engine
from inventory.models import CertificateJob, CertificateRecord
from inventory.services import jobs, transitions
from inventory.services.command import command
from inventory.services.locking import lock_record, lock_records

PERMISSION = "revoke_certificaterecord"


def revoke(
    *,
    record: CertificateRecord,
    actor: Actor,
    reason: str,
    revocation_reason: str = RevocationReason.UNSPECIFIED,
    evidence_kind: str = EvidenceKind.OPERATOR_STATEMENT,
    now: datetime | None = None,
) -> CertificateRecord:
    """Revoke a certificate: our doors refuse it from this commit on, then the CA is told by a job at its own rate.

    Where another authority is responsible, its revocation is recorded: the evidence for it is stored, nobody is told.

    :param evidence_kind: how we know of another authority's revocation; the reason says it in words.
    :raises TransitionRefusedError: when its state does not allow it.
    """
    now = now or timezone.now()
    _check_words(revocation_reason, evidence_kind)
    with command(actor, PERMISSION, reason):
        locked = lock_record(record.pk)
        transitions.check_source(locked, "revoked", *REVOCABLE_STATES)
        _revoke([locked], actor, reason, revocation_reason, evidence_kind, now)
    return locked


def revoke_many(
    *,
    record_ids: Collection[int],
    actor: Actor,
    reason: str,
    revocation_reason: str = RevocationReason.UNSPECIFIED,
    now: datetime,
) -> list[CertificateRecord]:
    """As `revoke`, in one transaction, of all of these that can be; what was revoked or deleted already stays so.

    :returns: those that this has revoked, in the order of their ids.
    """
    _check_words(revocation_reason, EvidenceKind.OPERATOR_STATEMENT)
    with command(actor, PERMISSION, reason):
        revocable = [record for record in lock_records(record_ids) if record.state in REVOCABLE_STATES]
        _revoke(revocable, actor, reason, revocation_reason, EvidenceKind.OPERATOR_STATEMENT, now)
    return revocable


def revoke_locked(records: Sequence[CertificateRecord], reason_code: str, *, detail: str, now: datetime) -> None:
    """Revoke records that are locked, under the current attribution, and open the jobs that tell their CAs."""
    if not records:
        return
    transitions.revoked(records, reason_code, now=now, detail=detail)
    working = CertificateJob.objects.open().select_for_update(of=("self",)).filter(record__in=records).order_by("pk")
    for job in working.exclude(action=JobAction.REVOKE):
        engine.advance(job, engine.Fail(f"Certificate {job.record_id} was revoked: {detail}"), now)
    ours = [record for record in records if record.mode == OperatingMode.MANAGED and record.authority_id is not None]
    jobs.open_revocations(ours, now=now)


def _check_words(revocation_reason: str, evidence_kind: str) -> None:
    if revocation_reason not in RevocationReason.values:
        raise InvalidInputError(
            f"{revocation_reason!r} is no revocation reason; use one of {', '.join(RevocationReason.values)}."
        )
    if evidence_kind not in STATEABLE_EVIDENCE:
        raise InvalidInputError(f"{evidence_kind!r} is not how one learns of a revocation from another authority.")


def _revoke(
    records: Sequence[CertificateRecord],
    actor: Actor,
    reason: str,
    revocation_reason: str,
    evidence_kind: str,
    now: datetime,
) -> None:
    for record in records:
        if record.mode != OperatingMode.MANAGED:
            transitions.observe(
                record,
                evidence_kind,
                now=now,
                source=actor.name,
                dedupe_key=f"revoked:{record.pk}",
                detail={"statement": reason, "responsibleAuthority": record.responsible_authority},
            )
    revoke_locked(records, revocation_reason, detail=reason, now=now)
