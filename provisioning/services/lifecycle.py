"""The one place where a provisioning case moves: transition, event, certificate and what it says of itself, together.

The caller holds the identity's lock and the case's, and has opened an attribution.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any

from inventory.audit import current_attribution
from inventory.choices import (
    REVOCABLE_STATES,
    EventType,
    RecordState,
    RevocationReason,
    SecurityCategory,
    SecuritySource,
    Severity,
    SourceOfTruth,
    SubjectKind,
)
from inventory.choices import EvidenceKind as RecordEvidenceKind
from inventory.models import CertificateRecord, Evidence, ManagedIdentity
from inventory.ownership import ownership_of
from inventory.services import revoking, transitions
from inventory.services.events import record_event
from inventory.services.locking import lock_identity, lock_record_of
from inventory.services.security_events import record_security_event
from inventory.words import actor_words
from provisioning import paths
from provisioning.choices import MOVING, CaseState, EvidenceKind, ExternalSystem, Outcome
from provisioning.freshness import standing
from provisioning.models import ProvisioningCase, ProvisioningEvidence
from provisioning.services import prerequisites

S = CaseState
LOOK_AGAIN = timedelta(minutes=5)
"""What is judged from facts may change without anybody telling us."""
INSTALLED = (RecordState.INSTALLED_PENDING_ACTIVATION, RecordState.ACTIVE)
_moving_ourselves: ContextVar[frozenset[int]] = ContextVar("records_moved_by_their_case", default=frozenset())


def lock_case(case_id: int) -> ProvisioningCase:
    """The case, locked until the end of the transaction, after its identity."""
    identity_id = ProvisioningCase.objects.values_list("identity_id", flat=True).get(pk=case_id)
    return lock_case_of(lock_identity(identity_id), case_id)


def lock_case_of(identity: ManagedIdentity, case_id: int) -> ProvisioningCase:
    """A case of an identity that the caller has locked, locked until the end of the transaction."""
    case = ProvisioningCase.objects.select_for_update(of=("self",)).get(pk=case_id)
    case.identity = identity
    return case


def moves_itself(record_id: int) -> bool:
    """Whether a case is moving this certificate right now: what is told of that is known already."""
    return record_id in _moving_ourselves.get()


def opened(case: ProvisioningCase, now: datetime) -> None:
    """A new case, in its first state."""
    case.save()
    _tell(case, "", now)


def say(case: ProvisioningCase, why: str, *, look_again_at: datetime) -> None:
    """Say why a case does not go on, without moving it."""
    changed = case.why != why
    case.why, case.next_look_at = why, look_again_at
    if changed:
        case.save()
    else:
        ProvisioningCase.objects.filter(pk=case.pk).update(next_look_at=look_again_at)


def delivering(case: ProvisioningCase, now: datetime) -> None:
    """prerequisite → delivery: every prerequisite of the path is met."""
    former = case.state
    case.deliver()
    case.why = f"Its delivery by {case.get_path_display()} is waited for."
    _moved(case, former, now)


def delivered(case: ProvisioningCase, evidence: ProvisioningEvidence | None, now: datetime) -> None:
    """delivery → pending_activation: delivered, installed or accepted, with evidence.

    :param evidence: None where its certificate is known to be installed.
    """
    former = case.state
    record = _record_of(case)
    if evidence is not None and record is not None and record.state == RecordState.ISSUED:
        with _moving(record):
            transitions.installation_recorded(record, _as_record_evidence(case, record, evidence), now=now, job=None)
    case.await_activation()
    case.why = f"Delivered; the word of {_authority(case)} that it is usable is waited for."
    _moved(case, former, now, evidence)


def activated(case: ProvisioningCase, evidence: ProvisioningEvidence, now: datetime) -> None:
    """pending_activation → active: fresh authoritative evidence that it is usable."""
    former = case.state
    record = _record_of(case)
    if record is not None and record.state != RecordState.ACTIVE:
        with _moving(record):
            known = _as_record_evidence(case, record, evidence)
            if record.state == RecordState.ISSUED:
                transitions.installation_recorded(record, known, now=now, job=None)
            transitions.activated(record, known, now=now, job=None)
    for before in ProvisioningCase.objects.of(case.identity_id, case.purpose, case.slot).filter(
        state=S.ACTIVE, superseded_at__isnull=True
    ):
        superseded(before, now)
    case.activate()
    case.activation_evidence, case.why, case.deadline, case.last_failure = evidence, "", None, ""
    _moved(case, former, now, evidence)


def failed(case: ProvisioningCase, why: str, now: datetime, evidence: ProvisioningEvidence | None = None) -> None:
    """→ failed: refused, or past its deadline; it may be tried anew."""
    former = case.state
    case.fail()
    case.why = case.last_failure = why
    case.deadline = None
    _moved(case, former, now, evidence)


def retried(case: ProvisioningCase, now: datetime) -> None:
    """failed → prerequisite, with one try less; what was observed before counts no more."""
    former = case.state
    case.retry()
    case.tries_left -= 1
    case.evidence_from = now
    case.decided_by = current_attribution().actor.name
    case.why, case.next_look_at = f"It is tried anew. It failed before: {case.last_failure}", now
    _moved(case, former, now)


def blocked(
    case: ProvisioningCase, why: str, now: datetime, *, by: str, since: datetime, evidence: ProvisioningEvidence | None
) -> None:
    """→ blocked: external revocation or suspension. Its certificate was taken out of use before.

    :param by: whose word it is, and who has to be asked.
    :param since: when it ended by that word.
    """
    former = case.state
    case.block()
    case.blocked_by, case.blocked_at, case.deadline = by[:200], since, None
    case.why, case.activation_evidence = why, None
    if ProvisioningCase.objects.open().of(case.identity_id, case.purpose, case.slot).exclude(pk=case.pk).exists():
        # The one that is under way already takes its place.
        case.superseded_at = now
    _moved(case, former, now, evidence)


def unblocked(case: ProvisioningCase, evidence: ProvisioningEvidence, now: datetime) -> None:
    """blocked → prerequisite, on fresh evidence: it goes the whole way once more."""
    former = case.state
    case.unblock()
    record = _record_of(case)
    if record is not None and record.state in (RecordState.REVOKED, RecordState.RETIRED, RecordState.DELETED):
        case.record, case.fingerprint, case.serial_number, case.not_after = None, "", "", None
    elif record is not None and record.state == RecordState.INACTIVE:
        with _moving(record):
            transitions.reactivated(record, now=now)
        case.record = record
    case.evidence_from, case.next_look_at = evidence.observed_at, now
    case.blocked_by, case.blocked_at = "", None
    case.decided_by = current_attribution().actor.name
    case.why = f"It was unblocked by {actor_words(case.decided_by)} and goes the whole way once more."
    prerequisites.withdraw_confirmations(case, now)
    _moved(case, former, now, evidence)


def cancelled(case: ProvisioningCase, reason: str, now: datetime) -> None:
    """Any open state → cancelled."""
    former = case.state
    case.cancel()
    case.decided_by, case.deadline = current_attribution().actor.name, None
    case.why = f"Cancelled by {actor_words(case.decided_by)}: {reason}"
    _moved(case, former, now)


def superseded(case: ProvisioningCase, now: datetime) -> None:
    """Another case, or another certificate, has taken the place of an active one."""
    case.superseded_at = now
    case.save()


def advance(case: ProvisioningCase, now: datetime) -> None:
    """Take a case as far as its prerequisites and its evidence go. Run twice, it changes nothing the second time."""
    if case.state == S.PREREQUISITE:
        failing = [item for item in prerequisites.judge_and_keep(case, now) if not item.met]
        if failing:
            say(case, prerequisites.sentence(failing), look_again_at=now + LOOK_AGAIN)
            return
        delivering(case, now)
    if case.state == S.DELIVERY:
        evidence = _usable_evidence(case, now, case.purpose_entry.installing_evidence)
        installed = case.record is not None and case.record.state in INSTALLED
        if (evidence is not None or installed) and _may_go_on(case, now):
            delivered(case, evidence, now)
    if case.state == S.PENDING_ACTIVATION:
        evidence = _usable_evidence(case, now, case.purpose_entry.activating_evidence)
        if evidence is not None and _may_go_on(case, now):
            activated(case, evidence, now)


def _may_go_on(case: ProvisioningCase, now: datetime) -> bool:
    obstacle = _obstacle(case, now)
    if obstacle:
        say(case, obstacle, look_again_at=now + LOOK_AGAIN)
    return not obstacle


def take_out_of_use(
    record: CertificateRecord, outcome: str, *, detail: str, source: str, dedupe_key: str, now: datetime
) -> None:
    """What an external revocation or suspension means for our own record, at once: it is revoked, or set aside.

    No CA is told: where another authority is responsible, it said so itself.
    """
    with _moving(record):
        if outcome == Outcome.REVOKED and record.state in REVOCABLE_STATES:
            transitions.observe(
                record,
                RecordEvidenceKind.EXTERNAL_CONFIRMATION,
                now=now,
                source=source,
                dedupe_key=dedupe_key,
                detail={"statement": detail, "responsibleAuthority": record.responsible_authority},
            )
            revoking.revoke_locked([record], RevocationReason.UNSPECIFIED, detail=detail, now=now)
        elif outcome == Outcome.SUSPENDED and record.state == RecordState.ACTIVE:
            transitions.deactivated(record, now=now, forced=True)


def usable(case: ProvisioningCase, evidence: ProvisioningEvidence, now: datetime) -> bool:
    """Whether this evidence may move the case now: authoritative, fresh, of this try, and of its own certificate."""
    of_this_try = case.evidence_from is None or evidence.observed_at >= case.evidence_from
    own = case.record.fingerprint if case.record is not None else case.fingerprint
    of_another = bool(evidence.fingerprint and own and evidence.fingerprint != own)
    return standing(evidence, now).valid and of_this_try and not of_another


def _usable_evidence(case: ProvisioningCase, now: datetime, kinds: frozenset[str]) -> ProvisioningEvidence | None:
    of_try = ProvisioningEvidence.objects.filter(case=case, outcome=Outcome.POSITIVE, fresh_until__gt=now)
    for evidence in of_try.order_by("-observed_at", "-pk"):
        if record_kind(case.identity, evidence.kind) in kinds and usable(case, evidence, now):
            return evidence
    return None


def record_kind(identity: ManagedIdentity, kind: str) -> str:
    """What a kind of external answer is called as evidence of a certificate; empty where it moves none."""
    if kind == EvidenceKind.DELIVERY:
        on_vehicle = identity.kind == SubjectKind.VEHICLE
        return RecordEvidenceKind.DELIVERY_ACKNOWLEDGED if on_vehicle else RecordEvidenceKind.EVSE_ACCEPTANCE
    return {
        EvidenceKind.READINESS: RecordEvidenceKind.EXTERNAL_CONFIRMATION.value,
        EvidenceKind.TRANSACTION: RecordEvidenceKind.VAS_TRANSACTION.value,
    }.get(EvidenceKind(kind), "")


def _obstacle(case: ProvisioningCase, now: datetime) -> str:
    """Why its certificate cannot go along, in a sentence; empty where it can."""
    decided = ownership_of(case.purpose_entry, case.program)
    if case.record is None:
        if not decided.complete or decided.source_of_truth == SourceOfTruth.EVIDENCE_ONLY:
            return ""
        level = SourceOfTruth(decided.source_of_truth).label.lower()
        return f"By its ownership decision we keep {level}, and nobody has handed in its certificate yet."
    record = lock_record_of(case.identity, case.record.pk)
    case.record = record
    if record.state not in (RecordState.ISSUED, *INSTALLED):
        return f"Certificate {record.pk} is {record.get_state_display().lower()}: hand in another one."
    if record.not_after is not None and record.not_after <= now:
        return f"Certificate {record.pk} has expired: hand in another one."
    return ""


def _record_of(case: ProvisioningCase) -> CertificateRecord | None:
    """Its certificate as it is now, locked."""
    if case.record_id is not None:
        case.record = lock_record_of(case.identity, case.record_id)
    return case.record


@contextmanager
def _moving(record: CertificateRecord) -> Iterator[None]:
    token = _moving_ourselves.set(_moving_ourselves.get() | {record.pk})
    try:
        yield
    finally:
        _moving_ourselves.reset(token)


def _as_record_evidence(case: ProvisioningCase, record: CertificateRecord, evidence: ProvisioningEvidence) -> Evidence:
    """The same fact about the certificate, in the inventory's words."""
    return transitions.observe(
        record,
        record_kind(case.identity, evidence.kind),
        now=evidence.observed_at,
        source=f"{evidence.get_system_display()} ({evidence.actor})"[:120],
        dedupe_key=f"provisioning:{evidence.pk}:{record.pk}",
        detail={"provisioningEvidenceId": evidence.pk, "provisioningCaseId": case.pk, "traceId": evidence.trace_id},
        correlation_id=case.correlation_id,
    )


