"""The database away: nobody is let in, no evidence is lost, and everything comes back by itself."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.db import connection
from websockets.exceptions import InvalidStatus

from bfcerts.ocpp import canonical, outbox
from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.gateway.tls import ListenerName
from bfcerts.ocpp.models import OutboxCommand, StationSession
from tests.ocpp.node import Node, Site, Station, eventually, stored

PASSWORD = b"0123456789abcdef"
EVENT = {"type": "SettingSystemTime", "timestamp": "2026-05-04T03:02:01Z"}


@contextmanager
def database_away() -> Iterator[None]:
    """The database takes no connection and drops those it has, this test's own included."""
    name = connection.settings_dict["NAME"]
    parameters = {
        key: value
        for key, value in connection.get_connection_params().items()
        if key not in {"context", "cursor_factory", "prepare_threshold"}
    }
    connection.close()
    identifier = psycopg.sql.Identifier(name)
    with psycopg.connect(**{**parameters, "dbname": "postgres"}, autocommit=True) as server:
        server.execute(psycopg.sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(identifier))
        try:
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            yield
        finally:
            server.execute(psycopg.sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(identifier))


@pytest.fixture
def station(site: Site, node: Node) -> Station:
    site.passwords.passwords["CS-1"] = {PASSWORD}
    return dial(site, node)


def dial(site: Site, node: Node) -> Station:
    return site.connect(node, ListenerName.PROFILE2, "CS-1", password=PASSWORD)


def test_nobody_is_let_in_and_who_is_in_stays(site: Site, node: Node, station: Station) -> None:
    with database_away():
        with pytest.raises(InvalidStatus) as raised:
            dial(site, node)
        assert raised.value.response.status_code == 503
        assert raised.value.response.headers["Retry-After"]
        assert station.call("Heartbeat")[0] == 3
    assert station.call("Heartbeat")[0] == 3
    assert dial(site, node).call("Heartbeat")[0] == 3


def test_evidence_is_refused_rather_than_lost_and_taken_when_it_comes_again(station: Station) -> None:
    with database_away():
        answer = station.call("SecurityEventNotification", EVENT, message_id="m1")
        assert (answer[0], answer[2]) == (4, "InternalError")
    assert station.call("SecurityEventNotification", EVENT, message_id="m1")[0] == 3
    assert len(stored("security_event")) == 1


def test_an_answer_that_came_meanwhile_is_stored_afterwards(station: Station) -> None:
    now = datetime.now(UTC)
    row = outbox.enqueue(
        station_id="CS-1", action=Action.RESET, payload=canonical.reset(), dedupe_key="k", now=now,
        expires_after=timedelta(hours=1),
    )  # fmt: skip
    message_id, _ = station.expect("Reset")
    with database_away():
        station.answer(message_id, {"status": "Accepted"})
        assert station.call("Heartbeat")[0] == 3
        assert station.call("SecurityEventNotification", EVENT)[0] == 4

    def accepted() -> bool:
        row.refresh_from_db()
        return row.outcome == "accepted"

    eventually(accepted, "the stored answer")
    assert OutboxCommand.objects.get().attempts == 1


def test_an_end_that_came_meanwhile_is_stored_afterwards(station: Station) -> None:
    with database_away():
        station.close()
    eventually(lambda: StationSession.objects.filter(closed_at__isnull=False).exists())


def test_commands_are_announced_again_afterwards(station: Station) -> None:
    with database_away():
        assert station.call("Heartbeat")[0] == 3
    outbox.enqueue(
        station_id="CS-1", action=Action.RESET, payload=canonical.reset(), dedupe_key="k", now=datetime.now(UTC),
        expires_after=timedelta(hours=1),
    )  # fmt: skip
    station.expect("Reset")


def test_a_gateway_that_starts_meanwhile_opens_afterwards(site: Site) -> None:
    site.passwords.passwords["CS-1"] = {PASSWORD}
    running = site.node()
    with database_away():
        running.start(wait_for_listeners=False)
        assert not threading.Event().wait(0.5)
        assert not running.gateway.listeners.opened.is_set()
    try:
        eventually(running.gateway.listeners.opened.is_set, "open listeners")
        assert dial(site, running).call("Heartbeat")[0] == 3
    finally:
        running.stop()


def test_a_gateway_that_is_stopped_meanwhile_stops(site: Site) -> None:
    running = site.node()
    running.start()
    with database_away():
        running.stop()
