"""The gateway's own certificates: asked for, presented, renewed and replaced without a restart."""

import asyncio
import ssl

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_private_key
from websockets.exceptions import WebSocketException

from bfcerts.ocpp.gateway.keys import make_key, make_request, public_key_sha256
from bfcerts.ocpp.gateway.listener import Listener
from bfcerts.ocpp.gateway.listeners import ListenerError
from bfcerts.ocpp.gateway.probe import presented_key
from bfcerts.ocpp.gateway.tls import ListenerName, ServerCredential, make_context
from bfcerts.ocpp.models import ListenerKey
from bfcerts.ocpp.notify import Channel, notify
from tests.ocpp.authority import Authority, pem
from tests.ocpp.node import Node, Site, eventually, stored

HOST = "localhost"


def presented(site: Site, node: Node, listener: ListenerName = ListenerName.PROFILE2) -> str:
    """The public key of the certificate that a listener shows to a modern client."""
    leaf = ssl.get_server_certificate(("127.0.0.1", node.port(listener)), timeout=20)
    return public_key_sha256(x509.load_pem_x509_certificate(leaf.encode()))


def key_of(key_type: str) -> ListenerKey:
    return ListenerKey.objects.filter(key_type=key_type).latest("created_at")


def test_a_key_of_each_kind_is_made_asked_for_and_reported_once_presented(site: Site, node: Node) -> None:
    eventually(lambda: len(site.desk.presented_keys) == 2, "both certificates presented")
    rows = ListenerKey.objects.all()
    assert {row.key_type for row in rows} == {"ecdsa", "rsa"}
    assert {row.public_key_sha256 for row in rows} == set(site.desk.presented_keys)
    assert all(row.presented_at and row.host == HOST for row in rows)
    assert presented(site, node) == key_of("ecdsa").public_key_sha256


def test_private_keys_are_stored_encrypted(site: Site, node: Node) -> None:
    for row in ListenerKey.objects.all():
        with pytest.raises(ValueError, match=r"deserialize|parse|Could not|ASN"):
            load_der_private_key(bytes(row.encrypted_private_key), password=None)
        assert b"PRIVATE KEY" not in bytes(row.encrypted_private_key)


def test_until_there_is_a_certificate_no_listener_is_open(site: Site) -> None:
    site.desk.issuing = False
    running = site.node()
    running.start(wait_for_listeners=False)
    try:
        eventually(lambda: len(site.desk.handed_in) == 2, "requests for both certificates")
        assert running.gateway.listeners.ports == {}
        for reference in list(site.desk.handed_in):
            site.desk.issue(reference)
        notify(Channel.LISTENERS)
        eventually(running.gateway.listeners.opened.is_set, "open listeners")
        assert set(running.gateway.listeners.ports) == set(ListenerName)
    finally:
        running.stop()


def test_a_renewed_certificate_is_presented_without_a_restart(site: Site, node: Node) -> None:
    site.passwords.passwords["CS-1"] = {b"0123456789abcdef"}
    station = site.connect(node, ListenerName.PROFILE2, "CS-1", password=b"0123456789abcdef")
    before = presented(site, node)
    site.desk.ask(HOST, "ecdsa")
    notify(Channel.LISTENERS)
    after = eventually(lambda: (key := presented(site, node)) != before and key, "another certificate")
    assert after == key_of("ecdsa").public_key_sha256
    eventually(lambda: after in site.desk.presented_keys, "the report that it is presented")
    assert presented(site, node, ListenerName.DUAL) == after
    assert station.call("Heartbeat")[0] == 3


def test_a_revoked_certificate_gives_way_to_the_one_before(site: Site, node: Node) -> None:
    before = presented(site, node)
    site.desk.ask(HOST, "ecdsa")
    notify(Channel.LISTENERS)
    after = eventually(lambda: (key := presented(site, node)) != before and key, "another certificate")
    del site.desk.issued[after]
    notify(Channel.LISTENERS)
    eventually(lambda: presented(site, node) == before, "the certificate before")


@pytest.mark.parametrize("broken", ["no certificate", ""])
def test_a_chain_or_anchor_that_cannot_be_used_holds_up_nothing_else(site: Site, node: Node, broken: str) -> None:
    before, rsa_before = presented(site, node), key_of("rsa")
    site.desk.issuing = False
    references = [site.desk.ask(HOST, "ecdsa"), site.desk.ask(HOST, "rsa")]
    site.desk.anchors = [broken, *site.desk.anchors]
    notify(Channel.LISTENERS)
    eventually(lambda: all(one in site.desk.handed_in for one in references), "both requests")
    chain_of_another_key = site.desk.issued[before]
    site.desk.issued[key_of("ecdsa").public_key_sha256] = broken or chain_of_another_key
    site.desk.issue(references[1])
    notify(Channel.LISTENERS)
    renewed = key_of("rsa").public_key_sha256
    assert renewed != rsa_before.public_key_sha256
    eventually(lambda: renewed in site.desk.presented_keys, "the other certificate")
    assert presented(site, node) == before
    assert site.connect(node, ListenerName.PROFILE3, "CS-1", leaf=site.issue("CS-1")).call("Heartbeat")[0] == 3


