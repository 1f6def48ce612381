"""Sessions: one open for each station, across nodes, whoever closes, crashes or stops."""

from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread
from uuid import UUID, uuid4

import pytest
from django.db import connection
from websockets.exceptions import InvalidStatus

from bfcerts.ocpp.canonical import Action, reset
from bfcerts.ocpp.gateway import node as gateway_node
from bfcerts.ocpp.gateway import sessions
from bfcerts.ocpp.gateway.node import NodeReplacedError
from bfcerts.ocpp.gateway.sessions import Arrival, Departure, Opened
from bfcerts.ocpp.gateway.tls import ListenerName
from bfcerts.ocpp.models import GatewayNode, OutboxCommand, StationSession
from bfcerts.ocpp.notify import Channel, notify
from bfcerts.ocpp.outbox import enqueue
from bfcerts.ocpp.registry import ConnectionAttempt
from tests.ocpp.node import Node, Site, Station, eventually, stored

PASSWORD = b"0123456789abcdef"
NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.fixture
def site(site: Site) -> Site:
    site.passwords.passwords["CS-1"] = {PASSWORD}
    return site


def dial(site: Site, node: Node) -> Station:
    return site.connect(node, ListenerName.PROFILE2, "CS-1", password=PASSWORD)


def works(station: Station) -> bool:
    return bool(station.call("Heartbeat")[0] == 3)


def open_sessions() -> list[StationSession]:
    return list(StationSession.objects.filter(closed_at__isnull=True))


def arrival(station_id: str = "CS-1", session_id: UUID | None = None, now: datetime = NOW) -> Arrival:
    attempt = ConnectionAttempt(station_id, "192.0.2.1", "profile2", "ocpp2.0.1", None, PASSWORD, now)
    return Arrival(attempt, session_id or uuid4())


def test_the_row_is_closed_when_the_station_leaves(site: Site, node: Node) -> None:
    dial(site, node).close()
    row = eventually(lambda: StationSession.objects.filter(closed_at__isnull=False).first())
    assert row.close_reason == "closed by the station"
    assert stored("disconnected") == []


def test_the_row_is_closed_when_the_connection_breaks(site: Site, node: Node) -> None:
    station = dial(site, node)
    station.connection.socket.close()
    row = eventually(lambda: StationSession.objects.filter(closed_at__isnull=False).first())
    assert row.close_reason == "the connection was lost"


def test_a_second_connection_replaces_the_first_and_survives_its_end(site: Site, node: Node) -> None:
    first = dial(site, node)
    second = dial(site, node)
    assert first.closed_with() == (1000, sessions.REPLACED)
    assert works(second)
    third = dial(site, node)
    assert second.closed_with() == (1000, sessions.REPLACED)
    assert works(third)
    (row,) = open_sessions()
    closed = StationSession.objects.exclude(pk=row.pk)
    assert [one.close_reason for one in closed] == [sessions.REPLACED] * 2


def test_a_second_connection_to_another_node_replaces_the_first(site: Site, node: Node) -> None:
    other = site.node(gateway_node="node-b")
    other.start()
    try:
        first = dial(site, node)
        second = dial(site, other)
        assert first.closed_with() == (1000, sessions.REPLACED)
        assert works(second)
        (row,) = open_sessions()
        assert row.node == "node-b"
        back = dial(site, node)
        assert second.closed_with() == (1000, sessions.REPLACED)
        assert works(back)
    finally:
        other.stop()
    assert [row.node for row in open_sessions()] == ["node-a"]