def _authority(case: ProvisioningCase) -> str:
    return case.responsible_authority or case.get_path_display()


def _moved(case: ProvisioningCase, former: str, now: datetime, evidence: ProvisioningEvidence | None = None) -> None:
    case.entered_state_at = now
    if case.state in MOVING:
        case.deadline = now + paths.path(case.path).deadlines[case.state]
        case.next_look_at = now if case.state == S.PREREQUISITE else case.deadline
    case.save()
    _tell(case, former, now, evidence)


def _tell(case: ProvisioningCase, former: str, now: datetime, evidence: ProvisioningEvidence | None = None) -> None:
    record_event(
        EventType.PROVISIONING_STATE_CHANGED,
        now=now,
        identity=case.identity,
        record=case.record,
        payload=_payload(case, former, evidence),
        resulting_state=case.state,
    )
    if case.state == S.BLOCKED:
        _warn(case, now)


def _payload(case: ProvisioningCase, former: str, evidence: ProvisioningEvidence | None) -> dict[str, Any]:
    return {
        "provisioningCaseId": case.pk,
        "managedIdentityId": case.identity_id,
        "vehicleId": case.identity.authoritative_identifier if case.identity.kind == SubjectKind.VEHICLE else None,
        "purpose": case.purpose,
        "slot": case.slot,
        "oldState": former,
        "newState": case.state,
        "provisioningPath": case.path,
        "why": case.why,
        "evidenceRef": evidence.pk if evidence else None,
        "responsibleAuthority": case.blocked_by or case.responsible_authority,
    }


