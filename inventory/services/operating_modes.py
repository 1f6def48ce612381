"""What each lifecycle command may do in each operating mode, and who is responsible where it may not (FR-005).

The one place of this rule. A managed certificate is ours from the request to the revocation. Of a brokered one another
authority decides, while the delivery and what our doors accept are ours. A tracked one is only watched: what its
authority does with it is recorded from evidence.
"""

from enum import StrEnum
from typing import Any

from inventory.choices import KeyOwner, OperatingMode, SourceOfTruth
from inventory.errors import InventoryError, TransitionRefusedError
from inventory.models import CertificateRecord, ManagedIdentity
from inventory.ownership import Ownership, ownership_of
from inventory.purposes import Purpose


class Verb(StrEnum):
    """The lifecycle commands, as their refusals say them."""

    ISSUE = "issue"
    INSTALL = "deliver"
    ACTIVATE = "activate"
    DEACTIVATE = "deactivate"
    REACTIVATE = "reactivate"
    RENEW = "renew"
    REVOKE = "revoke"
    DELETE = "delete"
    REGISTER = "register"


_M, _B, _T = OperatingMode.MANAGED, OperatingMode.BROKERED, OperatingMode.TRACKED_ONLY
ALLOWED: dict[Verb, frozenset[str]] = {
    Verb.ISSUE: frozenset({_M}),
    Verb.INSTALL: frozenset({_M, _B}),
    Verb.ACTIVATE: frozenset({_M, _B, _T}),
    Verb.DEACTIVATE: frozenset({_M, _B}),
    Verb.REACTIVATE: frozenset({_M, _B}),
    Verb.RENEW: frozenset({_M}),
    Verb.REVOKE: frozenset({_M, _B, _T}),
    Verb.DELETE: frozenset({_M, _B, _T}),
    Verb.REGISTER: frozenset({_M, _B, _T}),
}
"""In which modes a command may be given. Activating rests on evidence in each of them; revoking what is not managed
records what its authority did, and tells no CA."""

INSTEAD: dict[Verb, str] = {
    Verb.ISSUE: "what it reports is registered here.",
    Verb.INSTALL: "it delivers them itself, and its confirmation is recorded here.",
    Verb.DEACTIVATE: "have it suspended there; its answer is recorded as evidence and blocks it here at once.",
    Verb.REACTIVATE: "it becomes usable again when its confirmation is recorded here.",
    Verb.RENEW: "what it reports is registered here.",
}
"""What happens in place of a command that may not be given."""


class NotOursError(TransitionRefusedError):
    """Another authority is responsible for this."""

    code = "not_ours"

    def __init__(self, message: str, *, authority: str, contact: str) -> None:
        super().__init__(message)
        self.authority = authority
        self.contact = contact

    @property
    def extra(self) -> dict[str, Any]:
        return {"responsible": self.authority, "contact": self.contact}


class OwnershipUndecidedError(InventoryError):
    """The ownership decision of the purpose and program is incomplete, and the identity is no pilot."""

    code = "ownership_undecided"


class NotStoredError(InventoryError):
    """The ownership decision does not allow to store this."""

    code = "not_stored"


def check(verb: Verb, identity: ManagedIdentity, entry: Purpose, *, authority: str = "") -> None:
    """Refuse a command on an identity's certificates that its operating mode leaves to somebody else.

    :param authority: who is responsible, where the certificate itself says it.
    :raises NotOursError: naming who is responsible and where they are reached.
    """
    _check_mode(verb, identity, entry, identity.mode_for(entry), authority)


def check_record(verb: Verb, record: CertificateRecord) -> None:
    """As `check`, of a certificate in the mode in which it came.

    :raises NotOursError: naming who is responsible and where they are reached.
    """
    _check_mode(verb, record.identity, record.purpose_entry, record.mode, record.responsible_authority)


def why_not(verb: Verb, record: CertificateRecord) -> str:
    """The refusal of `check_record` as a sentence; empty where the command may be given."""
    try:
        check_record(verb, record)
    except NotOursError as error:
        return error.message
    return ""


def _check_mode(verb: Verb, identity: ManagedIdentity, entry: Purpose, mode: str, authority: str) -> None:
    if mode in ALLOWED[verb]:
        return
    decided = ownership_of(entry, identity.program)
    responsible = authority or decided.authority
    contact = decided.contact or decided.support
    ask = f" Ask there: {contact}." if contact else ""
    raise NotOursError(
        f"{entry.label} certificates of {identity.authoritative_identifier} are {OperatingMode(mode).label.lower()}: "
        f"we do not {verb} them. {responsible or 'Their external authority'} is responsible; {INSTEAD[verb]}{ask}",
        authority=responsible,
        contact=contact,
    )


def check_decided(identity: ManagedIdentity, entry: Purpose) -> Ownership:
    """Refuse a purpose whose ownership is not decided for the identity's program, unless the identity is a pilot.

    :returns: what is decided.
    :raises OwnershipUndecidedError: naming what is missing.
    """
    decided = ownership_of(entry, identity.program)
    if not decided.complete and not identity.pilot:
        raise OwnershipUndecidedError(undecided(identity, entry, decided))
    return decided


def undecided(identity: ManagedIdentity, entry: Purpose, decided: Ownership) -> str:
    """The refusal of a purpose that is not ready for production, as a sentence."""
    return (
        f"The ownership of {entry.label} certificates {in_program(identity.program)} is not decided: "
        f"{', '.join(decided.missing)} is missing. Until it is, only identities marked as pilot may use them, and "
        f"{identity.authoritative_identifier} is none. Complete the ownership decision, or mark it as pilot."
    )


def in_program(program: str) -> str:
    """“in program X”, or “outside of every program”."""
    return f"in program {program}" if program else "outside of every program"


def check_request_may_be_taken(identity: ManagedIdentity, entry: Purpose, decided: Ownership) -> None:
    """Refuse to take a certificate signing request where another party makes and keeps the keys.

    :raises NotStoredError: naming the decision that says so.
    """
    if decided.key_owner == KeyOwner.EXTERNAL:
        raise NotStoredError(
            f"The private keys of {entry.label} certificates {in_program(identity.program)} belong to another party, "
            "by their ownership decision: no certificate signing request is taken for them here. "
            f"{decided.authority or 'Their authority'} issues to its own keys."
        )


def check_may_be_stored(identity: ManagedIdentity, entry: Purpose, decided: Ownership) -> str:
    """How much of a certificate of others may be stored.

    :returns: the value of `kept` for its record.
    :raises NotStoredError: where only evidence may be.
    """
    if decided.source_of_truth == SourceOfTruth.EVIDENCE_ONLY:
        raise NotStoredError(
            f"Of {entry.label} certificates {in_program(identity.program)} only evidence is kept, by their ownership "
            "decision: no record of the certificate is stored. Record its fingerprint and expiry as evidence of its "
            "provisioning case."
        )
    return decided.source_of_truth
