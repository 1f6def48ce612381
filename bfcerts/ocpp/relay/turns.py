"""Turns at a station: it never has two open calls, whether the control plane or its upstream asks (part 4 §4.1.1)."""

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import Generic, TypeVar

Call = TypeVar("Call")


class Turn(Enum):
    """Whose call is open."""

    NOBODY = auto()
    OURS = auto()
    THEIRS = auto()


class Turns(Generic[Call]):
    """While both sides wait, they alternate. Only `send` is called back, when an upstream's call may go."""

    __slots__ = ("_ended", "_last", "_loop", "_ours", "_send", "theirs", "whose")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, send: Callable[[Call], None], *, ours_is_open: bool = False
    ) -> None:
        """
        :param ours_is_open: there is a call of ours already, which is given back like any other.
        """
        self.whose = self._last = Turn.OURS if ours_is_open else Turn.NOBODY
        self.theirs: list[Call] = []
        """In order; a handful at most, so a list does."""
        self._ours: asyncio.Future[bool] | None = None
        self._loop = loop
        self._send = send
        self._ended = False

    async def take(self) -> bool:
        """Wait for our turn; false when there will be none, because the station has gone."""
        if self._ended:
            return False
        if self.whose is Turn.NOBODY:
            self.whose = self._last = Turn.OURS
            return True
        self._ours = self._loop.create_future()
        return await self._ours

    def ask(self, call: Call) -> None:
        """Let an upstream's call go as soon as its turn comes."""
        self.theirs.append(call)
        if self.whose is Turn.NOBODY:
            self._next()

    def give_back(self) -> None:
        """The open call is answered, or given up."""
        self.whose = Turn.NOBODY
        self._next()

    def end(self) -> None:
        """The station has gone: nobody gets a turn any more."""
        self._ended = True
        self.theirs.clear()
        if self._ours is not None and not self._ours.done():
            self._ours.set_result(False)
        self._ours = None

    def _next(self) -> None:
        ours = self._ours is not None and not self._ours.done()
        if self._ended or not (ours or self.theirs):
            return
        if ours and self._ours is not None and (not self.theirs or self._last is Turn.THEIRS):
            self.whose = self._last = Turn.OURS
            waiting, self._ours = self._ours, None
            waiting.set_result(True)
        else:
            self.whose = self._last = Turn.THEIRS
            self._send(self.theirs.pop(0))
