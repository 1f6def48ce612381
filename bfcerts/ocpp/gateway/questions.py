"""Questions that this node's stations wait for: put into the table, answered when the answer is there, or at the end.

A notification says which question was answered; as some may be missed, what is open is also looked for about once a
second while anything is open. At its deadline a question is answered here, whatever becomes of it.
"""

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bfcerts.ocpp import questions
from bfcerts.ocpp.gateway.database import DatabaseThread, DatabaseUnavailableError
from bfcerts.ocpp.gateway.limits import Recent
from bfcerts.ocpp.models import StationQuestion
from bfcerts.ocpp.protocol import Told
from bfcerts.ocpp.questions import Heard, Put, Stored

MOST_OPEN: Final = 2_000
"""Questions that one node keeps open; stations that ask more hear at once that there is no answer."""


@dataclass(slots=True, eq=False)
class Pending:
    """A question that a station waits for.

    `hear` is called once, with the answer, None when there will be none, or what went wrong before it was stored.
    """

    hear: Callable[["Pending", Told | DatabaseUnavailableError | None], None]
    timer: asyncio.TimerHandle | None = None
    id: int = 0
    reading: bool = False
    over: bool = False
    last: StationQuestion.Told | None = None
    """What the station heard, if anything, when it was over before it was stored."""


class Questions:
    """All questions of one node. Everything here runs on the event loop."""

    def __init__(
        self, thread: DatabaseThread, loop: asyncio.AbstractEventLoop, clock: Callable[[], datetime], seconds: float
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._seconds = seconds
        self._putting = thread.lane(questions.put)
        self._reading = thread.lane(questions.answers)
        self._hearing = thread.lane(questions.heard)
        self._open: dict[int, set[Pending]] = {}
        self._on_their_way = 0
        self._early: Recent[None] = Recent()

    @property
    def full(self) -> bool:
        """Whether this node has as many open questions as it keeps."""
        return len(self._open) + self._on_their_way >= MOST_OPEN

    def deadline(self, now: datetime) -> datetime:
        """Until when a question that is put now has to be answered."""
        return now + timedelta(seconds=self._seconds)

    def put(self, question: Put, pending: Pending) -> None:
        """Put a question; it is answered by its deadline, also while the database is away."""
        self._on_their_way += 1
        pending.timer = self._loop.call_later(self._seconds, self._at_deadline, pending)
        self._putting.submit(question).add_done_callback(lambda future: self._stored(pending, future))

    def give_up(self, pending: Pending) -> None:
        """Its station has gone."""
        self._end(pending, None)

    def heard(self, payload: str) -> None:
        """A notification: this question is answered, on this node or another one."""
        if not payload.isdecimal():
            return
        waiting = self._open.get(int(payload))
        if waiting:
            self._read(waiting)
        elif self._on_their_way:
            self._early.keep(payload, None)

    def look(self) -> None:
        """Look for the answers to everything that is open."""
        for waiting in list(self._open.values()):
            self._read(waiting)

    def _stored(self, pending: Pending, future: "asyncio.Future[Stored]") -> None:
        self._on_their_way -= 1
        error = None if future.cancelled() else future.exception()
        if error is None and not future.cancelled():
            self._arrived(pending, future.result())
        elif not pending.over:
            self._forget(pending)
            pending.hear(pending, DatabaseUnavailableError("the question could not be stored"))
        if not self._on_their_way:
            self._early.clear()

    def _arrived(self, pending: Pending, stored: Stored) -> None:
        pending.id = stored.id
        if pending.over:
            # Its station has gone, or heard that there is no answer, before it was stored.
            self._tell_table(pending, pending.last)
        elif stored.told is not None:
            self._hear(pending, stored.told)
        else:
            waiting = self._open.setdefault(stored.id, set())
            waiting.add(pending)
            left = (stored.deadline - self._clock()).total_seconds()
            if pending.timer is not None and left < pending.timer.when() - self._loop.time():
                pending.timer.cancel()
                pending.timer = self._loop.call_later(max(left, 0.0), self._at_deadline, pending)
            if str(stored.id) in self._early:
                self._read(waiting)

    def _read(self, waiting: set[Pending]) -> None:
        for pending in waiting:
            if not pending.reading:
                pending.reading = True
                reading = self._reading.submit(pending.id)
                reading.add_done_callback(functools.partial(self._was_read, pending))

    def _was_read(self, pending: Pending, future: "asyncio.Future[Told | None]") -> None:
        pending.reading = False
        if pending.over or future.cancelled() or future.exception() is not None:
            return  # it is looked for again until its deadline
        told = future.result()
        if told is not None:
            self._hear(pending, told)

    def _hear(self, pending: Pending, told: Told) -> None:
        self._forget(pending)
        pending.hear(pending, told)
        self._tell_table(pending, StationQuestion.Told.ANSWER)

    def _at_deadline(self, pending: Pending) -> None:
        if not pending.over:
            self._end(pending, StationQuestion.Told.NOTHING)
            pending.hear(pending, None)

    def _end(self, pending: Pending, told: StationQuestion.Told | None) -> None:
        if pending.over:
            return
        self._forget(pending)
        pending.last = told
        if pending.id:
            self._tell_table(pending, told)

    def _forget(self, pending: Pending) -> None:
        pending.over = True
        if pending.timer is not None:
            pending.timer.cancel()
        waiting = self._open.get(pending.id)
        if waiting is not None:
            waiting.discard(pending)
            if not waiting:
                del self._open[pending.id]

    def _tell_table(self, pending: Pending, told: StationQuestion.Told | None) -> None:
        # Nobody waits for this: what is lost with the database is found past its deadline by a worker.
        self._hearing.submit(Heard(pending.id, told, self._clock())).add_done_callback(_noted)


def _noted(future: "asyncio.Future[None]") -> None:
    if not future.cancelled():
        future.exception()
