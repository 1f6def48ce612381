"""Workers that are gone from one moment to the next: before a statement of theirs, or between two steps."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from tests.support import Clock


class WorkerDiedError(BaseException):
    """A worker is gone from one statement to the next; nothing of it catches this."""


class DiesAt:
    """Dies before the n-th statement of the database."""

    def __init__(self, statement: int) -> None:
        self.left = statement

    def __call__(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            raise WorkerDiedError
        return execute(*arguments)


class DyingClock:
    """The clock of a worker that dies when it looks at the time for the n-th time: between any two of its steps."""

    def __init__(self, clock: Clock, dies_at: int) -> None:
        self.clock, self.left = clock, dies_at

    def __call__(self) -> datetime:
        self.left -= 1
        if self.left == 0:
            raise WorkerDiedError
        return self.clock()
