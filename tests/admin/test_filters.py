"""Filters answer what they are asked: by part of a text, by a choice, by an exact period; or they say why not."""

from datetime import UTC, datetime
from html import unescape

import pytest
from django.test import Client
from django.urls import reverse

from tests.admin import given
from tests.support import charger

pytestmark = pytest.mark.django_db


def shown(console: Client, model: str, query: str) -> str:
    answer = console.get(reverse(f"admin:inventory_{model}_changelist") + query)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


@pytest.mark.parametrize(
    ("model", "query", "possible"),
    [
        ("certificaterecord", "?state__exact=bogus", "Active"),
        ("certificatejob", "?action__exact=bogus", "Renew"),
        ("managedidentity", "?kind__exact=bogus", "Charger"),
        ("domainevent", "?type__exact=bogus", "CertificateActivated"),
        ("securityevent", "?severity__exact=bogus", "Critical"),
    ],
)
def test_a_value_that_a_field_cannot_have_is_said(model: str, query: str, possible: str, console: Client) -> None:
    page = shown(console, model, query)
    assert "“bogus” is no choice of the filter" in page
    assert possible.lower() in page.lower()


def test_a_value_that_a_field_can_have_is_no_trouble(console: Client) -> None:
    given.active_record(charger("CS-1"))
    page = shown(console, "certificaterecord", "?state__exact=active")
    assert "is no choice" not in page
    assert "CS-1" in page
    assert "CS-1" not in shown(console, "certificaterecord", "?state__exact=revoked")


@pytest.mark.parametrize("query", ["?site=Depot", "?site=depot%20n", "?region=East", "?owner=Example"])
def test_chargers_are_found_by_part_of_where_they_belong_under_the_fields_own_name(query: str, console: Client) -> None:
    charger("CS-1", site="Depot North", region="East", owner="Example CPO")
    charger("CS-2", site="City Hall", region="West", owner="Somebody")

    page = shown(console, "managedidentity", query)

    assert "CS-1" in page
    assert "CS-2" not in page


def test_a_search_that_finds_nothing_says_where_it_looked_and_points_to_the_filters(console: Client) -> None:
    charger("CS-1", site="Depot North")

    page = shown(console, "managedidentity", "?q=Depot")

    assert "The search looks at: identifier, serial number or name." in page
    assert 'href="?site=Depot"' in page
    assert "CS-1" in shown(console, "managedidentity", "?site=Depot")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?occurred_at_from=2026-01-31&occurred_at_to=2026-01-31", {"first", "second"}),
        ("?occurred_at_from=2026-01-31+12:01", {"second", "third"}),
        ("?occurred_at_to=2026-01-31T12:00", {"first"}),
        ("?occurred_at_from=&occurred_at_to=", {"first", "second", "third"}),
    ],
)
@pytest.mark.parametrize("model", ["domainevent", "securityevent"])
def test_events_of_an_exact_period(model: str, query: str, found: set[str], console: Client) -> None:
    moments = {
        "first": datetime(2026, 1, 31, 12, 0, 30, tzinfo=UTC),
        "second": datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC),
        "third": datetime(2026, 2, 1, tzinfo=UTC),
    }
    for name, at in moments.items():
        if model == "domainevent":
            given.domain_event(reason=f"The {name} one", occurred_at=at)
        else:
            given.security_event(message=f"The {name} one", occurred_at=at)

    page = shown(console, model, query)

    assert {name for name in moments if f"The {name} one" in page} == found


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("?occurred_at_from=yesterday", "“yesterday” is no time that the filter “occurred at” can read"),
        ("?occurred_at_to=9999-12-31", "“9999-12-31” is no time"),
        ("?occurred_at_from=2026-02-01&occurred_at_to=2026-01-01", "ends before it begins"),
    ],
)
def test_a_period_that_means_nothing_is_said(query: str, sentence: str, console: Client) -> None:
    assert sentence in shown(console, "domainevent", query)
