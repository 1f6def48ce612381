"""Editing by form: with a reason, attributed, never over somebody else's change, and refused in words."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from html import unescape
from threading import Event
from time import monotonic
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from inventory.admin.durations import DurationField
from inventory.models import ChargerFamily, Cohort, LifecyclePolicy, ManagedIdentity
from inventory.services import identities
from tests.admin import given
from tests.support import OPERATOR, charger

pytestmark = pytest.mark.django_db
REASON = "A new site"


def form_of(console: Client, url: str) -> dict[str, Any]:
    """What a browser would send if nothing were typed."""
    response = console.get(url)
    assert response.status_code == 200
    form = response.context["adminform"].form
    values: dict[str, Any] = {}
    for name, field in form.fields.items():
        value = form[name].value()
        if value not in (None, False, ""):
            values[name] = field.prepare_value(value)
    version = re.search(r'name="version" value="([0-9a-f]+)"', response.content.decode())
    if version:
        values["version"] = version[1]
    return values


def edit_address(target: Model) -> str:
    page = "edit" if isinstance(target, ManagedIdentity) else "change"
    return reverse(f"admin:inventory_{target._meta.model_name}_{page}", args=[target.pk])


def somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for a condition, and fail when it does not come."""
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "the condition did not come"
        Event().wait(0.02)


def text_of(response: Any) -> str:
    return unescape(response.content.decode())


def test_an_identity_is_added_with_a_reason(console: Client) -> None:
    url = reverse("admin:inventory_managedidentity_add")
    typed = {"kind": "charger", "authoritative_identifier": "CS-1", "site": "Depot North", "tags": "pilot, north"}

    unreasoned = console.post(url, typed)
    assert "Say why this is changed." in text_of(unreasoned)
    response = console.post(url, {**typed, "reason": REASON})

    assert response.status_code == 302, text_of(response)
    identity = ManagedIdentity.objects.get()
    assert response.headers["Location"] == reverse("admin:inventory_managedidentity_change", args=[identity.pk])
    assert (identity.site, identity.tags) == ("Depot North", ["pilot", "north"])
    row = identity.history.get()
    assert (row.actor, row.history_change_reason) == ("person:maria", REASON)


def test_an_identity_is_changed_with_a_reason_and_keeps_its_identifier(console: Client) -> None:
    identity = given.identity(authoritative_identifier="CS-1", site="Depot North")
    url = edit_address(identity)

    response = console.post(
        url, {**form_of(console, url), "site": "Depot South", "authoritative_identifier": "CS-9", "reason": REASON}
    )

    page = reverse("admin:inventory_managedidentity_change", args=[identity.pk])
    assert (response.status_code, response.headers["Location"]) == (302, page)
    identity.refresh_from_db()
    assert (identity.site, identity.authoritative_identifier) == ("Depot South", "CS-1")
    row = identity.history.latest()
    assert (row.actor, row.history_change_reason) == ("person:maria", REASON)


def test_a_change_by_somebody_else_is_not_overwritten(console: Client) -> None:
    identity = given.identity(authoritative_identifier="CS-1", site="Depot North")
    url = edit_address(identity)
    form = form_of(console, url)
    identities.update(identity=identity, changes={"owner": "Another"}, actor=OPERATOR, reason="Meanwhile")

    response = console.post(url, {**form, "site": "Depot South", "reason": REASON})

    page = text_of(response)
    assert "Nothing was saved: it was changed while you had this form open." in page
    assert "Test operator changed it at" in page
    assert "saying “Meanwhile”" in page
    assert re.search(r"owner:</span>\s*- → Another", page)
    assert f'href="{url}"' in page
    assert "Depot South" in page
    identity.refresh_from_db()
    assert (identity.site, identity.owner) == ("Depot North", "Another")
    version = re.search(r'name="version" value="([0-9a-f]+)"', page)
    assert version is not None
    again = console.post(url, {**form, "site": "Depot South", "reason": REASON, "version": version[1]})
    assert "Nothing was saved" in text_of(again)
    identity.refresh_from_db()
    assert identity.owner == "Another"


