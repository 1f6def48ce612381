"""Chargers on their way over the API: why each is not active, a page at a time, and who could not reconnect."""

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from tests.admin.given import person, speaker
from tests.migration.fleet import cohort
from tests.support import charger

pytestmark = pytest.mark.django_db

WHY = "/api/v1/migration-cases/why"
FORECAST = "/api/v1/migration-cases/forecast"


@pytest.fixture
def api() -> APIClient:
    client = APIClient()
    client.force_authenticate(User.objects.create_superuser("maria"))
    return client


def test_why_comes_in_pages_as_every_collection(api: APIClient) -> None:
    names = [charger(f"CS-{number}").authoritative_identifier for number in range(3)]

    first = api.get(WHY, {"page_size": 2}).json()
    second = api.get(first["next"]).json()

    assert [item["identifier"] for item in first["results"]] == names[:0:-1]
    assert [item["identifier"] for item in second["results"]] == names[:1]
    assert second["next"] is None
    assert first["results"][0]["why"]["code"] == "below_profile_2"


def test_why_is_narrowed_and_refuses_what_it_does_not_know(api: APIClient) -> None:
    charger("CS-0")
    wanted = charger("CS-1")

    assert [item["identity"] for item in api.get(WHY, {"identity": wanted.pk}).json()["results"]] == [wanted.pk]
    assert api.get(WHY, {"wave": 7}).json()["results"] == []
    for misspelt in ("sate", "after", "identifier"):
        answer = api.get(WHY, {misspelt: "x"})
        assert answer.status_code == 400
        assert "There is no such filter; use one of identity, wave." in answer.content.decode()
    assert api.get(WHY, {"identity": "CS-1"}).status_code == 400


def test_the_forecast_takes_only_what_it_knows_and_a_cohort_by_its_name(api: APIClient) -> None:
    pilot = cohort("Pilot", [charger("CS-1")])

    nothing_said = api.get(FORECAST)
    assert nothing_said.status_code == 422
    assert "Say what changes" in nothing_said.content.decode()
    assert "change is cut_over, anchor_withdrawal or server_certificate." in nothing_said.content.decode()
    misspelt = api.get(FORECAST, {"change": "cut_over", "cohrt": "Pilot"})
    assert misspelt.status_code == 400
    assert "There is no such parameter" in misspelt.content.decode()
    by_name, by_id = (api.get(FORECAST, {"change": "cut_over", "cohort": value}) for value in ("Pilot", pilot.pk))
    assert by_name.status_code == 200
    assert by_name.json() == by_id.json()
    unknown = api.get(FORECAST, {"change": "cut_over", "cohort": "Nobody"})
    assert "There is no cohort 'Nobody'" in unknown.content.decode()


@pytest.mark.parametrize(("url", "asked"), [(WHY, {}), (FORECAST, {"change": "cut_over"})])
def test_what_names_chargers_is_for_those_who_may_see_chargers(url: str, asked: dict[str, str]) -> None:
    charger("CS-secret")
    guest = speaker(person("guest", "migration.view_migrationcase"))

    refused = guest.get(url, asked)

    assert refused.status_code == 403
    assert "inventory.view_managedidentity" in refused.content.decode()
    assert "CS-secret" not in refused.content.decode()
    colleague = speaker(person("jan", "migration.view_migrationcase", "inventory.view_managedidentity"))
    assert colleague.get(url, asked).status_code == 200


def test_the_forecast_takes_a_charger_by_its_identifier(api: APIClient) -> None:
    identity = charger("CS-1")

    by_name, by_id = (api.get(FORECAST, {"change": "cut_over", "identity": value}) for value in ("CS-1", identity.pk))
    unknown = api.get(FORECAST, {"change": "cut_over", "identity": "CS-2"})

    assert (by_name.status_code, by_name.json()) == (200, by_id.json())
    assert [item["identifier"] for item in by_name.json()] == ["CS-1"]
    assert "There is no charger 'CS-2'; give its identifier or its id." in unknown.content.decode()
