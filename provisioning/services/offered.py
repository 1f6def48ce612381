"""What this operator may do now with a provisioning case, and what it would mean; and what may be begun for whom."""

from datetime import datetime

from inventory.actors import Actor
from inventory.models import ManagedIdentity
from inventory.services.actions import AvailableAction, offered
from inventory.words import counted
from provisioning import paths
from provisioning.choices import OPEN, CaseState
from provisioning.models import ProvisioningCase
from provisioning.services import cases
from provisioning.services.prerequisites import Judged, judge

S = CaseState


def for_case(case: ProvisioningCase, actor: Actor, now: datetime) -> list[AvailableAction]:
    """The verbs of a case."""
    judged = judge(case, now) if case.state == S.PREREQUISITE else []
    failing = [item for item in judged if not item.met]
    return [
        offered(
            "confirm",
            "Confirm a prerequisite",
            "What happens out of our sight is confirmed by you, with your reason. When the last one is met, its "
            "delivery begins.",
            actor=actor,
            permission="provisioning.confirm_provisioningcase",
            obstacle=_only(case, S.PREREQUISITE) or _nothing_to_confirm(failing),
        ),
        offered(
            "deliver",
            "Go on to the delivery",
            "Its prerequisites are judged now, and its delivery begins.",
            actor=actor,
            permission="provisioning.deliver_provisioningcase",
            obstacle=_only(case, S.PREREQUISITE)
            or ("" if not failing else f"Not met: {'; '.join(item.words.lower() for item in failing)}."),
        ),
        offered(
            "record_outcome",
            "Record what an external party said",
            "Its answer is kept as evidence. What speaks for it counts only while it is fresh; what speaks against it "
            "takes the certificate out of use at once.",
            actor=actor,
            permission="provisioning.record_provisioningevidence",
            obstacle="",
        ),
        offered(
            "retry",
            "Try again",
            "It begins anew with its prerequisites. What was said before counts no more.",
            actor=actor,
            permission="provisioning.retry_provisioningcase",
            obstacle=_only(case, S.FAILED) or ("" if case.tries_left else "It has failed as often as it may."),
        ),
        offered(
            "unblock",
            "Unblock",
            "It goes its whole way once more; a suspended certificate waits to be seen in use again.",
            actor=actor,
            permission="provisioning.unblock_provisioningcase",
            obstacle=_only(case, S.BLOCKED) or _why_blocked(case, now),
        ),
        offered(
            "block",
            "Block",
            "Its certificate is taken out of use here at once, because its authority has suspended or revoked it.",
            actor=actor,
            permission="provisioning.block_provisioningcase",
            obstacle=""
            if case.state in (S.ACTIVE, *OPEN) and case.state != S.BLOCKED
            else "There is nothing to block.",
            dangerous=True,
        ),
        offered(
            "cancel",
            "Cancel",
            "The case ends. Its certificate stays as it is.",
            actor=actor,
            permission="provisioning.cancel_provisioningcase",
            obstacle=_only(case, *OPEN),
            dangerous=True,
        ),
    ]


def for_identity(identity: ManagedIdentity, actor: Actor, now: datetime) -> list[AvailableAction]:
    """What may be begun for an identity; nothing is offered where it holds no such certificates."""
    possible = [entry for entry in identity.possible_purposes() if entry.ownership_to_decide]
    if not possible:
        return []
    return [
        offered(
            "provision",
            "Start provisioning",
            f"A case is opened that brings a certificate of others into use: "
            f"{', '.join(entry.label for entry in possible)}.",
            actor=actor,
            permission="provisioning.start_provisioningcase",
            obstacle="" if identity.enabled else "The identity is disabled.",
        )
    ]


def notes_of(case: ProvisioningCase) -> list[str]:
    """What has to be known of a case's path and purpose."""
    entry = case.purpose_entry
    told = [paths.path(case.path).note]
    if entry.provisional:
        told.append(
            f"What is asked of {entry.label} certificates rests on VDV 261 in places and is provisional: its licensed "
            "text was not at hand."
        )
    if case.state == S.FAILED:
        told.append(f"It may be tried anew {counted(case.tries_left, 'more time')}.")
    return [one for one in told if one]


def _only(case: ProvisioningCase, *states: str) -> str:
    if case.state in states:
        return ""
    return f"Only possible while it is {' or '.join(CaseState(state).label.lower() for state in states)}."


def _nothing_to_confirm(failing: list[Judged]) -> str:
    return "" if any(item.to_confirm for item in failing) else "Nothing waits for a confirmation."


def _why_blocked(case: ProvisioningCase, now: datetime) -> str:
    if case.superseded_at is not None:
        return "Another case has taken its place."
    if cases.releasing_evidence(case, now) is None:
        return f"No fresh word of {case.blocked_by} since then; ask there, and record the answer."
    return ""
