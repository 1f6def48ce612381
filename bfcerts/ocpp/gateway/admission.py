"""The door: who may upgrade a connection to a WebSocket, decided before the upgrade.

In this order: path, subprotocol, credentials, door. The wire learns nothing but a status: 404 for a path that names no
station, 401 wherever a password would decide (whether it is wrong, or the station unknown, or on a higher profile by
now), 403 where a certificate does, 429 for too many wrong passwords, 503 while the database is away. The operator
learns the reason, as evidence.
"""

import base64
import binascii
import logging
import math
import ssl
import uuid
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from http import HTTPStatus
from typing import Final

from websockets.datastructures import Headers
from websockets.frames import CloseCode
from websockets.http11 import Request

from bfcerts.ocpp.canonical import RefusalReason
from bfcerts.ocpp.gateway.addresses import plain_address, station_id
from bfcerts.ocpp.gateway.database import DatabaseUnavailableError
from bfcerts.ocpp.gateway.live import LiveConnections
from bfcerts.ocpp.gateway.renewal_only import RenewalOnly
from bfcerts.ocpp.gateway.services import Services
from bfcerts.ocpp.gateway.sessions import REPLACED, Arrival, Departure, Opened
from bfcerts.ocpp.gateway.station import StationConnection
from bfcerts.ocpp.gateway.tls import ListenerName
from bfcerts.ocpp.gateway.websocket import WebSocket
from bfcerts.ocpp.protocol import ProtocolAdapter
from bfcerts.ocpp.registry import ConnectionAttempt, PresentedCertificate, Refusal
from bfcerts.ocpp.relay.relay import route

UNAVAILABLE_RETRY_SECONDS: Final = 10

logger = logging.getLogger(__name__)


