"""Failed sign-ins: told to whoever tries in words that fit, kept as security events, and never a flood of them."""

import base64
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.test import Client

from inventory.models import RateBucket, SecurityEvent
from inventory.services import sign_ins
from tests.admin import given

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 1, 31, tzinfo=UTC)


def attempt(name: str, password: str) -> str:
    answer = Client().post("/admin/login/", {"username": name, "password": password, "next": "/admin/"})
    return unescape(answer.content.decode())


def test_a_refused_sign_in_speaks_of_no_staff_account() -> None:
    page = attempt("nobody", "wrong")
    assert "staff account" not in page
    assert "That user name and password do not belong together" in page


def test_a_failed_sign_in_is_a_security_event_that_names_the_account_and_the_address() -> None:
    given.person("jan")
    attempt("jan", "wrong")

    event = SecurityEvent.objects.get(type="SignInFailed")

    assert (event.category, event.severity, event.source) == ("authentication", "warning", "operator")
    assert event.address == "127.0.0.1"
    assert event.message == "Somebody failed to sign in as jan: the password was wrong."
    assert event.payload == {"user": "jan"}


def test_a_deactivated_account_is_told_from_a_wrong_password() -> None:
    jan = given.person("jan")
    jan.is_active = False
    jan.save()
    attempt("jan", "wrong")
    assert "that account is deactivated" in SecurityEvent.objects.get().message


def test_what_is_typed_as_the_name_of_no_account_is_not_kept() -> None:
    attempt("my-very-secret-password", "")
    attempt("my-very-secret-password", "x")

    event = SecurityEvent.objects.get()

    assert event.message == "Somebody tried to sign in under a user name that does not exist."
    kept = [*SecurityEvent.objects.values_list(), *RateBucket.objects.values_list()]
    assert "my-very-secret" not in str(kept)


def test_a_wrong_password_over_the_api_is_one_too() -> None:
    given.person("jan")
    basic = base64.b64encode(b"jan:wrong").decode()

    answer = Client().post(
        "/api/v1/auth/tokens", "{}", content_type="application/json", HTTP_AUTHORIZATION=f"Basic {basic}"
    )

    assert answer.status_code == 401
    assert SecurityEvent.objects.get().payload == {"user": "jan"}


def test_a_flood_leaves_a_few_and_then_one_a_minute() -> None:
    given.person("jan")
    for _ in range(50):
        sign_ins.record_failure("jan", address="192.0.2.1", now=NOW)
    for number in range(50):
        sign_ins.record_failure(f"guess {number}", address=f"192.0.2.{number}", now=NOW)
    assert SecurityEvent.objects.count() == 2 * sign_ins.AT_ONCE
    assert RateBucket.objects.count() == 2

    sign_ins.record_failure("jan", address="192.0.2.1", now=NOW + timedelta(seconds=61))
    assert SecurityEvent.objects.count() == 2 * sign_ins.AT_ONCE + 1


def test_a_sign_in_that_succeeds_is_none() -> None:
    jan = given.person("jan")
    jan.set_password("a-long-enough-password")
    jan.save()
    assert Client().post("/admin/login/", {"username": "jan", "password": "a-long-enough-password"}).status_code == 302
    assert not SecurityEvent.objects.exists()
