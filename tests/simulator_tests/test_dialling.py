"""Opening the connection: what a refusal in the TLS handshake looks like to a station."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.simulator import RefusalKind, RefusedError, Timings
from tests.simulator.dialling import dial
from tests.simulator.tls import client_context
from tests.simulator_tests.authority import Authority, pem


@contextmanager
def tls_server(folder: Path, authority: Authority, version: ssl.TLSVersion) -> Iterator[int]:
    """Takes one handshake that must present a certificate of `authority`; says by alert why it does not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.server_files(folder))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=pem(authority.root))
    context.minimum_version = version

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as wrapped:
            with contextlib.suppress(ssl.SSLError):
                wrapped.do_handshake()
            # Closing with the station's request unread would reset the connection and lose the alert.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(wrapped, socket.SHUT_WR)
                while socket.socket.recv(wrapped, 65536):
                    continue

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_tc_a_08_the_alert_about_a_foreign_client_certificate_is_named(tmp_path: Path, version: str) -> None:
    trusted, foreign = Authority("trusted"), Authority("foreign")
    chain_file, key_file = foreign.server_files(tmp_path)
    context = client_context([trusted.root], chain_file=chain_file, key_file=key_file, version=version)
    with (
        tls_server(tmp_path, trusted, ssl.TLSVersion.TLSv1_2) as port,
        pytest.raises(RefusedError) as refusal,
    ):
        asyncio.run(_dial(port, context))
    assert refusal.value.kind is RefusalKind.TLS
    assert "unknown ca" in refusal.value.detail


def test_tc_a_06_tls_1_1_is_refused(tmp_path: Path) -> None:
    trusted = Authority("trusted")
    with (
        tls_server(tmp_path, trusted, ssl.TLSVersion.TLSv1_2) as port,
        pytest.raises(RefusedError) as refusal,
    ):
        asyncio.run(_dial(port, client_context([trusted.root], version="1.1")))
    assert refusal.value.kind is RefusalKind.TLS
    assert "protocol version" in refusal.value.detail


async def _dial(port: int, context: ssl.SSLContext) -> None:
    await dial(
        f"wss://localhost:{port}",
        "CS-0001",
        subprotocols=["ocpp2.0.1"],
        context=context,
        credentials=None,
        timings=Timings.quick(),
    )
