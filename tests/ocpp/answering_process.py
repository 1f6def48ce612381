"""A worker's part that answers questions, as a process of its own that can be killed: its partner never answers."""

import threading
from datetime import UTC, datetime

import django


def main() -> None:
    django.setup()
    from bfcerts.ocpp import registry
    from bfcerts.ocpp.answering import AnsweringThreads
    from bfcerts.ocpp.canonical import QuestionKind
    from bfcerts.ocpp.registry import Question, QuestionAnswer

    for_ever = threading.Event()

    def never(question: Question) -> QuestionAnswer:
        for_ever.wait()
        raise AssertionError("nobody lets it go on")

    registry.register_answerer(QuestionKind.EV_CERTIFICATE, never)
    AnsweringThreads(lambda: datetime.now(UTC)).start()
    for_ever.wait()


if __name__ == "__main__":
    main()
