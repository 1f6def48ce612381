"""The verbs of a provisioning case: start, confirm, deliver, retry, block, unblock, cancel.

Each checks its permission, locks identity and case, and writes transition, event and history in one transaction.
"""

from datetime import datetime

from django.utils import timezone

from inventory.actors import Actor
from inventory.audit import current_attribution
from inventory.errors import InvalidInputError, TransitionRefusedError
from inventory.models import ManagedIdentity
from inventory.purposes import purpose as purpose_entry
from inventory.services import operating_modes
from inventory.services.command import command
from inventory.services.locking import lock_identity
from provisioning import paths
from provisioning.choices import OPEN, RELEASING, CaseState, EvidenceKind, ExternalSystem, Outcome
from provisioning.errors import CaseOpenError, PrerequisitesError, StaleEvidenceError
from provisioning.freshness import standing
from provisioning.models import ProvisioningCase, ProvisioningEvidence
from provisioning.naming import pcid_key, slot_of
from provisioning.services import lifecycle, outcomes, prerequisites

S = CaseState
TRIES = 3


def start(
    *,
    identity: ManagedIdentity,
    purpose: str,
    path: str,
    slot: str = "",
    pcid: str = "",
    responsible_authority: str = "",
    actor: Actor,
    reason: str,
    now: datetime | None = None,
) -> ProvisioningCase:
    """Open a case, and take it as far as its prerequisites allow.

    :param responsible_authority: who can revoke and renew; as the ownership decision says, where it is empty.
    :raises CaseOpenError: when one of this identity, purpose and slot is open.
    :raises OwnershipUndecidedError: when the ownership is not decided and the identity is no pilot.
    :raises InventoryError: when purpose, slot or path do not fit the identity.
    """
    now = now or timezone.now()
    with command(actor, "provisioning.start_provisioningcase", reason):
        entry = purpose_entry(purpose)
        locked = lock_identity(identity.pk)
        if not locked.enabled:
            raise TransitionRefusedError(
                f"{locked.authoritative_identifier} is disabled; enable it before it is provisioned."
            )
        locked.check_purpose(entry)
        slot = slot_of(entry, slot)
        chosen = paths.path(path)
        if entry.key not in chosen.purposes:
            possible = ", ".join(item.key.value for item in paths.paths_of(entry.key))
            raise InvalidInputError(
                f"{entry.label} certificates are not provisioned by {chosen.key.label}; "
                + (f"use one of {possible}." if possible else "they need no provisioning case.")
            )
        decided = operating_modes.check_decided(locked, entry)
        open_one = ProvisioningCase.objects.open().of(locked.pk, entry.key, slot).first()
        if open_one is not None:
            raise CaseOpenError(
                f"Case {open_one.pk} of {locked.authoritative_identifier} is open for {entry.label}"
                f"{f' ({slot})' if slot else ''}, in state {open_one.get_state_display().lower()}: go on with it, or "
                "cancel it first."
            )
        case = ProvisioningCase(
            identity=locked,
            purpose=entry.key,
            slot=slot,
            mode=locked.mode_for(entry),
            path=chosen.key,
            program=locked.program,
            why="Its prerequisites are being judged.",
            deadline=now + chosen.deadlines[S.PREREQUISITE],
            next_look_at=now,
            tries_left=TRIES,
            responsible_authority=(responsible_authority or decided.authority)[:200],
            authority_contact=decided.contact or decided.support,
            pcid=pcid_key(pcid),
            correlation_id=current_attribution().correlation_id,
            opened_at=now,
            entered_state_at=now,
        )
        lifecycle.opened(case, now)
        lifecycle.advance(case, now)
    return case


def confirm(
    *, case: ProvisioningCase, prerequisite: str, actor: Actor, reason: str, now: datetime | None = None
) -> ProvisioningCase:
    """Confirm a prerequisite that happens out of our sight; the reason says what it rests on.

    :raises InvalidInputError: when the path has no such prerequisite, or judges it from facts.
    :raises TransitionRefusedError: when the case waits for no prerequisite.
    """
    now = now or timezone.now()
    with command(actor, "provisioning.confirm_provisioningcase", reason):
        locked = lifecycle.lock_case(case.pk)
        known = {item.key: item for item in paths.prerequisites_of(locked.path, locked.purpose)}
        asked = known.get(prerequisite)
        if asked is None or not asked.confirmed_by_a_person:
            possible = ", ".join(item.key for item in known.values() if item.confirmed_by_a_person)
            raise InvalidInputError(
                f"{prerequisite!r} is nothing that is confirmed on this path"
                + (", it is judged from what we know" if asked is not None else "")
                + f"; to be confirmed: {possible or 'nothing'}."
            )
        _only(locked, "takes a confirmation", S.PREREQUISITE)
        prerequisites.confirm(locked, prerequisite, actor.name, reason.strip(), now)
        lifecycle.advance(locked, now)
    return locked


