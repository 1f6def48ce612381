"""How a recurring duty looks at installations: each in a transaction of its own, the longest due first.

A duty locks one identity at a time and then its installation; rows of a rollout as a whole are locked only where no
identity is.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from django.db import transaction
from django.db.models import QuerySet

from inventory.actors import Actor
from inventory.audit import attributed
from inventory.jobs import setbacks
from trustanchors.models import BundleInstallation
from trustanchors.services import installations

MANAGER: Final = Actor.system("trust-anchors")
SLICE: Final = 500


def each(
    name: str,
    found: "QuerySet[BundleInstallation]",
    why: str,
    work: Callable[[BundleInstallation], None],
    now: datetime,
    *,
    due: str = "pk",
) -> int:
    """Do something to each, in a transaction of its own; one that fails is set aside and keeps nobody else waiting.

    :param due: the column that says since when it is due: the longest due comes first.
    :returns: how many were looked at; less than `SLICE` means that no more are left.
    """
    waiting = setbacks.without(found, name, now).order_by(due, "pk")
    rows = list(waiting.values_list("pk", "identity_id")[:SLICE])
    for pk, identity_id in rows:

        def step(pk: int = pk) -> None:
            with attributed(MANAGER, why), transaction.atomic():
                locked = installations.lock(pk)
                if locked is not None:
                    work(locked)

        setbacks.apart(name, pk, now, step, identity_id=identity_id)
    return len(rows)