def test_an_identifier_that_is_taken_is_refused_with_what_was_typed(console: Client) -> None:
    charger("CS-1")
    typed = {"kind": "charger", "authoritative_identifier": "CS-1", "site": "Depot X", "reason": REASON}

    response = console.post(reverse("admin:inventory_managedidentity_add"), typed)

    assert "already exists" in text_of(response)
    assert "Depot X" in text_of(response)
    assert ManagedIdentity.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_people_who_add_the_same_at_the_same_moment_get_an_answer_each() -> None:
    client = Client()
    client.force_login(given.administrator())
    typed = {"kind": "charger", "authoritative_identifier": "CS-1", "site": "Depot X", "reason": REASON}

    def add() -> Any:
        try:
            return client.post(reverse("admin:inventory_managedidentity_add"), typed)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as other:
        with transaction.atomic():
            charger("CS-1")
            response = other.submit(add)
            wait_until(somebody_waits_for_a_lock)
        answer = response.result(timeout=20)

    assert answer.status_code == 200
    assert "already exists." in text_of(answer)
    assert "Depot X" in text_of(answer)
    assert ManagedIdentity.objects.count() == 1


def test_a_policy_is_written_in_words(console: Client) -> None:
    policy = LifecyclePolicy.objects.get(name="Charger identity, default")
    url = edit_address(policy)

    response = console.post(url, {**form_of(console, url), "cut_over_deadline": "5 hours 30 minutes", "reason": REASON})

    assert response.status_code == 302, text_of(response)
    policy.refresh_from_db()
    assert policy.cut_over_deadline == timedelta(hours=5, minutes=30)
    assert policy.validity == timedelta(days=180)
    assert policy.history.latest().actor == "person:maria"


def test_a_policy_that_contradicts_itself_is_refused_with_the_sentence(console: Client) -> None:
    policy = LifecyclePolicy.objects.get(name="Charger identity, default")
    url = edit_address(policy)

    response = console.post(url, {**form_of(console, url), "cut_over_deadline": "20 days", "reason": REASON})

    assert "The cut-over deadline must end before the rollback window." in text_of(response)
    policy.refresh_from_db()
    assert policy.cut_over_deadline == timedelta(hours=4)


def test_a_family_and_a_cohort_are_added_with_a_reason(console: Client) -> None:
    family = {
        "name": "Fast ones",
        "vendor": "V",
        "model": "M",
        "subject_rule": "either",
        "chain_content": "leaf_to_root",
        "key_form": "literal",
        "reason": REASON,
    }
    assert console.post(reverse("admin:inventory_chargerfamily_add"), family).status_code == 302
    assert ChargerFamily.objects.get().history.get().history_change_reason == REASON

    url = reverse("admin:inventory_cohort_add")
    wrong = {"name": "North", "kind": "filter", "filter": '{"planet": "Mars"}', "reason": REASON}
    assert "is not a filter field" in text_of(console.post(url, wrong))
    assert console.post(url, {**wrong, "filter": '{"site": "Depot North"}'}).status_code == 302
    assert Cohort.objects.get().history.get().actor == "person:maria"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("180 days", timedelta(days=180)),
        ("1 day", timedelta(days=1)),
        ("4 hours, 30 minutes", timedelta(hours=4, minutes=30)),
        ("7 days and 1 second", timedelta(days=7, seconds=1)),
        ("90seconds", timedelta(seconds=90)),
        ("", None),
    ],
)
def test_a_duration_reads_as_people_write_it(text: str, value: timedelta | None) -> None:
    field = DurationField(required=False)
    assert field.clean(text) == value
    assert not field.has_changed(value, text)


@pytest.mark.parametrize("text", ["180", "a while", "5 fortnights", "-3 days", "3 days ago"])
def test_a_duration_that_cannot_be_read_says_how_to_write_it(text: str) -> None:
    with pytest.raises(ValidationError, match="for example “7 days 4 hours”"):
        DurationField().clean(text)
