"""How each charger's upstream stands, gathered for the database: the newest state of each session, and no more."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from bfcerts.ocpp.registry import UpstreamState


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one session is relayed to, and how that connection is. `upstream` is empty where it is not relayed."""

    session_id: UUID
    upstream: str
    state: UpstreamState
    since: datetime
    detail: str = ""


class Standings:
    """What is not stored yet. However often a state changes, one row of each session is written at a time."""

    def __init__(self) -> None:
        self._news: dict[UUID, Standing] = {}

    def tell(self, standing: Standing) -> None:
        """Keep what replaces everything told of this session before."""
        self._news[standing.session_id] = standing

    def take(self) -> list[Standing]:
        """What is new; the caller stores it, or puts it back."""
        news, self._news = self._news, {}
        return list(news.values())

    def put_back(self, standings: Iterable[Standing]) -> None:
        """Keep what could not be stored, where nothing newer was told meanwhile."""
        for standing in standings:
            self._news.setdefault(standing.session_id, standing)
