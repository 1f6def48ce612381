"""What the floors above hear of, through the same inbox and in the same transaction as everything else."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from bfcerts.ocpp import canonical, outbox
from bfcerts.ocpp.canonical import Action, Evidence
from inventory import seams
from inventory.models import CertificateJob, ManagedIdentity
from inventory.services import lifecycle
from tests.support import OPERATOR, ControlPlane, charger

pytestmark = pytest.mark.django_db

LISTENERS = ("_connections", "_boots", "_reports", "_ended_jobs", "_moved_records", "_gates")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Listeners of one test are not those of the next, and the floors above do not hear of it."""
    lists = {name: list(getattr(seams, name)) for name in LISTENERS}
    answers = dict(seams._answers)
    for name in LISTENERS:
        getattr(seams, name).clear()
    seams._answers.clear()
    yield
    for name, listeners in lists.items():
        getattr(seams, name)[:] = listeners
    seams._answers.clear()
    seams._answers.update(answers)


def test_a_connection_is_told_with_the_key_that_opened_the_door(plane: ControlPlane) -> None:
    heard: list[seams.Connection] = []
    seams.on_connection(heard.append)
    identity = charger("CS-1")

    plane.observe("CS-1", Evidence.CONNECTED, {"fingerprint": "", "profile": 2, "authorization_key": 7})
    plane.read_inbox()

    (connection,) = heard
    assert connection.identity == identity
    assert (connection.security_profile, connection.authorization_key_id) == (2, 7)


def test_a_listener_that_fails_takes_back_what_the_others_did(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    outages = iter([True])

    def rename(boot: seams.Boot) -> None:
        ManagedIdentity.objects.filter(pk=boot.identity.pk).update(name=boot.model)

    def fail_once(boot: seams.Boot) -> None:
        if next(outages, False):
            raise RuntimeError("the floor above is broken")

    seams.on_boot(rename)
    seams.on_boot(fail_once)
    plane.observe("CS-1", Evidence.BOOTED, {"model": "Eagle", "reason": "PowerUp"})

    plane.read_inbox()
    identity.refresh_from_db()
    assert identity.name == ""

    plane.clock.advance(hours=1)
    plane.read_inbox()
    identity.refresh_from_db()
    assert identity.name == "Eagle"


def test_the_answer_to_a_command_goes_to_the_floor_that_sent_it(plane: ControlPlane) -> None:
    heard: list[seams.CommandAnswer] = []
    seams.on_answer("anchors", heard.append)
    identity = charger("CS-1")
    command = outbox.enqueue(
        station_id="CS-1",
        action=Action.LIST_CERTIFICATES,
        payload=canonical.list_certificates(),
        dedupe_key="anchors:5:list",
        now=plane.clock(),
        expires_after=timedelta(hours=1),
        reference="anchors:5:list",
    )

    plane.answer(command)
    plane.work()

    (answer,) = heard
    assert answer.command == command
    assert answer.command.station_id == identity.authoritative_identifier
    assert answer.reference == "5:list"


def test_who_answers_is_settled_once() -> None:
    seams.on_answer("anchors", lambda answer: None)

    with pytest.raises(ValueError, match="already have a handler"):
        seams.on_answer("anchors", lambda answer: None)


def test_a_security_event_is_told_as_it_is_classified(plane: ControlPlane) -> None:
    heard: list[seams.StationReport] = []
    seams.on_station_report(heard.append)
    charger("CS-1")

    plane.observe("CS-1", Evidence.SECURITY_EVENT, {"type": "DiscardedRenewedClientCertificate", "tech_info": "why"})
    plane.observe("CS-unknown", Evidence.SECURITY_EVENT, {"type": "TamperDetectionActivated"})
    plane.read_inbox()

    (report,) = heard
    assert (report.kind, report.technical_detail) == ("DiscardedRenewedClientCertificate", "why")


def test_the_end_of_a_job_is_told_however_it_ends(plane: ControlPlane) -> None:
    ended: list[tuple[int, str]] = []
    seams.on_job_ended(lambda job, now: ended.append((job.pk, job.state)))

    plane.enrol(charger("CS-1"))

    assert ended == [(CertificateJob.objects.get().pk, "succeeded")]


def test_a_certificate_on_its_way_is_told_at_every_stage(plane: ControlPlane) -> None:
    moved: list[str] = []
    seams.on_record_moved(lambda record, now: moved.append(record.state))
    identity = charger("CS-1")

    first = plane.enrol(identity)
    lifecycle.renew(record=first, actor=OPERATOR, reason="test", now=plane.clock())
    plane.complete(CertificateJob.objects.latest("pk"))

    assert moved == ["installed_pending_activation", "active", "installed_pending_activation", "retired", "active"]


def test_a_watch_is_never_shortened(plane: ControlPlane) -> None:
    identity, now = charger("CS-1"), plane.clock()

    seams.watch_connections(identity, now + timedelta(hours=2))
    seams.watch_connections(identity, now + timedelta(hours=1))

    identity.refresh_from_db()
    assert identity.connections_watched_until == now + timedelta(hours=2)


def test_the_first_gate_that_is_closed_says_why(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    assert seams.what_holds_back(seams.Gated.CUT_OVER, identity, plane.clock()) is None

    seams.add_gate(lambda action, of, now: None)
    seams.add_gate(lambda action, of, now: f"{of} waits" if action == seams.Gated.CUT_OVER else None)

    assert seams.what_holds_back(seams.Gated.CUT_OVER, identity, plane.clock()) == "CS-1 waits"
    assert seams.what_holds_back(seams.Gated.FIRST_ENROLMENT, identity, plane.clock()) is None
