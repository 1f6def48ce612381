"""Revocation at the gateway: refused and thrown off at once, whatever the moment."""

import threading
from collections.abc import Sequence

import pytest
from django.db import connection
from websockets.exceptions import InvalidStatus

from bfcerts.ocpp import registry
from bfcerts.ocpp.canonical import RefusalReason
from bfcerts.ocpp.gateway.tls import ListenerName
from bfcerts.ocpp.models import StationSession
from bfcerts.ocpp.notify import Channel, notify
from bfcerts.ocpp.registry import Admission, ConnectionAttempt, Refusal
from tests.ocpp.authority import Leaf
from tests.ocpp.lent import CertificateBook
from tests.ocpp.node import DEADLINE_SECONDS, Node, Site, Station, eventually, stored

LISTENING = "bfcerts gateway notifications"


def dial(site: Site, node: Node, leaf: Leaf, station_id: str = "CS-1") -> Station:
    return site.connect(node, ListenerName.PROFILE3, station_id, leaf=leaf)


def revoke(site: Site, leaf: Leaf) -> None:
    site.certificates.refused[leaf.fingerprint] = RefusalReason.CERTIFICATE_REVOKED
    notify(Channel.CERTIFICATE_BLOCKED, leaf.fingerprint)


def break_listening() -> None:
    """The server ends the connections on which gateway nodes listen."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [LISTENING]
        )


def test_a_live_session_is_closed_and_the_certificate_refused(site: Site, node: Node) -> None:
    leaf = site.issue("CS-1")
    station = dial(site, node, leaf)
    revoke(site, leaf)
    assert station.closed_with() == (1008, "the certificate is not accepted any more")
    with pytest.raises(InvalidStatus) as raised:
        dial(site, node, leaf)
    assert raised.value.response.status_code == 403
    eventually(lambda: not StationSession.objects.filter(closed_at__isnull=True).exists())
    (row,) = eventually(lambda: stored("disconnected"))
    assert row.payload == {"reason": "the certificate is not accepted any more", "code": 1008}


def test_other_certificates_stay(site: Site, node: Node) -> None:
    revoked, other = site.issue("CS-1"), site.issue("CS-2")
    first, second = dial(site, node, revoked), dial(site, node, other, "CS-2")
    revoke(site, revoked)
    first.closed_with()
    assert second.call("Heartbeat")[0] == 3


def test_every_node_closes_its_sessions(site: Site, node: Node) -> None:
    other = site.node(gateway_node="node-b")
    other.start()
    try:
        leaf = site.issue("CS-1")
        site.certificates.stations[leaf.fingerprint] = "CS-1"
        station = dial(site, other, leaf)
        revoke(site, leaf)
        assert station.closed_with()[0] == 1008
    finally:
        other.stop()


def test_what_the_station_says_after_its_revocation_is_not_heard(site: Site, node: Node) -> None:
    leaf = site.issue("CS-1")
    station = dial(site, node, leaf)
    revoke(site, leaf)
    for _ in range(50):
        try:
            station.send(2, "late", "SignCertificate", {"csr": "late"})
        except Exception:  # noqa: BLE001  # the connection is closing under us
            break
    station.closed_with()
    revoked_at = StationSession.objects.get().closed_at
    assert all(row.received_at <= revoked_at for row in stored("csr_received") if revoked_at)


class SlowBook(CertificateBook):
    """A door that has read its records, and waits before it says so."""

    def __init__(self, book: CertificateBook) -> None:
        super().__init__(book.stations, book.refused, book.news)
        self.has_read, self.may_answer = threading.Event(), threading.Event()

    def decide(self, attempts: Sequence[ConnectionAttempt]) -> list[Admission | Refusal]:
        decisions = super().decide(attempts)
        self.has_read.set()
        assert self.may_answer.wait(DEADLINE_SECONDS)
        return decisions


def test_a_certificate_revoked_while_it_is_at_the_door_does_not_come_in(site: Site, node: Node) -> None:
    leaf, slow = site.issue("CS-1"), SlowBook(site.certificates)
    registry.register_doors(certificate=slow)
    statuses = []

    def connect() -> None:
        try:
            dial(site, node, leaf)
        except InvalidStatus as refused:
            statuses.append(refused.response.status_code)

    dialling = threading.Thread(target=connect)
    dialling.start()
    assert slow.has_read.wait(DEADLINE_SECONDS)
    heard = site.issue("CS-2")
    notify(Channel.CERTIFICATE_BLOCKED, leaf.fingerprint)
    eventually(lambda: all(one.dismissed for one in node.gateway.live.of_certificate(leaf.fingerprint)))
    slow.may_answer.set()
    dialling.join(DEADLINE_SECONDS)
    assert statuses == [403]
    eventually(lambda: not StationSession.objects.filter(closed_at__isnull=True).exists())
    assert dial(site, node, heard, "CS-2").call("Heartbeat")[0] == 3


def test_a_revocation_that_went_unheard_is_caught_up_with(site: Site, node: Node) -> None:
    """The listening connection breaks, the notification is lost, and comes never again."""
    leaf = site.issue("CS-1")
    station = dial(site, node, leaf)
    site.certificates.refused[leaf.fingerprint] = RefusalReason.CERTIFICATE_REVOKED
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [LISTENING]
        )
    assert station.closed_with()[0] == 1008
    assert eventually(lambda: stored("connection_refused"))[0].payload["reason"] == "certificate_revoked"


def test_a_password_that_ended_unheard_is_caught_up_with(site: Site, node: Node) -> None:
    """Nobody keeps the password: the door is asked about what the station came in with."""
    site.passwords.passwords |= {"CS-1": {b"the-old-password"}, "CS-2": {b"another-password"}}
    ended = site.connect(node, ListenerName.PROFILE2, "CS-1", password=b"the-old-password")
    other = site.connect(node, ListenerName.PROFILE2, "CS-2", password=b"another-password")
    certified = dial(site, node, site.issue("CS-3"), "CS-3")
    site.passwords.passwords["CS-1"] = {b"the-new-password"}

    break_listening()

    assert ended.closed_with() == (1008, "the password is not accepted any more")
    (refused,) = eventually(lambda: stored("connection_refused"))
    assert (refused.station_id, refused.payload["reason"], refused.payload["profile"]) == ("CS-1", "wrong_password", 2)
    assert other.call("Heartbeat")[0] == 3
    assert certified.call("Heartbeat")[0] == 3


def test_a_session_that_was_closed_unheard_is_caught_up_with(site: Site, node: Node) -> None:
    leaf = site.issue("CS-1")
    station = dial(site, node, leaf)
    row = StationSession.objects.get()
    StationSession.objects.update(closed_at=row.connected_at)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [LISTENING]
        )
    assert station.closed_with()[0] == 1000
