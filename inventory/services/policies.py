"""Resolving lifecycle policies: the narrowest match wins, and says why (NFR-004)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import prefetch_related_objects

from bfcerts.rows import rows
from inventory.errors import InventoryError
from inventory.models import CertificateRecord, LifecyclePolicy, ManagedIdentity
from inventory.models.cohort import containing_each
from inventory.purposes import purpose


class NoPolicyError(InventoryError):
    """No enabled policy applies."""

    code = "no_policy"


INSTALL_TRIES = 3
"""How often a station may refuse a certificate before its job gives up: each try costs an issuance."""

_WEIGHTS = {"cohort": 8, "family": 4, "program": 2, "mode": 1}
"""A cohort is narrower than a family, that than a program, that than an operating mode; they add up."""


@dataclass(frozen=True, slots=True)
class PolicyCandidate:
    """One policy of the purpose, with why it applies or not."""

    policy: LifecyclePolicy
    matches: bool
    why: str
    specificity: int
    won: bool = False


@dataclass(frozen=True, slots=True)
class ResolvedPolicy:
    """The policy that applies, and how that came about."""

    policy: LifecyclePolicy
    explanation: list[PolicyCandidate] = field(default_factory=list)


def _judge(policy: LifecyclePolicy, identity: ManagedIdentity, mode: str, cohorts: set[int]) -> PolicyCandidate:
    conditions: list[tuple[str, str, bool]] = []
    if policy.cohort is not None:
        conditions.append(("cohort", f"cohort {policy.cohort.name}", policy.cohort_id in cohorts))
    if policy.family_id is not None:
        name = policy.family.name if policy.family else ""
        conditions.append(("family", f"family {name}", policy.family_id == identity.family_id))
    if policy.program:
        conditions.append(("program", f"program {policy.program}", policy.program == identity.program))
    if policy.mode:
        conditions.append(("mode", f"mode {policy.get_mode_display()}", policy.mode == mode))
    specificity = sum(_WEIGHTS[kind] for kind, _, _ in conditions)
    failing = [label for _, label, holds in conditions if not holds]
    if failing:
        return PolicyCandidate(policy, False, f"does not apply: not in {', '.join(failing)}", specificity)
    if conditions:
        labels = ", ".join(label for _, label, _ in conditions)
        return PolicyCandidate(policy, True, f"applies by {labels}", specificity)
    return PolicyCandidate(policy, True, "applies to every identity of the purpose", specificity)


def resolve(identity: ManagedIdentity, purpose_key: str) -> ResolvedPolicy:
    """The policy of an identity for a purpose (or for `authorization_key`), with the explanation.

    :raises NoPolicyError: when none is enabled that applies.
    """
    return resolve_each([identity], purpose_key)[identity.pk]


def resolve_each(identities: Sequence[ManagedIdentity], purpose_key: str) -> dict[int, ResolvedPolicy]:
    """As `resolve`, by the identity's key; the queries do not grow with them.

    :raises NoPolicyError: when none is enabled that applies to one of them.
    """
    policies = rows(LifecyclePolicy, "purpose = %s AND enabled", purpose_key)
    # A join for every decision would cost more than these queries for the few policies that are narrowed.
    prefetch_related_objects([policy for policy in policies if policy.family_id is not None], "family")
    prefetch_related_objects([policy for policy in policies if policy.cohort_id is not None], "cohort")
    narrowed = [policy.cohort for policy in policies if policy.cohort is not None]
    cohorts = containing_each([identity.pk for identity in identities], narrowed)
    return {identity.pk: _winner(identity, purpose_key, policies, cohorts[identity.pk]) for identity in identities}


def _winner(
    identity: ManagedIdentity, purpose_key: str, policies: Sequence[LifecyclePolicy], cohorts: set[int]
) -> ResolvedPolicy:
    mode = identity.mode if purpose_key == "authorization_key" else identity.mode_for(purpose(purpose_key))
    candidates = sorted(
        (_judge(policy, identity, mode, cohorts) for policy in policies),
        key=lambda candidate: (not candidate.matches, -candidate.specificity, candidate.policy.pk),
    )
    if not candidates or not candidates[0].matches:
        raise NoPolicyError(
            f"No enabled lifecycle policy applies to {identity.authoritative_identifier} for {purpose_key}: "
            "enable or add one."
        )
    winner = candidates[0]
    explanation = [PolicyCandidate(c.policy, c.matches, c.why, c.specificity, won=c is winner) for c in candidates]
    return ResolvedPolicy(winner.policy, explanation)


def spread(record_id: int) -> float:
    """Where in the lead a record's renewal starts: a fixed number in [0, 1) that scatters neighbours."""
    digest = hashlib.sha256(f"renewal:{record_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def renewal_start(record: CertificateRecord, policy: LifecyclePolicy) -> datetime | None:
    """When the renewal of a record starts: inside the lead that ends at the threshold before expiry.

    :returns: None where the policy renews nothing by itself.
    """
    if policy.renewal_threshold is None or record.not_after is None:
        return None
    return record.not_after - policy.renewal_threshold - policy.renewal_lead * spread(record.pk)


def retry_delay(policy: LifecyclePolicy, attempt: int) -> timedelta:
    """How long to wait after the given failed attempt (1 is the first): doubling up to the limit."""
    doubled: timedelta = policy.retry_delay * (2 ** min(attempt - 1, 20))
    return min(doubled, policy.retry_delay_limit)


def issuing_deadline(policy: LifecyclePolicy, *, now: datetime, replaced: CertificateRecord | None) -> datetime:
    """When an issuing job ends as a whole, so that nothing waits for ever; no step of it comes near that by itself.

    It has the time of every round of asking and delivering, of every retry, of the cut-over, and a rollback window more
    for a CA that is throttling or away. A renewal has at least until what it replaces expires.
    """
    rounds = 2 * INSTALL_TRIES * policy.delivery_deadline
    retries = policy.retry_attempts * (policy.csr_deadline + policy.retry_delay_limit)
    ends: datetime = now + rounds + retries + policy.cut_over_deadline + policy.rollback_window
    return max(ends, replaced.not_after) if replaced is not None and replaced.not_after is not None else ends
