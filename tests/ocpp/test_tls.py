"""TLS as the compliance cases want it, judged by the openssl binary from outside."""

import socket
import subprocess

import pytest

from bfcerts.ocpp.gateway.tls import ListenerName
from tests.ocpp.authority import Authority
from tests.ocpp.node import Node, Site, eventually, stored


def s_client(site: Site, node: Node, *options: str, listener: ListenerName = ListenerName.PROFILE2) -> str:
    """What `openssl s_client` says about a listener."""
    anchor = site.folder / "anchor.pem"
    anchor.write_text(site.servers.root_pem)
    address = f"127.0.0.1:{node.port(listener)}"
    command = ["openssl", "s_client", "-connect", address, "-servername", "localhost", "-CAfile", str(anchor)]
    done = subprocess.run(
        [*command, "-verify_return_error", "-verify_hostname", "localhost", *options],
        input="",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("suite", "key_type"),
    [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDSA"),
        ("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDSA"),
        ("ECDHE-RSA-AES128-GCM-SHA256", "RSA"),
        ("ECDHE-RSA-AES256-GCM-SHA384", "RSA"),
    ],
)
def test_tc_a_04_the_suites_of_ocpp_with_a_certificate_of_either_kind(
    site: Site, node: Node, suite: str, key_type: str
) -> None:
    """A00.FR.306-321: the certificate verifies, names the host, and there is no compression."""
    said = s_client(site, node, "-tls1_2", "-cipher", suite)
    assert "Verify return code: 0 (ok)" in said
    assert f"Cipher is {suite}" in said
    assert "Compression: NONE" in said
    assert f"Peer signature type: {'RSA' if key_type == 'RSA' else 'ECDSA'}" in said
    assert f"Server public key is {'2048' if key_type == 'RSA' else '256'} bit" in said


def test_tc_a_04_tls_1_3_is_spoken(site: Site, node: Node) -> None:
    said = s_client(site, node, "-tls1_3")
    assert "Verify return code: 0 (ok)" in said
    assert "TLSv1.3" in said
    assert "New Session Ticket" not in said


def test_tc_a_06_tls_below_1_2_is_refused_and_1_2_then_accepted(site: Site, node: Node) -> None:
    for version in ("-tls1", "-tls1_1"):
        said = s_client(site, node, version, "-cipher", "ALL:@SECLEVEL=0")
        assert "Cipher is (NONE)" in said
        assert "alert protocol version" in said
    assert "Verify return code: 0 (ok)" in s_client(site, node, "-tls1_2")
    rows = eventually(lambda: stored("connection_refused"))
    assert rows[0].payload["reason"] == "tls_handshake_failed"
    assert "unsupported protocol" in rows[0].payload["detail"]


@pytest.mark.parametrize("suite", ["AES128-GCM-SHA256", "AES256-GCM-SHA384"])
def test_suites_without_forward_secrecy_only_where_they_are_switched_on(site: Site, suite: str) -> None:
    for switched_on in (False, True):
        running = site.node(gateway_legacy_rsa_suites=switched_on)
        running.start()
        try:
            said = s_client(site, running, "-tls1_2", "-cipher", suite)
        finally:
            running.stop()
        assert (f"Cipher is {suite}" in said) is switched_on


@pytest.mark.parametrize("suite", ["ECDHE-RSA-AES128-SHA", "ECDHE-RSA-CHACHA20-POLY1305", "DHE-RSA-AES128-GCM-SHA256"])
def test_other_suites_are_refused(site: Site, node: Node, suite: str) -> None:
    assert "Cipher is (NONE)" in s_client(site, node, "-tls1_2", "-cipher", suite)


def test_no_ticket_is_given_and_no_renegotiation_done(site: Site, node: Node) -> None:
    said = s_client(site, node, "-tls1_2")
    assert "TLS session ticket" not in said


@pytest.mark.parametrize(
    "bytes_sent", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00" * 600, b"\x16\x03\x01\xff\xff" + b"A" * 100]
)
def test_what_is_no_tls_is_refused_and_harms_nobody(site: Site, node: Node, bytes_sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", node.port(ListenerName.PROFILE2)), timeout=20) as plain:
        plain.sendall(bytes_sent)
        assert b"HTTP" not in plain.recv(4096)
    assert eventually(lambda: stored("connection_refused"))[0].payload["reason"] == "tls_handshake_failed"
    assert "Verify return code: 0 (ok)" in s_client(site, node)


def test_a_connection_that_says_nothing_is_no_news(site: Site, node: Node) -> None:
    """As a load balancer's health check."""
    socket.create_connection(("127.0.0.1", node.port(ListenerName.PROFILE2)), timeout=20).close()
    assert "Verify return code: 0 (ok)" in s_client(site, node)
    assert stored("connection_refused") == []


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_tc_a_08_the_station_is_told_why_its_certificate_was_refused(site: Site, node: Node, version: str) -> None:
    """By the alerts of TLS itself: unknown CA, and certificate required."""
    foreign = Authority("Foreign CA").issue("CS-1").write(site.folder)
    pair = ("-cert", str(foreign), "-key", str(foreign), "-ign_eof")
    assert "unknown ca" in s_client(site, node, version, *pair, listener=ListenerName.PROFILE3)
    without = s_client(site, node, version, "-ign_eof", listener=ListenerName.PROFILE3)
    assert "certificate required" in without or "handshake failure" in without
