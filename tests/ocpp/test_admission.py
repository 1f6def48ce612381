"""The door: who is let in over real TLS, who is refused before the upgrade, and what the operator learns of it."""

import ssl
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus, WebSocketException

from bfcerts.ocpp.canonical import RefusalReason
from bfcerts.ocpp.gateway.tls import ListenerName
from bfcerts.ocpp.models import InboxMessage, StationSession
from tests.ocpp.authority import Authority
from tests.ocpp.node import Node, Site, Station, eventually, stored

PASSWORD = b"0123456789abcdef"
PROFILE2, PROFILE3, DUAL = ListenerName.PROFILE2, ListenerName.PROFILE3, ListenerName.DUAL


@pytest.fixture
def site(site: Site) -> Site:
    site.passwords.passwords["CS-1"] = {PASSWORD}
    return site


def refused(site: Site, node: Node, listener: ListenerName, station_id: str = "CS-1", **options: Any) -> HTTPStatus:
    with pytest.raises(InvalidStatus) as raised:
        site.connect(node, listener, station_id, **options)
    response = raised.value.response
    assert response.body == f"{HTTPStatus(response.status_code).phrase}\n".encode()
    return HTTPStatus(response.status_code)


def refusal(station_id: str = "CS-1") -> InboxMessage:
    rows: list[InboxMessage] = eventually(lambda: stored("connection_refused", station_id), "evidence of the refusal")
    assert len(rows) == 1
    return rows[0]


def works(station: Station) -> bool:
    return bool(station.call("Heartbeat")[0] == 3)


@pytest.mark.parametrize("listener", [PROFILE2, DUAL])
def test_tc_a_01_the_right_password_lets_in(site: Site, node: Node, listener: ListenerName) -> None:
    assert works(site.connect(node, listener, "CS-1", password=PASSWORD))
    session = StationSession.objects.get()
    assert (session.station_id, session.security_profile, session.listener) == ("CS-1", 2, listener)
    assert (session.protocol, session.address, session.node) == ("ocpp2.0.1", "127.0.0.1", "node-a")
    assert session.certificate_fingerprint == ""


@pytest.mark.parametrize("listener", [PROFILE2, DUAL])
def test_tc_a_02_a_user_name_that_is_not_the_station_id_is_refused(
    site: Site, node: Node, listener: ListenerName
) -> None:
    site.passwords.passwords["CS-2"] = {PASSWORD}
    assert refused(site, node, listener, user="CS-2", password=PASSWORD) is HTTPStatus.UNAUTHORIZED
    assert refusal().payload["reason"] == RefusalReason.WRONG_PASSWORD
    assert not StationSession.objects.exists()


@pytest.mark.parametrize("password", [b"wrong password", b"", PASSWORD + b"x", PASSWORD[:-1]])
def test_tc_a_03_a_wrong_password_is_refused(site: Site, node: Node, password: bytes) -> None:
    assert refused(site, node, PROFILE2, password=password) is HTTPStatus.UNAUTHORIZED
    payload = refusal().payload
    assert (payload["reason"], payload["address"], payload["profile"]) == ("wrong_password", "127.0.0.1", 2)
    assert PASSWORD.decode() not in str(payload)


def test_tc_a_03_no_password_is_refused_and_one_is_asked_for(site: Site, node: Node) -> None:
    with pytest.raises(InvalidStatus) as raised:
        site.connect(node, PROFILE2, "CS-1")
    assert raised.value.response.status_code == HTTPStatus.UNAUTHORIZED
    assert raised.value.response.headers["WWW-Authenticate"].startswith("Basic ")
    assert refusal().payload["reason"] == RefusalReason.NO_CREDENTIALS


def test_an_unknown_station_hears_the_same_as_one_with_a_wrong_password(site: Site, node: Node) -> None:
    assert refused(site, node, PROFILE2, "CS-9", password=PASSWORD) is HTTPStatus.UNAUTHORIZED
    assert refusal("CS-9").payload["reason"] == RefusalReason.UNKNOWN_STATION