def test_many_connections_of_one_station_at_once_leave_one(site: Site, node: Node) -> None:
    barrier, stations, late = Barrier(5), list[Station](), list[int]()

    def connect() -> None:
        barrier.wait(20)
        try:
            stations.append(dial(site, node))
        except InvalidStatus as refused:
            late.append(refused.response.status_code)

    threads = [Thread(target=connect) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(stations) + len(late) == 5
    assert set(late) <= {503}
    eventually(lambda: sum(one.connection.close_code is None for one in stations) == 1, "one connection left")
    (survivor,) = [one for one in stations if one.connection.close_code is None]
    assert works(survivor)
    assert len(open_sessions()) == 1


def test_a_session_is_closed_when_the_control_plane_says_so(site: Site, node: Node) -> None:
    station = dial(site, node)
    (row,) = open_sessions()
    notify(Channel.SESSION_CLOSE, f"{row.pk} its password was revoked")
    assert station.closed_with() == (1008, "its password was revoked")
    eventually(lambda: not open_sessions())
    row.refresh_from_db()
    assert row.close_reason == "its password was revoked"


def test_notifications_that_make_no_sense_are_ignored(site: Site, node: Node) -> None:
    station = dial(site, node)
    notify(Channel.SESSION_CLOSE, "")
    notify(Channel.SESSION_CLOSE, "not-a-session at all")
    notify(Channel.SESSION_CLOSE, f"{uuid4()} somebody else's")
    notify(Channel.OUTBOX, "CS-9")
    notify(Channel.CERTIFICATE_BLOCKED, "")
    assert works(station)


def test_a_stopping_gateway_says_goodbye_and_leaves_nothing_open(site: Site) -> None:
    running = site.node()
    running.start()
    station = dial(site, running)
    running.stop()
    assert station.closed_with()[0] == 1001
    assert open_sessions() == []
    assert not GatewayNode.objects.exists()


def test_a_restarted_node_closes_what_it_left_open(site: Site, node: Node) -> None:
    """Its earlier process was killed: no goodbye, the rows still open, a command still marked as sent."""
    left = arrival("CS-7")
    site.passwords.passwords["CS-7"] = {PASSWORD}
    sessions.admit([left], "node-b")
    command = enqueue(
        station_id="CS-7", action=Action.RESET, payload=reset(), dedupe_key="k", now=NOW, expires_after=timedelta(1)
    )
    OutboxCommand.objects.update(state="sent", session_id=left.session_id, attempts=1)
    gateway_node.start("node-b", uuid4(), NOW)
    assert open_sessions() == []
    command.refresh_from_db()
    assert command.state == "queued"


@pytest.mark.django_db(transaction=True)
class TestNodes:
    """Nodes that beat, and nodes that do not."""

    def test_the_sessions_of_a_silent_node_are_closed(self, site: Site) -> None:
        gateway_node.start("node-b", uuid4(), NOW)
        sessions.admit([arrival()], "node-b")
        assert gateway_node.reap(NOW + gateway_node.SILENCE) == 0
        assert gateway_node.reap(NOW + gateway_node.SILENCE + timedelta(seconds=1)) == 1
        assert open_sessions() == []
        assert not GatewayNode.objects.exists()

    def test_a_node_that_beats_keeps_its_sessions(self, site: Site) -> None:
        run = uuid4()
        gateway_node.start("node-b", run, NOW)
        sessions.admit([arrival()], "node-b")
        gateway_node.beat("node-b", run, NOW + timedelta(seconds=40))
        assert gateway_node.reap(NOW + timedelta(seconds=80)) == 0

    def test_a_node_whose_name_was_taken_ends(self, site: Site) -> None:
        first, second = uuid4(), uuid4()
        gateway_node.start("node-b", first, NOW)
        gateway_node.start("node-b", second, NOW)
        with pytest.raises(NodeReplacedError, match="BFCERTS_GATEWAY_NODE"):
            gateway_node.beat("node-b", first, NOW)
        gateway_node.beat("node-b", second, NOW)

    def test_a_node_that_was_taken_for_dead_comes_back(self, site: Site) -> None:
        run = uuid4()
        gateway_node.start("node-b", run, NOW)
        gateway_node.reap(NOW + timedelta(minutes=2))
        gateway_node.beat("node-b", run, NOW + timedelta(minutes=3))
        assert GatewayNode.objects.get().run == run


def test_a_gateway_whose_name_was_taken_stops_by_itself(site: Site) -> None:
    first = site.node()
    first.start()
    station = dial(site, first)
    gateway_node.start("node-a", uuid4(), datetime.now(UTC))
    assert station.closed_with()[0] in (1001, 1008)
    with pytest.raises(NodeReplacedError):
        first.join()


@pytest.mark.django_db(transaction=True)
class TestAdmission:
    """What one transaction at the door leaves behind."""

    def test_the_same_batch_twice_is_the_same_session(self, site: Site) -> None:
        """As after a commit whose answer was lost."""
        batch = [arrival(), arrival(), arrival()]
        for _ in range(2):
            assert all(isinstance(one, Opened) for one in sessions.admit(batch, "node-b"))
        (row,) = open_sessions()
        assert row.pk == batch[-1].session_id
        assert StationSession.objects.count() == 3
        assert len(stored("connected")) == 1

    def test_two_nodes_that_admit_one_station_at_once_leave_one_session(self, site: Site) -> None:
        barrier, failures = Barrier(4), list[BaseException]()

        def admit(name: str) -> None:
            try:
                for _ in range(10):
                    barrier.wait(20)
                    sessions.admit([arrival()], name)
            except BaseException as error:  # noqa: BLE001  # the test's thread looks at it
                failures.append(error)
                barrier.abort()
            finally:
                connection.close()

        threads = [Thread(target=admit, args=(f"node-{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert failures == []
        assert len(open_sessions()) == 1
        assert StationSession.objects.count() == 40

    def test_the_end_of_the_first_does_not_close_the_second(self, site: Site) -> None:
        first, second = arrival(), arrival()
        sessions.admit([first], "node-a")
        sessions.admit([second], "node-b")
        sessions.close([Departure(first.session_id, "CS-1", "gone", 1006, NOW)])
        (row,) = open_sessions()
        assert row.pk == second.session_id
        assert StationSession.objects.get(pk=first.session_id).close_reason == sessions.REPLACED

    def test_a_departure_that_is_news_is_evidence_once(self, site: Site) -> None:
        one = arrival()
        sessions.admit([one], "node-a")
        departure = Departure(one.session_id, "CS-1", "its certificate was revoked", 1008, NOW, evidence=True)
        sessions.close([departure])
        sessions.close([departure])
        (row,) = stored("disconnected")
        assert row.payload == {"reason": "its certificate was revoked", "code": 1008}
