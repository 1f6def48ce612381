"""Answering stations' questions: threads of a worker that put each to whoever registered for its kind.

Nothing here is shared with the inbox or the jobs: another process of the worker runs those. Each kind of question has
places of its own, as many as its answerer takes at once; a slow partner takes up those and no others. A thread begins
when there is something to answer and ends when there has been nothing for a while, with its database connection.
"""

import logging
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Final

import psycopg
from django.db import InterfaceError, OperationalError, close_old_connections, connections

from bfcerts.connections import connection_parameters
from bfcerts.ocpp import questions
from bfcerts.ocpp.canonical import QuestionKind
from bfcerts.ocpp.notify import Channel
from bfcerts.ocpp.questions import Held
from bfcerts.ocpp.registry import Answering, QuestionAnswer, answering

IDLE_SECONDS: Final = 60.0
"""How long a thread without a question waits for the next one."""
RETRY_SECONDS: Final = 1.0
GOODBYE_SECONDS: Final = 5.0
LONGEST_DETAIL: Final = 1000

logger = logging.getLogger(__name__)


class Places:
    """The threads that answer one kind of question."""

    def __init__(self, kind: QuestionKind, who: Answering, clock: Callable[[], datetime]) -> None:
        self._kind = kind
        self._who = who
        self._clock = clock
        self._lock = threading.Condition()
        self._threads = 0
        self._idle = 0
        self._wanted = 0
        self._stopping = False
        self._held: dict[int, Held] = {}

    @property
    def held(self) -> list[Held]:
        """What is being answered."""
        with self._lock:
            return list(self._held.values())

    def wake(self) -> None:
        """There may be a question: a thread that has none looks, or a new one where there is a place left."""
        with self._lock:
            if self._stopping or self._wanted >= self._who.at_once:
                return
            if self._idle > self._wanted:
                self._wanted += 1
                self._lock.notify()
            elif self._threads < self._who.at_once:
                self._threads += 1
                threading.Thread(target=self._main, name=f"answering {self._kind}", daemon=True).start()

    def stop(self, seconds: float) -> None:
        """Take nothing more, and leave what is being answered so much time; the lease of the rest will end."""
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
            self._lock.wait_for(lambda: self._threads == 0, seconds)

    def _main(self) -> None:
        try:
            while self._work_off() and self._next():
                close_old_connections()
        finally:
            connections.close_all()
            with self._lock:
                self._threads -= 1
                self._lock.notify_all()

    def _next(self) -> bool:
        """Wait for a reason to look again; false when none came, or the time to stop."""
        with self._lock:
            self._idle += 1
            woken = self._lock.wait_for(lambda: self._wanted > 0 or self._stopping, IDLE_SECONDS)
            self._idle -= 1
            if self._wanted:
                self._wanted -= 1
            return woken and not self._stopping

    def _work_off(self) -> bool:
        """Answer one question after the other until none waits; false when it is time to stop."""
        while not self._stopping:
            try:
                held = questions.take(self._kind, self._clock())
                if held is None:
                    return True
                # Whoever asked this may not have been the only one.
                self.wake()
                self._answer(held)
            except (OperationalError, InterfaceError) as error:
                logger.warning("questions of kind %s wait for the database: %s", self._kind, str(error).strip())
                connections.close_all()
                return True
            except Exception:  # one question that nobody expected takes no place from the others; its lease ends
                logger.exception("a question of kind %s could not be settled", self._kind)
                return True
        return False

    def _answer(self, held: Held) -> None:
        with self._lock:
            self._held[held.question.id] = held
        try:
            answer = self._asked(held)
            if not questions.settle(held, answer, self._clock()):
                logger.info("question %s was answered or put anew by somebody else meanwhile", held.question.id)
        finally:
            with self._lock:
                del self._held[held.question.id]

    def _asked(self, held: Held) -> QuestionAnswer:
        try:
            return self._who.answerer(held.question)
        except Exception as error:  # whatever an answerer raises is one question's failure
            logger.warning("question %s could not be answered", held.question.id, exc_info=True)
            said = f"It could not be answered: {type(error).__name__}: {error}"
            return QuestionAnswer(False, "", said[:LONGEST_DETAIL])


class AnsweringThreads:
    """All that answers questions in one worker process. Without an answerer there is no thread and no connection."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._places = {kind: Places(kind, who, clock) for kind, who in answering().items()}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to answer; once."""
        if self._places:
            self._thread = threading.Thread(target=self._main, name="questions", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End in a bounded time; what is not answered by then is another worker's."""
        self._stopping.set()
        for places in self._places.values():
            places.stop(GOODBYE_SECONDS)
        if self._thread is not None:
            self._thread.join(GOODBYE_SECONDS)

    def _main(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._listen()
                except (OperationalError, InterfaceError, psycopg.OperationalError) as error:
                    logger.warning("questions wait for the database: %s", str(error).strip())
                    self._pause()
                except Exception:  # without this thread nothing is answered any more, so it outlives what is wrong
                    logger.exception("questions could not be looked after; trying again")
                    self._pause()
        finally:
            connections.close_all()

    def _pause(self) -> None:
        connections.close_all()
        self._stopping.wait(RETRY_SECONDS)

    def _listen(self) -> None:
        """Wake places as questions come; look after what is held and what is over about once a second."""
        with psycopg.connect(autocommit=True, **connection_parameters("bfcerts questions")) as listener:
            listener.execute(f"LISTEN {Channel.QUESTIONS}")
            while not self._stopping.is_set():
                self._look_after()
                for notification in listener.notifies(timeout=questions.RENEWAL.total_seconds()):
                    self._woken(notification.payload)
                    if self._stopping.is_set():
                        return

    def _woken(self, kind: str) -> None:
        for known, places in self._places.items():
            if known.value == kind:
                places.wake()

    def _look_after(self) -> None:
        """Notifications may be missed, workers may vanish: the table is the truth."""
        close_old_connections()
        now = self._clock()
        questions.renew([held for places in self._places.values() for held in places.held], now)
        questions.clear_up(now)
        for kind in questions.kinds_waiting(now):
            self._woken(kind)
