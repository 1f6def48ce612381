"""AuthorizationKeys on a charger's page and over the API: what is shown, what is done, and what is never said."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from bfcerts.ocpp.models import StationSession
from inventory.models import ManagedIdentity, SecurityEvent
from migration.models import AuthorizationKey, KeyRotation, KnownDefaultKey, RecoveryDoor
from migration.services import authorization_keys
from tests.admin import given
from tests.migration import given as moving
from tests.support import OPERATOR, charger

pytestmark = pytest.mark.django_db
SECRET = "a-secret-of-20-chars"


@pytest.fixture
def api(maria: User) -> APIClient:
    return given.speaker(maria)


def with_key(name: str = "CS-1", secret: str = SECRET) -> ManagedIdentity:
    identity = charger(name)
    authorization_keys.set_initial(identity=identity, secret=secret, actor=OPERATOR, reason="given")
    return identity


def connect(identity: ManagedIdentity) -> None:
    """It is there to take a new key."""
    StationSession.objects.create(
        station_id=identity.authoritative_identifier,
        node="test",
        listener="profile2",
        protocol="ocpp2.0.1",
        security_profile=2,
        address="127.0.0.1",
        connected_at=datetime.now(UTC),
    )


def page_of(identity: ManagedIdentity) -> str:
    return reverse("admin:inventory_managedidentity_change", args=[identity.pk])


def do(console: Client, identity: ManagedIdentity, verb: str, **values: Any) -> str:
    url = reverse("admin:inventory_managedidentity_do", args=[identity.pk, verb])
    asked = console.get(url)
    hidden = dict(re.findall(r'name="(idempotency_key|version)" value="([^"]*)"', asked.content.decode()))
    answer = console.post(url, {"reason": "because", **hidden, **values}, follow=True)
    return answer.content.decode()


def everything() -> str:
    texts = []
    with connection.cursor() as cursor:
        for model in apps.get_models(include_auto_created=True):
            cursor.execute(f'SELECT row_to_json(t)::text FROM "{model._meta.db_table}" t')  # noqa: S608  # our own names
            texts += [row for (row,) in cursor.fetchall()]
    return "\n".join(texts)


def test_the_page_says_that_a_key_needs_rotation_and_rotates_it(console: Client) -> None:
    identity = with_key()
    assert "was not made here and has never been rotated" in console.get(page_of(identity)).content.decode()

    connect(identity)
    page = do(console, identity, "rotate_key")

    assert "Key 2 is on its way to CS-1; both its keys open the door." in page
    assert "Being delivered" in page
    assert AuthorizationKey.objects.get(state="pending").history.latest().actor == "person:maria"


def test_a_key_is_marked_on_the_page(console: Client) -> None:
    identity = with_key()

    page = do(console, identity, "flag_key", why="installer_transfer")

    assert "Key 1 of CS-1 is marked for rotation." in page
    assert AuthorizationKey.objects.get().flag == "installer_transfer"


def test_a_narrow_door_shows_its_key_once_and_stores_it_nowhere(console: Client) -> None:
    identity = with_key()
    ManagedIdentity.objects.update(security_profile=3)
    url = reverse("admin:inventory_managedidentity_do", args=[identity.pk, "open_door"])
    first, second = (
        re.findall(r'name="secret" value="([A-Za-z0-9]{20})"', console.get(url).content.decode()) for _ in range(2)
    )
    assert len(first) == 1
    assert first != second

    page = do(console, identity, "open_door", secret=first[0], cause="lost", hours="4")

    assert "CS-1 is let in with the key until" in page
    assert "for its fresh key on Profile 2, opened by" in page
    assert first[0] not in page
    assert first[0] not in everything()
    page = do(console, identity, "close_door")
    assert "The narrow door of CS-1 is closed." in page
    assert RecoveryDoor.objects.get().closed_at is not None


def test_keys_are_rotated_and_marked_over_the_api(api: APIClient) -> None:
    identity = with_key()
    connect(identity)

    flagged = api.post(
        "/api/v1/authorization-keys/flag", {"identity": identity.pk, "why": "exposure", "reason": "leaked"}
    )
    rotated = api.post("/api/v1/authorization-keys/rotate", {"identity": identity.pk, "reason": "leaked"})

    assert (flagged.status_code, flagged.json()["flag"]) == (200, "exposure")
    assert rotated.status_code == 201
    assert (rotated.json()["state"], rotated.json()["rotation"]["stage"]) == ("pending", "delivering")
    again = api.post("/api/v1/authorization-keys/rotate", {"identity": identity.pk, "reason": "leaked"})
    assert (again.status_code, again.json()["code"]) == (409, "transition_refused")
    assert SecurityEvent.objects.filter(type="AuthorizationKeyNeedsRotation").count() == 1


def test_a_stored_pending_key_is_revoked_over_the_api_by_force_alone(api: APIClient) -> None:
    key = moving.key_rotation(charger("CS-1")).key
    KeyRotation.objects.update(may_be_stored=True)

    url = f"/api/v1/authorization-keys/{key.pk}/revoke"
    assert api.post(url, {"reason": "x"}).status_code == 409
    assert api.post(url, {"reason": "x", "force": True}).json()["state"] == "revoked"


def test_doors_and_defaults_take_secrets_over_the_api_and_give_none_back(api: APIClient) -> None:
    identity = with_key()
    ManagedIdentity.objects.update(security_profile=3)
    fresh, default = "Ab3Ab3Ab3Ab3Ab3Ab3Zz", "vendor-default-of-all"

    opened = api.post(
        "/api/v1/recovery-doors",
        {
            "identity": identity.pk,
            "cause": "lost",
            "secret": fresh,
            "until": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
            "reason": "the board was swapped",
        },
    )
    added = api.post("/api/v1/known-default-keys", {"label": "Volta", "secret": default, "reason": "manual"})

    assert (opened.status_code, added.status_code) == (201, 201), (opened.content, added.content)
    assert fresh not in opened.content.decode() + everything()
    assert default not in added.content.decode() + everything()
    closed = api.post(f"/api/v1/recovery-doors/{opened.json()['id']}/close", {"reason": "done"})
    assert closed.json()["closing"] == "Closed by person:maria"
    removed = api.post(f"/api/v1/known-default-keys/{added.json()['id']}/remove", {"reason": "gone"})
    assert removed.status_code == 204
    assert not KnownDefaultKey.objects.exists()


def test_a_key_path_is_approved_over_the_api_only_on_evidence(api: APIClient) -> None:
    family = given.family()

    answer = api.post(
        "/api/v1/key-paths/approve", {"family": family.pk, "path": "two_slots_at_our_door", "reason": "x"}
    )

    assert (answer.status_code, answer.json()["code"]) == (409, "transition_refused")
    assert "has come through a rotation yet" in answer.json()["detail"]
