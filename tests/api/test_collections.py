"""Collections: cursor pages that hold still, filters that find, and a cost that does not grow."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import Model
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from inventory.models import CertificateRecord, DomainEvent
from tests.admin import given
from tests.api.routes import LISTS, Route
from tests.migration import given as moving
from tests.support import charger

pytestmark = pytest.mark.django_db
QUERIES = 3
"""The token, its owner, the page."""
WITH_PARTS = {"trust-anchor-bundles-list": 1, "bundle-rollouts-list": 1, "pool-nodes-list": 1}
"""Where each of the page has parts of its own: one more, however many there are."""


def results(api: APIClient, url: str) -> list[dict[str, Any]]:
    answer = api.get(url)
    assert answer.status_code == 200, answer.content
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def identifiers(api: APIClient, url: str) -> list[Any]:
    return [item["id"] for item in results(api, url)]


@pytest.mark.parametrize("route", LISTS, ids=str)
def test_a_collection_costs_the_same_with_many_as_with_few(route: Route, api: APIClient) -> None:
    url = f"/api/v1/{route.name.removesuffix('-list')}"

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert results(api, url)
        return len(queries)

    given.some(route.model, 5)
    few = cost()
    given.some(route.model, 45)

    assert cost() == few == QUERIES + WITH_PARTS.get(route.name, 0)


@pytest.mark.parametrize("route", LISTS, ids=str)
def test_an_object_reads_the_same_in_its_collection_and_alone(route: Route, api: APIClient) -> None:
    instance: Model = given.MAKERS[route.model]()
    url = f"/api/v1/{route.name.removesuffix('-list')}"

    listed = next(item for item in results(api, url) if str(item["id"]) == str(instance.pk))
    alone = api.get(f"{url}/{instance.pk}").json()

    assert listed.items() <= alone.items()


def test_pages_hold_still_while_new_things_come(api: APIClient) -> None:
    identity = charger()
    made = [given.domain_event(identity).pk for _ in range(7)]
    first = api.get("/api/v1/domain-events?page_size=3").json()
    given.domain_event(identity)

    second = api.get(first["next"]).json()
    third = api.get(second["next"]).json()

    seen = [item["id"] for page in (first, second, third) for item in page["results"] if item["id"] in made]
    assert seen == sorted(made, reverse=True)
    assert [item["id"] for item in api.get(second["previous"]).json()["results"]] == seen[:3]
    assert "count" not in first


def test_a_page_is_never_larger_than_a_thousand(api: APIClient) -> None:
    now = datetime.now(UTC)
    DomainEvent.objects.bulk_create(
        DomainEvent(
            type="CertificateIssued",
            occurred_at=now,
            actor="x",
            reason="x",
            correlation_id="c",
            dedupe_key=f"e{n}",
        )
        for n in range(1002)
    )

    assert len(results(api, "/api/v1/domain-events?page_size=99999")) == 1000
    assert len(results(api, "/api/v1/domain-events")) == 100


def test_identities_are_narrowed(api: APIClient) -> None:
    family = given.family()
    north = given.identity(site="North", tags=["pilot"], family=family, serial_number="S1")
    given.identity(site="South", kind="vehicle", authoritative_identifier="WVW1")
    static, dynamic = given.cohort(), given.cohort(kind="filter", filter={"site": "North"})
    static.members.add(north)

    for question in (
        "site=North",
        "tag=pilot",
        f"family={family.pk}",
        "serial_number=S1",
        "kind=charger",
        f"authoritative_identifier={north.authoritative_identifier}",
        f"cohort={static.pk}",
        f"cohort={dynamic.pk}",
    ):
        assert identifiers(api, f"/api/v1/identities?{question}") == [north.pk], question
    assert identifiers(api, "/api/v1/identities?cohort=9999") == []


def test_certificates_are_narrowed(api: APIClient) -> None:
    soon, later = given.active_record(charger()), given.active_record(charger())
    CertificateRecord.objects.filter(pk=soon.pk).update(not_after=datetime.now(UTC) + timedelta(days=9))
    limit = (datetime.now(UTC) + timedelta(days=14)).strftime("%Y-%m-%dT%H:%M:%SZ")

    for question in (
        f"identity={soon.identity_id}",
        f"fingerprint={soon.fingerprint}",
        f"serial_number={soon.serial_number}",
        f"not_after_before={limit}&state=active",
    ):
        assert identifiers(api, f"/api/v1/certificate-records?{question}") == [soon.pk], question
    assert identifiers(api, f"/api/v1/certificate-records?not_after_after={limit}") == [later.pk]
    assert api.get("/api/v1/certificate-records?state=nonsense").status_code == 400


def test_jobs_and_sessions_are_narrowed_to_the_open_ones(api: APIClient) -> None:
    here = charger()
    job, session = given.job(here), given.session(here)
    given.session(charger(), closed_at=datetime.now(UTC))

    assert identifiers(api, "/api/v1/certificate-jobs?open=true") == [job.pk]
    assert identifiers(api, "/api/v1/certificate-jobs?open=false") == []
    assert identifiers(api, "/api/v1/station-sessions?open=true") == [str(session.pk)]


def test_a_list_of_certificates_is_light_and_the_detail_has_the_pem(api: APIClient) -> None:
    record = given.active_record(charger())

    assert "certificate_pem" not in results(api, "/api/v1/certificate-records")[0]
    detail = api.get(f"/api/v1/certificate-records/{record.pk}").json()
    assert detail["certificate_pem"] == record.certificate_pem


def test_secrets_are_in_no_answer(api: APIClient) -> None:
    identity = charger()
    key = moving.authorization_key(identity)
    command = given.command(identity, secret_payload=b"sealed")

    key_answer = api.get(f"/api/v1/authorization-keys/{key.pk}")
    command_answer = api.get(f"/api/v1/station-commands/{command.pk}")

    assert key.digest not in key_answer.content.decode()
    assert not {"digest", "secret", "secret_payload"} & {*key_answer.json(), *command_answer.json()}


def test_durations_are_iso_8601(api: APIClient) -> None:
    policy = given.policy(validity=timedelta(days=90))

    answer = api.get(f"/api/v1/lifecycle-policies/{policy.pk}").json()

    assert answer["validity"] == "P90DT00H00M00S"
    assert answer["cut_over_deadline"] == "P0DT04H00M00S"


def test_what_can_be_done_which_policy_applies_and_what_changed_can_be_asked(api: APIClient) -> None:
    identity = charger("CS-1")
    record = given.active_record(identity)

    verbs = {item["verb"]: item for item in api.get(f"/api/v1/certificate-records/{record.pk}/actions").json()}
    assert verbs["revoke"]["allowed"] is True
    assert verbs["reactivate"]["why_not"] == "Only possible while it is inactive."
    policy = api.get(f"/api/v1/certificate-records/{record.pk}/policy").json()
    assert [item["name"] for item in policy if item["won"]] == ["Charger identity, default"]
    question = f"/api/v1/identities/{identity.pk}/policy?purpose=charger_identity"
    assert api.get(question).json() == policy
    history = api.get(f"/api/v1/identities/{identity.pk}/history").json()
    assert history[-1]["created"] is True
    assert history[-1]["actor"] == "system:test-operator"
