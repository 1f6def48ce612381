"""Network connection profiles, and which one is tried next (OCPP 2.0.1 A05, B09, B10)."""

from collections.abc import Sequence
from dataclasses import dataclass

SLOTS = (1, 2, 3)
"""The configuration slots that a simulated station has."""


@dataclass(frozen=True, slots=True)
class NetworkProfile:
    """Where and how to connect; the station id is appended to `url` when it connects."""

    security_profile: int
    url: str


class ConnectionOrder:
    """Goes through the slots in priority order, several attempts each, and round again.

    A new priority counts from the next boot on (B10); until then the order of this boot is kept.
    """

    def __init__(self, priority: Sequence[int], attempts: int) -> None:
        self._attempts = attempts
        self._priority = list(priority)
        self._position = 0
        self._failures = 0

    @property
    def slot(self) -> int:
        return self._priority[self._position]

    def failed(self) -> None:
        """Count a failed attempt; after enough of them the next slot is due."""
        self._failures += 1
        if self._failures >= self._attempts:
            self._failures = 0
            self._position = (self._position + 1) % len(self._priority)

    def succeeded(self) -> None:
        self._failures = 0

    def drop(self, slots: Sequence[int]) -> None:
        """Forget slots that no longer exist; the slot in use stays the one in use."""
        used = self.slot
        self._priority = [slot for slot in self._priority if slot not in slots]
        self._position = self._priority.index(used)
