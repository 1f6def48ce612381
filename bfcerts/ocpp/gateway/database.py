"""The gateway's way to the database: threads that gather what many stations want into few transactions.

While one batch is under way the next one gathers; when nothing is under way it goes at once. So an idle gateway
answers in one round trip, and a storm of reconnects costs few statements.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from django.db import InterfaceError, OperationalError, connection, connections

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_WAITING: Final = 20_000
STATEMENT_TIMEOUT_MILLISECONDS: Final = 10_000
CONNECT_TIMEOUT_SECONDS: Final = 5

logger = logging.getLogger(__name__)


class DatabaseUnavailableError(Exception):
    """The database does not answer; nothing was stored. Try again when it is back."""


class Lane(Generic[Item, Result]):
    """One kind of work of a database thread.

    `run` gets a batch in order of arrival and returns one result each, in one transaction of its own. It must be safe
    to run again: when the connection breaks, nobody knows whether the transaction was committed.
    """

    def __init__(
        self, thread: "DatabaseThread", run: Callable[[list[Item]], Sequence[Result]], largest_batch: int
    ) -> None:
        self._thread = thread
        self._run = run
        self._largest_batch = largest_batch
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """Hand in work; called on the event loop.

        The future raises `DatabaseUnavailableError`, or whatever `run` raised for this item alone.
        """
        future: asyncio.Future[Result] = self._thread.loop.create_future()
        if len(self._waiting) >= MOST_WAITING or self._thread.stopping:
            future.set_exception(DatabaseUnavailableError("too much work waits for the database"))
            return future
        self._waiting.append((item, future))
        self._thread.wake()
        return future

    def has_work(self) -> bool:
        return bool(self._waiting)

    def work(self) -> None:
        """Run one batch; called on the database thread."""
        taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._largest_batch))]
        items = [item for item, _ in taken]
        outcomes: Sequence[Result | Exception]
        try:
            outcomes = self._attempt(items)
        except DatabaseUnavailableError as error:
            outcomes = [error] * len(items)
        except Exception:  # one bad item fails the batch; the others must not pay for it
            logger.exception("a batch of %s failed; its items are tried one by one", len(items))
            outcomes = [self._alone(item) for item in items]
        self._thread.loop.call_soon_threadsafe(_deliver, [future for _, future in taken], outcomes)

    def _attempt(self, items: list[Item]) -> Sequence[Result]:
        try:
            return self._run(items)
        except (OperationalError, InterfaceError):
            connection.close()
        try:
            return self._run(items)
        except (OperationalError, InterfaceError) as error:
            connection.close()
            logger.warning("the database does not answer: %s", str(error).strip())
            raise DatabaseUnavailableError("the database does not answer") from None

    def _alone(self, item: Item) -> Result | Exception:
        try:
            return self._attempt([item])[0]
        except Exception as error:  # noqa: BLE001  # it is told to whoever handed in the item
            return error


def _deliver(futures: list[asyncio.Future[Any]], outcomes: Sequence[Any]) -> None:
    for future, outcome in zip(futures, outcomes, strict=True):
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


class DatabaseThread:
    """One thread with one database connection, shared by its lanes in turn."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.stopping = False
        self._lanes: list[Lane[Any, Any]] = []
        self._awake = threading.Event()
        self._thread = threading.Thread(target=self._main, name=f"database-{name}", daemon=True)
        self._calls: Lane[Callable[[], Any], Any] = self.lane(lambda batch: [batch[0]()], largest_batch=1)

    def lane(self, run: Callable[[list[Item]], Sequence[Result]], *, largest_batch: int = 100) -> Lane[Item, Result]:
        """Add a kind of work, before `start`."""
        lane = Lane(self, run, largest_batch)
        self._lanes.append(lane)
        return lane

    async def call(self, function: Callable[[], Result]) -> Result:
        """Run one function on the thread."""
        result: Result = await self._calls.submit(function)
        return result

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._awake.set()

    async def stop(self) -> None:
        """Finish what was handed in, close the connection and end the thread."""
        self.stopping = True
        self.wake()
        await self.loop.run_in_executor(None, self._thread.join)

    def _main(self) -> None:
        _bound_waiting()
        try:
            while True:
                self._awake.wait()
                self._awake.clear()
                while busy := [lane for lane in self._lanes if lane.has_work()]:
                    for lane in busy:
                        lane.work()
                if self.stopping:
                    return
        finally:
            connections.close_all()


def _bound_waiting() -> None:
    """Give this thread's connection limits, so that a database that hangs is a database that is down."""
    options = dict(connection.settings_dict["OPTIONS"])
    options["connect_timeout"] = CONNECT_TIMEOUT_SECONDS
    options["tcp_user_timeout"] = STATEMENT_TIMEOUT_MILLISECONDS
    settings = f"-c statement_timeout={STATEMENT_TIMEOUT_MILLISECONDS}"
    options["options"] = f"{options.get('options', '')} {settings}".strip()
    connection.settings_dict = {**connection.settings_dict, "OPTIONS": options}