def deliver(*, case: ProvisioningCase, actor: Actor, reason: str, now: datetime | None = None) -> ProvisioningCase:
    """Judge the prerequisites now and go on to the delivery.

    :raises PrerequisitesError: naming each one that is not met, and why.
    """
    now = now or timezone.now()
    with command(actor, "provisioning.deliver_provisioningcase", reason):
        locked = lifecycle.lock_case(case.pk)
        _only(locked, "is brought to delivery", S.PREREQUISITE)
        failing = [item for item in prerequisites.judge(locked, now) if not item.met]
        if failing:
            raise PrerequisitesError(prerequisites.sentence(failing), [item.key for item in failing])
        lifecycle.advance(locked, now)
    return locked


def retry(*, case: ProvisioningCase, actor: Actor, reason: str, now: datetime | None = None) -> ProvisioningCase:
    """Try a failed case anew, as long as its retry budget lasts.

    :raises TransitionRefusedError: when it has not failed, or its budget is spent.
    """
    now = now or timezone.now()
    with command(actor, "provisioning.retry_provisioningcase", reason):
        locked = lifecycle.lock_case(case.pk)
        _only(locked, "is tried anew", S.FAILED)
        if locked.tries_left == 0:
            raise TransitionRefusedError(
                f"Case {locked.pk} has failed as often as it may: {locked.last_failure} Mend the cause, cancel it and "
                "start another one."
            )
        lifecycle.retried(locked, now)
        lifecycle.advance(locked, now)
    return locked


def block(
    *,
    case: ProvisioningCase,
    revoked: bool = False,
    actor: Actor,
    reason: str,
    now: datetime | None = None,
) -> ProvisioningCase:
    """Block a case because its authority has suspended or revoked the certificate; our record ends in use at once.

    :param revoked: for good; otherwise it is suspended and may come back.
    """
    now = now or timezone.now()
    actor.require("provisioning.block_provisioningcase")
    if case.state not in (*OPEN, S.ACTIVE):
        raise TransitionRefusedError(
            f"Case {case.pk} is {case.get_state_display().lower()}; there is nothing to block."
        )
    answer = outcomes.Answer(
        system=ExternalSystem.MANUAL,
        kind=EvidenceKind.NOTICE,
        outcome=Outcome.REVOKED if revoked else Outcome.SUSPENDED,
        summary=reason.strip(),
        observed_at=now,
    )
    outcomes.record_outcome(case=case, answer=answer, actor=actor, reason=reason, now=now)
    return ProvisioningCase.objects.get(pk=case.pk)


def unblock(*, case: ProvisioningCase, actor: Actor, reason: str, now: datetime | None = None) -> ProvisioningCase:
    """Let a blocked case go its way once more, on fresh word of its authority that came after the block.

    :raises StaleEvidenceError: without such evidence, naming whom to ask.
    """
    now = now or timezone.now()
    with command(actor, "provisioning.unblock_provisioningcase", reason):
        locked = lifecycle.lock_case(case.pk)
        _only(locked, "is unblocked", S.BLOCKED)
        if locked.superseded_at is not None:
            raise TransitionRefusedError(f"Another case has taken the place of case {locked.pk}; go on with that one.")
        evidence = releasing_evidence(locked, now)
        if evidence is None:
            since = f"{locked.blocked_at:%Y-%m-%d %H:%M}" if locked.blocked_at else "the block"
            contact = f" ({locked.authority_contact})" if locked.authority_contact else ""
            raise StaleEvidenceError(
                f"There is no fresh word of {locked.blocked_by}{contact} since {since} UTC that it is usable again. "
                "Ask there, and record the answer first."
            )
        lifecycle.unblocked(locked, evidence, now)
        lifecycle.advance(locked, now)
    return locked


def cancel(*, case: ProvisioningCase, actor: Actor, reason: str, now: datetime | None = None) -> ProvisioningCase:
    """End an open case. Its certificate stays as it is.

    :raises TransitionRefusedError: when it is active, or has ended already.
    """
    now = now or timezone.now()
    with command(actor, "provisioning.cancel_provisioningcase", reason):
        locked = lifecycle.lock_case(case.pk)
        _only(locked, "is cancelled", *OPEN)
        lifecycle.cancelled(locked, reason.strip(), now)
    return locked


def releasing_evidence(case: ProvisioningCase, now: datetime) -> ProvisioningEvidence | None:
    """The fresh authoritative word, said after what a case is blocked for, that it is usable again."""
    if case.blocked_at is None:
        return None
    later = ProvisioningEvidence.objects.filter(
        case=case, outcome__in=RELEASING, observed_at__gt=case.blocked_at, fresh_until__gt=now
    ).exclude(kind__in=[EvidenceKind.REQUEST, EvidenceKind.DELIVERY])
    return next((item for item in later.order_by("-observed_at", "-pk") if standing(item, now).valid), None)


def _only(case: ProvisioningCase, what: str, *states: str) -> None:
    if case.state not in states:
        names = " or ".join(CaseState(state).label.lower() for state in states)
        raise TransitionRefusedError(
            f"Case {case.pk} is {case.get_state_display().lower()}; only one that is {names} {what}."
        )
