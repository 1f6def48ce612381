"""A charging station to run the control plane against: in tests, in the demo, in benchmarks.

`SimulatedStation` behaves as a station does, keeps its store on disk and can be told to misbehave (`Quirks`);
`Fleet` runs many in one process; `LightStation` is a bare connection for load.
"""

from tests.simulator.clock import Clock, ManualClock, SystemClock
from tests.simulator.dialling import ConnectError, NotReadyError, RefusalKind, RefusedError, UnreachableError
from tests.simulator.events import Event, EventKind, EventLog, WaitTimedOutError
from tests.simulator.identity import Identity, KeyType
from tests.simulator.link import CallRefusedError, CallTimedOutError, Departure, LinkClosedError
from tests.simulator.quirks import (
    KeyForm,
    MessageIdStyle,
    PlugAndCharge,
    Quirks,
    QuirksError,
    SerialStyle,
    SubjectRule,
    WrongCsr,
)
from tests.simulator.station import SimulatedStation
from tests.simulator.store import StationStore, StoreError
from tests.simulator.timings import Timings

__all__ = [
    "CallRefusedError",
    "CallTimedOutError",
    "Clock",
    "ConnectError",
    "Departure",
    "Event",
    "EventKind",
    "EventLog",
    "Identity",
    "KeyForm",
    "KeyType",
    "LinkClosedError",
    "ManualClock",
    "MessageIdStyle",
    "NotReadyError",
    "PlugAndCharge",
    "Quirks",
    "QuirksError",
    "RefusalKind",
    "RefusedError",
    "SerialStyle",
    "SimulatedStation",
    "StationStore",
    "StoreError",
    "SubjectRule",
    "SystemClock",
    "Timings",
    "UnreachableError",
    "WaitTimedOutError",
    "WrongCsr",
]
