"""What every connection of a gateway shares."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from bfcerts.configuration import Configuration
from bfcerts.ocpp.adapters import Adapters
from bfcerts.ocpp.gateway.commands import Command, Result, Wish
from bfcerts.ocpp.gateway.database import Lane
from bfcerts.ocpp.gateway.evidence import EvidenceWriter
from bfcerts.ocpp.gateway.limits import PasswordThrottle
from bfcerts.ocpp.gateway.questions import Questions
from bfcerts.ocpp.gateway.refusals import Refusals
from bfcerts.ocpp.gateway.routes import Routes
from bfcerts.ocpp.gateway.sessions import Arrival, Departure, Opened
from bfcerts.ocpp.registry import Refusal
from bfcerts.ocpp.relay.relays import Relays


@dataclass(frozen=True, slots=True)
class Services:
    """The ways to the database, the clock and the limits, made once by the gateway."""

    configuration: Configuration
    clock: Callable[[], datetime]
    loop: asyncio.AbstractEventLoop
    adapters: Adapters
    credential_key: bytes = field(repr=False)
    admissions: Lane[Arrival, Opened | Refusal]
    departures: Lane[Departure, None]
    claims: Lane[Wish, Command | None]
    results: Lane[Result, None]
    evidence: EvidenceWriter
    questions: Questions
    refusals: Refusals
    throttle: PasswordThrottle
    relays: Relays
    routes: Routes
