"""What a careless or hostile client sends: refused by its place, and never a defect of ours."""

import base64
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from inventory.models import ManagedIdentity
from tests.admin import given
from tests.api.test_problems import problem
from tests.support import charger

pytestmark = pytest.mark.django_db
IDENTITY = '{"kind": "charger", "authoritative_identifier": "CS-1", "reason": "x", "%s": %s}'


def refused(answer: Any) -> dict[str, str]:
    """The only error of a refused request."""
    (error,) = problem(answer, 400, "invalid")["errors"]
    return dict(error)


@pytest.mark.parametrize("collection", ["identities", "station-sessions", "domain-events"])
@pytest.mark.parametrize("inside", ["p=%00", "p=abc", "p=%ff", "r=1&p=NaN", "p=0001-99-99", "no cursor"])
def test_a_cursor_that_was_not_given_out_is_refused(collection: str, inside: str, api: APIClient) -> None:
    identity = charger()
    given.session(identity)
    given.domain_event(identity)
    cursor = quote(base64.b64encode(inside.encode()).decode())

    answer = api.get(f"/api/v1/{collection}?cursor={cursor}")

    if inside == "no cursor":
        assert answer.status_code == 200
    else:
        assert refused(answer)["pointer"] == "/cursor"
    assert refused(api.get(f"/api/v1/{collection}?cursor=%FF"))["pointer"] == "/cursor"


@pytest.mark.parametrize("depth", [5000, 100, 40])
def test_a_body_nested_without_end_is_not_read(depth: int, api: APIClient) -> None:
    nested = "[" * depth + "]" * depth

    for body in (nested, IDENTITY % ("tags", nested)):
        problem(api.post("/api/v1/identities", body, content_type="application/json"), 400, "parse_error")


@pytest.mark.parametrize("field", ["name", "kind", "authoritative_identifier", "reason", "tags"])
def test_half_of_a_character_is_refused_by_its_place(field: str, api: APIClient) -> None:
    value = '["fine", "x\\ud800"]' if field == "tags" else '"x\\ud800"'

    answer = api.post("/api/v1/identities", IDENTITY % (field, value), content_type="application/json")

    assert refused(answer)["pointer"] == ("/tags/1" if field == "tags" else f"/{field}")
    assert not ManagedIdentity.objects.exists()


def test_half_of_a_character_in_a_name_is_refused_and_a_whole_one_is_kept(api: APIClient, maria: User) -> None:
    url, json = "/api/v1/identities", "application/json"

    refused(api.post(url, IDENTITY % ("x\\udfff", "1"), content_type=json))
    signed_in = APIClient()
    signed_in.force_login(maria)
    problem(signed_in.post("/api/v1/auth/tokens", '{"name": "\\ud800"}', content_type=json), 400, "invalid")
    assert api.post(url, IDENTITY % ("name", '"\\ud83d\\udd0c"'), content_type=json).json()["name"] == "🔌"


def test_a_range_is_not_asked_for_by_its_bare_name(api: APIClient) -> None:
    error = refused(api.get("/api/v1/certificate-records?not_after=2026-01-01T00:00:00Z"))

    assert error["pointer"] == "/not_after"
    assert "not_after_after, not_after_before" in error["detail"]
    assert " not_after," not in error["detail"]
