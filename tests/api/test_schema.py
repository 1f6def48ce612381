"""The API describes itself, completely and without a warning, and serves its description from our own host."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from bfcerts.ocpp.models import StationSession
from tests.api.routes import ROUTES, VERBS


def described(folder: Path) -> dict[str, Any]:
    file = folder / "schema.yaml"
    call_command(
        "spectacular", "--fail-on-warn", "--validate", "--file", str(file), stdout=StringIO(), stderr=StringIO()
    )
    document: dict[str, Any] = yaml.safe_load(file.read_text())
    return document


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return described(tmp_path_factory.mktemp("schema"))


def test_every_route_is_described(schema: dict[str, Any]) -> None:
    operations = {(method, path) for path, methods in schema["paths"].items() for method in methods}

    for route in ROUTES:
        number = "00000000-0000-0000-0000-000000000000" if route.model is StationSession else "987654321"
        url = reverse(f"api:{route.name}", args=[number] if route.detail else [])
        assert (route.method, url.replace(number, "{id}")) in operations, route


def test_every_operation_says_how_it_refuses_and_every_post_takes_an_idempotency_key(
    schema: dict[str, Any],
) -> None:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            assert isinstance(operation, dict)
            if path == "/api/v1/schema":
                continue
            assert "application/problem+json" in operation["responses"]["default"]["content"], (method, path)
            headers = {item["name"] for item in operation.get("parameters", []) if item["in"] == "header"}
            if method == "post":
                assert "Idempotency-Key" in headers, path
            if method == "patch":
                assert "If-Match" in headers, path


def test_the_page_of_the_api_names_every_collection_and_verb(schema: dict[str, Any]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    table = page.partition("## Collections")[2].partition("## Bulk work")[0].splitlines()
    collections = {line.split("|")[1]: line for line in table if line.startswith("| `")}

    missing = []
    for path, operations in schema["paths"].items():
        collection, *rest = path.removeprefix("/api/v1/").split("/")
        if collection in ("auth", "schema"):
            continue
        line = next((line for names, line in collections.items() if f"`{collection}`" in names), "")
        if not line or ("post" in operations and rest and f"`{rest[-1]}`" not in line):
            missing.append(path)

    assert missing == []


def test_every_verb_asks_for_a_reason(schema: dict[str, Any]) -> None:
    components = schema["components"]["schemas"]
    posts = [
        operation["post"] for path, operation in schema["paths"].items() if "post" in operation and "/auth/" not in path
    ]
    assert len(posts) == len([route for route in VERBS if route.method == "post"])
    for operation in posts:
        reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        assert "reason" in components[reference.rsplit("/", 1)[1]]["required"]


@pytest.mark.django_db
def test_the_documentation_is_served_without_another_host(client: Client) -> None:
    client.force_login(User.objects.create_user("reader"))

    page = client.get("/api/v1/docs").content.decode()

    assert "swagger-ui" in page
    assert "https://" not in page
    assert client.get("/api/v1/schema").status_code == 200


@pytest.mark.django_db
def test_nobody_reads_the_description_without_signing_in(client: Client) -> None:
    refused = client.get("/api/v1/schema")
    page = client.get("/api/v1/docs")

    assert refused.status_code == 401
    assert refused["Content-Type"] == "application/problem+json"
    assert json.loads(refused.content)["code"] == "not_authenticated"
    assert (page.status_code, page["Location"]) == (302, "/admin/login/?next=/api/v1/docs")


def test_every_operation_has_one_line_and_signing_in_is_explained(schema: dict[str, Any]) -> None:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            assert 5 <= len(operation["summary"]) <= 160, (method, path, operation["summary"])
            assert "\n" not in operation["summary"], (method, path)
    assert "`Authorization: Token `" in schema["info"]["description"]
