"""A site around one gateway node, with everything that the floors above would lend to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from tests.ocpp.authority import Authority
from tests.ocpp.lent import CertificateBook, PasswordBook, ServerCertificateDesk
from tests.ocpp.node import Node, Site, lend


@pytest.fixture(scope="session")
def authorities() -> tuple[Authority, Authority]:
    """The server CA and the CA of the charger identity trust domain."""
    return (
        Authority("Server issuing CA", Authority("Server root")),
        Authority("Charger issuing CA", Authority("Charger root")),
    )


@pytest.fixture
def site(transactional_db: None, authorities: tuple[Authority, Authority], tmp_path: Path) -> Iterator[Site]:
    servers, stations = authorities
    configuration = settings.CONFIGURATION.model_copy(
        update={
            "gateway_bind": "127.0.0.1",
            "gateway_host": "localhost",
            "gateway_profile2_port": 0,
            "gateway_profile3_port": 0,
            "gateway_dual_port": 0,
            "gateway_node": "node-a",
            "gateway_call_timeout_seconds": 10.0,
        }
    )
    made = Site(
        servers,
        stations,
        CertificateBook(),
        PasswordBook(),
        ServerCertificateDesk(servers, stations),
        configuration,
        tmp_path,
    )
    with lend(made), made.connections:
        yield made


@pytest.fixture
def node(site: Site) -> Iterator[Node]:
    """One gateway node with all three listeners open."""
    running = site.node()
    running.start()
    yield running
    running.stop()
