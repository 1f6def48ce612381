"""ETag and If-Match: nobody overwrites, or acts on, what changed under them."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from inventory.choices import RecordState
from inventory.models import CertificateRecord, ManagedIdentity
from inventory.services import identities, lifecycle
from tests.admin import given
from tests.support import OPERATOR, charger

pytestmark = pytest.mark.django_db


def etag(api: APIClient, url: str) -> str:
    answer = api.get(url)
    assert answer.status_code == 200
    return str(answer.headers["ETag"])


def test_a_detail_has_an_etag_that_changes_with_the_object(api: APIClient) -> None:
    identity = charger()
    url = f"/api/v1/identities/{identity.pk}"
    first = etag(api, url)
    assert first == etag(api, url)
    assert first.startswith('"')

    identities.update(identity=identity, changes={"site": "South"}, actor=OPERATOR, reason="x")

    assert etag(api, url) != first


def test_a_change_needs_to_say_which_version_it_is_meant_for(api: APIClient) -> None:
    for url in (
        f"/api/v1/identities/{charger().pk}",
        f"/api/v1/charger-families/{given.family().pk}",
        f"/api/v1/cohorts/{given.cohort().pk}",
        f"/api/v1/lifecycle-policies/{given.policy().pk}",
        f"/api/v1/upstreams/{given.upstream().pk}",
    ):
        answer = api.patch(url, {"name": "x", "reason": "x"})
        assert (answer.status_code, answer.json()["code"]) == (428, "precondition_required")


@pytest.mark.parametrize(
    "maker", [charger, given.family, given.cohort, given.policy, given.upstream], ids=lambda f: f.__name__
)
def test_a_change_of_the_version_that_was_read_is_made_and_answered_with_the_new_one(
    maker: Any, api: APIClient
) -> None:
    target = maker()
    collection = {
        "managedidentity": "identities",
        "chargerfamily": "charger-families",
        "cohort": "cohorts",
        "lifecyclepolicy": "lifecycle-policies",
        "upstream": "upstreams",
    }[target._meta.model_name]
    url = f"/api/v1/{collection}/{target.pk}"
    seen = etag(api, url)

    answer = api.patch(url, {"name": "New name", "reason": "Renamed"}, headers={"If-Match": seen})

    assert answer.status_code == 200, answer.content
    assert answer.json()["name"] == "New name"
    assert answer.headers["ETag"] == etag(api, url) != seen
    row = target.history.latest()
    assert (row.actor, row.history_change_reason) == ("person:maria", "Renamed")

    stale = api.patch(url, {"name": "Another", "reason": "x"}, headers={"If-Match": seen})
    assert (stale.status_code, stale.json()["code"]) == (412, "changed_meanwhile")
    target.refresh_from_db()
    assert target.name == "New name"


def test_a_verb_on_another_version_than_the_one_seen_is_not_carried_out(api: APIClient) -> None:
    record = given.active_record(charger())
    url = f"/api/v1/certificate-records/{record.pk}"
    seen = etag(api, url)
    lifecycle.deactivate(record=record, actor=OPERATOR, reason="Meanwhile", force=True)

    answer = api.post(f"{url}/revoke", {"reason": "x"}, headers={"If-Match": seen})

    assert (answer.status_code, answer.json()["code"]) == (412, "changed_meanwhile")
    assert CertificateRecord.objects.get().state == RecordState.INACTIVE
    again = api.post(f"{url}/revoke", {"reason": "x"}, headers={"If-Match": f'"other", {etag(api, url)}'})
    assert again.status_code == 200
    assert again.headers["ETag"] == etag(api, url)


def test_a_weak_tag_never_matches_and_a_star_always_does(api: APIClient) -> None:
    url = f"/api/v1/identities/{charger().pk}"
    weak = f"W/{etag(api, url)}"

    assert api.patch(url, {"name": "x", "reason": "x"}, headers={"If-Match": weak}).status_code == 412
    assert api.patch(url, {"name": "x", "reason": "x"}, headers={"If-Match": "*"}).status_code == 200


def test_a_change_without_a_reason_or_of_what_stays_for_ever_is_refused(api: APIClient) -> None:
    identity = charger("CS-1")
    url = f"/api/v1/identities/{identity.pk}"

    missing = api.patch(url, {"name": "x"}, headers={"If-Match": "*"})
    ignored = api.patch(url, {"authoritative_identifier": "CS-9", "reason": "x"}, headers={"If-Match": "*"})

    assert missing.status_code == 400
    assert missing.json()["errors"] == [{"pointer": "/reason", "detail": "This field is required."}]
    assert ignored.status_code == 400
    assert ManagedIdentity.objects.get().authoritative_identifier == "CS-1"
