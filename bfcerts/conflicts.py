"""Two transactions that stood in each other's way: PostgreSQL ends one of them, and that one is simply repeated.

That is neither an outage nor a defect: a deadlock (40P01) or a serialization failure (40001) undoes the transaction
as a whole, and the other one is through by then.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

from django.db import OperationalError, connection

logger = logging.getLogger(__name__)

REPETITIONS = 5
"""So often in a row a piece of work is repeated before its conflict counts as a failure like any other."""
_SQLSTATES = frozenset({"40001", "40P01"})

Answer = TypeVar("Answer")


def is_conflict(error: BaseException) -> bool:
    """Whether the database ended the transaction because of another one, so that repeating it is the answer."""
    return isinstance(error, OperationalError) and getattr(error.__cause__, "sqlstate", None) in _SQLSTATES


def repeated_on_conflict(work: Callable[[], Answer]) -> Answer:
    """Do the work, which opens its own transaction, again at once when that was undone by a conflict.

    Inside a transaction of the caller nothing is repeated: that one is undone as a whole, and is the caller's.
    """
    for _ in range(REPETITIONS):
        try:
            return work()
        except OperationalError as error:
            if not is_conflict(error) or connection.in_atomic_block:
                raise
            logger.info("repeated after a conflict with another transaction: %s", error)
    return work()
