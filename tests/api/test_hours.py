"""When work may be done, over the API: added, read, changed and switched off, with the checks of the console."""

import pytest
from rest_framework.test import APIClient

from migration.models import Blackout, MigrationWindow

pytestmark = pytest.mark.django_db

WINDOWS = "/api/v1/migration-windows"
BLACKOUTS = "/api/v1/migration-blackouts"


def test_hours_are_changed_and_switched_off_on_the_version_that_was_read(api: APIClient) -> None:
    made = api.post(WINDOWS, {"site": "Depot", "opens": "22:00", "closes": "04:00", "reason": "r"}, format="json")
    assert made.status_code == 201, made.content
    address, tag = f"{WINDOWS}/{made.json()['id']}", made.headers["ETag"]

    assert api.patch(address, {"opens": "21:00", "reason": "Earlier"}, format="json").status_code == 428
    changed = api.patch(
        address, {"opens": "21:00", "weekdays": [6, 7], "reason": "Earlier"}, format="json", headers={"If-Match": tag}
    )
    assert (changed.status_code, changed.json()["opens"], changed.json()["weekdays"]) == (200, "21:00:00", [6, 7])
    stale = api.patch(address, {"enabled": False, "reason": "Off"}, format="json", headers={"If-Match": tag})
    assert (stale.status_code, stale.json()["code"]) == (412, "changed_meanwhile")

    off = api.patch(
        address, {"enabled": False, "reason": "Off"}, format="json", headers={"If-Match": changed.headers["ETag"]}
    )
    assert off.json()["enabled"] is False
    listed = api.get(f"{WINDOWS}?enabled=true").json()["results"]
    assert listed == []
    history = api.get(f"{address}/history").json()
    assert [row["reason"] for row in history] == ["Off", "Earlier", "r"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"time_zone": "Europe/Atlantis"}, "no time zone"),
        ({"closes": "22:00"}, "window_opens_and_closes"),
        ({"weekdays": []}, "weekdays"),
        ({"weekdays": [8]}, "weekdays"),
        ({"opens": "noon"}, "opens"),
        ({"hours": 3}, "There is no such field"),
    ],
)
def test_what_the_console_refuses_the_api_refuses(change: dict[str, object], sentence: str, api: APIClient) -> None:
    window = api.post(WINDOWS, {"opens": "22:00", "closes": "04:00", "reason": "r"}, format="json").json()

    answer = api.patch(f"{WINDOWS}/{window['id']}", {**change, "reason": "r"}, format="json", headers={"If-Match": "*"})

    assert answer.status_code == 400
    assert sentence in answer.content.decode()
    assert str(MigrationWindow.objects.get().closes) == "04:00:00"


def test_days_without_work_are_changed_and_cannot_end_before_they_begin(api: APIClient) -> None:
    body = {"first_day": "2030-12-24", "last_day": "2030-12-26", "reason": "r"}
    address = f"{BLACKOUTS}/{api.post(BLACKOUTS, body, format='json').json()['id']}"

    longer = api.patch(address, {"last_day": "2031-01-06", "reason": "r"}, format="json", headers={"If-Match": "*"})
    wrong = api.patch(address, {"last_day": "2030-01-01", "reason": "r"}, format="json", headers={"If-Match": "*"})

    assert (longer.status_code, wrong.status_code) == (200, 400)
    assert "blackout_ends_after_it_begins" in wrong.content.decode()
    assert str(Blackout.objects.get().last_day) == "2031-01-06"
    assert api.get(address).headers["ETag"] == longer.headers["ETag"]
