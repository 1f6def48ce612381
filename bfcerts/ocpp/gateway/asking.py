"""The questions of one connection that wait for somebody outside, while everything else goes on."""

from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from bfcerts.ocpp.frames import Call
from bfcerts.ocpp.gateway.database import DatabaseUnavailableError
from bfcerts.ocpp.gateway.limits import TokenBucket
from bfcerts.ocpp.gateway.questions import Pending
from bfcerts.ocpp.inbox import storable
from bfcerts.ocpp.protocol import Asking, Reaction, Told
from bfcerts.ocpp.questions import Put

if TYPE_CHECKING:
    from bfcerts.ocpp.gateway.station import StationConnection

MOST_OPEN: Final = 4
"""At one station: it asks for each vehicle that is plugged in, one after the other."""
QUESTIONS_PER_SECOND: Final = 5.0
QUESTIONS_BURST: Final = 20.0
TOO_MANY_QUESTIONS: Final = "too_many_questions"
"""The kind of a `PROTOCOL_VIOLATION` that is none: no station needs as many."""


class TooManyQuestionsError(Exception):
    """A question that is not put. `of_the_station`: it asks too many; otherwise the whole node has too many."""

    def __init__(self, said: str, *, of_the_station: bool) -> None:
        super().__init__(said)
        self.of_the_station = of_the_station


def message_key(raw: bytes, call: Call) -> str:
    """What is the same for a message that a station repeats, and for no other."""
    return f"{call.message_id} {blake2b(raw, digest_size=16).hexdigest()}".replace("\x00", " ")


class OpenQuestions:
    """Made with the first question of a connection."""

    __slots__ = ("_bucket", "_connection", "_open")

    def __init__(self, connection: "StationConnection") -> None:
        now = connection.services.loop.time()
        self._connection = connection
        self._open: dict[str, tuple[int, Pending]] = {}
        self._bucket = TokenBucket.full(QUESTIONS_PER_SECOND, QUESTIONS_BURST, now)

    def open_as(self, message_id: str) -> tuple[int, bytes] | None:
        """The digest of an open question of this id, with nothing to be said to its repetition yet."""
        known = self._open.get(message_id)
        return (known[0], b"") if known is not None else None

    def put(self, raw: bytes, call: Call, reaction: Reaction, asking: Asking) -> None:
        """Put a question.

        :raises TooManyQuestionsError: when it is not put.
        """
        services = self._connection.services
        at = services.loop.time()
        if len(self._open) >= MOST_OPEN:
            said = f"the station asks more than {MOST_OPEN} questions at once"
            raise TooManyQuestionsError(said, of_the_station=True)
        if self._bucket.wait(at) > 0:
            said = f"the station asks more than {QUESTIONS_PER_SECOND:g} questions a second"
            raise TooManyQuestionsError(said, of_the_station=True)
        if services.questions.full:
            raise TooManyQuestionsError("this gateway node has too many open questions", of_the_station=False)
        self._bucket.spend(at)
        now = services.clock()
        digest = hash(raw)
        pending = Pending(partial(self._hear, Call(call.message_id, call.action, {}), digest, reaction, asking))
        self._open[call.message_id] = (digest, pending)
        services.questions.put(
            Put(
                self._connection.station_id,
                self._connection.session_id,
                message_key(raw, call),
                asking.kind,
                storable(asking.payload),
                asking.longest,
                now,
                services.questions.deadline(now),
            ),
            pending,
        )

    def give_up(self) -> None:
        """The station has gone."""
        for _, pending in list(self._open.values()):
            self._connection.services.questions.give_up(pending)
        self._open.clear()

    def _hear(
        self,
        call: Call,
        digest: int,
        reaction: Reaction,
        asking: Asking,
        pending: Pending,
        told: Told | DatabaseUnavailableError | None,
    ) -> None:
        del self._open[call.message_id]
        if isinstance(told, DatabaseUnavailableError):
            self._connection.untold(call)
        elif told is None or len(told.content) > asking.longest:
            self._connection.told(call, digest, reaction.answer)
        else:
            self._connection.told(call, digest, asking.say(told))
