"""Who owns the certificates of a purpose in a program, as a floor above has decided it (FR-007, FR-008).

The decisions are kept above; the lifecycle asks for them here, and only for purposes whose ownership has to be decided.
"""

from collections.abc import Callable
from dataclasses import dataclass

from inventory.choices import SourceOfTruth
from inventory.purposes import Purpose


@dataclass(frozen=True, slots=True)
class Ownership:
    """What is decided of a purpose in a program."""

    complete: bool
    missing: tuple[str, ...] = ()
    """What is still to be decided, in words."""
    mode: str = ""
    """The operating mode that follows from our role; empty while that is not decided."""
    source_of_truth: str = SourceOfTruth.WHOLE_CHAIN
    key_owner: str = ""
    authority: str = ""
    """Who may revoke and renew."""
    contact: str = ""
    """Where that authority is reached."""
    support: str = ""


Decisions = Callable[[str, str], Ownership]
"""By the keys of a purpose and a program."""

UNDECIDED = Ownership(complete=False, missing=("every field",))
_NOTHING_TO_DECIDE = Ownership(complete=True)
_lent: list[Decisions] = []


def lend_decisions(decisions: Decisions) -> None:
    """Name who knows the decisions; called at start-up."""
    if decisions not in _lent:
        _lent.append(decisions)


def ownership_of(entry: Purpose, program: str) -> Ownership:
    """What is decided of a purpose in a program; one query, and none for purposes that are ours alone."""
    if not entry.ownership_to_decide:
        return _NOTHING_TO_DECIDE
    return _lent[0](entry.key, program) if _lent else UNDECIDED
