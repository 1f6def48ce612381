"""Recording what external parties said (RecordProvisioningOutcome), and what follows from it, in one transaction.

An answer that speaks against a certificate counts whoever brings it: blocking is the safe side. One that speaks for it
counts only from whoever decides on the path, or from a person who may attest what that authority has said.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from bfcerts.pki.certificates import CertificateError, ParsedCertificate, parse_certificate
from inventory.actors import Actor
from inventory.audit import attributed, current_attribution
from inventory.choices import ArtifactKind, SourceOfTruth
from inventory.errors import InvalidInputError
from inventory.models import Artifact, CertificateRecord, ManagedIdentity
from inventory.ownership import Ownership, ownership_of
from inventory.purposes import ISO15118_CONTRACT
from inventory.services import artifacts
from inventory.services import lifecycle as record_lifecycle
from inventory.services.command import command
from inventory.services.locking import lock_identity, lock_record_of
from provisioning import paths
from provisioning.choices import (
    ADVERSE,
    MOVING,
    CaseState,
    EvidenceKind,
    ExternalSystem,
    Outcome,
)
from provisioning.freshness import fresh_until
from provisioning.models import ExternalReference, ProvisioningCase, ProvisioningEvidence
from provisioning.naming import emaid_key, pcid_key
from provisioning.redaction import clean, size_of
from provisioning.services import lifecycle

RECORD = "provisioning.record_provisioningevidence"
ATTEST = "provisioning.attest_provisioningevidence"
MOST_INLINE = 16 * 1024
"""Bytes of an answer that are kept in its row; a larger one goes into the artifact store."""
LARGEST = 1024 * 1024
SKEW = timedelta(minutes=5)
KEPT_FOR = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an external party said."""

    system: str
    kind: str
    outcome: str
    summary: str = ""
    status: str = ""
    """The system's own word."""
    observed_at: datetime | None = None
    """When it was true, by the system's own time; now, where it does not say."""
    fresh_until: datetime | None = None
    """Where the system limits it, as nextUpdate does; it only shortens."""
    trace_id: str = ""
    reference_kind: str = ""
    """With `reference`: what the system's own name of something names."""
    reference: str = ""
    content: Mapping[str, Any] = field(default_factory=dict, repr=False)
    certificate_pem: str = field(default="", repr=False)
    """The certificate that it speaks of, if it came along; stored as far as its ownership decision allows."""
    chain_pem: str = field(default="", repr=False)
    fingerprint: str = ""
    not_after: datetime | None = None
    serial_number: str = ""
    pcid: str = ""
    emaid: str = ""
    dedupe_key: str = ""
    """The same answer has the same; made of the answer itself where it is empty."""


def record_outcome(
    *,
    case: ProvisioningCase,
    answer: Answer,
    actor: Actor,
    reason: str,
    now: datetime | None = None,
) -> ProvisioningEvidence:
    """Keep an external answer about a case, and take the case as far as it goes now. The same answer changes nothing.

    :raises InvalidInputError: when a value cannot be used.
    :raises InventoryError: when a certificate that came along cannot be registered.
    """
    now = now or timezone.now()
    actor.require(RECORD)
    _check(answer)
    decided = ownership_of(case.purpose_entry, case.program)
    content, artifact = _content(answer, decided, case.identity, reason, actor, now)
    with command(actor, RECORD, reason):
        locked = lifecycle.lock_case(case.pk)
        key = answer.dedupe_key or _digest(answer, f"case:{case.pk}")
        known = _known(key, locked.pk)
        if known is not None:
            return known
        _check_contract(locked, answer)
        leaf = _leaf(answer)
        if leaf is not None:
            _take_certificate(locked, answer, leaf, decided, actor, reason, now)
        evidence = _keep(answer, key, locked.identity, locked, locked.record, leaf, content, artifact, actor, now)
        _read_onto(locked, answer, leaf, evidence)
        _follow(locked, evidence, now)
        lifecycle.tell_evidence(evidence, locked.state, now)
    return evidence