def test_a_password_may_be_any_bytes_and_a_station_id_may_hold_a_colon(site: Site, node: Node) -> None:
    site.passwords.passwords["CS:1"] = {b"\x00\xff:\n"}
    assert works(site.connect(node, PROFILE2, "CS:1", password=b"\x00\xff:\n", path="/CS%3A1"))


@pytest.mark.parametrize("listener", [PROFILE3, DUAL])
def test_tc_a_07_a_known_client_certificate_lets_in(site: Site, node: Node, listener: ListenerName) -> None:
    leaf = site.issue("CS-1")
    assert works(site.connect(node, listener, "CS-1", leaf=leaf))
    session = StationSession.objects.get()
    assert (session.security_profile, session.certificate_fingerprint) == (3, leaf.fingerprint)


def test_tc_a_08_a_certificate_of_an_unknown_authority_is_refused(site: Site, node: Node) -> None:
    foreign = Authority("Foreign issuing CA", Authority("Foreign root")).issue("CS-1")
    with pytest.raises((WebSocketException, OSError)):
        site.connect(node, PROFILE3, "CS-1", leaf=foreign)
    payload = refusal("").payload
    assert (payload["reason"], payload["address"]) == ("foreign_trust_domain", "127.0.0.1")


def test_tc_a_08_an_expired_certificate_is_refused_and_its_station_is_named(site: Site, node: Node) -> None:
    """A00.FR.430: the station still tries, and the CSMS decides."""
    leaf = site.issue("CS-1", not_before=timedelta(days=-30), not_after=timedelta(days=-1))
    assert refused(site, node, PROFILE3, leaf=leaf) is HTTPStatus.FORBIDDEN
    payload = refusal().payload
    assert payload["reason"] == RefusalReason.CERTIFICATE_EXPIRED
    assert payload["fingerprint"] == leaf.fingerprint
    assert (payload["subject"], payload["issuer"]) == ("CN=CS-1", "CN=Charger issuing CA")
    assert payload["serial"] == f"{leaf.certificate.serial_number:x}"


def test_tc_a_08_a_certificate_of_another_station_is_refused(site: Site, node: Node) -> None:
    leaf = site.issue("CS-2")
    assert refused(site, node, PROFILE3, leaf=leaf) is HTTPStatus.FORBIDDEN
    assert refusal().payload["reason"] == RefusalReason.CERTIFICATE_OF_ANOTHER_STATION


@pytest.mark.parametrize("reason", [RefusalReason.CERTIFICATE_REVOKED, RefusalReason.CERTIFICATE_SUPERSEDED])
def test_a_certificate_that_lost_its_authorisation_is_refused(site: Site, node: Node, reason: RefusalReason) -> None:
    leaf = site.issue("CS-1")
    site.certificates.refused[leaf.fingerprint] = reason
    assert refused(site, node, PROFILE3, leaf=leaf) is HTTPStatus.FORBIDDEN
    assert refusal().payload["reason"] == reason


def test_the_profile3_listener_refuses_a_station_without_a_certificate(site: Site, node: Node) -> None:
    with pytest.raises((WebSocketException, OSError)):
        site.connect(node, PROFILE3, "CS-1", password=PASSWORD)
    assert refusal("").payload["reason"] == RefusalReason.NO_CLIENT_CERTIFICATE


def test_on_the_dual_listener_the_certificate_decides_and_not_the_password(site: Site, node: Node) -> None:
    leaf = site.issue("CS-1")
    site.certificates.refused[leaf.fingerprint] = RefusalReason.CERTIFICATE_REVOKED
    assert refused(site, node, DUAL, leaf=leaf, password=PASSWORD) is HTTPStatus.FORBIDDEN


