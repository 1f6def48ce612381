"""What the floors above hear of, through the same inbox and in the same transaction as everything else."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from bfcerts.ocpp import canonical, outbox
from bfcerts.ocpp.canonical import Action, Evidence
from inventory import seams
from inventory.models import CertificateJob, ManagedIdentity, SecurityEvent, UntoldJobEnd
from inventory.services import lifecycle
from inventory.services.untold import tell_again
from tests.support import OPERATOR, ControlPlane, charger

pytestmark = pytest.mark.django_db

LISTENERS = ("_connections", "_boots", "_reports", "_moved_records", "_gates")
NAMED = ("_answers", "_ended_jobs")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Listeners of one test are not those of the next, and the floors above do not hear of it."""
    lists = {name: list(getattr(seams, name)) for name in LISTENERS}
    named = {name: dict(getattr(seams, name)) for name in NAMED}
    for name in (*LISTENERS, *NAMED):
        getattr(seams, name).clear()
    yield
    for name, listeners in lists.items():
        getattr(seams, name)[:] = listeners
    for name, by_name in named.items():
        getattr(seams, name).clear()
        getattr(seams, name).update(by_name)


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
    seams.on_job_ended("test", lambda job, now: ended.append((job.pk, job.state)), concerns=lambda job: True)

    plane.enrol(charger("CS-1"))

    assert ended == [(CertificateJob.objects.get().pk, "succeeded")]


def test_a_job_ends_although_a_listener_fails_and_the_listener_is_told_until_it_succeeds(plane: ControlPlane) -> None:
    outages, heard = iter([True, True]), []

    def fail_twice(job: CertificateJob, now: datetime) -> None:
        ManagedIdentity.objects.filter(pk=job.identity_id).update(name="half done")
        if next(outages, False):
            ManagedIdentity.objects.create(kind="charger", authoritative_identifier="CS-1")  # there is one already
        heard.append((job.pk, job.state))
        ManagedIdentity.objects.filter(pk=job.identity_id).update(name="done")

    others: list[int] = []
    seams.on_job_ended("broken", fail_twice, concerns=lambda job: True)
    seams.on_job_ended("sound", lambda job, now: others.append(job.pk), concerns=lambda job: True)
    identity = charger("CS-1")

    plane.enrol(identity)

    job = CertificateJob.objects.get()
    identity.refresh_from_db()
    assert (job.state, job.unexpected_ends, identity.name, heard, others) == ("succeeded", 0, "", [], [job.pk])
    untold = UntoldJobEnd.objects.get()
    assert (untold.listener, untold.job, untold.tries) == ("broken", job, 1)
    assert "IntegrityError" in untold.last_error
    assert SecurityEvent.objects.get(type="JobEndUntold").job == job

    tell_again(plane.clock())
    assert heard == [], "its back-off is not over"
    tell_again(plane.clock.advance(seconds=10))
    untold.refresh_from_db()
    assert (untold.tries, untold.next_run_at > plane.clock(), heard) == (2, True, [])
    tell_again(plane.clock.advance(minutes=1))

    identity.refresh_from_db()
    assert (identity.name, heard, others) == ("done", [(job.pk, "succeeded")], [job.pk])
    assert not UntoldJobEnd.objects.exists()


def test_what_one_listener_has_still_to_be_told_waits_for_it_and_holds_up_nobody(plane: ControlPlane) -> None:
    def fail(job: CertificateJob, now: datetime) -> None:
        raise RuntimeError("the floor above is broken")

    outages = iter([True])
    heard: list[int] = []

    def fail_once(job: CertificateJob, now: datetime) -> None:
        if next(outages, False):
            raise RuntimeError("an outage")
        heard.append(job.pk)

    seams.on_job_ended("broken", fail, concerns=lambda job: True)
    seams.on_job_ended("mended", fail_once, concerns=lambda job: True)
    plane.enrol(charger("CS-1"))
    UntoldJobEnd.objects.create(
        listener="of another release",
        job=CertificateJob.objects.get(),
        failed_at=plane.clock(),
        next_run_at=plane.clock(),
        last_error="KeyError",
    )

    tell_again(plane.clock.advance(minutes=1))

    assert heard == [CertificateJob.objects.get().pk]
    left = UntoldJobEnd.objects.order_by("listener").values_list("listener", "tries")
    assert list(left) == [("broken", 2), ("of another release", 1)]


def test_a_job_that_concerns_no_listener_costs_it_nothing(plane: ControlPlane) -> None:
    asked: list[str] = []
    seams.on_job_ended("test", lambda job, now: asked.append(job.action), concerns=lambda job: job.action == "renew")
    job = CertificateJob(action="issue")

    with CaptureQueriesContext(connection) as queries:
        seams.tell_job_ended(job, plane.clock())

    assert (asked, len(queries)) == ([], 0)


def test_the_name_of_a_job_listener_is_its_own() -> None:
    seams.on_job_ended("test", lambda job, now: None, concerns=lambda job: True)

    with pytest.raises(ValueError, match="already have a listener 'test'"):
        seams.on_job_ended("test", lambda job, now: None, concerns=lambda job: True)


def test_a_certificate_on_its_way_is_told_at_every_stage(plane: ControlPlane) -> None:
    moved: list[str] = []
    seams.on_records_moved(lambda records, now: moved.extend(record.state for record in records))
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

    seams.add_gate(lambda action, of, now: {})
    seams.add_gate(
        lambda action, of, now: {one.pk: f"{one} waits" for one in of} if action == seams.Gated.CUT_OVER else {}
    )

    assert seams.what_holds_back(seams.Gated.CUT_OVER, identity, plane.clock()) == "CS-1 waits"
    assert seams.what_holds_back(seams.Gated.FIRST_ENROLMENT, identity, plane.clock()) is None
