"""Narrow doors and vendors' default keys in the console and over the API: opened, listed, closed, never readable."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from inventory.models import CertificateRecord, ManagedIdentity
from inventory.services import lifecycle
from migration.models import KnownDefaultKey, RecoveryDoor
from migration.services import known_defaults
from tests.admin import given
from tests.support import OPERATOR, charger

pytestmark = pytest.mark.django_db

DEFAULT = "vendor-default-of-all"


def do(console: Client, page: str, **values: str) -> str:
    """Open the page of an action, fill it in, and return what comes of it."""
    asked = console.get(page).content.decode()
    hidden = dict(re.findall(r'name="(idempotency_key|version)" value="([^"]*)"', asked))
    return console.post(page, {"reason": "because", **hidden, **values}, follow=True).content.decode()


def expired(name: str = "CS-1") -> tuple[ManagedIdentity, CertificateRecord]:
    """A charger on Profile 3 whose certificate ended an hour ago."""
    identity = charger(name)
    record = given.active_record(identity)
    CertificateRecord.objects.filter(pk=record.pk).update(not_after=datetime.now(UTC) - timedelta(hours=1))
    identity.refresh_from_db()
    return identity, record


def test_a_door_for_a_renewal_is_opened_on_the_page_of_its_charger_and_closed_on_its_own(console: Client) -> None:
    identity, record = expired()
    page = reverse("admin:inventory_managedidentity_do", args=[identity.pk, "open_renewal_door"])

    opened = do(console, page, hours="4")

    door = RecoveryDoor.objects.get()
    assert f"CS-1 is let in with certificate {record.pk} until" in opened
    assert f"for the renewal of its expired certificate {record.pk}, and nothing else, opened by person:maria" in opened
    shown = console.get(reverse("admin:migration_recoverydoor_changelist")).content.decode()
    assert "Its expired certificate, for renewal only" in shown
    assert "CS-1" in shown
    detail = console.get(reverse("admin:migration_recoverydoor_change", args=[door.pk])).content.decode()
    assert reverse("admin:inventory_certificaterecord_change", args=[record.pk]) in detail
    closed = do(console, reverse("admin:migration_recoverydoor_do", args=[door.pk, "close"]))
    assert "The narrow door of CS-1 is closed." in closed
    door.refresh_from_db()
    assert door.closing == "Closed by person:maria"
    assert (
        "The door is closed already"
        in console.get(reverse("admin:migration_recoverydoor_do", args=[door.pk, "close"])).content.decode()
    )


def test_console_and_api_refuse_it_in_the_same_words_where_the_certificate_was_revoked(
    console: Client, maria: User
) -> None:
    identity, record = expired()
    lifecycle.revoke(record=record, actor=OPERATOR, reason="stolen")
    sentence = f"Certificate {record.pk}, the last of CS-1, was revoked; open a door with a fresh key instead."

    page = console.get(reverse("admin:inventory_managedidentity_do", args=[identity.pk, "open_renewal_door"]))
    answer = given.speaker(maria).post(
        "/api/v1/recovery-doors/renewal",
        {
            "identity": identity.pk,
            "until": (datetime.now(UTC) + timedelta(hours=4)).isoformat(),
            "reason": "forgotten over the winter",
        },
    )

    assert sentence in page.content.decode()
    assert (answer.status_code, answer.json()["detail"]) == (409, sentence)
    assert not RecoveryDoor.objects.exists()


def test_the_api_opens_a_door_for_a_renewal_and_closes_it(maria: User) -> None:
    identity, record = expired()
    api: APIClient = given.speaker(maria)

    opened = api.post(
        "/api/v1/recovery-doors/renewal",
        {
            "identity": identity.pk,
            "until": (datetime.now(UTC) + timedelta(hours=4)).isoformat(),
            "reason": "forgotten over the winter",
        },
    )

    assert opened.status_code == 201, opened.content
    assert (opened.json()["kind"], opened.json()["certificate"]) == ("expired_certificate", record.pk)
    listed = api.get("/api/v1/recovery-doors?kind=expired_certificate").json()
    assert [one["id"] for one in listed["results"]] == [opened.json()["id"]]
    closed = api.post(f"/api/v1/recovery-doors/{opened.json()['id']}/close", {"reason": "done"})
    assert closed.json()["closing"] == "Closed by person:maria"


def test_a_default_key_is_added_in_the_console_never_shown_and_taken_off_the_list(console: Client) -> None:
    add = reverse("admin:migration_knowndefaultkey_add")
    values = {"label": "Volta Eagle", "secret": DEFAULT, "reason": "from the manual"}

    added = console.post(add, values, follow=True).content.decode()

    entry = KnownDefaultKey.objects.get()
    assert entry.label == "Volta Eagle"
    assert entry.history.get().actor == "person:maria"
    detail = console.get(reverse("admin:migration_knowndefaultkey_change", args=[entry.pk])).content.decode()
    again = console.post(add, {**values, "label": "Other"}).content.decode()
    assert "This key is in the list already, as “Volta Eagle”." in again
    for page in (added, detail, again):
        assert DEFAULT not in page
        assert entry.digest not in page
    assert DEFAULT not in str(list(KnownDefaultKey.history.values()))
    removed = do(console, reverse("admin:migration_knowndefaultkey_do", args=[entry.pk, "remove"]))
    assert "“Volta Eagle” is off the list" in removed
    assert not KnownDefaultKey.objects.exists()


def test_what_is_no_key_is_not_added_and_an_entry_is_not_changed(console: Client) -> None:
    add = reverse("admin:migration_knowndefaultkey_add")

    refused = console.post(add, {"label": "Volta", "secret": "short", "reason": "x"})
    without = console.post(add, {"label": "Volta", "secret": DEFAULT})

    assert "printable ASCII characters" in refused.content.decode()
    assert "Say why this is changed." in without.content.decode()
    assert not KnownDefaultKey.objects.exists()
    entry = known_defaults.add(label="Volta", secret=DEFAULT, actor=OPERATOR, reason="x")
    page = reverse("admin:migration_knowndefaultkey_change", args=[entry.pk])
    assert console.post(page, {"label": "Other", "secret": "x" * 20, "reason": "x"}).status_code == 403
    entry.refresh_from_db()
    assert entry.label == "Volta"


def test_a_default_key_needs_its_permissions() -> None:
    viewer = given.person("ada", "migration.view_knowndefaultkey")
    entry = known_defaults.add(label="Volta", secret=DEFAULT, actor=OPERATOR, reason="x")
    client = Client()
    client.force_login(viewer)

    assert client.post(reverse("admin:migration_knowndefaultkey_add"), {}).status_code == 403
    page = client.get(reverse("admin:migration_knowndefaultkey_do", args=[entry.pk, "remove"])).content.decode()
    assert "You lack the permission “migration.delete_knowndefaultkey”." in page


def test_a_door_with_a_fresh_key_has_to_be_confirmed_where_the_certificate_works(console: Client, maria: User) -> None:
    identity = charger("CS-1")
    record = given.active_record(identity)
    page = reverse("admin:inventory_managedidentity_do", args=[identity.pk, "open_door"])
    asked = {"identity": identity.pk, "cause": "lost", "secret": "fresh-key-of-20-chars"}
    asked |= {"until": (datetime.now(UTC) + timedelta(hours=4)).isoformat(), "reason": "seen"}

    form = console.get(page).content.decode()
    refused = do(console, page, hours="4", cause="lost", secret="fresh-key-of-20-chars")
    answer = given.speaker(maria).post("/api/v1/recovery-doors", asked, format="json")

    assert "Although its certificate works" in form
    assert f"Certificate {record.pk} of CS-1 works" in form
    assert "confirm that the door is to be opened all the same" in refused
    assert (answer.status_code, "although_it_works" in answer.json()["detail"]) == (409, True)
    assert not RecoveryDoor.objects.exists()
    done = given.speaker(maria).post("/api/v1/recovery-doors", {**asked, "although_it_works": True}, format="json")
    assert done.status_code == 201
