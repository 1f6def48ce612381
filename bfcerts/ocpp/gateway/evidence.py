"""Evidence on its way from the connections into the inbox."""

import asyncio
import logging

from django.db import transaction

from bfcerts.ocpp import inbox
from bfcerts.ocpp.gateway.database import DatabaseThread
from bfcerts.ocpp.inbox import Observation

logger = logging.getLogger(__name__)


class EvidenceWriter:
    """Stores observations; many at once where many come at once."""

    def __init__(self, thread: DatabaseThread) -> None:
        self._lane = thread.lane(_store)

    def store(self, observation: Observation) -> asyncio.Future[None]:
        """Done when the observation is committed; the station's answer waits for that."""
        return self._lane.submit(observation)

    def report(self, observation: Observation) -> None:
        """Store what nobody waits for."""
        self.store(observation).add_done_callback(_log_failure)


def _store(observations: list[Observation]) -> list[None]:
    with transaction.atomic():
        inbox.store(observations)
    return [None] * len(observations)


def _log_failure(future: asyncio.Future[None]) -> None:
    if not future.cancelled() and future.exception() is not None:
        logger.warning("an observation could not be stored: %s", future.exception())
