"""The overview: what it counts and links to, what needs somebody, which parts are away, and what it costs."""

from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bfcerts.ocpp.models import GatewayNode
from inventory.audit import attributed
from inventory.choices import JobQueue, JobState
from inventory.jobs import periodic
from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity, PeriodicTask, QueueBeat
from tests.admin import given
from tests.support import OPERATOR, charger

pytestmark = pytest.mark.django_db


def test_the_overview_counts_and_links_to_what_it_counts(console: Client) -> None:
    identity = charger("CS-1")
    record = given.active_record(identity)
    CertificateRecord.objects.filter(pk=record.pk).update(not_after=datetime.now(UTC) + timedelta(days=5))
    given.session(identity, security_profile=3)
    given.job(charger("CS-2"))
    given.security_event(identity, message="A wrong certificate was refused.")

    page = unescape(console.get("/admin/").content.decode())
    figures = {
        figure.label: figure
        for name in ("certificates", "ending", "sessions", "jobs")
        for figure in console.get("/admin/").context[name]
    }

    assert figures["Active"].value == 1
    assert figures["End within 7 days"].value == 1
    assert figures["In use past their end"].value == 0
    assert figures["Connected on Profile 3"].value == 1
    assert figures["Jobs queued"].value == 1
    assert "CS-2" in page
    assert "A wrong certificate was refused." in page
    for figure in figures.values():
        listed = console.get(figure.url)
        assert listed.status_code == 200
        assert listed.context["cl"].result_count == figure.value, figure.label


def test_the_overview_says_first_what_needs_somebody_and_links_to_it(console: Client) -> None:
    now = datetime.now(UTC)
    everything_beats(now)
    assert "Nothing needs you now." in console.get("/admin/").content.decode()
    certified, stranded = charger("CS-1"), charger("CS-2")
    given.active_record(certified)
    with attributed(OPERATOR, "given"):
        ManagedIdentity.objects.filter(pk=stranded.pk).update(security_profile=3)
        for identity, hours in ((certified, 1), (stranded, 1), (charger("CS-3"), 25)):
            failed = given.job(identity)
            CertificateJob.objects.filter(pk=failed.pk).update(
                state=JobState.FAILED, finished_at=now - timedelta(hours=hours)
            )
    given.security_event(certified, severity="critical", type="InvalidMessages", message="A forged request.")
    given.security_event(certified, severity="critical", recorded_at=now - timedelta(hours=25))
    given.security_event(certified, severity="info", message="It restarted.")
    given.identity(kind="vehicle", authoritative_identifier="WVW1")

    answer = console.get("/admin/")

    page = unescape(answer.content.decode())
    figures = {figure.label: figure for figure in answer.context["attention"]}
    assert {label: figure.value for label, figure in figures.items()} == {
        "Chargers locked out": 1,
        "Chargers without an active certificate": 2,
        "Jobs failed in 24 hours": 2,
        "Critical security events in 24 hours": 1,
        "Warning security events in 24 hours": 0,
    }
    for figure in figures.values():
        assert figure.url in page
        assert console.get(figure.url).context["cl"].result_count == figure.value, figure.label
    assert "Nothing needs you now." not in page
    assert "A forged request." in page
    assert "It restarted." not in page
    assert page.index('data-testid="attention"') < page.index('data-testid="certificates"')