def record_revocation(
    *, record: CertificateRecord, answer: Answer, actor: Actor, reason: str, now: datetime | None = None
) -> ProvisioningEvidence:
    """Keep an external answer about a certificate, as an OCSP responder gives it; its case follows where it has one.

    :raises InvalidInputError: when a value cannot be used, or the answer is about a certificate of ours.
    """
    now = now or timezone.now()
    actor.require(RECORD)
    _check(answer)
    if answer.fingerprint and answer.fingerprint != record.fingerprint:
        raise InvalidInputError(f"The answer is about another certificate than {record.pk}: the fingerprints differ.")
    decided = ownership_of(record.purpose_entry, record.identity.program)
    content, artifact = _content(answer, decided, record.identity, reason, actor, now)
    with command(actor, RECORD, reason):
        identity = lock_identity(record.identity_id)
        case = _case_of(identity, record)
        locked = lock_record_of(identity, record.pk)
        key = answer.dedupe_key or _digest(answer, f"record:{record.pk}")
        known = _known(key, case.pk if case else None)
        if known is not None:
            return known
        evidence = _keep(answer, key, identity, case, locked, None, content, artifact, actor, now)
        if case is not None:
            _follow(case, evidence, now)
        elif evidence.outcome in ADVERSE:
            _end(locked, evidence, now)
        lifecycle.tell_evidence(evidence, case.state if case else locked.state, now)
    return evidence


def _check(answer: Answer) -> None:
    for value, choices, what in (
        (answer.system, ExternalSystem, "external system"),
        (answer.kind, EvidenceKind, "kind of evidence"),
        (answer.outcome, Outcome, "outcome"),
    ):
        if value not in choices.values:
            raise InvalidInputError(f"{value!r} is no {what}; use one of {', '.join(choices.values)}.")
    if bool(answer.reference) != bool(answer.reference_kind):
        raise InvalidInputError("An external reference needs its kind and its value.")
    pcid_key(answer.pcid)
    if answer.outcome == Outcome.POSITIVE and answer.kind == EvidenceKind.NOTICE:
        raise InvalidInputError("A notice says that something was suspended, revoked, reinstated or refused.")


def _check_contract(case: ProvisioningCase, answer: Answer) -> None:
    emaid = emaid_key(answer.emaid)
    if emaid and case.purpose == ISO15118_CONTRACT.key and emaid != case.slot:
        raise InvalidInputError(
            f"The answer is about the contract {emaid}, and case {case.pk} about {case.slot}: it is not taken."
        )


def _known(key: str, case_id: int | None) -> ProvisioningEvidence | None:
    known = ProvisioningEvidence.objects.filter(dedupe_key=key).first()
    if known is not None and known.case_id != case_id:
        raise InvalidInputError(
            f"The deduplication key {key[:60]!r} belongs to an answer about another case ({known.case_id})."
        )
    return known


def _digest(answer: Answer, about: str) -> str:
    said = [
        about,
        answer.system,
        answer.kind,
        answer.outcome,
        answer.status,
        answer.trace_id,
        answer.reference,
        answer.fingerprint,
        answer.emaid,
        answer.pcid,
        answer.serial_number,
        answer.observed_at.isoformat() if answer.observed_at else "",
        json.dumps(dict(answer.content), sort_keys=True, default=str),
        answer.certificate_pem,
    ]
    if answer.observed_at is None and not answer.trace_id:
        # Without a time or a trace of its own, the same words said again are said again.
        said.append(current_attribution().correlation_id)
    return "answer:" + hashlib.sha256("\n".join(said).encode()).hexdigest()


