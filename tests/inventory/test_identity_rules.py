"""What may be taken into the inventory, and what of it may be edited."""

from html import unescape

import pytest
from django.test import Client

from inventory.errors import (
    InvalidInputError,
)
from inventory.models import (
    ManagedIdentity,
)
from inventory.purposes import purpose, purposes
from inventory.services import identities
from tests.admin import given
from tests.support import OPERATOR, ControlPlane, charger

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("name", ["", "CS 1", "CS/1", "<b>CS-1</b>", "CS-ü", "C" * 49, "CS-1\n"])
def test_a_charger_that_could_never_connect_is_not_taken_in(name: str) -> None:
    with pytest.raises(InvalidInputError, match="no charge point id"):
        identities.create(kind="charger", authoritative_identifier=name, actor=OPERATOR, reason="test")

    assert not ManagedIdentity.objects.exists()


@pytest.mark.parametrize("name", ["C" * 48, "CS*1-_=:+|@.x"])
def test_every_charge_point_id_that_ocpp_allows_is_taken_in(name: str) -> None:
    assert identities.create(kind="charger", authoritative_identifier=name, actor=OPERATOR, reason="test").pk


@pytest.mark.parametrize("field", ["enabled", "security_profile", "fallback_until", "kind", "authoritative_identifier"])
def test_what_decides_who_gets_in_is_not_edited(plane: ControlPlane, field: str) -> None:
    identity = charger("CS-1")

    with pytest.raises(InvalidInputError, match=f"{field} cannot be set here; the fields are "):
        identities.update(identity=identity, changes={field: None}, actor=OPERATOR, reason="test")


def test_purposes_know_what_each_of_them_is_for() -> None:
    for item in purposes():
        assert purpose(item.key) is item
        assert item.trust_domain == item.key
        assert item.activating_evidence
        assert item.installing_evidence


def test_an_identifier_that_differs_by_capitals_alone_is_taken_in_with_a_hint() -> None:
    charger("CS-1")
    assert identities.alike(charger("CS-2")) == ""

    hint = identities.alike(charger("cs-1"))

    assert hint.startswith("cs-1 differs from CS-1 by capitals alone, and both are in the inventory now.")


def test_the_hint_is_given_at_every_door() -> None:
    charger("CS-1")
    maria = given.administrator()
    console = Client()
    console.force_login(maria)
    typed = {"kind": "charger", "authoritative_identifier": "cs-1", "reason": "A new bay"}

    added = console.post("/admin/inventory/managedidentity/add/", typed, follow=True)
    over_api = given.speaker(maria).post("/api/v1/identities", {**typed, "authoritative_identifier": "Cs-1"})

    assert "cs-1 differs from CS-1 by capitals alone" in unescape(added.content.decode())
    assert over_api.json()["hint"].startswith("Cs-1 differs from CS-1, cs-1 by capitals alone")
