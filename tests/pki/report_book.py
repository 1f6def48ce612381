"""A `ReportBook` in memory, for tests that need no database."""

from datetime import datetime


class MemoryReportBook:
    """What the database keeps for the PKI workers."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[datetime, str]] = {}

    def last(self, authority: str) -> tuple[datetime, str] | None:
        return self._last.get(authority)

    def claim(self, authority: str, *, now: datetime, free_since: datetime) -> bool:
        last = self._last.get(authority)
        if last is not None and last[0] > free_since:
            return False
        self._last[authority] = (now, "")
        return True

    def note(self, authority: str, *, claimed_at: datetime, report_id: str) -> None:
        if self._last[authority][0] == claimed_at:
            self._last[authority] = (claimed_at, report_id)

    def withdraw(self, authority: str, *, claimed_at: datetime) -> None:
        if self._last[authority][0] == claimed_at:
            del self._last[authority]
