"""The OCPP versions that a simulated station may speak, by their WebSocket subprotocol."""

from collections.abc import Mapping

from tests.simulator.dialect import Dialect, Version
from tests.simulator.v16 import Ocpp16
from tests.simulator.v201 import Ocpp201

# Stateless, so one of each serves every station of the process.
DIALECTS: Mapping[Version, Dialect] = {"ocpp2.0.1": Ocpp201(), "ocpp1.6": Ocpp16()}
