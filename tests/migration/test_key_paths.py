"""A family's key path is approved on the evidence of one of its chargers, and not before."""

from html import unescape

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from inventory.actors import Actor
from inventory.errors import InvalidInputError, NotPermittedError, TransitionRefusedError
from inventory.models import ChargerFamily
from migration.services import key_paths
from tests.admin import given
from tests.migration.rotating import family, go_on, rotated
from tests.support import OPERATOR, ControlPlane

pytestmark = pytest.mark.django_db
PATH = "two_slots_at_our_door"


def through(plane: ControlPlane, of: ChargerFamily) -> None:
    made = rotated(plane, "CS-1", of)
    made.restart()
    go_on(plane)


def test_a_path_is_approved_when_a_charger_of_the_family_came_through(plane: ControlPlane) -> None:
    eagle = family()
    with pytest.raises(TransitionRefusedError, match="None of the chargers of Eagle has come through"):
        key_paths.approve(family=eagle, path=PATH, actor=OPERATOR, reason="x", now=plane.clock())
    through(plane, eagle)

    approved = key_paths.approve(family=eagle, path=PATH, actor=OPERATOR, reason="looked at it", now=plane.clock())

    assert (approved.key_path, approved.key_path_approved_by) == (PATH, OPERATOR.name)
    assert approved.history.latest().history_change_reason == "looked at it (canary: CS-1, key 2)"
    key_paths.withdraw(family=eagle, actor=OPERATOR, reason="it lost keys")
    eagle.refresh_from_db()
    assert (eagle.key_path, eagle.key_path_approved_at) == ("unapproved", None)
    with pytest.raises(TransitionRefusedError, match="is not approved"):
        key_paths.withdraw(family=eagle, actor=OPERATOR, reason="again")


def test_a_charger_of_another_family_proves_nothing(plane: ControlPlane) -> None:
    through(plane, family("Eagle"))

    with pytest.raises(TransitionRefusedError, match="None of the chargers of Owl"):
        key_paths.approve(family=family("Owl"), path=PATH, actor=OPERATOR, reason="x")


def test_approval_needs_a_path_a_reason_and_the_permission(plane: ControlPlane) -> None:
    eagle = family()
    through(plane, eagle)

    with pytest.raises(InvalidInputError, match="is no key path"):
        key_paths.approve(family=eagle, path="unapproved", actor=OPERATOR, reason="x")
    with pytest.raises(InvalidInputError, match="A reason is needed"):
        key_paths.approve(family=eagle, path=PATH, actor=OPERATOR, reason=" ")
    person = Actor.person(User.objects.create_user("maria"))
    with pytest.raises(NotPermittedError, match=r"migration\.approve_keyrotation"):
        key_paths.approve(family=eagle, path=PATH, actor=person, reason="x")


def test_a_path_is_approved_and_withdrawn_on_the_page_of_its_family(plane: ControlPlane) -> None:
    eagle = family()
    client = Client()
    client.force_login(given.administrator())
    url = reverse("admin:inventory_chargerfamily_do", args=[eagle.pk, "approve_key_path"])
    assert "None of the chargers of Eagle has come through a rotation yet" in unescape(client.get(url).content.decode())
    through(plane, eagle)

    page = client.get(url)
    assert "CS-1 came through with key 2." in unescape(page.content.decode())
    answer = client.post(
        url,
        {"reason": "seen", "path": PATH, "idempotency_key": "one", "version": page.context["version"]},
        follow=True,
    )

    assert "The key path of Eagle is approved" in unescape(answer.content.decode())
    eagle.refresh_from_db()
    assert (eagle.key_path, eagle.key_path_approved_by) == (PATH, "person:maria")
    url = reverse("admin:inventory_chargerfamily_do", args=[eagle.pk, "withdraw_key_path"])
    version = client.get(url).context["version"]
    client.post(url, {"reason": "it lost keys", "idempotency_key": "two", "version": version})
    eagle.refresh_from_db()
    assert eagle.key_path == "unapproved"
