"""Storing what a charger says of itself when it boots, without letting it fill tables from which nothing is removed.

A charger, or whoever has its key, can say something else at each boot. What it says last is always kept; a row of
history it gets for the first few changes, and then for one an hour.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from inventory.audit import save_without_history
from inventory.choices import SecurityCategory, SecuritySource, Severity
from inventory.models import ManagedIdentity
from inventory.services import rate_limits
from inventory.services.security_events import record_security_event

AT_ONCE: Final = 6
"""Changes in a row that are all in the history: a firmware update, its way back, and a change of family with each."""
ONE_MORE_AFTER: Final = timedelta(hours=1)


def save(identity: ManagedIdentity, fields: Sequence[str], now: datetime) -> bool:
    """Store these columns of a locked identity, which a boot has changed.

    :returns: whether with a row of history; where not, a security event a day says so.
    """
    name = f"boot-changes:{identity.pk}"
    if rate_limits.take(name, per_second=1 / ONE_MORE_AFTER.total_seconds(), burst=AT_ONCE, now=now) is None:
        identity.save()
        return True
    save_without_history(identity, fields=fields)
    _tell(identity, now)
    return False


def _tell(identity: ManagedIdentity, now: datetime) -> None:
    who = identity.authoritative_identifier
    record_security_event(
        "BootReportsKeepChanging",
        category=SecurityCategory.PLATFORM,
        severity=Severity.WARNING,
        source=SecuritySource.CONTROL_PLANE,
        message=(
            f"{who} says something else of itself at each boot, firmware {identity.firmware_version or 'not told'} at "
            "last. What it says last is kept, and not each change is in its history. Find out whether two stations "
            "use its identity, or its firmware falls back."
        ),
        now=now,
        identity=identity,
        station_id=who[:64],
        dedupe_key=f"boot-changes:{identity.pk}:{now:%Y%m%d}",
    )
