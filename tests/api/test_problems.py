"""Every refusal of the API is a problem document: what is wrong, with what, and what to do now (RFC 9457)."""

from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from tests.admin import given
from tests.support import charger

pytestmark = pytest.mark.django_db


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The problem document of an answer, whole and of this kind."""
    assert answer.status_code == status, answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["type"] == f"urn:bfcerts:problem:{code}"
    assert (document["status"], document["code"]) == (status, code)
    assert document["title"]
    assert document["detail"].endswith((".", "…"))
    assert document["instance"].startswith("/api/v1/")
    assert len(document["correlation_id"]) == 32
    return document


def test_an_address_where_nothing_is(api: APIClient) -> None:
    problem(api.get("/api/v1/nothing"), 404, "not_found")
    problem(api.get("/api/v1/identities/abc"), 404, "not_found")
    problem(api.get("/api/v1/identities/123456"), 404, "not_found")


def test_a_method_that_is_not_offered(api: APIClient) -> None:
    problem(api.put("/api/v1/identities", {}), 405, "method_not_allowed")


def test_a_body_that_is_not_json(api: APIClient) -> None:
    answer = api.post("/api/v1/identities", "<a/>", content_type="application/xml")
    assert "application/json" in problem(answer, 415, "unsupported_media_type")["detail"]
    problem(api.post("/api/v1/identities", "{", content_type="application/json"), 400, "parse_error")
    problem(api.post("/api/v1/identities", "[1, 2]", content_type="application/json"), 400, "invalid")


def test_an_answer_that_is_not_json_is_not_to_be_had(api: APIClient) -> None:
    problem(api.get("/api/v1/identities", headers={"Accept": "text/csv"}), 406, "not_acceptable")


def test_values_that_cannot_be_used_are_named_by_their_place(api: APIClient) -> None:
    answer = api.post("/api/v1/identities", {"kind": "toaster", "tags": ["x" * 61], "allowed_purposes": ["nothing"]})

    document = problem(answer, 400, "invalid")
    assert {error["pointer"] for error in document["errors"]} == {
        "/kind",
        "/authoritative_identifier",
        "/tags/0",
        "/allowed_purposes/0",
        "/reason",
    }
    assert "/kind" in document["detail"]


def test_what_several_values_together_may_not_be(api: APIClient) -> None:
    body = {"name": "P", "purpose": "charger_identity", "program": "X", "cut_over_deadline": "P9D", "reason": "x"}

    document = problem(api.post("/api/v1/lifecycle-policies", body), 400, "invalid")

    assert "The cut-over deadline must end before the rollback window." in str(document["errors"])


def test_a_refusal_of_a_service_is_its_own_sentence(api: APIClient) -> None:
    record = given.active_record(charger("CS-1"))

    document = problem(
        api.post(f"/api/v1/certificate-records/{record.pk}/deactivate", {"reason": "x"}), 409, "last_working_credential"
    )

    assert "would leave CS-1 without a working certificate" in document["detail"]


def test_a_refused_request_for_a_certificate_names_the_rule(api: APIClient) -> None:
    from tests.support import request_for

    identity = charger("CS-1")
    body = {"purpose": "charger_identity", "csr_pem": request_for("CS-2"), "reason": "x"}

    answer = api.post(f"/api/v1/identities/{identity.pk}/issue", body)

    if answer.status_code == 202:
        job = api.get(f"/api/v1/certificate-jobs/{answer.json()['id']}").json()
        assert "“CS-2” does not name CS-1" in job["outcome"]
    else:
        assert problem(answer, 422, "csr_rejected")["reason_code"] == "identity_mismatch"


def test_a_reserved_purpose_is_refused(api: APIClient) -> None:
    body = {"purpose": "firmware_signing", "reason": "x"}

    answer = api.post(f"/api/v1/identities/{charger().pk}/issue", body)

    assert problem(answer, 400, "invalid")["errors"][0]["pointer"] == "/purpose"
    question = f"/api/v1/identities/{charger().pk}/policy?purpose=firmware_signing"
    assert "out of scope" in problem(api.get(question), 409, "refused")["detail"]


def test_a_wrong_token_is_refused() -> None:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION="Token 0123456789abcdef")

    problem(client.get("/api/v1/identities"), 401, "authentication_failed")


def test_a_form_of_another_site_cannot_use_a_session(maria: Any) -> None:
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(maria)

    answer = client.post(f"/api/v1/identities/{charger().pk}/reset", {"reason": "x"})

    assert "CSRF" in problem(answer, 403, "not_permitted")["detail"]


@pytest.mark.urls("tests.api.broken_urls")
def test_a_defect_is_a_problem_too_and_shows_nothing_of_the_inside(maria: Any) -> None:
    client = given.speaker(maria)
    client.raise_request_exception = False

    answer = client.get("/api/v1/broken")

    problem(answer, 500, "internal_error")
    assert "secret of the house" not in answer.content.decode()


@pytest.mark.urls("tests.api.broken_urls")
def test_a_database_that_is_away_says_to_try_again(maria: Any) -> None:
    problem(given.speaker(maria).get("/api/v1/without-database"), 503, "database_unavailable")


def test_an_unknown_filter_is_refused_rather_than_ignored(api: APIClient) -> None:
    document = problem(api.get("/api/v1/certificate-records?stat=active"), 400, "invalid")

    assert document["errors"][0]["pointer"] == "/stat"
    assert "state" in document["errors"][0]["detail"]


def test_an_unknown_path_of_the_console_is_a_page_and_no_problem_document(db: None) -> None:
    assert Client().get("/nothing").headers["Content-Type"].startswith("text/html")


@pytest.mark.urls("tests.api.broken_urls")
def test_a_change_that_met_another_one_says_to_send_it_again(maria: Any) -> None:
    answer = given.speaker(maria).get("/api/v1/in-the-way")

    assert "Send the request again" in problem(answer, 503, "conflict_with_another_change")["detail"]


def test_only_what_may_be_stated_is_offered_as_evidence(api: APIClient) -> None:
    answer = api.post("/api/v1/certificate-records", {"evidence_kind": "mtls_connection"})

    document = problem(answer, 400, "invalid")
    assert "/evidence_kind" in {error["pointer"] for error in document["errors"]}
