"""Where everything is measured: a folder with an embedded PostgreSQL and a local CA, and planes on databases of it.

A plane is one control plane as it runs in production: gateway, worker and PKI worker as processes of their own, each
with its own secrets, on a database of its own.
"""

import contextlib
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from bfcerts import embedded_postgresql
from bfcerts.configuration import Configuration
from bfcerts.pki.authorities.local import LocalAuthority
from bfcerts.processes import processes
from bfcerts.stored_secrets import stored_secret
from bfcerts.supervisor import Child, Supervisor
from inventory.purposes import BACKEND_SERVER, CHARGER_IDENTITY
from tests.bench import stock
from tests.bench.errors import BenchError
from tests.bench.stations import Station, make_stations

START_SECONDS = 90.0
SETTLE_SECONDS = 120.0
TEMPLATE = "bfcerts"
ROLES = ("pki-worker", "worker", "gateway")


@dataclass
class Site:
    """The folder, the database server and the CA of one run."""

    folder: Path
    _stations: list[Station] = field(default_factory=list)

    @property
    def configuration(self) -> Configuration:
        return Configuration()

    def authority(self, trust_domain: str) -> LocalAuthority:
        """The local CA, as the PKI workers use it."""
        key = stored_secret(self.folder, "local_ca_key")
        return LocalAuthority(self.folder / "ca", trust_domain, key, clock=lambda: datetime.now(UTC))

    @property
    def server_root_file(self) -> Path:
        """What stations trust."""
        return self.folder / "ca" / BACKEND_SERVER.trust_domain / "root.pem"

    def stations(self, count: int) -> list[Station]:
        """So many stations; made once, with their certificates, for all planes of the run."""
        missing = range(len(self._stations) + 1, count + 1)
        authority = self.authority(CHARGER_IDENTITY.trust_domain)
        self._stations += make_stations(missing, self.folder / "stations", authority, datetime.now(UTC))
        return self._stations[:count]

    def database_url(self, database: str) -> str:
        return embedded_postgresql.database_url(self.folder, database)

    def connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.database_url(database), autocommit=True)

    @contextlib.contextmanager
    def plane(self, name: str, **settings: str) -> Iterator["Plane"]:
        """A control plane on a fresh database, running and with nothing to do, for the time of a block.

        :param settings: further variables of its processes' environment.
        """
        with self.connect("postgres") as connection:
            names = sql.Identifier(name), sql.Identifier(TEMPLATE)
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
        try:
            plane = Plane(self, name, settings)
            try:
                plane.start()
                yield plane
            finally:
                plane.stop()
        finally:
            with self.connect("postgres") as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


class Plane:
    """One running control plane."""

    def __init__(self, site: Site, name: str, settings: Mapping[str, str]) -> None:
        self.site = site
        self._settings = settings
        self.name = name
        self.database_url = site.database_url(name)
        self.port, self._profile2_port, self._dual_port, self.web_port = free_ports(4)
        self._supervisor = Supervisor(site.folder / "logs" / name, sys.stderr)
        self._children: dict[str, Child] = {}
        self.connection = site.connect(name)

    @property
    def url(self) -> str:
        """Where stations connect on Profile 3."""
        return f"wss://localhost:{self.port}"

    @property
    def profile2_url(self) -> str:
        """Where stations connect with their passwords."""
        return f"wss://localhost:{self._profile2_port}"

    def start_web(self) -> None:
        """Start the console too, and wait until it answers."""
        command, environment = self._processes()["web"]
        self._children["web"] = self._supervisor.start("web", command, environment)
        self.wait_for(lambda: accepts(self.web_port), "the console to answer", START_SECONDS)

    def pid(self, role: str) -> int:
        """The process id of a role.

        :raises BenchError: when it has ended.
        """
        child = self._children[role]
        if child.process is None or child.process.poll() is not None:
            raise BenchError(f"the {role} of plane {self.name} has ended; its last words: {self._last_words(child)}")
        return child.process.pid

    def environment(self, role: str) -> dict[str, str]:
        """The environment of a role, with only its own secrets."""
        return self._processes()[role][1]

    def start(self) -> None:
        """Start the processes and wait until the gateway accepts and all first work is done."""
        for role in ROLES:
            command, environment = self._processes()[role]
            self._children[role] = self._supervisor.start(role, command, environment)
        self.wait_for(lambda: accepts(self.port), "the gateway to accept connections", START_SECONDS)
        self.settle()

    def stop(self) -> None:
        self._supervisor.stop()
        self.connection.close()

    def fill(self, stations: list[Station], *, invented: int = 0) -> None:
        """Put stations into the inventory, and invented ones that only take room there."""
        stock.fill(self.connection, stations, invented=invented, now=datetime.now(UTC))

    def settle(self) -> None:
        """Wait until no evidence, no job and no command is left to be worked on."""
        self.wait_for(lambda: self.number(_WORK_LEFT) == 0, "the workers to finish", SETTLE_SECONDS)

    def number(self, query: LiteralString) -> int:
        """The one number that a query gives."""
        row = self.connection.execute(query).fetchone()
        return int(str(row[0])) if row else 0

    def wait_for(self, condition: Callable[[], bool], what: str, seconds: float = SETTLE_SECONDS) -> None:
        """
        :raises BenchError: when it does not come true in time, or a process ends meanwhile.
        """
        ends = time.monotonic() + seconds
        while not condition():
            for role in ROLES:
                self.pid(role)
            if time.monotonic() > ends:
                words = "; ".join(f"{role}: {self._last_words(child)}" for role, child in self._children.items())
                raise BenchError(f"waited {seconds:g} seconds in vain for {what} of plane {self.name}. {words}")
            time.sleep(0.05)  # what is waited for happens in other processes, which tell nobody

    def _processes(self) -> dict[str, tuple[list[str], dict[str, str]]]:
        ports = {
            "BFCERTS_GATEWAY_PROFILE2_PORT": str(self._profile2_port),
            "BFCERTS_GATEWAY_PROFILE3_PORT": str(self.port),
            "BFCERTS_GATEWAY_DUAL_PORT": str(self._dual_port),
        }
        configuration = self.site.configuration.model_copy(update={"web_port": self.web_port})
        known = processes(configuration, self.database_url)
        return {
            role: (command, {**environment, **ports, **self._settings})
            for role, (command, environment) in known.items()
        }

    def _last_words(self, child: Child) -> str:
        lines = (
            child.log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if child.log.exists() else []
        )
        return " / ".join(lines[-3:]) or "(none)"


_WORK_LEFT: LiteralString = """
SELECT (SELECT count(*) FROM ocpp_inboxmessage WHERE state = 'pending')
     + (SELECT count(*) FROM inventory_certificatejob
        WHERE state IN ('queued', 'running', 'waiting') AND next_run_at <= now())
     + (SELECT count(*) FROM ocpp_outboxcommand WHERE state IN ('queued', 'sent'))
"""


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody uses now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(one.getsockname()[1]) for one in sockets]


def accepts(port: int) -> bool:
    """Whether somebody listens on this port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
