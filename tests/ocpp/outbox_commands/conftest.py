"""A 2.0.1 station at the gateway."""

import pytest

from bfcerts.ocpp.gateway.tls import ListenerName
from tests.ocpp.node import Node, Site, Station
from tests.ocpp.outbox_commands.calls import PASSWORD, Dial


@pytest.fixture
def dial(site: Site, node: Node) -> Dial:
    site.passwords.passwords["CS-1"] = {PASSWORD}
    return lambda: site.connect(node, ListenerName.PROFILE2, "CS-1", password=PASSWORD)


@pytest.fixture
def station(dial: Dial) -> Station:
    return dial()
