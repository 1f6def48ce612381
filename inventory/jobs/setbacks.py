"""What goes wrong with one piece of a recurring duty's work keeps no other piece waiting.

Such a piece, be it a charger, a rollout or a plan, is set aside in a row of its own, with what was wrong, and the duty
leaves it out until a back-off is over. So a duty that takes a limited number of pieces at a time never ends up with
those alone that fail, however many they are, and whoever looks finds each of them.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db.models import F, QuerySet

from bfcerts.conflicts import is_conflict
from bfcerts.purge import purge
from inventory.choices import SecurityCategory, SecuritySource, Severity
from inventory.errors import InventoryError
from inventory.jobs.periodic import duty
from inventory.models import ManagedIdentity, Setback
from inventory.services.security_events import record_security_event

logger = logging.getLogger(__name__)

FIRST_BACK_OFF = timedelta(seconds=10)
MOST_BACK_OFF = timedelta(hours=1)
"""For what nobody expected: an outage that is over, or a defect that waits for its correction."""
MOST_AFTER_A_REFUSAL = timedelta(minutes=5)
"""For what a rule refused: it may be put right at any time."""
KEPT = timedelta(days=1)
"""How long a row stays after its back-off; what fails again within it goes on where it was."""

Answer = TypeVar("Answer")
Rows = TypeVar("Rows", bound="QuerySet[Any, Any]")


def apart(
    work: str, key: int, now: datetime, step: Callable[[], Answer], *, identity_id: int | None = None
) -> Answer | None:
    """Take a step that opens its own transaction; what goes wrong in it concerns this piece of work alone.

    :param work: what is done, the same at every call, as the name of the duty.
    :param key: of the row that it is done to.
    :param identity_id: the identity that it concerns, if it is one.
    :returns: what the step returns; None where it failed, and was set aside.
    """
    try:
        return step()
    except Exception as error:  # noqa: BLE001  # whatever it is, no other piece waits for it; its row keeps it in sight
        if is_conflict(error):
            logger.info("%s of %s is left to the next round: %s", work, key, error)
        else:
            set_aside(work, key, error, now, identity_id)
        return None


def without(found: Rows, work: str, now: datetime, key: str = "pk") -> Rows:
    """These rows without those that this work has set aside.

    :param key: the column that `apart` is given as the key.
    """
    aside = Setback.objects.filter(work=work, until__gt=now).values("key")
    left: Rows = found.exclude(**{f"{key}__in": aside})
    return left


def aside(found: Rows, work: str, now: datetime) -> Rows:
    """Of these rows, those that this work has set aside."""
    left: Rows = found.filter(pk__in=Setback.objects.filter(work=work, until__gt=now).values("key"))
    return left


def set_aside(work: str, key: int, error: Exception, now: datetime, identity_id: int | None) -> None:
    """Set a piece of work aside that failed, as `apart` does: in sight from now on, and left out for its back-off."""
    expected = isinstance(error, InventoryError)
    if expected:
        logger.warning("%s of %s has to wait: %s", work, key, error)
    else:
        logger.error("%s of %s failed", work, key, exc_info=error)
    said = str(error) if expected else f"{type(error).__name__}: {error}"
    row, new = Setback.objects.get_or_create(
        work=work,
        key=key,
        defaults={"identity_id": identity_id, "since": now, "until": now + FIRST_BACK_OFF, "error": said[:1000]},
    )
    if not new:
        delay = FIRST_BACK_OFF * 2 ** min(row.tries, 12)
        until = now + min(delay, MOST_AFTER_A_REFUSAL if expected else MOST_BACK_OFF)
        Setback.objects.filter(pk=row.pk).update(tries=F("tries") + 1, until=until, error=said[:1000])
    if not expected:
        _tell(work, key, error, now, identity_id)


def _tell(work: str, key: int, error: Exception, now: datetime, identity_id: int | None) -> None:
    identity = ManagedIdentity.objects.filter(pk=identity_id).first() if identity_id is not None else None
    of = f" of {identity.authoritative_identifier}" if identity else ""
    record_security_event(
        "WorkSetAside",
        category=SecurityCategory.OTHER,
        severity=Severity.WARNING,
        source=SecuritySource.CONTROL_PLANE,
        message=f"{work} {key}{of} ended unexpectedly ({type(error).__name__}). It is tried again by itself, and "
        "nothing else waits for it; if it goes on, report it with the worker's log.",
        now=now,
        identity=identity,
        station_id=identity.authoritative_identifier[:64] if identity else "",
        dedupe_key=f"set-aside:{work}:{key}:{now:%Y%m%d}",
    )


@duty("setbacks", timedelta(hours=1))
def forget(now: datetime) -> int:
    """Drop what has not failed again for a day.

    :returns: how many rows.
    """
    return purge("inventory_setback", "until < %s", now - KEPT, order="until")
