"""An upstream below OCPP: it answers the upgrade with anything, or nothing, and breaks WebSocket. The charger stays."""

import base64
import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from websockets.exceptions import ConnectionClosed

from bfcerts.ocpp.gateway.websocket import Hold
from tests.ocpp.node import Site, Station, eventually, stored
from tests.ocpp.relayed import Relayed, relayed, server_context
from tests.simulator.csms import UpstreamCsms

Speech = Callable[[ssl.SSLSocket, str], None]
"""What a peer does with a connection and the key of the upgrade that it was asked for."""

CSMS_TIME = {"currentTime": "2026-01-01T00:00:00Z"}


class RawPeer:
    """Something on TLS that is asked for an upgrade, again and again, and does what it was told."""

    def __init__(self, context: ssl.SSLContext, speech: Speech) -> None:
        self._context = context
        self._speech = speech
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.asked: list[str] = []
        self._threads.append(threading.Thread(target=self._accept, name="raw peer"))
        self._threads[0].start()

    @property
    def origin(self) -> str:
        return f"wss://localhost:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        for one in [self._socket, *self._open]:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in list(self._threads):
            thread.join(20)
            assert not thread.is_alive()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), name="raw peer's connection")
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), self._context.wrap_socket(connection, server_side=True) as tls:
            self._open.append(tls)
            request = b""
            while b"\r\n\r\n" not in request:
                part = tls.recv(4096)
                if not part:
                    return
                request += part
            text = request.decode()
            self.asked.append(text.splitlines()[0])
            key = next(line.partition(": ")[2] for line in text.splitlines() if line.startswith("Sec-WebSocket-Key"))
            self._speech(tls, key)


def upgraded(tls: ssl.SSLSocket, key: str) -> None:
    """A correct answer to the upgrade."""
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode(), usedforsecurity=False).digest()
    tls.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Protocol: ocpp2.0.1\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )


def listen_on(tls: ssl.SSLSocket) -> None:
    """Until the other side ends it."""
    while tls.recv(65_536):
        continue


@contextmanager
def behind(site: Site, speech: Speech, **changes: object) -> Iterator[tuple[Relayed, RawPeer, Station]]:
    """A charger whose upstream is such a peer."""
    context = server_context(site.servers, site.folder)
    peer = RawPeer(context, speech)
    try:
        with UpstreamCsms(context) as csms, relayed(site, csms, upstream_allowed=[peer.origin], **changes) as relay:
            relay.route(url=f"{peer.origin}/csms")
            yield relay, peer, relay.connect()
    finally:
        peer.close()


def away(said: str) -> None:
    """The operator is told so, among whatever else is told."""
    eventually(
        lambda: [row for row in stored("upstream") if row.payload["kind"] == "away" and said in row.payload["detail"]],
        f"a report with “{said}”",
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"\x16\x03\x01 this is no HTTP\r\n\r\n", "did not complete the upgrade"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "refused the upgrade"),
        (b"HTTP/1.1 302 Found\r\nLocation: wss://localhost:1/csms\r\nContent-Length: 0\r\n\r\n", "refused the upgrade"),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "refused the upgrade"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "refused the upgrade"),
        (b"HTTP/1.1 101 Switching Protocols\r\n" + b"X: " + b"x" * 20_000 + b"\r\n", "did not complete the upgrade"),
        (b"HTTP/1.1 101 Switching Protocols\r\n" + b"X: x\r\n" * 500, "did not complete the upgrade"),
        (b"", "did not complete the upgrade"),
    ],
    ids=["garbage", "page", "redirect", "sign in", "bare upgrade", "long header", "many headers", "end"],
)
def test_whatever_answers_the_upgrade_the_charger_is_served(site: Site, answer: bytes, said: str) -> None:
    with behind(site, lambda tls, _: tls.sendall(answer) if answer else None) as (_, peer, station):
        away(said)
        assert station.call("Heartbeat")[0] == 3
        eventually(lambda: len(peer.asked) > 1, "another try")
        assert {asked.split()[1] for asked in peer.asked} == {"/csms/CS-1"}


def test_a_redirect_leads_nowhere(site: Site) -> None:
    """Not even to an upstream that may be dialled."""
    context = server_context(site.servers, site.folder)
    with UpstreamCsms(context) as elsewhere:
        answer = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {elsewhere.url}/CS-1\r\nContent-Length: 0\r\n\r\n"
        peer = RawPeer(context, lambda tls, _: tls.sendall(answer.encode()))
        try:
            with relayed(site, elsewhere, upstream_allowed=[peer.origin, elsewhere.origin]) as relay:
                relay.route(url=f"{peer.origin}/csms")
                station = relay.connect()
                away("refused the upgrade")
                assert station.call("Heartbeat")[0] == 3
                eventually(lambda: len(peer.asked) > 2, "further tries")
                assert elsewhere.visits == []
        finally:
            peer.close()


