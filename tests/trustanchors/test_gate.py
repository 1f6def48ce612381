"""The gate holds back first enrolments and cut-overs, and never the renewal of a charger that works."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inventory.errors import HeldBackError
from inventory.models import CertificateJob, Cohort, ManagedIdentity, SecurityEvent
from inventory.services import lifecycle, station_commands
from tests.support import OPERATOR, ControlPlane, charger, request_for
from tests.trustanchors.support import Fleet, cohort, family, join, own_bundles, release
from trustanchors.services import withdrawal
from trustanchors.services.gate import readiness, readiness_of, why_closed

pytestmark = pytest.mark.django_db


def issue(plane: ControlPlane, identity: ManagedIdentity) -> CertificateJob:
    return lifecycle.issue(
        identity=identity,
        purpose="charger_identity",
        actor=OPERATOR,
        reason="test",
        now=plane.clock(),
    )


def test_a_charger_that_no_bundle_was_released_to_is_enrolled_as_before(plane: ControlPlane) -> None:
    identity = charger("CS-0")

    assert why_closed(identity, plane.clock()) is None
    assert "were ever released to CS-0" in str(readiness(identity, plane.clock()))
    assert plane.enrol(identity).state == "active"


def test_nobody_is_enrolled_or_cut_over_before_the_threshold(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    station = fleet.add("CS-0")
    release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))

    with pytest.raises(HeldBackError, match="CS-0 gets no first certificate yet"):
        issue(plane, station.identity)

    fleet.settle(3)
    assert issue(plane, station.identity).is_open


def test_the_request_of_a_station_itself_is_held_back_too(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    station = fleet.add("CS-0")
    release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))

    plane.send_csr(station.identity, request_for("CS-0"))
    plane.read_inbox()

    assert CertificateJob.objects.count() == 0
    refused = SecurityEvent.objects.get(type="UnsolicitedCertificateRequestRefused")
    assert "has not reached it yet" in refused.message


def test_a_withdrawal_before_anybody_was_taken_in_holds_them_back_too(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    station = fleet.add("CS-0")
    rollouts = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))

    for rollout in rollouts:
        withdrawal.withdraw(bundle=rollout.bundle, actor=OPERATOR, reason="wrong root", now=plane.clock())

    assert "is withdrawn" in str(why_closed(station.identity, plane.clock()))


def test_a_withdrawal_stops_cut_overs_and_not_renewals(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    station = fleet.add("CS-0")
    rollout, _ = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))
    fleet.settle(3)
    record = plane.enrol(station.identity)
    type(station.identity).objects.filter(pk=station.identity.pk).update(security_profile=2)

    withdrawal.withdraw(bundle=rollout.bundle, actor=OPERATOR, reason="wrong root", now=plane.clock())

    with pytest.raises(HeldBackError, match="is withdrawn"):
        station_commands.cut_over(identity=station.identity, actor=OPERATOR, reason="test", now=plane.clock())
    renewal = lifecycle.renew(record=record, actor=OPERATOR, reason="due", now=plane.clock())
    assert plane.complete(renewal).state == "active"


def test_many_are_judged_in_as_few_queries_as_one_and_alike(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    kind = family("Eagle")
    for number in range(6):
        fleet.add(f"CS-{number}", kind)
    release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities[:4]))
    fleet.settle(3)
    late, stranger = fleet.identities[4:]
    join(Cohort.objects.get(name="North"), late)

    with CaptureQueriesContext(connection) as for_two:
        readiness_of([late, stranger], plane.clock())
    with CaptureQueriesContext(connection) as for_all:
        found = readiness_of(fleet.identities, plane.clock())

    assert len(for_all) == len(for_two) + 1, "the rollouts that stand, read once"
    assert found == {one.pk: why for one in fleet.identities if (why := readiness(one, plane.clock()))}
    assert "has not reached it yet" in found[late.pk]
    assert "were ever released to CS-5" in found[stranger.pk]
    assert fleet.identities[0].pk not in found