def test_the_overview_costs_the_same_with_many_as_with_few(console: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            console.get("/admin/")
        return len(captured)

    def something() -> None:
        identity = charger()
        given.active_record(identity)
        given.session(identity)
        given.job(charger())
        given.security_event(identity)

    everything_beats(datetime.now(UTC))
    something()
    few = queries()
    for _ in range(10):
        something()

    assert queries() == few == 18


def everything_beats(now: datetime) -> None:
    """One gateway node and both kinds of worker run."""
    GatewayNode.objects.update_or_create(name="node-1", defaults={"started_at": now, "beat_at": now})
    for queue in JobQueue:
        QueueBeat.objects.update_or_create(
            cluster=f"{queue}@host", defaults={"queue": queue.value, "started_at": now, "beat_at": now}
        )


def parts_of(console: Client) -> dict[str, tuple[str, str]]:
    """What the overview says of each part of the system."""
    return {part.name: (part.badge.text, part.words) for part in console.get("/admin/").context["parts"]}


def test_the_overview_tells_which_part_is_away_since_when_and_what_to_do(console: Client) -> None:
    now = datetime.now(UTC)
    everything_beats(now - timedelta(seconds=5))
    page = console.get("/admin/").content.decode()
    assert {state for state, _ in parts_of(console).values()} == {"Running"}
    assert 'data-testid="away"' not in page

    GatewayNode.objects.create(name="node-2", started_at=now, beat_at=now - timedelta(seconds=28))
    QueueBeat.objects.filter(queue="pki").update(beat_at=now - timedelta(minutes=4))
    given.job(charger(), queue=JobQueue.PKI, step="issue")
    page = unescape(console.get("/admin/").content.decode())

    parts = parts_of(console)
    assert parts["Gateway node node-1"][0] == "Running"
    assert parts["Gateway node node-2"] == (
        "Away",
        "The node has stopped, or cannot reach the database; its chargers come back on the other nodes. Look at its "
        "log, then start it again.",
    )
    assert parts["General worker"] == ("Running", "1 process")
    assert parts["PKI worker"][0] == "Stopped"
    assert parts["PKI worker"][1].startswith("Its queue is not worked off: 1 job waits for it. Start it with “python")
    assert "Gateway node node-2: away, last heard of" in page
    assert "28 seconds ago" in page
    assert "4 minutes ago" in page
    assert "Nothing needs you now." not in page


def test_the_overview_says_when_no_part_has_ever_run(console: Client) -> None:
    parts = parts_of(console)

    assert parts["Gateway"] == (
        "No node is running",
        "No charger can connect. Start one with “python manage.py gateway”.",
    )
    assert parts["General worker"][0] == parts["PKI worker"][0] == "Has never run"


def test_the_overview_tells_somebody_without_a_role_whom_to_ask() -> None:
    nobody = Client()
    nobody.force_login(given.person("newcomer"))
    sentence = "Your account may see nothing yet. Ask an administrator for a role."

    page = nobody.get("/admin/").content.decode()

    assert sentence in page
    assert 'data-testid="attention"' not in page
    viewer = Client()
    viewer.force_login(given.person("viewer", "inventory.view_certificatejob"))
    assert sentence not in viewer.get("/admin/").content.decode()


def test_the_overview_of_an_empty_inventory_says_how_to_begin(console: Client) -> None:
    assert "Add the first charger" in console.get("/admin/").content.decode()


def test_the_overview_says_which_recurring_duties_stalled_or_fail(console: Client) -> None:
    now = datetime.now(UTC)
    everything_beats(now)
    periodic.ensure_rows(now)
    PeriodicTask.objects.update(last_succeeded_at=now, next_run_at=now + timedelta(minutes=1))
    PeriodicTask.objects.create(name="of-an-older-release", next_run_at=now - timedelta(days=9))
    assert parts_of(console)["Recurring duties"][0] == "Running"

    PeriodicTask.objects.filter(name="retention").update(last_error="RuntimeError: no space left\nmore")
    state, words = parts_of(console)["Recurring duties"]
    assert state == "Failing"
    assert "retention (RuntimeError: no space left)" in words

    PeriodicTask.objects.filter(name="renewal").update(next_run_at=now - timedelta(minutes=11))
    state, words = parts_of(console)["Recurring duties"]
    assert state == "Stalled"
    assert words.startswith("More than 10 minutes overdue: renewal.")
    assert "Recurring duties: stalled" in unescape(console.get("/admin/").content.decode())


def test_what_was_warned_of_is_dated_by_our_clock_and_not_by_the_stations(console: Client) -> None:
    now = datetime.now(UTC)
    given.security_event(charger("CS-1"), message="Its clock is wrong.", occurred_at=now - timedelta(days=400))

    page = console.get("/admin/").content.decode()

    line = page.partition("Its clock is wrong.")[2].partition("</tr>")[0]
    assert "400 days ago" not in line
