"""Stations on Profile 2 that move to Profile 3 when they are told to: as light as their connections."""

import asyncio
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop
from cryptography import x509

from tests.bench.errors import BenchError
from tests.bench.load import Failed, obey
from tests.simulator.csr import PrivateKey, key_pem, make_csr, make_key, subject
from tests.simulator.dialling import Credentials
from tests.simulator.frames import Call, Payload
from tests.simulator.identity import Identity, KeyType
from tests.simulator.light import LightStation
from tests.simulator.quirks import Quirks
from tests.simulator.tls import client_context

AT_ONCE = 32
BOOT = {"reason": "PowerUp", "chargingStation": {"vendorName": "Bench", "model": "M", "firmwareVersion": "1"}}


@dataclass(frozen=True, slots=True)
class Arrive:
    """Connect all on Profile 2. Answer: how many there are."""


@dataclass(frozen=True, slots=True)
class Await:
    """Wait until all are on Profile 3. Answer: when each came there, in monotonic seconds."""

    seconds: float


@dataclass(slots=True)
class _Mover:
    station_id: str
    password: str
    home: "_Movers"
    key: PrivateKey = field(default_factory=lambda: make_key(KeyType.P256))
    connection: LightStation | None = None
    certificate_file: Path | None = None
    work: set[asyncio.Task[None]] = field(default_factory=set)

    async def arrive(self) -> None:
        credentials = Credentials(self.station_id, self.password)
        context = client_context(self.home.roots)
        self.connection = await LightStation.open(
            self.home.profile2_url, self.station_id, context=context, credentials=credentials, answer=self.answer
        )
        await self.connection.call("BootNotification", BOOT)

    def answer(self, call: Call) -> Payload | None:
        match call.action:
            case "TriggerMessage":
                self._begin(self._ask())
            case "CertificateSigned":
                self._keep(call.payload["certificateChain"])
            case "Reset":
                self._begin(self._move())
            case "SetVariables":
                return {
                    "setVariableResult": [
                        {
                            "attributeStatus": "Accepted",
                            "component": one["component"],
                            "variable": one["variable"],
                        }
                        for one in call.payload["setVariableData"]
                    ]
                }
        return {"status": "Accepted"}

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.work.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.work.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.home.problems.append(f"{self.station_id}: {type(error).__name__}: {error}")

    async def _ask(self) -> None:
        if self.connection is None:
            raise BenchError("asked for a certificate without a connection")
        identity = Identity(station_id=self.station_id, serial_number=self.station_id)
        csr = make_csr(self.key, subject(identity, "Bench", Quirks()))
        await self.connection.call("SignCertificate", {"csr": csr, "certificateType": "ChargingStationCertificate"})

    def _keep(self, chain: str) -> None:
        self.certificate_file = self.home.folder / f"{self.station_id}.pem"
        self.certificate_file.write_bytes(key_pem(self.key) + chain.encode())

    async def _move(self) -> None:
        if self.connection is None or self.certificate_file is None:
            raise BenchError("told to restart before it has a certificate")
        await self.connection.close()
        context = client_context(self.home.roots, chain_file=self.certificate_file)
        self.connection = await LightStation.open(
            self.home.profile3_url, self.station_id, context=context, answer=self.answer
        )
        self.home.moved(self.station_id)
        await self.connection.call("BootNotification", BOOT)


class _Movers:
    """All of them, and the orders."""

    def __init__(
        self, pipe: Connection, urls: tuple[str, str], root_file: Path, folder: Path, passwords: dict[str, str]
    ) -> None:
        self._pipe = pipe
        self.profile2_url, self.profile3_url = urls
        self.roots = [x509.load_pem_x509_certificate(root_file.read_bytes())]
        self.folder = folder
        self.problems: list[str] = []
        self._movers = [_Mover(name, password, self) for name, password in passwords.items()]
        self._moved: dict[str, float] = {}
        self._all_moved = asyncio.Event()

    def moved(self, station_id: str) -> None:
        self._moved.setdefault(station_id, time.monotonic())
        if len(self._moved) == len(self._movers):
            self._all_moved.set()

    async def play(self) -> None:
        await obey(self._pipe, self._carry_out)

    async def _carry_out(self, order: object) -> Any:
        match order:
            case Arrive():
                return await self._arrive()
            case Await(seconds):
                return await self._await(seconds)
        raise TypeError(f"no such order: {order!r}")

    async def _arrive(self) -> int:
        waiting = iter(self._movers)

        async def arrive_in_turn() -> None:
            for mover in waiting:
                await mover.arrive()

        await asyncio.gather(*(arrive_in_turn() for _ in range(AT_ONCE)))
        return len(self._movers)

    async def _await(self, seconds: float) -> Any:
        try:
            async with asyncio.timeout(seconds):
                await self._all_moved.wait()
        except TimeoutError:
            why = "; ".join(self.problems[:3])
            return Failed(f"{len(self._moved)} of {len(self._movers)} have moved in {seconds:g} s. {why}")
        return self._moved


def main(pipe: Connection, urls: tuple[str, str], root_file: Path, folder: Path, passwords: dict[str, str]) -> None:
    """The process's own life."""
    folder.mkdir(parents=True, exist_ok=True)
    uvloop.run(_play(pipe, urls, root_file, folder, passwords))


async def _play(
    pipe: Connection, urls: tuple[str, str], root_file: Path, folder: Path, passwords: dict[str, str]
) -> None:
    await _Movers(pipe, urls, root_file, folder, passwords).play()
