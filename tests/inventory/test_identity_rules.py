"""What may be taken into the inventory, and what of it may be edited."""

import pytest

from inventory.errors import (
    InvalidInputError,
)
from inventory.models import (
    ManagedIdentity,
)
from inventory.purposes import purpose, purposes
from inventory.services import identities
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
