"""Questions of stations that only somebody outside can answer: nobody else waits, and none goes without an answer."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from bfcerts.ocpp import canonical, outbox, questions
from bfcerts.ocpp.canonical import Action, QuestionKind
from bfcerts.ocpp.gateway.tls import ListenerName
from bfcerts.ocpp.models import InboxMessage, StationQuestion, StationSession
from bfcerts.ocpp.protocol import Told
from bfcerts.ocpp.registry import QuestionAnswer
from tests.ocpp.answerers import EXI_ANSWER, Partner, a_worker, registered
from tests.ocpp.node import DEADLINE_SECONDS, Node, Site, Station, eventually, stored
from tests.ocpp.test_database_away import database_away
from tests.ocpp.test_gateway_command import environment

PASSWORD = b"0123456789abcdef"
EVENT = {"type": "SettingSystemTime", "timestamp": "2026-05-04T03:02:01Z"}
ASK = {"iso15118SchemaVersion": "urn:iso:15118:2:2013:MsgDef", "action": "Install", "exiRequest": "gJgB" * 900}
ACCEPTED = {"status": "Accepted", "exiResponse": EXI_ANSWER}
FAILED = {"status": "Failed", "exiResponse": ""}
HASHES = {"hashAlgorithm": "SHA256", "issuerNameHash": "AB" * 32, "issuerKeyHash": "cd" * 32, "serialNumber": "00AF"}
STATUS = {"ocspRequestData": {**HASHES, "responderURL": "http://ocsp.example/"}}
PNC = "org.openchargealliance.iso15118pnc"
State = StationQuestion.State


@pytest.fixture
def partner() -> Iterator[Partner]:
    """Somebody who answers questions about contract certificates."""
    one = Partner()
    with registered(one):
        yield one
        one.going_on.set()


def dial(site: Site, node: Node, station_id: str = "CS-1", version: str = "ocpp2.0.1") -> Station:
    site.passwords.passwords[station_id] = {PASSWORD}
    return site.connect(node, ListenerName.PROFILE2, station_id, password=PASSWORD, subprotocols=(version,))


@pytest.fixture
def station(site: Site, node: Node) -> Station:
    return dial(site, node)


def transfer(name: str, payload: dict[str, Any], vendor: str = PNC) -> dict[str, str]:
    return {"vendorId": vendor, "messageId": name, "data": json.dumps(payload)}


def question() -> StationQuestion:
    return StationQuestion.objects.get()


def test_tc_m_26_a_question_goes_up_as_it_came_and_its_answer_down(partner: Partner, station: Station) -> None:
    with a_worker():
        assert station.call("Get15118EVCertificate", ASK)[2] == ACCEPTED
    (asked,) = partner.asked
    assert (asked.station_id, asked.kind, asked.longest) == ("CS-1", QuestionKind.EV_CERTIFICATE, 7_500)
    assert asked.payload == {
        "schema_version": ASK["iso15118SchemaVersion"],
        "action": "Install",
        "exi": ASK["exiRequest"],
    }
    assert timedelta(seconds=19) < asked.deadline - asked.asked_at < timedelta(seconds=21)
    assert eventually(lambda: question().told) == "answer"
    assert (question().state, question().accepted, question().content) == (State.ANSWERED, True, EXI_ANSWER)


def test_tc_m_28_an_answer_that_is_no_success_reaches_the_vehicle_all_the_same(
    partner: Partner, station: Station
) -> None:
    partner.answer = lambda asked: QuestionAnswer(False, "gJgD", "The pool knows no such contract.")
    with a_worker():
        answer = station.call("Get15118EVCertificate", {**ASK, "action": "Update"})[2]
    assert answer == {"status": "Failed", "exiResponse": "gJgD"}
    assert question().detail == "The pool knows no such contract."


def test_tc_m_24_the_status_of_a_certificate_is_asked_for_in_one_form(station: Station) -> None:
    responder = Partner(lambda asked: QuestionAnswer(True, "MIIB"))
    with registered(responder, QuestionKind.CERTIFICATE_STATUS), a_worker():
        assert station.call("GetCertificateStatus", STATUS)[2] == {"status": "Accepted", "ocspResult": "MIIB"}
    assert responder.asked[0].payload == {
        "hash_algorithm": "SHA256",
        "issuer_name_hash": "ab" * 32,
        "issuer_key_hash": "cd" * 32,
        "serial_number": "af",
        "responder_url": "http://ocsp.example/",
    }


def test_without_anybody_who_answers_there_is_no_answer_and_no_row(station: Station) -> None:
    assert station.call("Get15118EVCertificate", ASK)[2] == FAILED
    assert station.call("GetCertificateStatus", STATUS)[2] == {"status": "Failed"}
    assert not StationQuestion.objects.exists()


def test_nothing_else_waits_for_an_answer(partner: Partner, site: Site, node: Node, station: Station) -> None:
    partner.stall()
    responder = Partner(lambda asked: QuestionAnswer(True, "MIIB"))
    other = dial(site, node, "CS-2")
    with registered(responder, QuestionKind.CERTIFICATE_STATUS), a_worker():
        station.send(2, "q", "Get15118EVCertificate", ASK)
        eventually(lambda: partner.asked)
        assert station.call("Heartbeat")[0] == 3
        assert station.call("SecurityEventNotification", EVENT)[0] == 3
        assert station.call("GetCertificateStatus", STATUS)[2]["status"] == "Accepted"
        assert other.call("GetCertificateStatus", STATUS)[2]["status"] == "Accepted"
        row = outbox.enqueue(
            station_id="CS-1", action=Action.RESET, payload=canonical.reset(), dedupe_key="k", now=datetime.now(UTC),
            expires_after=timedelta(hours=1),
        )  # fmt: skip
        station.answer(station.expect("Reset")[0], {"status": "Accepted"})
        eventually(lambda: InboxMessage.objects.filter(kind="command_answered", payload__command_id=row.pk).exists())
        partner.going_on.set()
        assert station.receive() == [3, "q", ACCEPTED]


def test_a_slow_partner_takes_its_own_places_and_no_more(partner: Partner, site: Site, node: Node) -> None:
    partner.stall()
    stations = [dial(site, node, f"CS-{number}") for number in range(6)]
    with a_worker():
        for station in stations:
            station.send(2, "q", "Get15118EVCertificate", ASK)
        eventually(lambda: len(partner.asked) == 4)
        assert StationQuestion.objects.filter(attempts=0).count() == 2
        partner.going_on.set()
        assert [station.receive()[2] for station in stations] == [ACCEPTED] * 6


def test_at_the_deadline_the_station_is_answered_and_what_comes_later_changes_nothing(
    partner: Partner, site: Site
) -> None:
    partner.stall()
    node = site.node(gateway_question_seconds=0.6)
    node.start()
    try:
        station = dial(site, node)
        with a_worker():
            station.send(2, "q", "Get15118EVCertificate", ASK)
            assert station.receive() == [3, "q", FAILED]
            assert eventually(lambda: question().told) == "nothing"
            assert (question().state, question().detail) == (State.EXPIRED, questions.LATE)
            partner.going_on.set()
            assert eventually(lambda: question().answered_at)
            assert (question().state, question().content) == (State.EXPIRED, EXI_ANSWER)
            assert question().detail == "The answer came too late."
            assert station.call("Heartbeat")[0] == 3
            # The answer is in hand: whoever asks the same again gets it.
            assert dial(site, node).call("Get15118EVCertificate", ASK, "q")[2] == ACCEPTED
        assert len(partner.asked) == 1
    finally:
        node.stop()


def refuse(question: Any) -> QuestionAnswer:
    raise RuntimeError("no such pool")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (refuse, "It could not be answered: RuntimeError: no such pool"),
        (
            lambda asked: QuestionAnswer(True, "A" * 7_501),
            "The answer has 7501 characters, and the message of this station carries no more than 7500.",
        ),
        (lambda asked: QuestionAnswer(True, "é", "Why."), "The answer is no base64. Why."),
        (lambda asked: QuestionAnswer(False, "", "no\x00body"), "no body"),
    ],
)
def test_what_is_no_answer_is_told_at_once_and_its_reason_kept(
    partner: Partner, station: Station, answer: Any, said: str
) -> None:
    partner.answer = answer
    with a_worker():
        assert station.call("Get15118EVCertificate", ASK)[2] == FAILED
    assert (question().accepted, question().detail) == (False, said)


def test_the_longest_answer_passes(partner: Partner, station: Station) -> None:
    partner.answer = lambda asked: QuestionAnswer(True, "A" * 7_500)
    with a_worker():
        assert len(station.call("Get15118EVCertificate", ASK)[2]["exiResponse"]) == 7_500


def test_a_repeated_question_is_asked_once_and_answered_once(partner: Partner, station: Station) -> None:
    partner.stall()
    with a_worker():
        station.send(2, "q", "Get15118EVCertificate", ASK)
        station.send(2, "q", "Get15118EVCertificate", ASK)
        eventually(lambda: partner.asked)
        partner.going_on.set()
        assert station.receive() == [3, "q", ACCEPTED]
        assert station.call("Heartbeat")[0] == 3
        assert station.call("Get15118EVCertificate", ASK, "q")[2] == ACCEPTED
    assert len(partner.asked) == 1


def test_another_question_under_an_open_id_is_refused(partner: Partner, station: Station) -> None:
    partner.stall()
    with a_worker():
        station.send(2, "q", "Get15118EVCertificate", ASK)
        assert station.call("Get15118EVCertificate", {**ASK, "action": "Update"}, "q")[2] == "RpcFrameworkError"
        partner.going_on.set()
        assert station.receive() == [3, "q", ACCEPTED]


def test_who_hangs_up_and_asks_again_goes_on_waiting(
    partner: Partner, site: Site, node: Node, station: Station
) -> None:
    partner.stall()
    with a_worker():
        station.send(2, "q", "Get15118EVCertificate", ASK)
        eventually(lambda: partner.asked)
        station.close()
        again = dial(site, node)
        again.send(2, "q", "Get15118EVCertificate", ASK)
        eventually(lambda: question().times_asked == 2)
        partner.going_on.set()
        assert again.receive() == [3, "q", ACCEPTED]
        third = dial(site, node)
        assert third.call("Get15118EVCertificate", ASK, "q")[2] == ACCEPTED
        # On a connection of its own an id says nothing: another question is another one.
        assert third.call("Get15118EVCertificate", {**ASK, "action": "Update"}, "r")[2] == ACCEPTED
    assert [asked.payload["action"] for asked in partner.asked] == ["Install", "Update"]


def test_an_answer_is_for_the_station_that_asked(partner: Partner, site: Site, node: Node, station: Station) -> None:
    partner.answer = lambda asked: QuestionAnswer(True, asked.station_id.replace("-", ""))
    with a_worker():
        assert station.call("Get15118EVCertificate", ASK, "q")[2]["exiResponse"] == "CS1"
        assert dial(site, node, "CS-2").call("Get15118EVCertificate", ASK, "q")[2]["exiResponse"] == "CS2"


def test_an_answer_is_not_good_for_ever(partner: Partner, site: Site, node: Node, station: Station) -> None:
    with a_worker():
        assert station.call("Get15118EVCertificate", ASK, "q")[2] == ACCEPTED
        StationQuestion.objects.update(answered_at=datetime.now(UTC) - questions.FRESH)
        partner.answer = lambda asked: QuestionAnswer(True, "bmV3")
        assert dial(site, node).call("Get15118EVCertificate", ASK, "q")[2]["exiResponse"] == "bmV3"
    assert len(partner.asked) == 2
    assert question().times_asked == 2


def test_nobody_is_asked_for_a_station_that_has_gone(partner: Partner, station: Station) -> None:
    station.send(2, "q", "Get15118EVCertificate", ASK)
    eventually(StationQuestion.objects.exists)
    station.close()
    assert eventually(lambda: question().state == State.CLOSED)
    assert question().detail == questions.GONE
    with a_worker():
        assert questions.take(QuestionKind.EV_CERTIFICATE, datetime.now(UTC)) is None
    assert not partner.asked


def test_more_questions_at_once_than_a_station_needs_are_answered_with_no(partner: Partner, station: Station) -> None:
    partner.stall()
    with a_worker():
        for number in range(300):
            station.send(2, f"q{number}", "Get15118EVCertificate", ASK)
        refused = [station.receive() for _ in range(296)]
        assert {frame[1] for frame in refused} == {f"q{number}" for number in range(4, 300)}
        assert all(frame[2] == FAILED for frame in refused)
        assert station.call("Heartbeat")[0] == 3
        partner.going_on.set()
        assert sorted(station.receive()[1] for _ in range(4)) == ["q0", "q1", "q2", "q3"]
    assert {row.payload["kind"] for row in stored("protocol_violation")} == {"too_many_questions"}
    assert len(stored("protocol_violation")) <= 5
    assert StationQuestion.objects.count() == 4


def test_a_station_that_never_stops_asking_is_slowed(partner: Partner, station: Station) -> None:
    with a_worker():
        answers = [station.call("Get15118EVCertificate", {**ASK, "exiRequest": f"{n:04}"})[2] for n in range(60)]
    assert answers[:20] == [ACCEPTED] * 20
    assert FAILED in answers
    assert len(partner.asked) == answers.count(ACCEPTED) < 60


def test_an_answer_is_found_without_its_notification(partner: Partner, station: Station) -> None:
    station.send(2, "q", "Get15118EVCertificate", ASK)
    eventually(StationQuestion.objects.exists)
    # As after a listener that had lost its connection: nobody is told.
    StationQuestion.objects.update(state=State.ANSWERED, accepted=True, content="AA==", answered_at=datetime.now(UTC))
    assert station.receive() == [3, "q", {"status": "Accepted", "exiResponse": "AA=="}]


def test_a_question_is_found_without_its_notification(partner: Partner, station: Station) -> None:
    station.send(2, "q", "Get15118EVCertificate", ASK)
    eventually(StationQuestion.objects.exists)
    with a_worker():
        assert station.receive() == [3, "q", ACCEPTED]


def test_what_a_worker_leaves_behind_another_one_takes_up(partner: Partner, station: Station) -> None:
    station.send(2, "q", "Get15118EVCertificate", ASK)
    eventually(StationQuestion.objects.exists)
    # A worker that was killed in the middle: it holds the question and does not renew its lease.
    assert questions.take(QuestionKind.EV_CERTIFICATE, datetime.now(UTC) - questions.LEASE) is not None
    with a_worker():
        assert station.receive() == [3, "q", ACCEPTED]
    assert question().attempts == 2


def test_a_worker_that_is_killed_while_it_asks_leaves_nothing_stuck(partner: Partner, station: Station) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.ocpp.answering_process"],
        cwd=settings.BASE_DIRECTORY,
        env=environment(BFCERTS_PROCESS="worker", BFCERTS_GATEWAY_KEY=None),
    )
    try:
        station.send(2, "q", "Get15118EVCertificate", ASK)
        first = eventually(lambda: StationQuestion.objects.exclude(lease_until=None).first())
        # While it lives it keeps what it holds: nobody else asks the partner a second time.
        assert eventually(lambda: question().lease_until != first.lease_until)
        assert questions.take(QuestionKind.EV_CERTIFICATE, datetime.now(UTC)) is None
    finally:
        process.kill()
        process.wait(DEADLINE_SECONDS)
    with a_worker():
        assert station.receive() == [3, "q", ACCEPTED]
    assert question().attempts == 2


def test_a_question_that_kills_every_worker_is_given_up(partner: Partner, station: Station) -> None:
    station.send(2, "q", "Get15118EVCertificate", ASK)
    eventually(StationQuestion.objects.exists)
    for left in range(questions.MAX_ATTEMPTS, 0, -1):
        held = questions.take(QuestionKind.EV_CERTIFICATE, datetime.now(UTC) - left * questions.LEASE)
        assert held is not None
    assert questions.take(QuestionKind.EV_CERTIFICATE, datetime.now(UTC)) is None
    questions.clear_up(datetime.now(UTC))
    assert station.receive() == [3, "q", FAILED]
    assert question().detail == questions.VANISHED
    assert held is not None
    assert not questions.settle(held, QuestionAnswer(True, "AA=="), datetime.now(UTC))


def test_what_is_held_stays_with_its_worker(partner: Partner, station: Station) -> None:
    now = datetime.now(UTC)
    station.send(2, "q", "Get15118EVCertificate", ASK)
    eventually(StationQuestion.objects.exists)
    held = questions.take(QuestionKind.EV_CERTIFICATE, now)
    assert held is not None
    questions.renew([held], now + questions.LEASE)
    assert questions.take(QuestionKind.EV_CERTIFICATE, now + questions.LEASE) is None
    other = questions.take(QuestionKind.EV_CERTIFICATE, now + 2 * questions.LEASE)
    assert other is not None
    questions.renew([held], now + 5 * questions.LEASE)
    assert not questions.settle(held, QuestionAnswer(True, "AA=="), now)
    assert questions.settle(other, QuestionAnswer(True, "AQ=="), now)
    assert station.receive()[2]["exiResponse"] == "AQ=="


def of_a_session(closed_at: datetime | None = None) -> questions.Put:
    """A question of a session that no gateway of this test holds."""
    now = datetime.now(UTC)
    session = StationSession.objects.create(
        station_id="CS-9", node="killed", listener="profile2", protocol="ocpp2.0.1", security_profile=2,
        address="127.0.0.1", connected_at=now, closed_at=closed_at,
    )  # fmt: skip
    deadline = now + timedelta(seconds=20)
    return questions.Put("CS-9", session.pk, "q", QuestionKind.EV_CERTIFICATE, {}, 10, now, deadline)


def test_what_a_gateway_leaves_behind_ends_with_its_deadline(partner: Partner, db: None) -> None:
    put = of_a_session()
    questions.put([put, put])
    questions.clear_up(put.now)
    assert question().state == State.WAITING
    questions.clear_up(put.deadline)
    assert question().state == State.EXPIRED
    assert questions.take(QuestionKind.EV_CERTIFICATE, put.now) is None


def test_an_answer_too_late_is_none_also_while_no_gateway_has_said_so(partner: Partner, db: None) -> None:
    put = of_a_session()
    questions.put([put])
    held = questions.take(QuestionKind.EV_CERTIFICATE, put.now)
    assert held is not None
    assert held.question.time_left(put.deadline - timedelta(seconds=1)) == timedelta(seconds=1)
    assert held.question.time_left(put.deadline + timedelta(seconds=1)) == timedelta()
    assert questions.settle(held, QuestionAnswer(True, "AA==", "From the pool."), put.deadline)
    assert (question().state, question().detail) == (State.EXPIRED, "The answer came too late. From the pool.")
    assert questions.answers([question().pk]) == [None]
    (again,) = questions.put([put])
    assert again.told == Told(True, "AA==")


def test_nobody_is_asked_when_the_session_was_closed_behind_the_gateways_back(partner: Partner, db: None) -> None:
    put = of_a_session(closed_at=datetime.now(UTC))
    questions.put([put])
    assert questions.take(QuestionKind.EV_CERTIFICATE, put.now) is None
    questions.clear_up(put.now)
    assert question().state == State.CLOSED


def test_a_question_while_the_database_is_away_is_to_be_repeated(partner: Partner, station: Station) -> None:
    with database_away():
        assert station.call("Get15118EVCertificate", ASK, "q")[2] == "InternalError"
    with a_worker():
        assert station.call("Get15118EVCertificate", ASK, "q")[2] == ACCEPTED


def test_a_worker_outlives_a_database_that_was_away(partner: Partner, station: Station) -> None:
    with a_worker():
        assert station.call("Get15118EVCertificate", ASK)[2] == ACCEPTED
        with database_away():
            assert station.call("Heartbeat")[0] == 3
        eventually(lambda: station.call("Get15118EVCertificate", ASK)[2] == ACCEPTED)


def test_no_thread_and_no_connection_without_anybody_who_answers(db: None) -> None:
    with a_worker(), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'bfcerts questions'")
        assert cursor.fetchone() == (0,)


@pytest.mark.parametrize(
    ("vendor", "ask", "longest"),
    [
        (PNC, ASK, 7_500),
        ("iso15118", {"15118SchemaVersion": "urn:iso:15118:2:2013:MsgDef", "exiRequest": ASK["exiRequest"]}, 5_600),
    ],
)
def test_over_1_6_the_same_question_is_answered_in_the_dialect_that_it_came_in(
    partner: Partner, site: Site, node: Node, vendor: str, ask: dict[str, Any], longest: int
) -> None:
    station = dial(site, node, version="ocpp1.6")
    with a_worker():
        answer = station.call("DataTransfer", transfer("Get15118EVCertificate", ask, vendor))[2]
        assert answer["status"] == "Accepted"
        assert json.loads(answer["data"]) == ACCEPTED
        partner.answer = lambda asked: QuestionAnswer(True, "A" * (longest + 1))
        refused = station.call("DataTransfer", transfer("Get15118EVCertificate", ask, vendor))[2]
        assert (refused["status"], json.loads(refused["data"])) == ("Accepted", FAILED)
    assert partner.asked[0].longest == longest
    assert partner.asked[0].payload == {
        "schema_version": ASK["iso15118SchemaVersion"],
        "action": "Install",
        "exi": ASK["exiRequest"],
    }
