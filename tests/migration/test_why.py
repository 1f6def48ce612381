"""The one answer to why a charger is not there yet, also when it was there once."""

import pytest
from pytest_django import DjangoAssertNumQueries

from inventory.models import ManagedIdentity
from inventory.services import lifecycle
from migration.models import MigrationCase
from migration.services import driving, rollouts
from migration.services.why import Why, what_next, why, whys
from migration.states import CaseState, ReasonCode
from tests.migration.fleet import Fleet, Station, capable_family, cohort, roll_out
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


STATE_REASONS = [(state, code) for state in CaseState if state != CaseState.ACTIVE for code in ReasonCode if code]


@pytest.mark.parametrize(("state", "code"), STATE_REASONS, ids=str)
def test_what_to_do_next_is_something_that_the_state_allows(state: CaseState, code: ReasonCode) -> None:
    said = what_next(state, code).lower()

    assert said
    if state == CaseState.ROLLBACK:
        assert "release" not in said, "only a charger in quarantine can be released"
        assert said.startswith("wait: it is on its way back")
    if state == CaseState.QUARANTINE and code in _ENDS_IN_QUARANTINE:
        assert "release" in said or "cancel" in said, "nothing goes on by itself in quarantine"
    if state == CaseState.PENDING and code in _HOLDS_BACK:
        assert "release it" not in said


_ENDS_IN_QUARANTINE = {
    ReasonCode.BREAKER_OPEN,
    ReasonCode.FAMILY_CHANGED,
    ReasonCode.ISSUE_FAILED,
    ReasonCode.CERTIFICATE_LOST,
    ReasonCode.CUT_OVER_FAILED,
    ReasonCode.SILENT,
    ReasonCode.NEVER_RETURNED,
    ReasonCode.STAYS_ON_PROFILE_3,
    ReasonCode.WENT_BACK,
    ReasonCode.OPERATOR,
}
_HOLDS_BACK = {
    ReasonCode.DISABLED,
    ReasonCode.BELOW_PROFILE_2,
    ReasonCode.FAMILY_UNKNOWN,
    ReasonCode.FAMILY_CHANGED,
    ReasonCode.CAPABILITIES_MISSING,
    ReasonCode.KEY_PATH_UNAPPROVED,
    ReasonCode.KEY_NOT_ROTATED,
    ReasonCode.NO_RECENT_CONNECTION,
    ReasonCode.ANCHORS_MISSING,
    ReasonCode.NOT_PLANNED,
    ReasonCode.WAVE_NOT_STARTED,
    ReasonCode.WAVE_ENDED,
    ReasonCode.ROLLOUT_PAUSED,
    ReasonCode.WINDOW_CLOSED,
    ReasonCode.TURN,
    ReasonCode.RETRYING,
    ReasonCode.ISSUE_FAILED,
}


@pytest.fixture
def moving(plane: ControlPlane) -> Fleet:
    """One charger, planned and ready, whose family can lower its profile."""
    fleet = Fleet(plane)
    fleet.add(1, family=capable_family(can_lower_profile=True))
    fleet.confirm_anchors()
    return fleet


def answer_for(station: Station) -> Why:
    identity = ManagedIdentity.objects.select_related("family").get(pk=station.identity.pk)
    answer = why(identity, station.plane.clock())
    assert answer is not None
    return answer


def test_a_charger_whose_request_is_awaited_is_not_said_to_have_its_certificate(moving: Fleet) -> None:
    [station] = moving.stations
    roll_out(moving.plane, cohort("All", [station.identity]))
    driving.drive(moving.plane.clock())
    driving.drive(moving.plane.clock())
    moving.plane.work()

    answer = answer_for(station)

    assert station.case.state == CaseState.INSTALLING
    job = station.case.issue_job
    assert job is not None
    assert job.state == "waiting"
    assert answer.code == ReasonCode.ISSUING
    assert answer.sentence.startswith(
        f"CS-0000 gets its certificate: job {job.pk} waits for the station to take the request for a CSR, until "
    )
    assert "installed" not in answer.sentence


def test_a_charger_that_goes_back_is_waited_for_and_not_released(moving: Fleet) -> None:
    [station] = moving.stations
    station.returns = ""
    roll_out(moving.plane, cohort("All", [station.identity]))
    for _ in range(8):
        if MigrationCase.objects.get().state == CaseState.PENDING_ACTIVATION:
            break
        moving.turn()
    rollouts.roll_back_case(case=station.case, actor=OPERATOR, reason="Needed tonight", now=moving.plane.clock())

    answer = answer_for(station)

    assert station.case.state == CaseState.ROLLBACK
    assert answer.sentence.startswith("Needed tonight Expected back on Profile 2 by ")
    assert answer.what_next.startswith("Wait: it is on its way back to Profile 2")


def test_a_certificate_that_nobody_may_issue_is_named_and_tried_again(moving: Fleet) -> None:
    [station] = moving.stations
    roll_out(moving.plane, cohort("All", [station.identity]))
    moving.plane.work()
    ManagedIdentity.objects.filter(pk=station.identity.pk).update(allowed_purposes=["iso15118_evse_leaf"])
    driving.drive(moving.plane.clock())
    driving.drive(moving.plane.clock())

    answer = answer_for(station)

    assert (station.case.state, answer.code) == (CaseState.PENDING, ReasonCode.ISSUE_FAILED)
    assert "add the purpose to its allowed purposes first" in answer.sentence
    assert answer.what_next == "Mend the cause; it is tried again by itself."


def test_a_charger_that_got_there_after_its_migration_was_cancelled_has_no_reason(moving: Fleet) -> None:
    [station] = moving.stations
    roll_out(moving.plane, cohort("All", [station.identity]))
    rollouts.cancel(case=station.case, actor=OPERATOR, reason="Not now", now=moving.plane.clock())
    assert answer_for(station).sentence == "Cancelled by Test operator: Not now"

    record = moving.plane.enrol(station.identity)
    station.identity.refresh_from_db()

    assert record.state == "active"
    assert why(station.identity, moving.plane.clock()) is None
