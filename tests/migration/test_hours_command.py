"""`manage.py hours`: when work may be done, with the checks of console and API."""

from datetime import date, time
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from migration.models import Blackout, MigrationWindow
from tests.admin import given

pytestmark = pytest.mark.django_db


def run(*arguments: str, user: str = "maria", reason: str = "As agreed") -> str:
    said = StringIO()
    call_command("hours", *arguments, user=user, reason=reason, stdout=said, stderr=StringIO())
    return said.getvalue()


@pytest.fixture(autouse=True)
def maria() -> None:
    given.administrator("maria")


def test_hours_and_days_are_added_changed_and_switched_off() -> None:
    added = run(
        "add", "window", "--set", "site=Depot", "--set", "opens=22:00", "--set", "closes=04:00", "--set", "weekdays=6,7"
    )
    window = MigrationWindow.objects.get()
    assert added == f"window {window.pk}: Depot, 22:00 to 04:00 UTC, on days 6,7\n"
    assert (window.opens, window.closes, window.weekdays) == (time(22), time(4), [6, 7])

    run("change", "window", str(window.pk), "--set", "enabled=no", "--set", "time_zone=Europe/Berlin")
    window.refresh_from_db()
    assert (window.enabled, window.time_zone) == (False, "Europe/Berlin")
    row = window.history.latest()
    assert (row.actor, row.history_change_reason) == ("person:maria", "As agreed")

    run("add", "blackout", "--set", "first_day=2030-12-24", "--set", "last_day=2030-12-26", "--set", "note=Christmas")
    assert Blackout.objects.get().last_day == date(2030, 12, 26)
    listed = run("list")
    assert "Europe/Berlin, on days 6,7 (switched off)" in listed
    assert "Every site, 2030-12-24 to 2030-12-26" in listed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("add", "window", "--set", "opens=25:00", "--set", "closes=04:00"), "opens: “25:00” value has"),
        (("add", "window", "--set", "opens=22:00", "--set", "closes=22:00"), "window_opens_and_closes"),
        (("add", "window", "--set", "until=22:00"), "write NAME=VALUE, with one of site, weekdays"),
        (
            ("add", "window", "--set", "opens=1:00", "--set", "closes=2:00", "--set", "time_zone=Mars"),
            "“Mars” is no time zone",
        ),
        (("change", "blackout", "77", "--set", "note=x"), "There is no blackout 77; manage.py hours list"),
        (("add",), "Say what to add: window or blackout."),
    ],
)
def test_what_is_wrong_is_said(arguments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        run(*arguments)
    assert not MigrationWindow.objects.exists()


def test_it_asks_who_why_and_whether_they_may() -> None:
    given.person("somebody")
    new = ("add", "window", "--set", "opens=22:00", "--set", "closes=04:00")
    with pytest.raises(CommandError, match="There is no user 'nobody'"):
        run(*new, user="nobody")
    with pytest.raises(CommandError, match=r"migration\.add_migrationwindow"):
        run(*new, user="somebody")
    with pytest.raises(CommandError, match="A reason is needed"):
        run(*new, reason=" ")
