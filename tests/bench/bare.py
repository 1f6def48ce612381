"""The ceiling: a bare `websockets` server with the gateway's TLS settings, no checks and no database.

Run as a process of its own: `python -m tests.bench.bare PORT CREDENTIAL_FILE ANCHORS_FILE`. For a heartbeat it does
what cannot be left out: receive the frame, read the JSON, answer.
"""

import contextlib
import ssl
import sys
from datetime import UTC, datetime
from pathlib import Path

import orjson
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from bfcerts.ocpp.gateway.keys import public_key_sha256
from bfcerts.ocpp.gateway.listener import BACKLOG
from bfcerts.ocpp.gateway.tls import ServerCredential, make_context


def context(credential_file: Path, anchors_file: Path) -> ssl.SSLContext:
    """The very context of a Profile 3 listener, with one P-256 key."""
    pem = credential_file.read_bytes()
    key = load_pem_private_key(pem, None)
    if not isinstance(key, EllipticCurvePrivateKey):
        raise TypeError(f"{credential_file} holds no EC key")
    leaf, *_ = x509.load_pem_x509_certificates(pem)
    chain = pem[pem.index(b"-----BEGIN CERTIFICATE-----") :].decode()
    credential = ServerCredential("ecdsa", public_key_sha256(leaf), chain, key)
    return make_context(ssl.CERT_REQUIRED, [credential], [anchors_file.read_text(encoding="ascii")])


async def answer(connection: ServerConnection) -> None:
    """Answer every request as if it were a Heartbeat."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            frame = orjson.loads(await connection.recv(decode=False))
            result = orjson.dumps([3, frame[1], {"currentTime": datetime.now(UTC).isoformat()}])
            await connection.send(result, text=True)


async def _serve(port: int, credential_file: Path, anchors_file: Path) -> None:
    async with serve(
        answer,
        "127.0.0.1",
        port,
        ssl=context(credential_file, anchors_file),
        subprotocols=[Subprotocol("ocpp2.0.1")],
        compression=None,
        ping_interval=None,
        server_header=None,
        backlog=BACKLOG,
    ) as server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])))