def _warn(case: ProvisioningCase, now: datetime) -> None:
    record_security_event(
        "ProvisioningBlocked",
        category=SecurityCategory.TLS_AND_CERTIFICATE,
        severity=Severity.WARNING,
        source=SecuritySource.BROKER,
        message=f"{case.get_purpose_display()} of {case.identity.authoritative_identifier}: {case.why}",
        now=now,
        identity=case.identity,
        record=case.record,
        payload={"provisioningCaseId": case.pk, "blockedBy": case.blocked_by, "contact": case.authority_contact},
        correlation_id=current_attribution().correlation_id,
    )


def tell_evidence(evidence: ProvisioningEvidence, state: str, now: datetime) -> None:
    """The event of an external answer, with the state in which it left the case, or the certificate."""
    record_event(
        EventType.PROVISIONING_EVIDENCE_RECORDED,
        now=now,
        identity=evidence.identity,
        record=evidence.record,
        payload={
            "provisioningCaseId": evidence.case_id,
            "managedIdentityId": evidence.identity_id,
            "externalRef": evidence.external_reference,
            "newState": state,
            "evidenceRef": evidence.pk,
            "evidenceKind": evidence.kind,
            "outcome": evidence.outcome,
            "system": evidence.system,
            "status": evidence.status,
            "freshUntil": evidence.fresh_until.isoformat(),
            "fingerprint": evidence.fingerprint,
            "traceId": evidence.trace_id,
        },
        resulting_state=state,
        dedupe_key=f"provisioning-evidence:{evidence.pk}",
    )


def whom_to_ask(case: ProvisioningCase) -> tuple[str, str]:
    """Who is responsible for a case's certificate, and where they are reached; as decided now."""
    decided = ownership_of(case.purpose_entry, case.program)
    authority = case.responsible_authority or decided.authority or case.get_path_display()
    return authority, decided.contact or case.authority_contact or decided.support


def said_by(evidence: ProvisioningEvidence) -> str:
    """Who said it, in words."""
    if evidence.system == ExternalSystem.MANUAL:
        return actor_words(evidence.actor)
    return str(evidence.get_system_display())
