"""The one answer to why a charger is not there yet, also when it was there once."""

import pytest
from pytest_django import DjangoAssertNumQueries

from inventory.services import lifecycle
from migration.services.why import why, whys
from migration.states import ReasonCode
from tests.support import OPERATOR, ControlPlane, charger

pytestmark = pytest.mark.django_db


def test_a_charger_that_lost_its_certificate_on_profile_3_says_so(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    record = plane.enrol(identity)
    identity.refresh_from_db()
    assert why(identity, plane.clock()) is None

    lifecycle.revoke(record=record, actor=OPERATOR, reason="stolen", now=plane.clock())

    answer = why(identity, plane.clock())
    assert answer is not None
    assert answer.code == ReasonCode.CERTIFICATE_LOST
    assert answer.sentence == f"CS-1 is on Profile 3 and its certificate {record.pk} was revoked: it cannot connect."
    assert "Open a narrow door with a fresh key" in answer.what_next
    assert "renewal" not in answer.what_next


def test_many_are_answered_in_as_few_queries_as_one(
    plane: ControlPlane, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    identities = [charger(f"CS-{number}") for number in range(5)]
    for identity in identities:
        plane.enrol(identity)
        identity.refresh_from_db()

    with django_assert_max_num_queries(2):
        answers = whys(identities, plane.clock())

    assert set(answers.values()) == {None}
