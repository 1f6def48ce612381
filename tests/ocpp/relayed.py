"""A site whose stations are relayed to a CSMS on loopback."""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bfcerts.ocpp import canonical, outbox, registry
from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.gateway.tls import ListenerName
from bfcerts.ocpp.models import OutboxCommand
from bfcerts.ocpp.registry import Upstream
from tests.ocpp.authority import Authority, name, pem
from tests.ocpp.node import Node, Payload, Site, Station, eventually
from tests.simulator.csms import UpstreamCsms, Visit

PASSWORD = b"0123456789abcdef"
BOOT: dict[str, Payload] = {
    "ocpp2.0.1": {"reason": "PowerUp", "chargingStation": {"vendorName": "Vendor", "model": "One"}},
    "ocpp1.6": {"chargePointVendor": "Vendor", "chargePointModel": "One"},
}
VERSIONS = ("ocpp2.0.1", "ocpp1.6")
_keys = count()


@dataclass
class RouteBook:
    """Who is relayed where, held in memory."""

    routes: dict[str, Upstream] = field(default_factory=dict)

    def of(self, station_ids: Sequence[str]) -> list[Upstream | None]:
        return [self.routes.get(station_id) for station_id in station_ids]


def server_context(authority: Authority, folder: Path, client_anchor: str = "") -> ssl.SSLContext:
    """What a CSMS named localhost serves with; with an anchor it demands client certificates."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name("localhost"))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain = pem(authority.sign_server_request(pem_of(request))) + pem(authority.certificate)
    path = folder / "csms.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    path.write_text(secret + chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    if client_anchor:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=client_anchor)
    return context


def pem_of(request: x509.CertificateSigningRequest) -> str:
    return request.public_bytes(Encoding.PEM).decode()


@dataclass
class Relayed:
    """One node, one CSMS behind it, and stations that are relayed."""

    site: Site
    csms: UpstreamCsms
    book: RouteBook
    node: Node

    def connect(self, station_id: str = "CS-1", version: str = "ocpp2.0.1") -> Station:
        self.site.passwords.passwords[station_id] = {PASSWORD}
        return self.site.connect(self.node, ListenerName.DUAL, station_id, password=PASSWORD, subprotocols=(version,))

    def route(self, station_id: str = "CS-1", **changes: Any) -> None:
        values = {"name": "Our CSMS", "url": self.csms.url, "ca_bundle": self.site.servers.root_pem, **changes}
        self.book.routes[station_id] = Upstream(**values)

    def visit(self, number: int = 1) -> Visit:
        """The n-th connection that the CSMS saw, once it is there."""
        visit: Visit = eventually(lambda: len(self.csms.visits) >= number and self.csms.visits[number - 1], "a visit")
        return visit

    def pair(self, station_id: str = "CS-1", version: str = "ocpp2.0.1") -> tuple[Station, Visit]:
        """A station and its connection at the CSMS."""
        seen = len(self.csms.visits)
        self.route(station_id)
        station = self.connect(station_id, version)
        return station, self.visit(seen + 1)


@contextmanager
def relayed(site: Site, csms: UpstreamCsms, **changes: Any) -> Iterator[Relayed]:
    """A node that may dial this CSMS."""
    book = RouteBook()
    before = registry.upstreams()
    registry.register_upstreams(book)
    node = site.node(
        **{
            "upstream_allowed": [csms.origin],
            "upstream_retry_seconds": 0.05,
            "upstream_retry_limit_seconds": 0.2,
            **changes,
        }
    )
    node.start()
    try:
        yield Relayed(site, csms, book, node)
    finally:
        site.connections.close()
        node.stop()
        registry.register_upstreams(before)


def command(station_id: str = "CS-1", action: Action = Action.RESET, payload: Any = None) -> OutboxCommand:
    """A command of ours."""
    return outbox.enqueue(
        station_id=station_id,
        action=action,
        payload=payload if payload is not None else canonical.reset(),
        dedupe_key=f"relay test {next(_keys)}",
        now=datetime.now(UTC),
        expires_after=timedelta(hours=1),
    )


def ended(row: OutboxCommand) -> OutboxCommand:
    def check() -> bool:
        row.refresh_from_db()
        return row.state not in OutboxCommand.OPEN_STATES

    eventually(check, f"the end of {row}")
    return row
