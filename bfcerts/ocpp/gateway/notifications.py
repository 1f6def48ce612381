"""Hearing of PostgreSQL notifications on the event loop, and of every time that some may have been missed."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import psycopg

from bfcerts.connections import connection_parameters
from bfcerts.ocpp.notify import Channel

CHANNELS: Final = (
    Channel.OUTBOX,
    Channel.SESSION_CLOSE,
    Channel.CERTIFICATE_BLOCKED,
    Channel.LISTENERS,
    Channel.UPSTREAMS,
    Channel.ANSWERS,
)
LONGEST_SILENCE_SECONDS: Final = 30.0
RECONNECT_SECONDS: Final = 1.0

logger = logging.getLogger(__name__)


async def listen(heard: Callable[[Channel, str], None], restored: Callable[[], None]) -> None:
    """Listen until cancelled.

    :param heard: called with each notification.
    :param restored: called whenever listening begins, first or again: whatever was said before went unheard.
    """
    parameters = connection_parameters("bfcerts gateway notifications")
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(autocommit=True, **parameters) as listener:
                for channel in CHANNELS:
                    await listener.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
                restored()
                while True:
                    async for notification in listener.notifies(timeout=LONGEST_SILENCE_SECONDS):
                        heard(Channel(notification.channel), notification.payload)
                    await listener.execute("SELECT 1")
        except psycopg.OperationalError as error:
            logger.warning("not listening for notifications: %s", str(error).strip())
            await asyncio.sleep(RECONNECT_SECONDS)
