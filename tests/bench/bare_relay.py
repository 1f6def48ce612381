"""The CSMS behind a relay, and the ceiling of the relay: bare `websockets` from one connection to another, no checks.

Run as processes of their own: `python -m tests.bench.bare_relay csms PORT CREDENTIAL_FILE`, and
`python -m tests.bench.bare_relay relay PORT CREDENTIAL_FILE ANCHORS_FILE UPSTREAM_URL ROOT_FILE`.
"""

import asyncio
import contextlib
import functools
import ssl
import sys
from pathlib import Path
from typing import Any

import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from bfcerts.ocpp.gateway.listener import BACKLOG
from tests.bench.bare import answer, context

_BARE: dict[str, Any] = {"compression": None, "ping_interval": None}
_SUBPROTOCOLS = [Subprotocol("ocpp2.0.1")]


async def _pass_on(source: ServerConnection | ClientConnection, target: ServerConnection | ClientConnection) -> None:
    while True:
        await target.send(await source.recv(decode=False), text=True)


async def _relay(url: str, trust: ssl.SSLContext, station: ServerConnection) -> None:
    path = station.request.path if station.request is not None else ""
    async with connect(url + path, ssl=trust, subprotocols=_SUBPROTOCOLS, proxy=None, **_BARE) as upstream:
        with contextlib.suppress(ConnectionClosed, ExceptionGroup):
            async with asyncio.TaskGroup() as both_ways:
                both_ways.create_task(_pass_on(station, upstream))
                both_ways.create_task(_pass_on(upstream, station))


async def _serve(handle: Any, port: int, tls: ssl.SSLContext) -> None:
    async with serve(
        handle,
        "127.0.0.1",
        port,
        ssl=tls,
        subprotocols=_SUBPROTOCOLS,
        server_header=None,
        backlog=BACKLOG,
        **_BARE,
    ) as server:
        await server.serve_forever()


def _csms_context(credential_file: Path) -> ssl.SSLContext:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(credential_file)
    return tls


def main(role: str, port: str, credential: str, *others: str) -> None:
    """Serve as one of the two until the process is ended."""
    if role == "csms":
        uvloop.run(_serve(answer, int(port), _csms_context(Path(credential))))
        return
    anchors, url, root = others
    trust = ssl.create_default_context(cafile=root)
    handle = functools.partial(_relay, url, trust)
    uvloop.run(_serve(handle, int(port), context(Path(credential), Path(anchors))))


if __name__ == "__main__":
    main(*sys.argv[1:])