def test_the_profile2_listener_asks_for_no_certificate(site: Site, node: Node) -> None:
    leaf = site.issue("CS-1")
    assert refused(site, node, PROFILE2, leaf=leaf) is HTTPStatus.UNAUTHORIZED


def test_tc_a_19_a_station_on_profile_3_is_refused_on_a_lower_one(site: Site, node: Node) -> None:
    leaf = site.issue("CS-1")
    assert works(site.connect(node, PROFILE3, "CS-1", leaf=leaf))
    site.passwords.on_profile3.add("CS-1")
    assert refused(site, node, PROFILE2, password=PASSWORD) is HTTPStatus.UNAUTHORIZED
    assert refused(site, node, DUAL, password=PASSWORD) is HTTPStatus.UNAUTHORIZED
    assert refusal().payload["reason"] == RefusalReason.PROFILE_TOO_LOW


def test_tc_b_58_the_subprotocol_is_chosen_out_of_several(site: Site, node: Node) -> None:
    station = site.connect(node, PROFILE2, "CS-1", password=PASSWORD, subprotocols=("ocpp0.1", "ocpp2.0.1"))
    assert station.connection.subprotocol == "ocpp2.0.1"
    assert works(station)


@pytest.mark.parametrize("subprotocols", [("ocpp0.1",), ()])
def test_tc_b_58_without_a_common_subprotocol_the_connection_is_closed_at_once(
    site: Site, node: Node, subprotocols: tuple[str, ...]
) -> None:
    """OCPP 2.0.1 part 4 §3.1.2: the handshake is completed without a subprotocol and then closed."""
    station = site.connect(node, PROFILE2, "CS-1", password=PASSWORD, subprotocols=subprotocols)
    assert station.connection.subprotocol is None
    assert station.closed_with()[0] == 1002
    assert refusal().payload["reason"] == RefusalReason.UNSUPPORTED_SUBPROTOCOL
    assert not StationSession.objects.exists()


@pytest.mark.parametrize("path", ["/", "/ocpp/", "/ocpp/CS%201", "/ocpp/" + "x" * 49])
def test_a_path_that_names_no_station_is_not_found(site: Site, node: Node, path: str) -> None:
    assert refused(site, node, PROFILE2, password=PASSWORD, path=path) is HTTPStatus.NOT_FOUND


def test_the_path_before_the_station_id_does_not_matter(site: Site, node: Node) -> None:
    assert works(site.connect(node, PROFILE2, "CS-1", password=PASSWORD, path="/a/b/CS%2D1?x=/y"))


def test_repeated_wrong_passwords_are_slowed(site: Site, node: Node) -> None:
    statuses = [refused(site, node, PROFILE2, password=b"guess") for _ in range(8)]
    assert statuses == [HTTPStatus.UNAUTHORIZED] * 6 + [HTTPStatus.TOO_MANY_REQUESTS] * 2
    with pytest.raises(InvalidStatus) as raised:
        site.connect(node, PROFILE2, "CS-1", password=PASSWORD)
    assert 1 <= int(raised.value.response.headers["Retry-After"]) <= 60
    rows = eventually(lambda: len(found := stored("connection_refused", "CS-1")) >= 2 and found)
    assert {row.payload["reason"] for row in rows} == {"wrong_password", "throttled"}


def test_a_station_that_was_here_before_is_not_kept_out_by_its_neighbours(site: Site, node: Node) -> None:
    site.connect(node, PROFILE2, "CS-1", password=PASSWORD).close()
    for _ in range(8):
        refused(site, node, PROFILE2, "CS-2", password=b"guess")
    assert works(site.connect(node, PROFILE2, "CS-1", password=PASSWORD))


def test_of_many_equal_refusals_the_first_is_reported(site: Site, node: Node) -> None:
    leaf = site.issue("CS-2")
    for _ in range(5):
        refused(site, node, PROFILE3, leaf=leaf)
    site.certificates.refused[leaf.fingerprint] = RefusalReason.CERTIFICATE_REVOKED
    refused(site, node, PROFILE3, leaf=leaf)
    rows = eventually(lambda: len(rows := stored("connection_refused")) >= 2 and rows)
    assert [row.payload["reason"] for row in rows] == ["certificate_of_another_station", "certificate_revoked"]


