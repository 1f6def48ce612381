"""Taking certificates that others issued into the inventory: whose they are, who issued them, and what may be stated.

What is managed by us and issued by our authorities must come from one of them, and must be what its request would have
had to be: registering is no way around the CSR policy, and opens no door to another authority or in another's name.
What only we can observe is never taken from a statement.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils import timezone

from bfcerts.pki.certificates import (
    CertificateError,
    ParsedCertificate,
    parse_ca_certificate,
    parse_certificate,
    split_chain,
)
from bfcerts.pki.chains import ChainError, verify_issued
from inventory.actors import Actor
from inventory.choices import STATEABLE_EVIDENCE, EventType, EvidenceKind, OperatingMode, RecordState, SourceOfTruth
from inventory.errors import InvalidInputError, TransitionRefusedError
from inventory.models import CertificateRecord, IssuingAuthority, ManagedIdentity
from inventory.purposes import Purpose
from inventory.purposes import purpose as purpose_entry
from inventory.services import operating_modes, policies, transitions
from inventory.services.command import command
from inventory.services.csr_policy import check_certificate, claim_public_key
from inventory.services.events import record_event
from inventory.services.locking import lock_identity

REGISTERED_AS = (RecordState.ISSUED, RecordState.INSTALLED_PENDING_ACTIVATION, RecordState.ACTIVE)


def register_external(
    *,
    identity: ManagedIdentity,
    purpose: str,
    slot: str = "",
    certificate_pem: str,
    chain_pem: str = "",
    state: str = RecordState.ISSUED,
    evidence_kind: str | None = None,
    evidence_detail: Mapping[str, Any] | None = None,
    responsible_authority: str = "",
    native_status: str = "",
    actor: Actor,
    reason: str,
    now: datetime | None = None,
) -> CertificateRecord:
    """Take a certificate that others issued into the inventory, with the evidence that its target state asks for.

    Registering the same certificate again returns the record that exists.

    :param chain_pem: the CAs between the certificate and its root, in any order; our authorities' own are known.
    :param evidence_kind: one of `STATEABLE_EVIDENCE`.
    :raises InvalidInputError: when the certificate cannot be read, belongs to another identity or purpose, or, where
        we manage it, comes from none of our authorities.
    :raises CsrRejectedError: when one that we manage names somebody else, has a key or usages that its policy does not
        allow, or is good for longer; and when another identity has used its key.
    :raises OwnershipUndecidedError: when its ownership is not decided and the identity is no pilot.
    :raises NotStoredError: when only evidence of such certificates may be kept; where only the lifecycle may be, the
        record has everything but the certificate and its chain.
    :raises TransitionRefusedError: when the state asks for evidence that was not given, or cannot be stated.
    """
    now = now or timezone.now()
    with command(actor, "register_certificaterecord", reason):
        entry = purpose_entry(purpose)
        locked = lock_identity(identity.pk)
        locked.check_purpose(entry)
        entry.check_slot(slot)
        leaf, chain = _read(certificate_pem, chain_pem)
        known = CertificateRecord.objects.filter(fingerprint=leaf.fingerprint_sha256).first()
        if known:
            return _known_record(known, locked, entry, slot)
        if state not in REGISTERED_AS:
            raise InvalidInputError(
                f"A certificate cannot be registered as {state}; use issued, installed_pending_activation or active."
            )
        _check_statement(state, evidence_kind)
        decided = operating_modes.check_decided(locked, entry)
        kept = operating_modes.check_may_be_stored(locked, entry, decided)
        mode = locked.mode_for(entry)
        chain_to_root = "".join(one.pem for one in chain)
        authority = None
        if mode == OperatingMode.MANAGED and entry.issued_by_our_authorities:
            authority, chain_to_root = _our_authority(leaf, chain, locked, entry, now)
            policy = policies.resolve(locked, entry.key).policy
            check_certificate(leaf, identity=locked, purpose=entry, policy=policy, now=now)
        _check_serial_number(leaf)
        claim_public_key(leaf.public_key_sha256, locked)
        record = CertificateRecord(
            identity=locked,
            purpose=entry.key,
            slot=slot,
            trust_domain=entry.trust_domain,
            mode=mode,
            state=RecordState.ISSUED,
            registered_externally=True,
            # Only the one that issues now can be told of a revocation.
            authority=authority if authority and authority.issues else None,
            kept=kept,
            responsible_authority=(responsible_authority or decided.authority or leaf.issuer_text)[:200],
            native_status=native_status,
            requested_at=now,
            issued_at=now,
            chain_pem=chain_to_root,
        )
        transitions.describe_certificate(record, leaf)
        if kept != SourceOfTruth.WHOLE_CHAIN:
            record.certificate_pem = record.chain_pem = ""
        record.save()
        record_event(
            EventType.CERTIFICATE_ISSUED,
            now=now,
            record=record,
            payload={"registeredExternally": True, "issuerRef": record.issuer},
            dedupe_key=f"issued:{record.pk}",
        )
        if evidence_kind is not None and state != RecordState.ISSUED:
            _bring_to(record, state, evidence_kind, dict(evidence_detail or {}), now, actor)
    return record


def _read(certificate_pem: str, chain_pem: str) -> tuple[ParsedCertificate, list[ParsedCertificate]]:
    try:
        leaf = parse_certificate(certificate_pem)
        chain = [parse_certificate(part) for part in split_chain(chain_pem)] if chain_pem else []
    except CertificateError as error:
        raise InvalidInputError(f"The certificate cannot be registered: {error}") from None
    if leaf.is_ca:
        raise InvalidInputError("This is the certificate of a CA, not of an endpoint; CAs are kept as trust anchors.")
    return leaf, chain


def _known_record(known: CertificateRecord, identity: ManagedIdentity, entry: Purpose, slot: str) -> CertificateRecord:
    if (known.identity_id, known.purpose, known.slot) != (identity.pk, entry.key, slot):
        raise InvalidInputError(
            f"This certificate is registered already, as record {known.pk} of "
            f"{known.identity.authoritative_identifier} for {known.purpose_entry.label}."
        )
    return known


def _check_serial_number(leaf: ParsedCertificate) -> None:
    namesake = CertificateRecord.objects.filter(issuer_sha256=leaf.issuer_sha256, serial_number=leaf.serial_hex).first()
    if namesake:
        raise InvalidInputError(
            f"Record {namesake.pk} has another certificate of “{leaf.issuer_text}” with the serial number "
            f"{leaf.serial_hex}: one of the two is not genuine. Ask the issuer."
        )


def _our_authority(
    leaf: ParsedCertificate,
    chain: list[ParsedCertificate],
    identity: ManagedIdentity,
    entry: Purpose,
    now: datetime,
) -> tuple[IssuingAuthority, str]:
    """The authority of this trust domain that the certificate comes from, and the chain above it up to the root.

    The issuing CAs are the anchors, not their roots: a root may stand above the CAs of other trust domains too.
    """
    published = IssuingAuthority.objects.filter(trust_domain=entry.trust_domain, trusted=True).order_by("pk")
    ours = {parse_ca_certificate(one.certificate_pem): one for one in published}
    try:
        path = verify_issued(
            leaf=leaf,
            chain=chain,
            anchors=list(ours),
            now=now,
            public_key_sha256=None,
            extended_key_usages=(),
            not_after_limit=None,
        )
    except ChainError as error:
        names = ", ".join(f"“{one.name}”" for one in ours.values()) or "none yet: the PKI worker has published no CA"
        raise InvalidInputError(
            f"The certificate cannot be registered: {error} {entry.label} certificates of "
            f"{identity.authoritative_identifier} are managed by us, so they come from an issuing authority of ours "
            f"({names}). Give the chain up to it; where somebody else issues them, set the identity's operating mode "
            "to brokered or tracked only first."
        ) from None
    authority = ours[path[-1]]
    return authority, "".join(one.pem for one in path[1:-1]) + authority.chain_pem


def _check_statement(state: str, kind: str | None) -> None:
    if kind is None:
        if state != RecordState.ISSUED:
            raise TransitionRefusedError(
                f"Registering a certificate as {RecordState(state).label.lower()} needs evidence; name its kind."
            )
        return
    if kind not in EvidenceKind.values:
        raise InvalidInputError(f"{kind!r} is no kind of evidence; use one of {_stateable()}.")
    if kind not in STATEABLE_EVIDENCE:
        raise TransitionRefusedError(
            f"{EvidenceKind(kind).label} is something that only we can observe; it is not taken from a statement. "
            f"State one of {_stateable()}, or register the certificate as issued and wait until it is seen."
        )


def _stateable() -> str:
    return ", ".join(kind.value for kind in EvidenceKind if kind in STATEABLE_EVIDENCE)


def _bring_to(
    record: CertificateRecord, state: str, kind: str, detail: dict[str, Any], now: datetime, actor: Actor
) -> None:
    evidence = transitions.observe(
        record,
        kind,
        now=now,
        source=actor.name,
        dedupe_key=f"register:{record.pk}:{kind}:{uuid.uuid4().hex}",
        detail=detail,
    )
    transitions.installation_recorded(record, evidence, now=now, job=None)
    if state == RecordState.ACTIVE:
        transitions.activated(record, evidence, now=now, job=None)