def _content(
    answer: Answer, decided: Ownership, identity: ManagedIdentity, reason: str, actor: Actor, now: datetime
) -> tuple[Any, Artifact | None]:
    """What is kept of the answer itself. The artifact store is written before the transaction that names it."""
    keep = decided.source_of_truth == SourceOfTruth.WHOLE_CHAIN
    content = clean(dict(answer.content), keep_certificates=keep)
    size = size_of(content)
    if size <= MOST_INLINE:
        return content, None
    if size > LARGEST:
        raise InvalidInputError(f"The answer has {size} bytes; at most {LARGEST} are kept. Send what matters of it.")
    text = json.dumps(content, sort_keys=True).encode()
    digest = hashlib.sha256(text).hexdigest()
    with attributed(actor, reason):
        artifact = artifacts.keep(
            kind=ArtifactKind.EXTERNAL_ANSWER,
            origin=f"external-answer:{identity.pk}:{digest[:32]}",
            name=f"external-answers/{identity.pk}/{digest[:32]}.json",
            chunks=[text],
            largest=LARGEST,
            content_type="application/json",
            now=now,
            identity=identity,
            retain_for=KEPT_FOR,
        )
    return {"kept": f"in the artifact store, {size} bytes", "sha256": digest}, artifact


def _leaf(answer: Answer) -> ParsedCertificate | None:
    if not answer.certificate_pem:
        return None
    try:
        leaf = parse_certificate(answer.certificate_pem)
    except CertificateError as error:
        raise InvalidInputError(f"The certificate that came along cannot be read: {error}") from None
    if answer.fingerprint and answer.fingerprint != leaf.fingerprint_sha256:
        raise InvalidInputError("The fingerprint is not that of the certificate that came along.")
    return leaf


def _take_certificate(
    case: ProvisioningCase,
    answer: Answer,
    leaf: ParsedCertificate,
    decided: Ownership,
    actor: Actor,
    reason: str,
    now: datetime,
) -> None:
    """Store as much of a certificate as its ownership decision allows: nothing but evidence, or a record."""
    if decided.source_of_truth == SourceOfTruth.EVIDENCE_ONLY or not case.is_open or answer.outcome in ADVERSE:
        return
    record = record_lifecycle.register_external(
        identity=case.identity,
        purpose=case.purpose,
        slot=case.slot,
        certificate_pem=answer.certificate_pem,
        chain_pem=answer.chain_pem,
        responsible_authority=case.responsible_authority,
        native_status=answer.status[:40],
        actor=actor,
        reason=reason,
        now=now,
    )
    case.record = record


def _keep(
    answer: Answer,
    key: str,
    identity: ManagedIdentity,
    case: ProvisioningCase | None,
    record: CertificateRecord | None,
    leaf: ParsedCertificate | None,
    content: Any,
    artifact: Artifact | None,
    actor: Actor,
    now: datetime,
) -> ProvisioningEvidence:
    observed_at = answer.observed_at or now
    if observed_at > now + SKEW:
        raise InvalidInputError(
            f"The answer is dated {observed_at:%Y-%m-%d %H:%M:%S} UTC, which is in the future: see whose "
            "clock is wrong."
        )
    observed_at = min(observed_at, now)
    not_after = leaf.not_after if leaf else answer.not_after
    evidence = ProvisioningEvidence(
        identity=identity,
        case=case,
        record=record,
        system=answer.system,
        kind=answer.kind,
        outcome=answer.outcome,
        status=answer.status[:80],
        summary=answer.summary.strip() or _summary(answer),
        authoritative=_is_authoritative(answer, case, actor),
        observed_at=observed_at,
        received_at=now,
        fresh_until=fresh_until(answer.kind, observed_at=observed_at, asked=answer.fresh_until, not_after=not_after),
        trace_id=answer.trace_id[:120],
        external_reference=answer.reference[:300],
        content=content,
        artifact=artifact,
        fingerprint=leaf.fingerprint_sha256 if leaf else answer.fingerprint.lower(),
        not_after=not_after,
        actor=actor.name,
        correlation_id=current_attribution().correlation_id,
        dedupe_key=key,
    )
    evidence.save(force_insert=True)
    if case is not None and answer.reference:
        ExternalReference.objects.get_or_create(
            case=case,
            system=answer.system,
            kind=answer.reference_kind[:40],
            value=answer.reference[:300],
            defaults={"trace_id": answer.trace_id[:120], "first_seen_at": now},
        )
    return evidence


def _summary(answer: Answer) -> str:
    said = f": {answer.status}" if answer.status else ""
    return f"{EvidenceKind(answer.kind).label}: {Outcome(answer.outcome).label.lower()}{said}."


