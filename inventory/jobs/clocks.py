"""Whether a worker's clock can be trusted: what is due, leased, expired or overdue is decided by it."""

from datetime import datetime, timedelta

from django.db import connection

MOST_SKEW = timedelta(minutes=1)
"""How far a worker's clock may be from the database's."""


class WrongClockError(Exception):
    """A clock that no work may be done by; the message says by how much, and what to do."""


def check(now: datetime) -> None:
    """Compare this machine's time with the database's, which all workers share.

    :raises WrongClockError: when they are more than `MOST_SKEW` apart.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s - clock_timestamp()", [now])
        ahead: timedelta = cursor.fetchone()[0]
    if abs(ahead) > MOST_SKEW:
        seconds = timedelta(seconds=round(abs(ahead).total_seconds()))
        raise WrongClockError(
            f"The clock of this machine is {seconds} {'ahead of' if ahead > timedelta() else 'behind'} the database's. "
            "No work is done by it, because what is due or expired would be judged wrongly. Set it (NTP), then start "
            "the worker again."
        )
