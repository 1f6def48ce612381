"""What one charger shows that it cannot keeps it from moving, and no other of its family."""

import pytest
from django.db import IntegrityError, connection

from inventory.audit import attributed
from inventory.choices import Capability
from inventory.services import capabilities
from migration.services import readiness
from migration.states import ReasonCode
from tests.migration import rotating
from tests.migration.fleet import Fleet, Station, capable_family
from tests.support import OPERATOR, ControlPlane

pytestmark = pytest.mark.django_db


def deny(plane: ControlPlane, station: Station) -> None:
    family = station.identity.family
    assert family is not None
    with attributed(OPERATOR, "test"):
        capabilities.shown_by(station.identity, family, Capability.GET_LOG, False, "It said no", plane.clock())


def failing(plane: ControlPlane, station: Station) -> str:
    check = readiness.first_failure(readiness.check_one(station.identity, plane.clock()))
    return check.code if check is not None else ""


def test_a_charger_that_says_that_it_cannot_stays_and_the_others_move(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    first, second, third = fleet.add(3, family=capable_family())
    fleet.confirm_anchors()

    deny(plane, first)
    assert [failing(plane, station) for station in (first, second)] == [ReasonCode.CAPABILITIES_MISSING, ""]
    check = readiness.first_failure(readiness.check_one(first.identity, plane.clock()))
    assert check is not None
    assert check.sentence == (
        f"{first.identity.authoritative_identifier} has shown that it cannot GetLog and LogStatusNotification, "
        "although its family Eagle is taken for capable of it."
    )

    deny(plane, second)
    assert {failing(plane, station) for station in (first, second, third)} == {ReasonCode.CAPABILITIES_MISSING}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE migration_authorizationkey SET created_at = '0044-03-15 00:00:00+00 BC'",
        "UPDATE migration_authorizationkey SET last_success_at = '1999-12-31 23:59:59+00'",
    ],
)
def test_the_database_takes_no_key_from_before_there_were_chargers(plane: ControlPlane, statement: str) -> None:
    rotating.station(plane)
    with pytest.raises(IntegrityError, match="key_known_since_2000"), connection.cursor() as cursor:
        cursor.execute(statement)
