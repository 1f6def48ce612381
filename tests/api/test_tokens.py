"""API tokens: shown once, hashed, expiring, one's own, and gone at once when revoked."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from knox.models import AuthToken
from rest_framework.test import APIClient

from tests.admin import given

pytestmark = pytest.mark.django_db
URL = "/api/v1/auth/tokens"


def by_password(user: User, password: str = given.PASSWORD) -> APIClient:
    client = APIClient()
    credentials = b64encode(f"{user.username}:{password}".encode()).decode()
    client.credentials(HTTP_AUTHORIZATION=f"Basic {credentials}")
    return client


def with_token(token: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    return client


def made(user: User, **body: Any) -> dict[str, Any]:
    answer = by_password(user).post(URL, body)
    assert answer.status_code == 201, answer.content
    assert answer.headers["Cache-Control"] == "no-store"
    document: dict[str, Any] = answer.json()
    return document


def test_a_password_gets_a_token_that_works_and_is_shown_once(maria: User) -> None:
    token = made(maria)

    api = with_token(token["token"])

    assert api.get("/api/v1/identities").status_code == 200
    listed = api.get(URL).json()
    assert [item["key"] for item in listed] == [token["key"]]
    assert "token" not in listed[0]
    stored = AuthToken.objects.get()
    assert token["token"] not in (stored.digest, stored.token_key)


def test_a_session_gets_a_token_too(maria: User) -> None:
    client = Client()
    client.force_login(maria)

    assert client.post(URL, {}, content_type="application/json").status_code == 201


def test_a_wrong_password_gets_none(maria: User) -> None:
    answer = by_password(maria, "wrong-horse-battery").post(URL, {})

    assert (answer.status_code, answer.headers["Content-Type"]) == (401, "application/problem+json")
    assert not AuthToken.objects.exists()


def test_a_token_makes_no_further_tokens(maria: User) -> None:
    api = with_token(made(maria)["token"])

    assert api.post(URL, {}).status_code == 401
    assert AuthToken.objects.count() == 1


def test_a_token_ends_when_it_was_asked_to(maria: User) -> None:
    token = made(maria, lifetime_hours=1)
    expires = datetime.fromisoformat(token["expires"])
    assert timedelta(minutes=59) < expires - datetime.now(UTC) <= timedelta(hours=1)

    AuthToken.objects.update(expiry=datetime.now(UTC) - timedelta(seconds=1))

    assert with_token(token["token"]).get("/api/v1/identities").status_code == 401
    too_long = by_password(maria).post(URL, {"lifetime_hours": 24 * 365})
    assert too_long.json()["errors"][0]["pointer"] == "/lifetime_hours"


def test_a_revoked_token_stops_at_once(maria: User) -> None:
    token = made(maria)
    api = with_token(token["token"])

    assert api.delete(f"{URL}/{token['key']}").status_code == 204
    assert api.get("/api/v1/identities").status_code == 401


def test_nobody_sees_or_revokes_the_tokens_of_others(maria: User) -> None:
    token = made(maria)
    other = with_token(made(given.administrator("other"))["token"])

    assert token["key"] not in str(other.get(URL).json())
    assert other.delete(f"{URL}/{token['key']}").status_code == 404
    assert AuthToken.objects.filter(user=maria).exists()


def test_somebody_who_left_gets_nothing_with_an_old_token(maria: User) -> None:
    api = with_token(made(maria)["token"])
    User.objects.filter(pk=maria.pk).update(is_active=False)

    assert api.get("/api/v1/identities").status_code == 401


def test_a_repeated_request_does_not_show_a_token_again(maria: User) -> None:
    client = by_password(maria)
    first = client.post(URL, {}, headers={"Idempotency-Key": "k"})
    second = client.post(URL, {}, headers={"Idempotency-Key": "k"})

    assert first.status_code == 201
    assert (second.status_code, second.json()["code"]) == (409, "answered_once")
    assert AuthToken.objects.count() == 1
    assert first.json()["token"] not in second.content.decode()
