"""Opening the WebSocket as a station does, and naming why it failed."""

import base64
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import cast
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.datastructures import HeadersLike
from websockets.exceptions import InvalidHandshake, InvalidMessage, InvalidStatus, NegotiationError
from websockets.typing import Subprotocol

from tests.simulator.timings import Timings


class RefusalKind(StrEnum):
    """At which step the two sides parted."""

    HTTP = "http"
    """The CSMS answered the upgrade with an HTTP status."""
    TLS = "tls"
    """A TLS alert, or the CSMS hung up during the handshake."""
    SERVER_CERTIFICATE = "server_certificate"
    """The station does not trust the CSMS."""
    SUBPROTOCOL = "subprotocol"
    """No common OCPP version."""


class ConnectError(Exception):
    """There is no connection."""


class UnreachableError(ConnectError):
    """Nobody answered at that address, or not in time."""


class NotReadyError(ConnectError):
    """The station lacks what the network profile needs, for example a certificate."""


class RefusedError(ConnectError):
    """The CSMS or the station refused; `status` is the HTTP status where there was one."""

    def __init__(self, kind: RefusalKind, detail: str, status: int | None = None) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.status = status


@dataclass(frozen=True, slots=True)
class Credentials:
    """HTTP Basic user and password (OCPP 2.0.1 A00.FR.203-205)."""

    user: str
    password: str = field(repr=False)

    def header(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


class StationConnection(ClientConnection):
    """A connection that says which TLS alert ended its handshake."""

    async def handshake(
        self, additional_headers: HeadersLike | None = None, user_agent_header: str | None = None
    ) -> None:
        try:
            await super().handshake(additional_headers, user_agent_header)
        except InvalidMessage as error:
            # With TLS 1.3 the CSMS refuses a client certificate after the station's handshake is done.
            raise error from (self.connection_exc or error.__cause__)


async def dial(
    url: str,
    identity: str,
    *,
    subprotocols: Sequence[str],
    context: ssl.SSLContext | None,
    credentials: Credentials | None,
    timings: Timings,
) -> ClientConnection:
    """Connect to url/identity.

    :raises RefusedError: somebody said no.
    :raises UnreachableError: nobody was there.
    """
    try:
        connection = await connect(
            f"{url.rstrip('/')}/{quote(identity, safe='')}",
            ssl=context,
            subprotocols=[cast(Subprotocol, name) for name in subprotocols],
            additional_headers={"Authorization": credentials.header()} if credentials else None,
            user_agent_header=None,
            compression=None,
            proxy=None,
            create_connection=StationConnection,
            open_timeout=timings.open_timeout,
            ping_interval=timings.ping_interval,
            ping_timeout=timings.call_timeout,
            close_timeout=timings.close_timeout,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        raise RefusedError(RefusalKind.HTTP, f"HTTP {status}", status) from None
    except NegotiationError as error:
        raise RefusedError(RefusalKind.SUBPROTOCOL, str(error)) from None
    except ssl.SSLCertVerificationError as error:
        raise RefusedError(RefusalKind.SERVER_CERTIFICATE, error.verify_message) from None
    except (ssl.SSLError, InvalidMessage, ConnectionResetError, BrokenPipeError, EOFError) as error:
        raise RefusedError(RefusalKind.TLS, _root_cause(error)) from None
    except (InvalidHandshake, OSError, TimeoutError) as error:
        raise UnreachableError(_root_cause(error)) from None
    if connection.subprotocol is None:
        await connection.close(1002, "no common subprotocol")
        raise RefusedError(RefusalKind.SUBPROTOCOL, "the CSMS chose none of the subprotocols offered")
    return connection


def _root_cause(error: BaseException) -> str:
    cause = error.__cause__ or error
    return str(cause) or type(cause).__name__
