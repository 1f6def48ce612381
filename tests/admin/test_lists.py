"""Every list of the console: it answers, stays as cheap with many rows as with few, finds, filters, and advises."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from bfcerts.console.navigation import SECTIONS, Entry
from bfcerts.console.paginator import CAP
from bfcerts.ocpp.models import StationSession
from inventory.models import CertificateRecord, DomainEvent, ManagedIdentity
from inventory.services import lifecycle
from tests.admin import given
from tests.support import OPERATOR, charger

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
QUERIES = {
    "auth.Group": 4,
    "auth.User": 4,
    "inventory.Artifact": 4,
    "inventory.CertificateJob": 4,
    "inventory.CertificateRecord": 4,
    "inventory.ChargerFamily": 7,
    "inventory.Cohort": 4,
    "inventory.DomainEvent": 4,
    "inventory.Evidence": 4,
    "inventory.IssuingAuthority": 4,
    "inventory.LifecyclePolicy": 6,
    "inventory.ManagedIdentity": 9,
    "inventory.Plan": 4,
    "inventory.SecurityEvent": 4,
    "inventory.Setback": 4,
    "inventory.SitePolicy": 4,
    "inventory.StationLog": 4,
    "inventory.Upstream": 4,
    "migration.AuthorizationKey": 4,
    "migration.Blackout": 4,
    "migration.Breaker": 5,
    "migration.KeyRotation": 4,
    "migration.KnownDefaultKey": 4,
    "migration.MigrationCase": 14,
    "migration.MigrationRollout": 4,
    "migration.MigrationWindow": 4,
    "migration.RecoveryDoor": 4,
    "migration.Wave": 5,
    "ocpp.InboxMessage": 4,
    "ocpp.OutboxCommand": 4,
    "ocpp.StationQuestion": 4,
    "ocpp.StationSession": 4,
    "provisioning.PoolChange": 4,
    "provisioning.PoolContract": 4,
    "provisioning.PoolCredential": 4,
    "provisioning.PoolNode": 5,
    "provisioning.PoolProvisioningCertificate": 4,
    "provisioning.PoolPush": 4,
    "provisioning.PoolRoot": 4,
    "provisioning.PoolWebhook": 4,
    "provisioning.OwnershipDecision": 4,
    "provisioning.ProvisioningCase": 4,
    "provisioning.ProvisioningEvidence": 4,
    "trustanchors.BundleInstallation": 4,
    "trustanchors.BundleRollout": 4,
    "trustanchors.TrustAnchor": 4,
    "trustanchors.TrustAnchorBundle": 4,
}
"""Queries of each list. A change of a number is a decision, never a surprise."""


def listing(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def queries_of(console: Client, url: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert console.get(url).status_code == 200
    return len(queries)


def shown(console: Client, url: str) -> str:
    response = console.get(url)
    assert response.status_code == 200
    return unescape(response.content.decode())


def test_every_list_is_in_the_navigation_and_has_a_baseline() -> None:
    labels = {model._meta.label for model in MODELS}
    assert labels == set(QUERIES)
    assert {label.lower() for label in labels} == {entry.model for section in SECTIONS for entry in section.entries}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_a_list_costs_the_same_with_many_rows_as_with_few(model: type[Model], console: Client) -> None:
    given.some(model, 5)
    few = queries_of(console, listing(model))

    given.some(model, 45)

    assert queries_of(console, listing(model)) == few == QUERIES[model._meta.label]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_filter_and_the_search_of_a_list_answer(model: type[Model], console: Client) -> None:
    given.some(model, 1)
    url = listing(model)
    changelist = console.get(url).context["cl"]
    questions = ["q=12ab", "q=%27%22%3Cb%3E%00"]
    for spec in changelist.filter_specs:
        for choice in spec.choices(changelist):
            if "form" in choice:
                for name, field in choice["form"].fields.items():
                    questions += [
                        f"{name}={value}" for value, _ in getattr(field, "choices", [("x", "")]) if value != ""
                    ]
            else:
                questions.append(choice["query_string"].lstrip("?"))

    for question in questions:
        assert console.get(f"{url}?{question}").status_code in (200, 302), question


@pytest.mark.parametrize(
    "entry", [entry for section in SECTIONS for entry in section.entries], ids=lambda entry: entry.model
)
def test_an_empty_list_says_what_to_do_next(entry: Entry, console: Client) -> None:
    model = entry.model
    if model in ("auth.user", "inventory.lifecyclepolicy"):
        return
    assert entry.when_empty in shown(console, reverse(entry.route))


def test_a_search_that_finds_nothing_offers_to_be_cleared(console: Client) -> None:
    assert "Clear search and filters" in shown(console, f"{listing(ManagedIdentity)}?q=nowhere")


def test_identities_are_found_by_identifier_serial_number_and_name(console: Client) -> None:
    given.identity(authoritative_identifier="DE-001", serial_number="SN-77", name="North bay")
    charger("DE-002")

    for term in ("e-001", "sn-77", "north"):
        page = shown(console, f"{listing(ManagedIdentity)}?q={term}")
        assert "DE-001" in page
        assert "DE-002" not in page


def test_certificates_are_found_by_identity_fingerprint_and_serial_number(console: Client) -> None:
    wanted = given.active_record(charger("DE-001"))
    given.active_record(charger("DE-002"))
    grouped = ":".join(re.findall("..", wanted.fingerprint)).upper()

    for term in ("DE-001", grouped, wanted.fingerprint, wanted.serial_number):
        page = shown(console, f"{listing(CertificateRecord)}?q={term}")
        assert "DE-001" in page
        assert "DE-002" not in page


def test_identities_are_narrowed_by_cohort_and_by_who_is_connected(console: Client) -> None:
    here, away = charger("HERE", site="North"), charger("AWAY", site="South")
    given.session(here)
    given.session(away, closed_at=datetime.now(UTC))
    north = given.cohort(kind="filter", filter={"site": "North"})

    for question in (f"cohort={north.pk}", "connected=3", "connected=yes"):
        page = shown(console, f"{listing(ManagedIdentity)}?{question}")
        assert ">HERE<" in page, question
        assert ">AWAY<" not in page, question
    assert ">AWAY<" in shown(console, f"{listing(ManagedIdentity)}?connected=no")


def test_certificates_are_narrowed_by_when_they_end(console: Client) -> None:
    record = given.active_record(charger("SOON"))
    CertificateRecord.objects.filter(pk=record.pk).update(not_after=datetime.now(UTC) + timedelta(days=10))
    given.active_record(charger("LATER"))

    page = shown(console, f"{listing(CertificateRecord)}?ends=14")

    assert "SOON" in page
    assert "LATER" not in page
    assert "Nothing matches" in shown(console, f"{listing(CertificateRecord)}?ends=7")


def test_a_long_list_is_counted_up_to_a_cap_and_goes_on_by_key(console: Client) -> None:
    now = datetime.now(UTC)
    DomainEvent.objects.bulk_create(
        DomainEvent(
            type="CertificateIssued",
            occurred_at=now,
            actor="x",
            reason=f"number {n}",
            correlation_id="c",
            dedupe_key=f"e{n}",
        )
        for n in range(CAP + 5)
    )
    url = listing(DomainEvent)

    assert f"the newest {CAP}" in shown(console, url)
    last = shown(console, f"{url}?p={CAP // 50}")
    older = re.search(r'href="(\?[^"]+)" rel="next"', last)
    assert older is not None
    page = shown(console, url + older[1])

    assert "5 in all" in page
    assert "number 4<" in page
    assert "number 5<" not in page
    assert "Back to the newest" in page


def test_sessions_go_on_by_the_time_they_began(console: Client) -> None:
    identity = charger()
    began = datetime.now(UTC) - timedelta(days=1)
    StationSession.objects.bulk_create(
        StationSession(
            station_id=identity.authoritative_identifier,
            node="n",
            listener="profile2",
            protocol="ocpp2.0.1",
            security_profile=2,
            address="10.0.0.1",
            connected_at=began + timedelta(seconds=n),
            closed_at=began + timedelta(seconds=n + 1),
        )
        for n in range(CAP + 1)
    )
    url = listing(StationSession)

    older = re.search(r'href="(\?[^"]+)" rel="next"', shown(console, f"{url}?p={CAP // 50}"))

    assert older is not None
    assert "1 in all" in shown(console, url + older[1])


def test_identities_show_how_their_certificate_and_their_session_stand(console: Client) -> None:
    certified, stranded = charger("CERTIFIED"), charger("STRANDED")
    given.active_record(certified)
    old = given.active_record(charger("OLD"))
    lifecycle.revoke(record=old, actor=OPERATOR, reason="x")
    given.session(certified)

    rows = {
        row.authoritative_identifier: row for row in console.get(listing(ManagedIdentity)).context["cl"].result_list
    }
    page = shown(console, listing(ManagedIdentity))

    assert rows["CERTIFIED"].record_now.state == "active"
    assert rows["OLD"].record_now.state == "revoked"
    assert rows[stranded.authoritative_identifier].record_now is None
    assert "On Profile 3" in page
    assert re.search(r"ends in \d+ days", page)


@pytest.mark.django_db
def test_the_list_of_identities_hides_what_somebody_may_not_see_elsewhere() -> None:
    identity = charger("CS-1")
    given.active_record(identity)
    given.session(identity)
    client = Client()
    client.force_login(given.person("viewer", "inventory.view_managedidentity"))

    page = shown(client, listing(ManagedIdentity))

    assert "CS-1" in page
    assert "On Profile 3" not in page
    assert "c-validity" not in page


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_a_list_gives_its_rows_alone_and_says_when_nothing_has_changed(model: type[Model], console: Client) -> None:
    given.some(model, 1)
    live = {"X-Live": "fragment"}

    first = console.get(listing(model), headers=live)
    again = console.get(listing(model), headers={**live, "If-None-Match": first.headers["ETag"]})
    if model is not User:
        given.some(model, 1)
    else:
        User.objects.update(first_name="Maria")
    after = console.get(listing(model), headers={**live, "If-None-Match": first.headers["ETag"]})

    assert first.content.startswith(b"<!--live-->")
    assert b"<html" not in first.content
    assert b'data-live-part="rows"' in first.content
    assert (again.status_code, again.content) == (304, b"")
    assert after.status_code == 200
    assert b"<html" in console.get(listing(model)).content
