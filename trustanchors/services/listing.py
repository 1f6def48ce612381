"""What a station says that it has installed, read from its answer and compared with what is intended.

The one place that reads the canonical answer of LIST_CERTIFICATES (`bfcerts.ocpp.canonical.Evidence`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bfcerts.pki.hash_data import same_hash_data
from trustanchors.models import TrustAnchor

_KEYS = ("hashAlgorithm", "issuerNameHash", "issuerKeyHash", "serialNumber")
LONGEST_VALUE = 128
MOST_ENTRIES = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """One installed certificate, in the station's own words."""

    use: str
    hash_data: dict[str, str]

    def names(self, anchor: TrustAnchor) -> bool:
        """Whether it is this anchor, by the hash that the station chose."""
        ours = anchor.hash_data.get(self.hash_data["hashAlgorithm"].upper())
        return ours is not None and same_hash_data(ours, self.hash_data)


@dataclass(frozen=True, slots=True)
class Difference:
    """How what is listed differs from what is intended."""

    missing: tuple[TrustAnchor, ...]
    unexpected: tuple[Entry, ...]
    """Listed, and no anchor that we know of: what the factory put there, or somebody else."""


def read(answer: Mapping[str, Any], use: str) -> list[Entry]:
    """The installed certificates of one use. Whatever a station made up is left out, never an error."""
    given = answer.get("certificates")
    entries = []
    for item in given[:MOST_ENTRIES] if isinstance(given, list) else []:
        data = item.get("hash_data") if isinstance(item, dict) else None
        if not isinstance(data, dict) or item.get("use") != use:
            continue
        values = {key: data.get(key) for key in _KEYS}
        if all(isinstance(value, str) and 0 < len(value) <= LONGEST_VALUE for value in values.values()):
            entries.append(Entry(use, {key: str(value) for key, value in values.items()}))
    return entries


def stored(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """For the row of the installation."""
    return [{"use": entry.use, "hash_data": entry.hash_data} for entry in entries]


def restored(rows: Iterable[Mapping[str, Any]]) -> list[Entry]:
    """What `stored` made."""
    return [Entry(row["use"], dict(row["hash_data"])) for row in rows]


def compare(entries: Sequence[Entry], intended: Sequence[TrustAnchor], known: Sequence[TrustAnchor]) -> Difference:
    """What is missing, and what stands there that nobody here knows."""
    return Difference(
        missing=tuple(anchor for anchor in intended if not any(entry.names(anchor) for entry in entries)),
        unexpected=tuple(entry for entry in entries if not any(entry.names(anchor) for anchor in known)),
    )
