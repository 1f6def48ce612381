"""The ceilings' processes: bare servers with a certificate of the gateway's own CA, started and ended."""

import contextlib
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bfcerts.ocpp.gateway.keys import make_key, make_request
from bfcerts.pki.authorities.base import SignRequest
from bfcerts.pki.certificates import split_chain
from bfcerts.pki.csr import parse_csr
from bfcerts.pki.profiles import profile
from bfcerts.processes import common_environment
from bfcerts.supervisor import Child, Supervisor
from inventory.purposes import BACKEND_SERVER, CHARGER_IDENTITY
from tests.bench.errors import BenchError
from tests.bench.site import START_SECONDS, Site, accepts, free_ports
from tests.simulator.csr import key_pem


@dataclass(frozen=True, slots=True)
class BareServer:
    """The running server."""

    port: int
    child: Child

    @property
    def url(self) -> str:
        return f"wss://localhost:{self.port}"

    @property
    def pid(self) -> int:
        """
        :raises BenchError: when it has ended.
        """
        if self.child.process is None or self.child.process.poll() is not None:
            raise BenchError(f"the bare server has ended; see {self.child.log}")
        return self.child.process.pid

    def wait(self) -> None:
        """Wait until it accepts."""
        ends = time.monotonic() + START_SECONDS
        while not accepts(self.port):
            if self.pid and time.monotonic() > ends:
                raise BenchError("the bare server does not accept connections")
            time.sleep(0.05)  # another process tells nobody when it is up: it is asked again


def bare_server(site: Site) -> contextlib.AbstractContextManager[BareServer]:
    """A bare server as a process of its own, accepting connections, for the time of a block."""
    return _running(site, "bare", "tests.bench.bare", (), _credential(site), _anchors(site))


def bare_csms(site: Site) -> contextlib.AbstractContextManager[BareServer]:
    """What stands behind a relay: a bare server that asks for no client certificate."""
    return _running(site, "csms", "tests.bench.bare_relay", ("csms",), _credential(site))


def bare_relay(site: Site, csms: BareServer) -> contextlib.AbstractContextManager[BareServer]:
    """A bare relay in front of a CSMS."""
    files = (_credential(site), _anchors(site), csms.url, site.server_root_file)
    return _running(site, "bare-relay", "tests.bench.bare_relay", ("relay",), *files)


@contextlib.contextmanager
def _running(site: Site, name: str, module: str, role: tuple[str, ...], *others: object) -> Iterator[BareServer]:
    supervisor = Supervisor(site.folder / "logs" / name, sys.stderr)
    (port,) = free_ports(1)
    command = [sys.executable, "-m", module, *role, str(port), *(str(one) for one in others)]
    child = supervisor.start(name, command, common_environment())
    server = BareServer(port, child)
    try:
        server.wait()
        yield server
    finally:
        supervisor.stop()


def _anchors(site: Site) -> Path:
    """What the bare servers check stations' certificates against."""
    file = site.folder / "bare-anchors.pem"
    file.write_text(site.authority(CHARGER_IDENTITY.trust_domain).describe().chain_pem, encoding="ascii")
    return file


def _credential(site: Site) -> Path:
    """A P-256 key and a certificate of the same CA as the gateway's."""
    key = make_key("ecdsa")
    authority = site.authority(BACKEND_SERVER.trust_domain)
    now = datetime.now(UTC).replace(microsecond=0)
    reference = authority.submit(
        SignRequest(
            token=uuid.uuid4().hex,
            csr=parse_csr(make_request(key, "localhost")),
            profile=profile(BACKEND_SERVER.certificate_profile),
            subject=None,
            dns_names=("localhost",),
            not_before=now - timedelta(hours=1),
            not_after=now + timedelta(days=1),
        )
    )
    signed = authority.collect(reference)
    if signed is None:
        raise BenchError(f"the local CA has not signed {reference}")
    file = site.folder / "bare-credential.pem"
    file.touch(0o600)
    file.write_bytes(key_pem(key) + (signed.certificate_pem + split_chain(signed.chain_pem)[0]).encode())
    return file
