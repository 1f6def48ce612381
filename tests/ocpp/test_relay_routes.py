"""Another upstream applies while a charger is connected: its relay opens, moves and closes, and the charger stays."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.db import connection

from bfcerts.ocpp import canonical, registry
from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.models import StationSession
from bfcerts.ocpp.notify import Channel, notify
from bfcerts.ocpp.registry import Upstream, WhenAway
from tests.ocpp.node import Site, Station, eventually
from tests.ocpp.relayed import BOOT, Relayed, RouteBook, command, ended, relayed, server_context
from tests.simulator.csms import UpstreamCsms, Visit

CSMS_TIME = {"currentTime": "2026-01-01T00:00:00Z"}


@pytest.fixture
def csms(site: Site) -> Iterator[UpstreamCsms]:
    with UpstreamCsms(server_context(site.servers, site.folder)) as running:
        yield running


@pytest.fixture
def other(site: Site) -> Iterator[UpstreamCsms]:
    """A second CSMS that may be dialled."""
    with UpstreamCsms(server_context(site.servers, site.folder)) as running:
        yield running


@pytest.fixture
def relay(site: Site, csms: UpstreamCsms, other: UpstreamCsms) -> Iterator[Relayed]:
    with relayed(site, csms, upstream_allowed=[csms.origin, other.origin]) as made:
        yield made


def changed(relay: Relayed, station_id: str = "CS-1", **changes: Any) -> None:
    relay.route(station_id, **changes)
    notify(Channel.UPSTREAMS, station_id)


def gone(relay: Relayed, station_id: str = "CS-1") -> None:
    del relay.book.routes[station_id]
    notify(Channel.UPSTREAMS, station_id)


def answered_here(station: Station) -> bool:
    return bool(station.call("Heartbeat")[2] != CSMS_TIME)


def stands(**expected: Any) -> StationSession:
    """The one open session, once its row says so."""
    found: StationSession = eventually(
        lambda: StationSession.objects.filter(closed_at__isnull=True, **expected).first(), f"a session with {expected}"
    )
    return found


def visit_of(csms: UpstreamCsms, number: int = 1) -> Visit:
    visit: Visit = eventually(lambda: len(csms.visits) >= number and csms.visits[number - 1], "a visit")
    return visit


def test_a_connected_charger_is_relayed_as_soon_as_an_upstream_applies(relay: Relayed) -> None:
    station = relay.connect()
    assert answered_here(station)
    changed(relay)
    visit = relay.visit()
    eventually(lambda: not answered_here(station), "an answer of the CSMS")
    assert visit.calls("Heartbeat")
    assert stands(upstream="Our CSMS", upstream_state="connected").upstream_since is not None


def test_a_charger_moves_to_another_csms_and_stays_connected(relay: Relayed, other: UpstreamCsms) -> None:
    station, visit = relay.pair()
    session = stands(upstream_state="connected")
    changed(relay, url=other.url, name="The other")
    moved = visit_of(other)
    assert visit.closed.wait(20)
    assert visit.connection.close_code == 1000
    assert station.call("Heartbeat")[2] == CSMS_TIME
    eventually(lambda: moved.calls("Heartbeat"))
    assert stands(upstream="The other", upstream_state="connected").pk == session.pk
    assert relay.csms.present == []


def test_a_charger_that_is_relayed_no_more_is_answered_here(relay: Relayed) -> None:
    station, visit = relay.pair()
    gone(relay)
    assert visit.closed.wait(20)
    eventually(lambda: answered_here(station), "an answer of ours")
    assert station.call("BootNotification", BOOT["ocpp2.0.1"])[2]["interval"] == 300
    row = command()
    station.answer(station.expect("Reset")[0], {"status": "Accepted"})
    assert ended(row).outcome == "accepted"
    stands(upstream="", upstream_state="")
    changed(relay)
    relay.visit(2)
    eventually(lambda: not answered_here(station), "an answer of the CSMS")


def test_what_was_open_at_the_former_csms_is_answered_here(relay: Relayed, other: UpstreamCsms) -> None:
    station, visit = relay.pair()
    station.send(2, "r", "NotifyReport", {})
    eventually(lambda: visit.calls("NotifyReport"))
    changed(relay, url=other.url)
    answer = station.receive()
    assert answer[:3] == [4, "r", "InternalError"]
    assert "has changed" in answer[3]
    visit_of(other)


def test_a_boot_that_the_former_csms_left_open_is_told_to_the_next(relay: Relayed, other: UpstreamCsms) -> None:
    del relay.csms.answers["BootNotification"]
    station, visit = relay.pair()
    station.send(2, "b", "BootNotification", BOOT["ocpp2.0.1"])
    eventually(lambda: visit.calls("BootNotification"))
    changed(relay, url=other.url)
    assert station.receive()[2]["status"] == "Accepted"
    moved = visit_of(other)
    eventually(lambda: moved.calls("BootNotification"))
    row = command()
    station.answer(station.expect("Reset")[0], {"status": "Accepted"})
    assert ended(row).outcome == "accepted"


def test_commands_that_waited_for_a_boot_go_on_when_nobody_has_to_accept_it(relay: Relayed) -> None:
    pending = {**CSMS_TIME, "interval": 1, "status": "Pending"}
    relay.csms.answers["BootNotification"] = pending
    station, _ = relay.pair()
    assert station.call("BootNotification", BOOT["ocpp2.0.1"])[2]["status"] == "Pending"
    row = command()
    gone(relay)
    station.answer(station.expect("Reset")[0], {"status": "Accepted"})
    assert ended(row).outcome == "accepted"


def test_a_relay_that_comes_while_our_call_is_open_asks_after_it(relay: Relayed) -> None:
    station = relay.connect()
    row = command()
    message_id, _ = station.expect("Reset")
    changed(relay)
    relay.visit().call("u", "ClearCache")
    with pytest.raises(TimeoutError):
        station.connection.recv(timeout=0.5)
    station.answer(message_id, {"status": "Accepted"})
    assert station.expect("ClearCache")[0] == "u"
    assert ended(row).outcome == "accepted"


def test_ours_waits_for_a_call_that_the_former_csms_left_open(relay: Relayed, other: UpstreamCsms) -> None:
    station, visit = relay.pair()
    visit.call("u", "ClearCache")
    message_id, _ = station.expect("ClearCache")
    gone(relay)
    eventually(lambda: answered_here(station), "an answer of ours")
    row = command(action=Action.LIST_CERTIFICATES, payload=canonical.list_certificates())
    with pytest.raises(TimeoutError):
        station.connection.recv(timeout=0.5)
    station.answer(message_id, {"status": "Accepted"})
    station.answer(station.expect("GetInstalledCertificateIds")[0], {"status": "NotFound"})
    assert ended(row).outcome == "accepted"
    assert visit.answer_to("u") is None


def test_what_is_only_done_while_it_is_away_changes_without_a_new_connection(relay: Relayed) -> None:
    station, visit = relay.pair()
    changed(relay, when_away=WhenAway.CLOSE, name="Renamed")
    stands(upstream="Renamed", upstream_state="connected")
    assert not visit.closed.is_set()
    relay.csms.stop()
    assert station.closed_with()[0] == 1013


def test_one_charger_moves_and_its_neighbour_is_not_asked_about(relay: Relayed, other: UpstreamCsms) -> None:
    relay.pair()
    neighbour, beside = relay.pair("CS-2")
    relay.route("CS-2", url=other.url)
    changed(relay, url=other.url)
    visit_of(other)
    assert neighbour.call("Heartbeat")[2] == CSMS_TIME
    assert not beside.closed.is_set()
    assert [visit.path for visit in other.visits] == ["/csms/CS-1"]
    notify(Channel.UPSTREAMS)
    assert visit_of(other, 2).path == "/csms/CS-2"


def test_a_change_in_the_very_moment_of_the_admission_is_not_missed(relay: Relayed) -> None:
    """The door asked before the change and answers after it: whoever comes in then is looked up again."""
    routes = relay.node.gateway._services.routes
    heard = routes.heard

    class Late(RouteBook):
        """Says what was so before the change, once."""

        def of(self, station_ids: Sequence[str]) -> list[Upstream | None]:
            answer = super().of(station_ids)
            if not self.routes:
                self.routes["CS-1"] = upstream
                relay.node.loop.call_soon_threadsafe(routes.changed, "CS-1")
                eventually(lambda: routes.heard > heard, "the news")
            return answer

    relay.route()
    upstream = relay.book.routes["CS-1"]
    registry.register_upstreams(Late())
    relay.connect()
    assert relay.visit().path == "/csms/CS-1"


def test_a_change_that_nobody_heard_of_is_found_when_the_gateway_listens_again(relay: Relayed) -> None:
    station = relay.connect()
    relay.route()
    assert answered_here(station)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'bfcerts gateway notifications' AND datname = current_database()"
        )
        assert cursor.fetchall() == [(True,)]
    assert relay.visit().path == "/csms/CS-1"


def test_how_an_upstream_stands_is_on_the_session(relay: Relayed) -> None:
    relay.pair()
    stands(upstream="Our CSMS", upstream_state="connected", upstream_detail="")
    relay.csms.stop()
    away = stands(upstream_state="away", upstream_detail__contains="cannot be reached")
    assert away.upstream_since is not None
    assert away.upstream_since > away.connected_at
    relay.csms.start()
    stands(upstream_state="connected", upstream_detail="")