def test_no_session_is_ever_resumed(site: Site, node: Node) -> None:
    """A resumed session proves no key: it is refused, even where TLS 1.2 itself let it pass."""
    leaf = site.issue("CS-1")
    context = site.context(leaf)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    first = site.connect(node, PROFILE3, "CS-1", context=context)
    assert isinstance(first.connection.socket, ssl.SSLSocket)
    session = first.connection.socket.session
    assert session is not None
    first.close()
    resumed = Resuming(context, session)
    assert refused(site, node, PROFILE3, context=resumed) is HTTPStatus.FORBIDDEN
    assert resumed.reused
    assert refusal().payload["reason"] == RefusalReason.SESSION_RESUMED


class Resuming(ssl.SSLContext):
    """A client that presents the session id of an earlier connection."""

    def __new__(cls, context: ssl.SSLContext, session: ssl.SSLSession) -> "Resuming":
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self, context: ssl.SSLContext, session: ssl.SSLSession) -> None:
        self.context, self.earlier, self.reused = context, session, False

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        wrapped = self.context.wrap_socket(*args, **{**options, "session": self.earlier})
        self.reused = bool(wrapped.session_reused)
        return wrapped


def test_tls_1_3_offers_no_tickets(site: Site, node: Node) -> None:
    leaf = site.issue("CS-1")
    station = site.connect(node, PROFILE3, "CS-1", leaf=leaf)
    assert works(station)
    tls = station.connection.socket
    assert isinstance(tls, ssl.SSLSocket)
    assert tls.version() == "TLSv1.3"
    assert tls.session is None or not tls.session.has_ticket


def test_the_first_connection_is_evidence_and_a_routine_reconnect_is_not(site: Site, node: Node) -> None:
    leaf = site.issue("CS-1")
    for _ in range(3):
        site.connect(node, PROFILE3, "CS-1", leaf=leaf).close()
    (row,) = stored("connected", "CS-1")
    assert row.payload == {
        "fingerprint": leaf.fingerprint,
        "profile": 3,
        "address": "127.0.0.1",
        "protocol": "ocpp2.0.1",
        "listener": "profile3",
        "evidence_wanted": False,
        "renewal_only": False,
        "authorization_key": None,
    }
    assert row.session_id == StationSession.objects.earliest("connected_at").pk


def test_another_certificate_another_profile_and_news_are_evidence(site: Site, node: Node) -> None:
    old, new = site.issue("CS-1"), site.issue("CS-1")
    for leaf in (old, new):
        site.connect(node, PROFILE3, "CS-1", leaf=leaf).close()
    site.connect(node, PROFILE2, "CS-1", password=PASSWORD).close()
    site.connect(node, PROFILE3, "CS-1", leaf=new).close()
    site.certificates.news.add(new.fingerprint)
    site.connect(node, PROFILE3, "CS-1", leaf=new).close()
    seen = [(row.payload["profile"], row.payload["fingerprint"]) for row in stored("connected", "CS-1")]
    assert seen == [(3, old.fingerprint), (3, new.fingerprint), (2, ""), (3, new.fingerprint), (3, new.fingerprint)]


def test_a_door_that_breaks_lets_nobody_in_and_stays_up(site: Site, node: Node) -> None:
    leaf = site.issue("CS-1")
    book: Any = site.certificates
    book.stations = None
    assert refused(site, node, PROFILE3, leaf=leaf) is HTTPStatus.SERVICE_UNAVAILABLE
    site.certificates.stations = {leaf.fingerprint: "CS-1"}
    assert works(site.connect(node, PROFILE3, "CS-1", leaf=leaf))
