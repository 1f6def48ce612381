"""What the operator learns of upstreams: the first of equal happenings at once, the rest as a count."""

import time
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from bfcerts.ocpp.canonical import Evidence
from bfcerts.ocpp.gateway.evidence import EvidenceWriter
from bfcerts.ocpp.gateway.limits import Repetitions
from bfcerts.ocpp.inbox import Observation, storable

WINDOW_SECONDS: Final = 600.0
REPORTS_PER_SECOND: Final = 5.0


class Happening(StrEnum):
    """The kinds of `Evidence.UPSTREAM`."""

    CALL_REFUSED = "call_refused"
    AWAY = "away"
    MISBEHAVED = "misbehaved"
    BOOT_NOT_ACCEPTED = "boot_not_accepted"


_OF_THE_UPSTREAM: Final = {Happening.AWAY}
"""What is said once for the upstream, and not for each of its stations."""


class UpstreamReports:
    """Turns what upstreams do into evidence at a bounded rate."""

    def __init__(self, evidence: EvidenceWriter, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._evidence = evidence
        self._monotonic = monotonic
        self._repetitions: Repetitions[Observation] = Repetitions(WINDOW_SECONDS, REPORTS_PER_SECOND, monotonic())

    def note(
        self, happening: Happening, upstream: str, station_id: str, session_id: UUID, detail: str, now: datetime
    ) -> None:
        """Something that an upstream did."""
        payload = {"kind": happening.value, "upstream": upstream, "detail": storable(detail)[:300], "count": 1}
        observation = Observation(station_id, session_id, Evidence.UPSTREAM, payload, now)
        whose = "" if happening in _OF_THE_UPSTREAM else f" {station_id} {detail}"
        if self._repetitions.note(f"{happening} {upstream}{whose}", observation, self._monotonic()):
            self._evidence.report(observation)

    def sweep(self, now: datetime) -> None:
        """Report what was only counted and whose window has ended."""
        for one, repeated in self._repetitions.ended(self._monotonic()):
            payload = {**one.payload, "count": repeated}
            self._evidence.report(Observation(one.station_id, None, Evidence.UPSTREAM, payload, now))
