"""Plans over the API: looked at, applied by their digest, refused with the difference; and the capability matrix."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from inventory.models import ManagedIdentity, Plan
from inventory.services.plans import applying, judging, planner
from tests.admin import given
from tests.support import charger

pytestmark = pytest.mark.django_db


def revocation(api: APIClient, **parameters: Any) -> Any:
    body = {"kind": "bulk_revocation", "parameters": parameters, "reason": "stolen"}
    return api.post("/api/v1/plans", body, format="json")


@pytest.fixture
def planned(api: APIClient) -> dict[str, Any]:
    for name in ("CS-1", "CS-2"):
        given.active_record(charger(name, site="Depot"))
    charger("CS-3", site="Depot")
    answer = revocation(api, site="Depot")
    assert answer.status_code == 201, answer.content
    return dict(answer.json())


def test_a_small_plan_is_ready_at_once(api: APIClient, planned: dict[str, Any]) -> None:
    assert (planned["state"], planned["candidates"], planned["included"]) == ("planned", 3, 2)
    assert len(planned["digest"]) == 64
    assert planned["excluded"] == {"no_certificate": 1}
    assert planned["risk"]["sites"] == [{"name": "Depot", "included": 2, "chargers": 3}]

    targets = api.get(f"/api/v1/plan-targets?plan={planned['id']}&included=false").json()["results"]

    (left_out,) = targets
    assert left_out["identifier"] == "CS-3"
    assert left_out["reason"] == "CS-3 has no certificate that could be revoked."


def test_a_large_plan_is_prepared_by_a_worker(api: APIClient, clock: Any) -> None:
    ManagedIdentity.objects.bulk_create(
        [
            ManagedIdentity(kind="charger", authoritative_identifier=f"CS-{number}", site="Depot")
            for number in range(judging.BATCH + 1)
        ],
        batch_size=1_000,
    )

    answer = revocation(api, site="Depot").json()

    assert (answer["state"], answer["digest"]) == ("preparing", "")
    planner.prepare_waiting(clock())
    assert api.get(f"/api/v1/plans/{answer['id']}").json()["candidates"] == judging.BATCH + 1


def test_a_plan_is_applied_by_its_digest_and_once(api: APIClient, planned: dict[str, Any]) -> None:
    url = f"/api/v1/plans/{planned['id']}/apply"
    body = {"digest": planned["digest"], "reason": "checked"}

    first, second = (api.post(url, body, format="json") for _ in range(2))

    assert (first.status_code, first.json()["state"], first.json()["run"]) == (200, "applied", "running")
    assert second.json() == first.json()
    wrong = api.post(url, body | {"digest": "0" * 64}, format="json")
    assert (wrong.status_code, wrong.json()["code"]) == (409, "wrong_digest")


@pytest.fixture
def large(api: APIClient, planned: dict[str, Any], clock: Any) -> dict[str, Any]:
    ManagedIdentity.objects.bulk_create(
        [
            ManagedIdentity(kind="charger", authoritative_identifier=f"CS-more-{number}", site="Depot")
            for number in range(judging.BATCH)
        ],
        batch_size=1_000,
    )
    made = revocation(api, site="Depot").json()
    planner.prepare_waiting(clock())
    return dict(api.get(f"/api/v1/plans/{made['id']}").json())


def test_a_large_plan_is_applied_in_the_background(api: APIClient, large: dict[str, Any], clock: Any) -> None:
    url = f"/api/v1/plans/{large['id']}"
    body = {"digest": large["digest"], "reason": "checked"}

    answer = api.post(f"{url}/apply", body, format="json")

    assert (answer.status_code, answer.json()["state"], answer.json()["checked"]) == (202, "applying", judging.BATCH)
    assert answer.headers["Location"] == url
    again = api.post(f"{url}/apply", body, format="json")
    assert (again.status_code, again.json()["code"]) == (409, "plan_being_applied")
    applying.check_waiting(clock())
    done = api.get(url).json()
    assert (done["state"], done["run"], done["refusal"]) == ("applied", "running", {})


def test_what_a_large_plan_is_refused_for_is_read_with_it(api: APIClient, large: dict[str, Any], clock: Any) -> None:
    given.active_record(charger("CS-9", site="Depot"))
    url = f"/api/v1/plans/{large['id']}"

    api.post(f"{url}/apply", {"digest": large["digest"], "reason": "checked"}, format="json")
    applying.check_waiting(clock())

    read = api.get(url).json()
    assert (read["state"], read["refusal"]["code"]) == ("planned", "plan_changed")
    assert read["refusal"]["changes"] == {"gone": 0, "new": 1, "changed": 0}
    assert [item["identifier"] for item in read["refusal"]["changed_targets"]] == ["CS-9"]


def test_what_changed_is_in_the_refusal(api: APIClient, planned: dict[str, Any]) -> None:
    given.active_record(charger("CS-4", site="Depot"))

    answer = api.post(
        f"/api/v1/plans/{planned['id']}/apply", {"digest": planned["digest"], "reason": "checked"}, format="json"
    )

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "plan_changed")
    assert problem["changes"] == {"gone": 0, "new": 1, "changed": 0}
    (target,) = problem["changed_targets"]
    assert (target["identifier"], target["change"]) == ("CS-4", "new")
    assert Plan.objects.get(pk=planned["id"]).state == "planned"


def test_a_running_plan_is_paused_resumed_and_stopped(api: APIClient, planned: dict[str, Any]) -> None:
    url = f"/api/v1/plans/{planned['id']}"
    api.post(f"{url}/apply", {"digest": planned["digest"], "reason": "checked"}, format="json")

    for verb, state in (("pause", "paused"), ("resume", "running"), ("stop", "stopped")):
        answer = api.post(f"{url}/{verb}", {"reason": "because"}, format="json")
        assert (answer.status_code, answer.json()["run"]) == (200, state)
    refused = api.post(f"{url}/cancel", {"reason": "because"}, format="json")
    assert (refused.status_code, refused.json()["code"]) == (409, "plan_not_ready")


def test_a_kind_tells_which_parameters_it_takes(api: APIClient) -> None:
    kinds = {kind["key"]: kind for kind in api.get("/api/v1/plans/kinds").json()}

    revoking = kinds["bulk_revocation"]
    assert revoking["permission"] == "revoke_certificaterecord"
    reasons = next(field for field in revoking["parameters"] if field["name"] == "revocation_reason")
    assert "keyCompromise" in reasons["values"]


def test_nobody_to_plan_for_is_refused(api: APIClient) -> None:
    answer = revocation(api, site="Nowhere")

    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_to_plan")


def test_the_matrix_of_a_family_is_read_and_declared(api: APIClient) -> None:
    family = given.family()
    url = f"/api/v1/charger-families/{family.pk}"
    body = {"capability": "get_log", "supported": True, "source": "Data sheet", "reason": "read"}

    declared = api.post(f"{url}/declare", body, format="json")

    assert (declared.status_code, declared.json()["supported"]) == (200, True)
    matrix = {row["capability"]: row for row in api.get(f"{url}/capabilities").json()}
    assert (matrix["get_log"]["supported"], matrix["get_log"]["basis"]) == (True, "declared")
    assert (matrix["sign_certificate"]["supported"], matrix["sign_certificate"]["mandatory"]) == (None, True)
    without_source = api.post(f"{url}/declare", body | {"source": ""}, format="json")
    assert without_source.status_code == 422
