"""A process that plays many stations: it connects them, lets them talk, and says when what happened.

It shares nothing with the process under test but the machine, so its own cost is in no figure.
"""

import asyncio
import contextlib
import multiprocessing
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from cryptography import x509

from tests.bench.errors import BenchError
from tests.bench.stations import Station
from tests.simulator.dialling import ConnectError
from tests.simulator.frames import Call, Payload
from tests.simulator.light import LightStation
from tests.simulator.tls import client_context

PATIENCE_SECONDS = 300.0
LEFTOVER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Connect:
    """Connect stations `first` to `first + count`, so many at a time. Answer: seconds it took."""

    first: int
    count: int
    at_once: int = 32


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close every connection in order. Answer: how many there were."""


@dataclass(frozen=True, slots=True)
class Beat:
    """Every connected station sends one Heartbeat after the other. Answer: round trips."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Pace:
    """Every connected station sends a Heartbeat so often. Answer: seconds that each round trip took."""

    seconds: float
    interval: float


@dataclass(frozen=True, slots=True)
class Enrol:
    """Stations `first` to `first + count` ask in turn for a certificate, so many at a time. Answer: `Enrolments`.

    With `seconds` none begins after that time.
    """

    first: int
    count: int
    at_once: int
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Enrolments:
    """When each SignCertificate was sent and its CertificateSigned was there, in monotonic seconds."""

    times: list[tuple[float, float]]

    def durations(self) -> list[float]:
        return [delivered - asked for asked, delivered in self.times]


@dataclass(frozen=True, slots=True)
class Closures:
    """Answer: when each station that is not connected any more saw its end, in monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Failed:
    """What went wrong instead of an answer."""

    why: str


Answer = TypeVar("Answer")


async def obey(pipe: Connection, carry_out: Callable[[object], Awaitable[object]]) -> None:
    """Carry out order after order from the other end, and say what came of it, until the other end is gone."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            order = await loop.run_in_executor(None, pipe.recv)
        except EOFError:
            return
        try:
            answer = await carry_out(order)
        except (BenchError, ConnectError, OSError, RuntimeError, TimeoutError) as error:
            answer = Failed(f"{type(error).__name__}: {error}")
        pipe.send(answer)


class LoadProcess:
    """The other end: starts the process, gives it orders, ends it."""

    def __init__(self, main: Callable[..., None], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=main, args=(theirs, *arguments), daemon=True)
        self._process.start()
        theirs.close()

    def order(self, order: object, kind: type[Answer]) -> Answer:
        """Give an order and wait for its answer.

        :raises BenchError: when it could not be carried out.
        """
        self._pipe.send(order)
        try:
            answer = self._pipe.recv() if self._pipe.poll(PATIENCE_SECONDS) else Failed("no answer in time")
        except EOFError:
            answer = Failed("the process has ended")
        if isinstance(answer, Failed):
            raise BenchError(f"the load process could not carry out {order}: {answer.why}")
        if not isinstance(answer, kind):
            raise TypeError(f"{order} was answered with {answer!r}")
        return answer

    def end(self) -> None:
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()


@contextlib.contextmanager
def load_process(url: str, root_file: Path, stations: list[Station]) -> Iterator[LoadProcess]:
    """A load process for the time of a block."""
    process = LoadProcess(_main, url, root_file, stations)
    try:
        yield process
    finally:
        process.end()


def _main(pipe: Connection, url: str, root_file: Path, stations: list[Station]) -> None:
    uvloop.run(_Players(pipe, url, root_file, stations).play())


@dataclass(slots=True)
class _Player:
    """One station and its connection."""

    station: Station
    context: ssl.SSLContext | None = None
    connection: LightStation | None = None
    delivered: asyncio.Future[str] | None = None
    closed_at: float | None = None

    def answer(self, call: Call) -> Payload | None:
        if call.action != "CertificateSigned" or self.delivered is None or self.delivered.done():
            return None
        self.delivered.set_result(call.payload["certificateChain"])
        return {"status": "Accepted"}

    def ended(self, _: object) -> None:
        self.closed_at = time.monotonic()
        self.connection = None

    async def enrol(self) -> tuple[float, float]:
        if self.connection is None:
            raise BenchError(f"{self.station.station_id} has lost its connection")
        self.delivered = asyncio.get_running_loop().create_future()
        asked = time.monotonic()
        answer = await self.connection.call(
            "SignCertificate", {"csr": self.station.next_csr, "certificateType": "ChargingStationCertificate"}
        )
        if answer != {"status": "Accepted"}:
            raise BenchError(f"{self.station.station_id} was answered {answer}")
        chain = await self.delivered
        delivered = time.monotonic()
        _check(self.station, chain)
        return asked, delivered


