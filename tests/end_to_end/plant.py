"""A plant for tests: the four processes as `manage.py run` starts them, and simulated stations in a thread."""

import asyncio
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from cryptography import x509

from bfcerts.configuration import Configuration
from bfcerts.processes import processes
from bfcerts.stored_secrets import stored_secret
from inventory.actors import Actor
from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity
from migration.services import authorization_keys
from tests.simulator.dialect import Version
from tests.simulator.fleet_file import StationDescription
from tests.simulator.quirks import Quirks
from tests.simulator.station import SimulatedStation
from tests.simulator.timings import Timings
from tests.support import charger, restore_default_policies

T = TypeVar("T")
PATIENCE = 60.0
OPERATOR = Actor.system("test-operator")
_pause = threading.Event()


def eventually(
    condition: Callable[[], T | None], seconds: float = PATIENCE, *, what: str | Callable[[], str] = ""
) -> T:
    """Look again and again until the condition holds, and return what it returned.

    :raises AssertionError: when it does not hold in time.
    """
    ends = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > ends:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")
        _pause.wait(0.02)


def free_ports(count: int) -> list[int]:
    """Ports that nobody used a moment ago."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@dataclass
class Plant:
    """The control plane's processes on the test database."""

    configuration: Configuration
    database_url: str
    folder: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)
    """Further settings of its processes."""

    def start(self, *names: str) -> None:
        """Start the named processes."""
        if not self.ports:
            names_of_ports = ("profile2", "profile3", "dual", "web")
            self.ports = dict(zip(names_of_ports, free_ports(len(names_of_ports)), strict=True))
        commands = processes(self._configuration(), self.database_url)
        for name in names:
            command, environment = commands[name]
            with (self.folder / f"{name}.log").open("ab") as log:
                self.running[name] = subprocess.Popen(
                    command,
                    env={**environment, **self._environment()},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

    def _configuration(self) -> Configuration:
        return self.configuration.model_copy(update={"var_directory": self.folder, "web_port": self.ports["web"]})

    def _environment(self) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "bfcerts.settings",
            "BFCERTS_VAR_DIRECTORY": str(self.folder),
            "BFCERTS_GATEWAY_PROFILE2_PORT": str(self.ports["profile2"]),
            "BFCERTS_GATEWAY_PROFILE3_PORT": str(self.ports["profile3"]),
            "BFCERTS_GATEWAY_DUAL_PORT": str(self.ports["dual"]),
            "BFCERTS_JOB_LEASE_SECONDS": "5",
            "BFCERTS_GATEWAY_NODE": "test-node",
            "BFCERTS_ARTIFACT_DIRECTORY": str(self.folder / "artifacts"),
            **self.extra,
        }

    def url(self, listener: str) -> str:
        return f"wss://localhost:{self.ports[listener]}"

    def wait_until_ready(self) -> None:
        """Until the gateway presents a certificate of ours."""
        eventually(
            lambda: CertificateRecord.objects.filter(purpose="backend_server", state="active").exists(),
            what=self.situation,
        )

    def situation(self) -> str:
        """What an operator would look at when it does not go on."""
        jobs = [
            f"{job} ({job.state}, {job.step}): {job.outcome or job.waiting_for}" for job in CertificateJob.objects.all()
        ]
        records = [str(record) for record in CertificateRecord.objects.all()]
        logs = {name: self.log(name)[-1500:] for name in self.running}
        return f"jobs {jobs}; certificates {records}; logs {logs}"

    def kill(self, name: str) -> None:
        """End a process and all its children at once, wherever they are."""
        process = self.running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for name in list(self.running):
            self.kill(name)

    def roots(self) -> list[x509.Certificate]:
        """What a station of this plant is delivered with."""
        files = [self.folder / "ca" / domain / "root.pem" for domain in ("charger_identity", "backend_server")]
        return [certificate for path in files for certificate in x509.load_pem_x509_certificates(path.read_bytes())]

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")


class StationThread:
    """Simulated stations in an event loop of their own, so that tests may use the database meanwhile."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.stations: dict[str, SimulatedStation] = {}

    def commission(
        self,
        station_id: str,
        *,
        listener: str = "profile2",
        quirks: Quirks | None = None,
        protocol: Version = "ocpp2.0.1",
        **fields: Any,
    ) -> tuple[ManagedIdentity, SimulatedStation]:
        """A charger in the inventory with a key, and the station that has that key; not yet connected."""
        identity = charger(station_id, serial_number=f"SN-{station_id}", **fields)
        password = f"password-of-{station_id:0>12}"[:40]
        authorization_keys.set_initial(identity=identity, secret=password, actor=OPERATOR, reason="test")
        station = self.call(self._commission(station_id, listener, password, quirks, protocol))
        self.stations[station_id] = station
        return identity, station

    def take_in(
        self, description: StationDescription, *, listener: str, **fields: Any
    ) -> tuple[ManagedIdentity, SimulatedStation]:
        """A charger as a fleet describes it, in the inventory with the key that it has; not yet connected."""
        identity = charger(description.station_id, serial_number=description.serial_number, **fields)
        authorization_keys.import_existing(
            identity=identity, secret=description.password, actor=OPERATOR, reason="test"
        )
        station = self.call(self._take_in(description, listener))
        self.stations[description.station_id] = station
        return identity, station

    async def _take_in(self, description: StationDescription, listener: str) -> SimulatedStation:
        return SimulatedStation.commission(
            self._plant.folder / "stations",
            description.station_id,
            url=self._plant.url(listener),
            roots=self._plant.roots(),
            password=description.password,
            serial_number=description.serial_number,
            vendor=description.vendor,
            model=description.model,
            firmware=description.firmware,
            key_type=description.key_type,
            protocol=description.protocol,
            quirks=description.quirks,
            timings=Timings.quick(call_timeout=20.0),
        )

    async def _commission(
        self, station_id: str, listener: str, password: str, quirks: Quirks | None, protocol: Version
    ) -> SimulatedStation:
        return SimulatedStation.commission(
            self._plant.folder / "stations",
            station_id,
            url=self._plant.url(listener),
            roots=self._plant.roots(),
            password=password,
            serial_number=f"SN-{station_id}",
            quirks=quirks,
            protocol=protocol,
            timings=Timings.quick(call_timeout=20.0),
        )

    def start(self, stations: Sequence[SimulatedStation]) -> None:
        for station in stations:
            self._loop.call_soon_threadsafe(station.start)

    def call(self, coroutine: Coroutine[Any, Any, T], seconds: float = PATIENCE) -> T:
        """Run a coroutine of a station and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(seconds)

    def stop(self) -> None:
        for station in self.stations.values():
            self.call(station.disconnect())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def database_url_of(parameters: Mapping[str, Any]) -> str:
    """The URL of the test database, for processes of the plant."""
    host, name, user = parameters["HOST"], parameters["NAME"], parameters["USER"]
    return f"postgresql://{user}@/{name}?host={host}"


def prepare_folder(folder: Path, configuration: Configuration) -> None:
    """Secrets that processes and tests share are the tests' own; the rest the plant makes."""
    folder.mkdir(parents=True, exist_ok=True)
    stored_secret(folder, "pki_secret_key")
    restore_default_policies()