class Doorkeeper:
    """Takes each opening request to the door, and what the door says back to the connection."""

    def __init__(self, services: Services, live: LiveConnections, departed: Callable[[Departure], None]) -> None:
        self.closing = False
        self._services = services
        self._live = live
        self._departed = departed

    def request(self, listener: ListenerName, websocket: WebSocket, request: Request) -> None:
        """Begin to decide on an opening request."""
        station = station_id(request.path)
        if not websocket.examine(request):
            return
        if station is None:
            websocket.reject(HTTPStatus.NOT_FOUND)
            return
        tls = websocket.transport.get_extra_info("ssl_object")
        attempt = ConnectionAttempt(
            station_id=station,
            address=plain_address(websocket.transport.get_extra_info("peername")),
            listener=listener,
            protocol=websocket.subprotocol or "",
            certificate=_certificate(tls) if listener is not ListenerName.PROFILE2 else None,
            password=None,
            now=self._services.clock(),
        )
        adapter = self._services.adapters.of(attempt.protocol)
        if adapter is None:
            self._close_without_subprotocol(websocket, attempt)
        elif tls.session_reused:
            detail = "the TLS session was resumed, which proves no key"
            self._refuse(websocket, attempt, Refusal(RefusalReason.SESSION_RESUMED, detail))
        elif attempt.certificate is not None:
            self._ask(websocket, adapter, attempt)
        elif listener is ListenerName.PROFILE3:
            detail = "the listener of Profile 3 needs a client certificate"
            self._refuse(websocket, attempt, Refusal(RefusalReason.NO_CLIENT_CERTIFICATE, detail))
        else:
            self._check_password(websocket, adapter, attempt, request.headers)

    def _close_without_subprotocol(self, websocket: WebSocket, attempt: ConnectionAttempt) -> None:
        """OCPP 2.0.1 part 4 §3.1.2: the handshake is completed without a subprotocol, and closed at once."""
        detail = "the station offers no OCPP version that the gateway speaks"
        self._services.refusals.of_station(attempt, Refusal(RefusalReason.UNSUPPORTED_SUBPROTOCOL, detail))
        if websocket.accept():
            websocket.fail(CloseCode.PROTOCOL_ERROR, "no common subprotocol")

    def _check_password(
        self, websocket: WebSocket, adapter: ProtocolAdapter, attempt: ConnectionAttempt, headers: Headers
    ) -> None:
        now = self._services.loop.time()
        wait = self._services.throttle.wait(attempt.station_id, attempt.address, now)
        if wait > 0:
            detail = "too many wrong passwords; further tries of this station or address are delayed"
            self._refuse(websocket, attempt, Refusal(RefusalReason.THROTTLED, detail), math.ceil(wait))
            return
        user_and_password = _basic(headers)
        if user_and_password is None:
            detail = "neither a client certificate nor a user and password"
            self._refuse(websocket, attempt, Refusal(RefusalReason.NO_CREDENTIALS, detail))
            return
        user = f"{attempt.station_id}:".encode()
        if not user_and_password.startswith(user):
            detail = "the user name is not the station id"
            self._refuse(websocket, attempt, Refusal(RefusalReason.WRONG_PASSWORD, detail))
            return
        self._ask(websocket, adapter, replace(attempt, password=user_and_password.removeprefix(user)))

    def _ask(self, websocket: WebSocket, adapter: ProtocolAdapter, attempt: ConnectionAttempt) -> None:
        session_id = uuid.uuid4()
        connection = StationConnection(websocket, adapter, replace(attempt, password=None), session_id, self._services)
        self._live.at_the_door(connection)
        heard = self._services.routes.heard
        decision = self._services.admissions.submit(Arrival(attempt, session_id))
        decision.add_done_callback(
            lambda future: self._decided(connection, heard, future.exception() or future.result())
        )

    def _decided(self, connection: StationConnection, heard: int, decision: Opened | Refusal | BaseException) -> None:
        websocket, attempt = connection.websocket, connection.attempt
        if isinstance(decision, Opened):
            self._let_in(connection, decision)
            if heard != self._services.routes.heard:
                self._services.routes.ask_again(attempt.station_id)
            return
        self._live.left(connection)
        if isinstance(decision, Refusal):
            self._refuse(websocket, attempt, decision)
            return
        if not isinstance(decision, DatabaseUnavailableError):
            logger.error("%s could not be decided on", attempt.station_id, exc_info=decision)
        websocket.reject(HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": str(UNAVAILABLE_RETRY_SECONDS)})

    def _let_in(self, connection: StationConnection, opened: Opened) -> None:
        websocket, attempt = connection.websocket, connection.attempt
        connection.evidence_wanted = opened.admission.evidence_wanted
        connection.options = opened.admission.options
        if opened.admission.renewal_only_until is not None:
            connection.renewal_only = RenewalOnly(opened.admission.renewal_only_until)
        connection.adapter = self._services.adapters.of_family(
            connection.adapter, opened.admission.options, attempt.station_id
        )
        if attempt.certificate is None:
            self._services.throttle.succeeded(attempt.station_id, attempt.address)
        if connection.dismissed:
            replaced = connection.dismissed == REPLACED
            websocket.reject(HTTPStatus.SERVICE_UNAVAILABLE if replaced else HTTPStatus.FORBIDDEN)
            self._end(connection, connection.dismissed, CloseCode.POLICY_VIOLATION)
            return
        if self.closing:
            websocket.reject(HTTPStatus.SERVICE_UNAVAILABLE)
            self._end(connection, "the gateway stops", CloseCode.GOING_AWAY)
            return
        if not websocket.accept():
            self._end(connection, "gone before the upgrade", CloseCode.ABNORMAL_CLOSURE)
            return
        websocket.on_message = connection.received
        websocket.on_end = lambda reason, code: self._end(connection, reason, code)
        for earlier in self._live.came_in(connection):
            earlier.replace(REPLACED)
        route(connection, opened.upstream)
        if opened.commands_wait or connection.delivery.woken:
            connection.delivery.wake()

    def _end(self, connection: StationConnection, reason: str, code: int) -> None:
        self._live.left(connection)
        connection.ended(code)
        self._departed(
            Departure(
                connection.session_id,
                connection.station_id,
                reason.replace("\x00", " "),
                code,
                self._services.clock(),
                evidence=connection.evidence_wanted,
            )
        )

    def _refuse(self, websocket: WebSocket, attempt: ConnectionAttempt, refusal: Refusal, wait: int = 0) -> None:
        self._services.refusals.of_station(attempt, refusal)
        if attempt.certificate is None and refusal.reason in _GUESSES:
            self._services.throttle.failed(attempt.station_id, attempt.address, self._services.loop.time())
        if refusal.reason is RefusalReason.THROTTLED:
            websocket.reject(HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": str(wait)})
        elif attempt.certificate is not None or attempt.listener == ListenerName.PROFILE3:
            websocket.reject(HTTPStatus.FORBIDDEN)
        else:
            challenge = {"WWW-Authenticate": 'Basic realm="ocpp", charset="UTF-8"'}
            websocket.reject(HTTPStatus.UNAUTHORIZED, challenge)


_GUESSES: Final = {RefusalReason.WRONG_PASSWORD, RefusalReason.UNKNOWN_STATION}


def _certificate(tls: ssl.SSLObject) -> PresentedCertificate | None:
    der = tls.getpeercert(binary_form=True)
    return PresentedCertificate(sha256(der).hexdigest(), der) if der else None


def _basic(headers: Headers) -> bytes | None:
    """User name and password of HTTP Basic (RFC 7617), as bytes: a 1.6 key may be any."""
    values = headers.get_all("Authorization")
    scheme, _, encoded = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