def _is_authoritative(answer: Answer, case: ProvisioningCase | None, actor: Actor) -> bool:
    if actor.user is not None and not actor.may(ATTEST):
        return False
    if case is None:
        return True
    return answer.system in paths.path(case.path).authorities or (
        answer.system == ExternalSystem.MANUAL and actor.user is not None
    )


def _read_onto(
    case: ProvisioningCase, answer: Answer, leaf: ParsedCertificate | None, evidence: ProvisioningEvidence
) -> None:
    """What was read of the certificate and its holder; an adverse answer names what ended, and not what is used."""
    if answer.outcome in ADVERSE:
        return
    case.pcid = pcid_key(answer.pcid) or case.pcid
    case.emaid = emaid_key(answer.emaid) or case.emaid
    if evidence.fingerprint and (leaf is not None or not case.fingerprint):
        case.fingerprint, case.not_after = evidence.fingerprint, evidence.not_after
        case.serial_number = leaf.serial_hex if leaf else answer.serial_number[:64].lower()
    case.save()


def _case_of(identity: ManagedIdentity, record: CertificateRecord) -> ProvisioningCase | None:
    """The case whose certificate this is, locked."""
    case = ProvisioningCase.objects.filter(identity=identity, record=record).order_by("-pk").first()
    return lifecycle.lock_case_of(identity, case.pk) if case is not None else None


def _follow(case: ProvisioningCase, evidence: ProvisioningEvidence, now: datetime) -> None:
    if evidence.outcome in ADVERSE:
        _block(case, evidence, now)
    elif evidence.outcome == Outcome.REFUSED:
        if case.state in MOVING and (case.evidence_from is None or evidence.observed_at >= case.evidence_from):
            lifecycle.failed(case, f"{lifecycle.said_by(evidence)} refused: {evidence.summary}", now, evidence)
    elif case.state in MOVING:
        lifecycle.advance(case, now)


def _block(case: ProvisioningCase, evidence: ProvisioningEvidence, now: datetime) -> None:
    """A revocation or suspension: the record and the case, in this transaction, and the authority to call."""
    own = case.record.fingerprint if case.record is not None else case.fingerprint
    if evidence.fingerprint and own and evidence.fingerprint != own:
        other = CertificateRecord.objects.filter(identity=case.identity, fingerprint=evidence.fingerprint).first()
        if other is not None:
            _end(lock_record_of(case.identity, other.pk), evidence, now)
        return
    if evidence.outcome == Outcome.SUSPENDED and _lifted_since(case, evidence):
        return
    if case.record_id is not None:
        case.record = lock_record_of(case.identity, case.record_id)
        _end(case.record, evidence, now)
    if case.state == CaseState.BLOCKED:
        case.blocked_at = max(case.blocked_at or evidence.observed_at, evidence.observed_at)
        case.save()
    elif case.state != CaseState.CANCELLED and case.superseded_at is None:
        authority, contact = lifecycle.whom_to_ask(case)
        call = f"Call {authority}: {contact}." if contact else f"Call {authority}; no contact is named for it."
        lifecycle.blocked(
            case,
            f"{evidence.get_outcome_display()}, says {lifecycle.said_by(evidence)}: {evidence.summary} {call}",
            now,
            by=authority,
            since=evidence.observed_at,
            evidence=evidence,
        )


def _lifted_since(case: ProvisioningCase, evidence: ProvisioningEvidence) -> bool:
    return ProvisioningEvidence.objects.filter(
        case=case, outcome=Outcome.REINSTATED, authoritative=True, observed_at__gt=evidence.observed_at
    ).exists()


def _end(record: CertificateRecord, evidence: ProvisioningEvidence, now: datetime) -> None:
    lifecycle.take_out_of_use(
        record,
        evidence.outcome,
        detail=f"{lifecycle.said_by(evidence)}: {evidence.summary}",
        source=str(evidence.get_system_display()),
        dedupe_key=f"provisioning-ended:{evidence.pk}:{record.pk}",
        now=now,
    )
