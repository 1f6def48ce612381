"""PostgreSQL notifications between processes. They only wake; the tables are the truth.

NOTIFY is transactional: whoever listens hears of it after the commit, and not at all after a rollback.
"""

from collections.abc import Sequence
from enum import StrEnum

from django.db import connection


class Channel(StrEnum):
    """Who is woken, and what the payload says."""

    OUTBOX = "bfcerts_outbox"
    """Gateway nodes; the station id whose outbox has news."""
    SESSION_CLOSE = "bfcerts_session_close"
    """Gateway nodes; '<session id> <reason>': close this session now."""
    CERTIFICATE_BLOCKED = "bfcerts_certificate_blocked"
    """Gateway nodes; the fingerprint that lost its authorisation: close its sessions now."""
    LISTENERS = "bfcerts_listeners"
    """Gateway nodes; listener certificates or trust changed."""
    UPSTREAMS = "bfcerts_upstreams"
    """Gateway nodes; the station id that may be relayed elsewhere now; empty where it may be any. Triggers say so."""
    ANSWERS = "bfcerts_answers"
    """Gateway nodes; the id of a station's question that was answered."""
    QUESTIONS = "bfcerts_questions"
    """Whoever answers questions in a worker; the kind of one that was asked."""
    WORK = "bfcerts_work"
    """The general worker; there is an inbox row or a due job."""
    PKI_WORK = "bfcerts_pki_work"
    """The PKI worker; there is a due job for it."""


def notify(channel: Channel, payload: str = "") -> None:
    """Wake the channel's listeners when the current transaction commits."""
    notify_each(channel, [payload])


def notify_each(channel: Channel, payloads: Sequence[str]) -> None:
    """Wake the channel's listeners once for each payload when the current transaction commits."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_notify(%s, payload) FROM unnest(%s::text[]) AS payload", [channel.value, list(payloads)]
        )