def test_trust_in_stations_changes_without_a_restart(site: Site, node: Node) -> None:
    newcomers = Authority("New charger CA", Authority("New charger root"))
    leaf = newcomers.issue("CS-1")
    site.certificates.stations[leaf.fingerprint] = "CS-1"

    def lets_in() -> bool:
        try:
            site.connect(node, ListenerName.PROFILE3, "CS-1", leaf=leaf).close()
        except (WebSocketException, OSError):
            return False
        return True

    assert not lets_in()
    site.desk.anchors += newcomers.anchors
    notify(Channel.LISTENERS)
    eventually(lets_in, "trust in the new CA")
    site.desk.anchors = site.stations.anchors
    notify(Channel.LISTENERS)
    eventually(lambda: not lets_in(), "no more trust in the new CA")


def test_without_any_trust_no_station_certificate_is_accepted(site: Site) -> None:
    site.desk.anchors = []
    running = site.node()
    running.start()
    try:
        with pytest.raises((WebSocketException, OSError)):
            site.connect(running, ListenerName.PROFILE3, "CS-1", leaf=site.issue("CS-1"))
    finally:
        running.stop()


def test_two_nodes_share_their_keys(site: Site, node: Node) -> None:
    other = site.node(gateway_node="node-b")
    other.start()
    try:
        assert presented(site, other) == presented(site, node)
        site.desk.ask(HOST, "ecdsa")
        site.desk.ask(HOST, "rsa")
        notify(Channel.LISTENERS)
        eventually(lambda: ListenerKey.objects.count() == 4, "two more keys")
        eventually(lambda: presented(site, other) == presented(site, node) == key_of("ecdsa").public_key_sha256)
    finally:
        other.stop()
    assert ListenerKey.objects.count() == 4


def test_a_request_that_was_made_but_not_handed_in_is_handed_in_again(site: Site, node: Node) -> None:
    reference = site.desk.ask(HOST, "ecdsa")
    notify(Channel.LISTENERS)
    first = eventually(lambda: site.desk.handed_in.get(reference))
    del site.desk.handed_in[reference]
    site.desk.open_requests = [one for one in site.desk.every_request if one.reference == reference]
    notify(Channel.LISTENERS)
    assert eventually(lambda: site.desk.handed_in.get(reference)) == first
    assert ListenerKey.objects.count() == 3


def test_a_port_that_is_taken_is_told_in_one_sentence(site: Site, node: Node) -> None:
    taken = node.port(ListenerName.PROFILE2)
    running = site.node(gateway_node="node-b", gateway_profile2_port=taken)
    with pytest.raises(ListenerError, match=f"port {taken}.*BFCERTS_GATEWAY_PROFILE2_PORT"):
        running.start()
    running.join()


def test_only_the_listeners_that_have_a_port_are_opened(site: Site) -> None:
    running = site.node(gateway_profile2_port=None, gateway_dual_port=None)
    running.start()
    try:
        assert set(running.gateway.listeners.ports) == {ListenerName.PROFILE3}
        eventually(lambda: len(site.desk.presented_keys) == 2, "both certificates presented on profile3 alone")
        assert stored("connection_refused") == []
    finally:
        running.stop()


def test_the_probe_tells_what_a_listener_presents_and_not_what_it_should(site: Site) -> None:
    key = make_key("rsa")
    chain = pem(site.servers.sign_server_request(make_request(key, HOST))) + pem(site.servers.certificate)
    context = make_context(ssl.CERT_REQUIRED, [ServerCredential("rsa", "expected", chain, key)], site.stations.anchors)

    async def probe() -> list[str | None]:
        listener = Listener(ListenerName.PROFILE3, lambda name: asyncio.Protocol(), lambda *failure: None)
        listener.context = listener.probe_context = context
        listener.open("127.0.0.1", 0)
        try:
            refused = await presented_key(listener, "rsa", HOST)
            listener.probe_context = make_context(ssl.CERT_NONE, [ServerCredential("rsa", "expected", chain, key)], ())
            return [refused, *[await presented_key(listener, key_type, HOST) for key_type in ("rsa", "ecdsa")]]
        finally:
            listener.close()

    assert uvloop.run(probe()) == [None, public_key_sha256(key), None]