def test_an_upgrade_that_is_never_answered_keeps_nobody_waiting_for_ever(site: Site) -> None:
    with behind(site, lambda tls, _: listen_on(tls)) as (_, _, station):
        assert station.call("Heartbeat")[0] == 3
        assert station.call("NotifyReport")[2] == "InternalError"
        away("did not take the connection within")


@pytest.mark.parametrize(
    "frame",
    [
        b"\x83\x00",
        b"\xc1\x01x",
        b"\x81\x81\x00\x00\x00\x00x",
        b"\x80\x01x",
        b"\x89\x7e\x00\x80" + b"x" * 128,
        b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x01\x7e\xff\xff" + b"x" * 65_535 + b"\x80\x7e\xff\xff" + b"x" * 65_535,
    ],
    ids=["opcode", "reserved bit", "masked", "continuation", "long ping", "endless", "fragments"],
)
def test_a_broken_frame_ends_that_connection_alone(site: Site, frame: bytes) -> None:
    def speak(tls: ssl.SSLSocket, key: str) -> None:
        upgraded(tls, key)
        tls.sendall(frame)
        tls.recv(65_536)  # what it is told of that; then it hangs up

    with behind(site, speak) as (relay, peer, station):
        eventually(lambda: len(peer.asked) > 1, "another try")
        assert stored("upstream")
        assert station.call("Heartbeat", message_id="h")[1] == "h"
        (connection,) = relay.node.gateway.live.of_station("CS-1")
        assert len(connection.websocket._unparsed) == 0


def test_a_certificate_for_another_name_is_not_accepted(site: Site) -> None:
    with UpstreamCsms(server_context(site.servers, site.folder)) as csms:
        numbered = csms.origin.replace("localhost", "127.0.0.1")
        with relayed(site, csms, upstream_allowed=[numbered]) as relay:
            relay.route(url=f"{numbered}/csms")
            station = relay.connect()
            away("its certificate is not accepted")
            assert station.call("Heartbeat")[0] == 3
            assert csms.visits == []


@pytest.fixture
def csms(site: Site) -> Iterator[UpstreamCsms]:
    with UpstreamCsms(server_context(site.servers, site.folder)) as running:
        yield running


def test_only_the_first_of_two_answers_reaches_the_charger(site: Site, csms: UpstreamCsms) -> None:
    with relayed(site, csms) as relay:
        station, visit = relay.pair()
        station.send(2, "n", "NotifyReport", {})
        eventually(lambda: visit.calls("NotifyReport"))
        visit.send_raw('[3,"n",{}]')
        visit.send_raw('[3,"n",{"customData":{"vendorId":"x"}}]')
        assert station.receive() == [3, "n", {}]
        assert station.call("Heartbeat")[2] == CSMS_TIME
        (row,) = eventually(lambda: stored("upstream"))
        assert "answered too late" in row.payload["detail"]


def test_a_csms_that_takes_nothing_is_let_go_and_dialled_again(site: Site, csms: UpstreamCsms) -> None:
    with relayed(site, csms, upstream_answer_timeout_seconds=0.5, gateway_max_frame_bytes=2_000_000) as relay:
        station, visit = relay.pair()
        csms.reading.clear()
        data = {"vendorId": "v", "data": "x" * 1_900_000}

        def talk() -> None:
            for number in range(8):
                station.send(2, f"d{number}", "DataTransfer", data)

        sending = threading.Thread(target=talk, name="talking charger")
        sending.start()
        away("it does not take what is sent to it")
        csms.reading.set()
        sending.join(20)
        answers = {station.receive()[1] for _ in range(8)}
        assert answers == {f"d{number}" for number in range(8)}
        relay.visit(2)
        assert visit.closed.wait(20)


def test_a_csms_that_asks_and_never_listens_is_read_no_further(site: Site, csms: UpstreamCsms) -> None:
    """Refusals that it does not take stop its reading; what the gateway keeps for it stays small."""
    with relayed(site, csms) as relay:
        station, visit = relay.pair()
        csms.reading.clear()
        visit.connection.socket.settimeout(1.0)
        calls = json.dumps([2, "r", "CertificateSigned", {"certificateChain": "x" * 5_000}])

        def ask_on() -> None:
            for _ in range(100_000):
                visit.send_raw(calls)

        with pytest.raises((TimeoutError, ConnectionClosed)):
            ask_on()
        (connection,) = relay.node.gateway.live.of_station("CS-1")
        assert connection.relay is not None
        link = connection.relay._link.socket
        assert link is None or Hold.UNWRITTEN in link._holds
        assert link is None or link.transport.get_write_buffer_size() < 200_000
        csms.reading.set()
        assert station.call("Heartbeat")[0] == 3
