"""Idempotency-Key: a request repeated with its key has its effect once, whatever happens in between."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from bfcerts.ocpp.models import OutboxCommand
from inventory.models import CertificateJob, IdempotencyKey, ManagedIdentity
from inventory.services import repeats
from inventory.services.repeats import Answer
from migration.models import AuthorizationKey
from tests.admin import given
from tests.support import charger

pytestmark = pytest.mark.django_db
BODY = {"reason": "New bay", "purpose": "charger_identity"}


def post(api: APIClient, url: str, body: dict[str, Any], key: str) -> Any:
    return api.post(url, body, headers={"Idempotency-Key": key})


def test_the_same_request_has_the_same_answer_and_one_effect(api: APIClient) -> None:
    url = f"/api/v1/identities/{charger().pk}/issue"

    first, second = post(api, url, BODY, "key-1"), post(api, url, BODY, "key-1")

    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json()
    assert first.headers["Location"] == second.headers["Location"]
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert CertificateJob.objects.count() == 1


def test_something_new_is_made_once(api: APIClient) -> None:
    body = {"kind": "charger", "authoritative_identifier": "CS-1", "reason": "New"}

    first, second = (post(api, "/api/v1/identities", body, "k") for _ in range(2))

    assert first.json() == second.json()
    assert first.headers["ETag"] == second.headers["ETag"]
    assert ManagedIdentity.objects.count() == 1


def test_another_request_under_the_same_key_is_refused(api: APIClient) -> None:
    first, second = charger(), charger()
    url = f"/api/v1/identities/{first.pk}/reset"
    assert post(api, url, {"reason": "One"}, "k").status_code == 202

    for other, body in ((url, {"reason": "Two"}), (f"/api/v1/identities/{second.pk}/reset", {"reason": "One"})):
        answer = post(api, other, body, "k")
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")
    assert OutboxCommand.objects.count() == 1


def test_a_key_is_its_owners_alone(api: APIClient) -> None:
    somebody = given.speaker(given.administrator("somebody"))
    url = f"/api/v1/identities/{charger().pk}/reset"

    assert post(api, url, {"reason": "Mine"}, "k").status_code == 202
    assert post(somebody, url, {"reason": "Theirs"}, "k").status_code == 202
    assert OutboxCommand.objects.count() == 2


def test_a_refused_request_may_be_repeated_when_it_has_become_possible(api: APIClient) -> None:
    identity = charger()
    url = f"/api/v1/identities/{identity.pk}/cut-over"
    assert post(api, url, {"reason": "x"}, "k").status_code == 409
    given.active_record(identity)
    ManagedIdentity.objects.filter(pk=identity.pk).update(security_profile=2)

    assert post(api, url, {"reason": "x"}, "k").status_code == 202


def test_without_a_key_a_request_is_a_new_one_each_time(api: APIClient) -> None:
    url = f"/api/v1/identities/{charger().pk}/reset"

    api.post(url, {"reason": "x"})
    api.post(url, {"reason": "x"})

    assert OutboxCommand.objects.count() == 2


@pytest.mark.parametrize("key", ["k" * 256, "tab\there"])
def test_a_key_that_cannot_be_one_is_refused(key: str, api: APIClient) -> None:
    answer = post(api, f"/api/v1/identities/{charger().pk}/reset", {"reason": "x"}, key)

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/Idempotency-Key")


def test_a_secret_is_remembered_by_nobody(api: APIClient) -> None:
    secret = "a-secret-of-cs-1-0123"
    body = {"identity": charger("CS-1").pk, "secret": secret, "reason": "First contact"}

    first, second = (post(api, "/api/v1/authorization-keys", body, "k") for _ in range(2))

    assert first.status_code == second.status_code == 201
    assert secret not in first.content.decode() + second.content.decode()
    known = IdempotencyKey.objects.get()
    assert secret not in f"{known.answer} {known.request_digest}"
    assert AuthorizationKey.objects.count() == 1
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT string_agg(t::text, ' ') FROM (SELECT h::text t FROM migration_historicalauthorizationkey h "
            "UNION ALL SELECT e::text FROM inventory_domainevent e UNION ALL "
            "SELECT k::text FROM migration_authorizationkey k) everything"
        )
        assert secret not in cursor.fetchone()[0]


def test_what_is_older_than_the_memory_is_forgotten(api: APIClient) -> None:
    url = f"/api/v1/identities/{charger().pk}/reset"
    post(api, url, {"reason": "x"}, "old")
    IdempotencyKey.objects.update(created_at=datetime.now(UTC) - timedelta(hours=25))
    post(api, url, {"reason": "x"}, "new")

    assert repeats.forget(datetime.now(UTC)) == 1
    assert IdempotencyKey.objects.get().key == "new"


@pytest.mark.django_db(transaction=True)
def test_of_two_requests_at_the_same_moment_one_is_carried_out() -> None:
    user, identity = given.administrator(), charger()
    together = Barrier(4)

    def send() -> int:
        try:
            client = given.speaker(user)
            together.wait(timeout=20)
            answer = post(client, f"/api/v1/identities/{identity.pk}/reset", {"reason": "x"}, "k")
            return int(answer.status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as people:
        answers = sorted(item.result(timeout=60) for item in [people.submit(send) for _ in range(4)])

    assert set(answers) <= {202, 409}
    assert answers[0] == 202
    assert OutboxCommand.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_while_a_request_is_at_work_its_repeat_is_told_to_wait() -> None:
    user, identity = given.administrator(), charger()
    client = given.speaker(user)
    url = f"/api/v1/identities/{identity.pk}/reset"
    answers: list[Any] = []

    def work() -> Answer:
        with ThreadPoolExecutor(1) as other:
            answers.append(other.submit(repeat).result(timeout=60))
        return Answer(202, {})

    def repeat() -> Any:
        try:
            return post(client, url, {"reason": "x"}, "k")
        finally:
            connection.close()

    repeats.once(user=user, key="k", digest="d", now=datetime.now(UTC), work=work)

    assert (answers[0].status_code, answers[0].json()["code"]) == (409, "idempotency_conflict")
    assert not OutboxCommand.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_request_that_died_on_the_way_leaves_nothing_and_may_be_repeated() -> None:
    user, identity = given.administrator(), charger()

    def die() -> Answer:
        given.command(identity)
        raise RuntimeError("the process was killed")

    with pytest.raises(RuntimeError):
        repeats.once(user=user, key="k", digest="d", now=datetime.now(UTC), work=die)

    assert not OutboxCommand.objects.exists()
    answer, earlier = repeats.once(
        user=user, key="k", digest="d", now=datetime.now(UTC), work=lambda: Answer(200, {"done": True})
    )
    assert (answer.body, earlier) == ({"done": True}, False)
