"""A 1.6 station at the gateway."""

from typing import Any

import pytest

from bfcerts.ocpp.gateway.tls import ListenerName
from tests.ocpp.node import Node, Site, Station
from tests.ocpp.v16_security.calls import DUAL, KEY, Dial


@pytest.fixture
def dial(site: Site, node: Node) -> Dial:
    site.passwords.passwords["CP-1"] = {KEY.encode()}

    def connect(listener: ListenerName = DUAL, **options: Any) -> Station:
        options = {"subprotocols": ("ocpp1.6",), **({} if "leaf" in options else {"password": KEY.encode()}), **options}
        return site.connect(node, listener, "CP-1", **options)

    return connect


@pytest.fixture
def station(dial: Dial) -> Station:
    return dial()
