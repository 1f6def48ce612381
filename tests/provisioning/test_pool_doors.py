"""The pools in the console and over the API: the same verbs, the same sentences, and nothing secret comes out."""

from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from provisioning.models import PoolContract, PoolCredential, PoolNode, PoolPush, PoolRoot, PoolWebhook
from provisioning.pools import credentials
from provisioning.pools.choices import PushState
from tests.admin import given
from tests.admin.acting import do, told
from tests.provisioning import pool_given
from tests.provisioning.test_contract_pool import asked, said
from tests.provisioning.world import EMAID, PCID, Speaker, World

pytestmark = pytest.mark.django_db


@pytest.fixture
def console() -> Client:
    client = Client()
    client.force_login(given.administrator())
    return client


@pytest.fixture
def api() -> APIClient:
    return given.speaker(given.administrator("paula"))


def node_form(**values: Any) -> dict[str, Any]:
    typed = {"name": "Mobility", "role": "mo", "identifiers": "DE8AA, DE8AB", "issuing_authority": "BDEW"}
    return {**typed, "requests_per_second": "20", "reason": "Letter 17", **values}


def test_a_node_is_opened_by_whoever_confirms(console: Client) -> None:
    page = reverse("admin:provisioning_poolnode_add")
    refused = console.post(page, node_form(identifiers=""))
    assert "has a node only with a provider id that is confirmed" in unescape(refused.content.decode())
    assert not PoolNode.objects.exists()

    assert console.post(page, node_form()).status_code == 302

    node = PoolNode.objects.get()
    shown = unescape(console.get(reverse("admin:provisioning_poolnode_change", args=[node.pk])).content.decode())
    assert "Provider id DE8AA: confirmed by BDEW to maria" in shown
    assert "Letter 17" in shown


def test_a_token_is_given_on_the_page_of_its_node_and_shown_there_only(console: Client, world: World) -> None:
    token = credentials.generate()
    response = do(console, world.cpo.node, "give_token", token=token, label="gateway", days="30")

    page = told(console, response)

    assert "“gateway” speaks for Charge Points" in page
    assert token not in page
    assert Speaker(world.cpo.node, token).get("root/rootCerts").status_code == 200


def test_the_page_of_a_contract_shows_nothing_that_is_encrypted(console: Client, world: World) -> None:
    world.car_in_pool()
    world.published()
    contract = PoolContract.objects.get()

    page = console.get(reverse("admin:provisioning_poolcontract_change", args=[contract.pk])).content.decode()

    assert "Ready-made EXI" in page
    assert PCID in page
    assert contract.get_deferred_fields() == set(PoolContract.unversioned_fields)


def test_contracts_are_found_however_their_emaid_is_spelt(console: Client, world: World) -> None:
    world.car_in_pool()
    world.published()
    url = reverse("admin:provisioning_poolcontract_changelist")

    for term in (EMAID, "de-8aa-001234567", f"{EMAID}0", PCID.lower(), PoolContract.objects.get().fingerprint):
        assert EMAID in console.get(f"{url}?q={term}").content.decode(), term
    assert "Clear search" in console.get(f"{url}?q=DE8AA999999999").content.decode()


def test_contracts_are_blocked_and_deleted_in_the_console(console: Client, world: World) -> None:
    car = world.car_in_pool()
    world.published()
    contract = PoolContract.objects.get()

    assert "is given to no car any more" in told(console, do(console, contract, "block"))
    assert said(asked(world.cpo, car), 404)
    assert "is out of the pool" in told(console, do(console, PoolContract.objects.get(), "remove"))
    assert not PoolContract.objects.exists()


def test_a_push_that_was_given_up_is_sent_again_from_its_page(console: Client) -> None:
    push = pool_given.push()
    PoolPush.objects.update(state=PushState.DEAD, ended_at=datetime.now(UTC))

    assert "is sent again" in told(console, do(console, push, "send_again"))

    assert PoolPush.objects.get().state == PushState.WAITING


# -- over the API


def post(api: APIClient, path: str, status: int, **body: Any) -> Any:
    answer = api.post(f"/api/v1/{path}", {"reason": "Because", **body}, format="json")
    assert answer.status_code == status, answer.content
    return answer.json() if answer.content else None


def test_nodes_and_credentials_over_the_api(api: APIClient) -> None:
    node = post(api, "pool-nodes", 201, name="M", role="mo", identifiers=["DE8AA"], issuing_authority="BDEW")
    assert node["identifiers"][0]["confirmed_by"] == "person:paula"
    url = f"pool-nodes/{node['id']}"
    more = post(api, f"{url}/confirm-identifier", 200, value="DE8AB", issuing_authority="BDEW")
    assert [one["value"] for one in more["identifiers"]] == ["DE8AA", "DE8AB"]
    post(api, f"{url}/end-identifier", 200, value="DE8AB")
    token = credentials.generate()
    ends = (datetime.now(UTC) + timedelta(days=5)).isoformat()
    made = post(api, "pool-credentials", 201, node=node["id"], label="x", token=token, expires_at=ends)
    assert "token" not in made
    assert "digest" not in made
    assert PoolCredential.objects.get().digest == credentials.digest_of(token)
    assert post(api, f"pool-credentials/{made['id']}/revoke", 200)["revoked_at"] is not None
    assert post(api, f"{url}/close", 200)["closed_at"] is not None


def test_what_is_in_the_pools_over_the_api(api: APIClient, world: World) -> None:
    car = world.car_in_pool()
    world.published()
    contract = PoolContract.objects.get()
    found = api.get(f"/api/v1/pool-contracts?emaid_key={EMAID}").json()["results"]
    assert [one["id"] for one in found] == [contract.pk]
    assert not set(found[0]) & set(PoolContract.unversioned_fields)
    assert post(api, f"pool-contracts/{contract.pk}/block", 200)["revoked_at"] is not None
    assert said(asked(world.cpo, car), 404)
    post(api, f"pool-contracts/{contract.pk}/remove", 204)
    vehicle = api.get(f"/api/v1/pool-provisioning-certificates?pcid={PCID}").json()["results"][0]
    post(api, f"pool-provisioning-certificates/{vehicle['id']}/remove", 204)
    assert said(asked(world.cpo, car), 404)
    root = post(api, "pool-roots", 201, certificate=pool_given.root_pem(), root_type="MO")
    assert post(api, f"pool-roots/{root['id']}/remove", 200)["removed_at"] is not None
    assert PoolRoot.objects.get(pk=root["id"]).removed_at is not None


def test_webhooks_and_pushes_over_the_api(api: APIClient) -> None:
    push = pool_given.push()
    webhook = PoolWebhook.objects.get()
    assert post(api, f"pool-webhooks/{webhook.pk}/disable", 200)["enabled"] is False
    assert "sealed_secret" not in post(api, f"pool-webhooks/{webhook.pk}/enable", 200)
    refused = post(api, f"pool-pushes/{push.pk}/send-again", 409)
    assert refused["detail"] == "Only what was given up is sent again; this one is not."
