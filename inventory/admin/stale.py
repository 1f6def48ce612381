"""What to tell somebody whose page is older than what it shows: what changed meanwhile, by whom, when and why."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from inventory.services.changes import Change, entries_of
from inventory.words import actor_words, in_words


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """The last recorded change of an object."""

    who: str
    at: datetime
    why: str
    changes: list[Change]


def meanwhile(target: Any) -> Meanwhile | None:
    """Who changed an object last; None where its history says nothing."""
    if not hasattr(target, "history"):
        return None
    entries = entries_of(target, 1)
    if not entries:
        return None
    (entry,) = entries
    return Meanwhile(actor_words(entry.actor), entry.at, in_words(entry.reason), entry.changes)
