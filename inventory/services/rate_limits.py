"""Token buckets in the database: one UPDATE takes tokens atomically, for all processes together."""

from datetime import datetime, timedelta
from typing import Any

from django.db import connection

_TAKE = """
INSERT INTO inventory_ratebucket AS bucket (name, tokens, updated_at)
VALUES (%(name)s, %(burst)s - 1, %(now)s)
ON CONFLICT (name) DO UPDATE SET
    tokens = least(%(burst)s, bucket.tokens
        + greatest(0, extract(epoch FROM %(now)s - bucket.updated_at)) * %(rate)s) - 1,
    updated_at = greatest(bucket.updated_at, %(now)s)
WHERE least(%(burst)s, bucket.tokens
        + greatest(0, extract(epoch FROM %(now)s - bucket.updated_at)) * %(rate)s) >= 1
RETURNING tokens
"""


_FILL = """
INSERT INTO inventory_ratebucket AS bucket (name, tokens, updated_at)
VALUES (%(name)s, %(burst)s, %(now)s)
ON CONFLICT (name) DO UPDATE SET
    tokens = least(%(burst)s, bucket.tokens
        + greatest(0, extract(epoch FROM %(now)s - bucket.updated_at)) * %(rate)s),
    updated_at = greatest(bucket.updated_at, %(now)s)
RETURNING tokens
"""


def take_some(name: str, most: int, *, per_second: float, burst: float, now: datetime) -> int:
    """Take as many tokens as there are, and at most so many. The caller's transaction holds the bucket until its end.

    :returns: how many were taken.
    """
    values: dict[str, Any] = {"name": name, "burst": burst, "rate": per_second, "now": now}
    with connection.cursor() as cursor:
        cursor.execute(_FILL, values)
        (tokens,) = cursor.fetchone()
        taken = max(0, min(most, int(tokens)))
        if taken:
            cursor.execute("UPDATE inventory_ratebucket SET tokens = tokens - %s WHERE name = %s", [taken, name])
    return taken


def take(name: str, *, per_second: float, burst: float, now: datetime) -> timedelta | None:
    """Take one token.

    :returns: None when it was there, otherwise how long until there will be one.
    """
    values: dict[str, Any] = {"name": name, "burst": burst, "rate": per_second, "now": now}
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, values)
        if cursor.fetchone() is not None:
            return None
        cursor.execute("SELECT tokens, updated_at FROM inventory_ratebucket WHERE name = %s", [name])
        row = cursor.fetchone()
    tokens, updated_at = row if row else (0.0, now)
    present = tokens + max(0.0, (now - updated_at).total_seconds()) * per_second
    return timedelta(seconds=max(0.01, (1 - present) / per_second))