def _check(station: Station, chain: str) -> None:
    """The certificate must be for the key of this station's request."""
    leaf = x509.load_pem_x509_certificate(chain.encode())
    request = x509.load_pem_x509_csr(station.next_csr.encode())
    if leaf.public_key() != request.public_key():
        raise BenchError(f"{station.station_id} got a certificate that is not for its key")


@dataclass(slots=True)
class _Players:
    """All stations of this process, and the orders."""

    pipe: Connection
    url: str
    root_file: Path
    stations: list[Station]
    players: list[_Player] = field(init=False)
    roots: list[x509.Certificate] = field(init=False)

    async def play(self) -> None:
        self.players = [_Player(station) for station in self.stations]
        self.roots = [x509.load_pem_x509_certificate(self.root_file.read_bytes())]
        await obey(self.pipe, self._carry_out)

    async def _carry_out(self, order: object) -> Any:
        match order:
            case Connect(first, count, at_once):
                return await self._connect(self.players[first : first + count], at_once)
            case Disconnect():
                return await self._disconnect()
            case Beat(seconds):
                return await self._beat(seconds)
            case Pace(seconds, interval):
                return await self._pace(seconds, interval)
            case Enrol():
                return await self._enrol(order)
            case Closures():
                return {
                    player.station.station_id: player.closed_at
                    for player in self.players
                    if player.closed_at is not None and player.connection is None
                }
        raise TypeError(f"no such order: {order!r}")

    async def _connect(self, players: list[_Player], at_once: int) -> float:
        for player in players:
            if player.context is None:
                player.context = client_context(self.roots, chain_file=player.station.credential_file)
        began = time.monotonic()
        waiting = iter(players)

        async def connect_in_turn() -> None:
            for player in waiting:
                player.closed_at = None
                connection = await LightStation.open(
                    self.url, player.station.station_id, context=player.context, answer=player.answer
                )
                player.connection = connection
                connection.closed.add_done_callback(player.ended)

        await asyncio.gather(*(connect_in_turn() for _ in range(at_once)))
        return time.monotonic() - began

    def _connected(self) -> list[LightStation]:
        return [player.connection for player in self.players if player.connection is not None]

    async def _disconnect(self) -> int:
        connected = self._connected()
        await asyncio.gather(*(connection.close() for connection in connected))
        return len(connected)

    async def _beat(self, seconds: float) -> int:
        ends = time.monotonic() + seconds

        async def beat_on(connection: LightStation) -> int:
            count = 0
            while time.monotonic() < ends:
                await connection.call("Heartbeat", {})
                count += 1
            return count

        return sum(await asyncio.gather(*(beat_on(connection) for connection in self._connected())))

    async def _pace(self, seconds: float, interval: float) -> list[float]:
        ends = time.monotonic() + seconds
        durations: list[float] = []

        async def beat_now_and_then(connection: LightStation) -> None:
            while time.monotonic() < ends:
                began = time.monotonic()
                await connection.call("Heartbeat", {})
                durations.append(time.monotonic() - began)
                await asyncio.sleep(interval)  # this pace is the load that was ordered

        await asyncio.gather(*(beat_now_and_then(connection) for connection in self._connected()))
        return durations

    async def _enrol(self, order: Enrol) -> Enrolments:
        waiting = iter(self.players[order.first : order.first + order.count])
        ends = time.monotonic() + order.seconds if order.seconds else float("inf")
        times: list[tuple[float, float]] = []

        async def enrol_in_turn() -> None:
            for player in waiting:
                if time.monotonic() >= ends:
                    return
                times.append(await player.enrol())

        async with asyncio.timeout((order.seconds or PATIENCE_SECONDS) + LEFTOVER_SECONDS):
            await asyncio.gather(*(enrol_in_turn() for _ in range(order.at_once)))
        return Enrolments(times)
