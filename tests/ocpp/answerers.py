"""Somebody outside who answers stations' questions in tests, and the threads of a worker that ask it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bfcerts.ocpp import registry
from bfcerts.ocpp.answering import AnsweringThreads
from bfcerts.ocpp.canonical import QuestionKind
from bfcerts.ocpp.registry import Question, QuestionAnswer
from tests.ocpp.node import DEADLINE_SECONDS

EXI_ANSWER = "gJgC" * 1_000


@dataclass
class Partner:
    """Answers at once, or, while it `stalls`, when it is let go on."""

    answer: Callable[[Question], QuestionAnswer] = lambda question: QuestionAnswer(True, EXI_ANSWER)
    asked: list[Question] = field(default_factory=list)
    going_on: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.going_on.set()

    def stall(self) -> None:
        self.going_on.clear()

    def __call__(self, question: Question) -> QuestionAnswer:
        self.asked.append(question)
        assert self.going_on.wait(DEADLINE_SECONDS)
        return self.answer(question)


@contextmanager
def registered(partner: Partner, kind: QuestionKind = QuestionKind.EV_CERTIFICATE, at_once: int = 4) -> Iterator[None]:
    """The gateway knows of somebody who answers; nobody asks it yet."""
    registry.register_answerer(kind, partner, at_once=at_once)
    try:
        yield
    finally:
        registry.forget_answerer(kind)


@contextmanager
def a_worker() -> Iterator[None]:
    """The part of a worker that answers questions."""
    threads = AnsweringThreads(lambda: datetime.now(UTC))
    threads.start()
    try:
        yield
    finally:
        threads.stop()
