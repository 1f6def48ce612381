"""What goes wrong on the way of a release: silence, late and lost answers, refusals, and families that fail."""

import pytest

from bfcerts.ocpp.canonical import Action, CommandOutcome
from bfcerts.ocpp.models import OutboxCommand
from inventory.models import SecurityEvent, Setback
from tests.support import OPERATOR, ControlPlane
from tests.trustanchors.support import (
    Fleet,
    again,
    anchor,
    authority,
    bundle,
    cohort,
    family,
    installation,
    own_anchors,
    own_bundles,
    release,
    states,
)
from trustanchors.models import BundleInstallation
from trustanchors.services import control

pytestmark = pytest.mark.django_db


def test_a_canary_that_does_not_come_back_stops_its_family_alone(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    bad, good = family("Bad"), family("Good")
    lost = [fleet.add(f"BAD-{number}", bad) for number in range(2)]
    for number in range(2):
        fleet.add(f"GOOD-{number}", good)
    rollout, _ = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities), threshold_percent=50)
    fleet.turn()
    for station in lost:
        station.silent = True

    fleet.settle(4)
    plane.clock.advance(hours=25)
    fleet.settle(3)

    done = states(rollout)
    assert {name: state for name, state in done.items() if name.startswith("GOOD")} == {
        "GOOD-0": "active",
        "GOOD-1": "active",
    }
    assert sorted(state for name, state in done.items() if name.startswith("BAD")) == ["failed", "intended"]
    failed = next(installation(rollout, one) for one in lost if installation(rollout, one).state == "failed")
    assert failed.reason_code == "lost"
    assert (again(rollout).state, again(rollout).gate_open) == ("complete", True)
    assert (
        f"Bad waits for its canary. {failed.identity.authoritative_identifier} is the first" in again(rollout).outcome
    )


def test_silence_is_failure_and_says_what_was_waited_for(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    station = fleet.add("CS-1", silent=True)
    rollout, _ = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))
    fleet.settle(2)

    plane.clock.advance(hours=24, minutes=1)
    fleet.settle(2)

    ended = installation(rollout, station)
    assert (ended.state, ended.reason_code) == ("failed", "silent")
    assert "CS-1 did not install identity root in time" in ended.detail
    assert (again(rollout).state, again(rollout).gate_open) == ("stopped", False)
    assert "cannot be reached: 0 of 1 confirmed, 1 failed" in again(rollout).outcome


def test_an_answer_after_the_deadline_changes_nothing(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    station = fleet.add("CS-1", silent=True)
    rollout, _ = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))
    fleet.turn()
    (first, *_) = plane.commands(station.identity, Action.INSTALL_CERTIFICATE)
    OutboxCommand.objects.filter(pk=first.pk).update(state=OutboxCommand.State.SENT)
    plane.clock.advance(hours=25)
    fleet.turn()
    before = installation(rollout, station)

    station.end(first, CommandOutcome.ACCEPTED, status="Accepted", content={"status": "Accepted"})
    plane.read_inbox()

    after = installation(rollout, station)
    assert (after.state, after.steps, after.detail) == ("failed", before.steps, before.detail)


def test_an_answer_that_arrives_twice_is_one(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    station = fleet.add("CS-1", silent=True)
    rollout, _ = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))
    fleet.turn()
    first = next(
        one for one in station.waiting() if one.reference.startswith(f"anchors:{installation(rollout, station).pk}:")
    )

    for _ in range(2):
        plane.answer(first, answer={"status": "Accepted"}, status="Accepted")
        plane.read_inbox()

    own = [
        one for one in station.waiting() if one.reference.startswith(f"anchors:{installation(rollout, station).pk}:")
    ]
    assert [one.reference.rpartition(":")[2] for one in own] == ["1.1.1"]


def test_a_lost_answer_is_asked_for_again(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    station = fleet.add("CS-1", silent=True)
    rollout, _ = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))
    fleet.turn()
    for command in station.waiting():
        station.end(command, CommandOutcome.TIMED_OUT)
    plane.read_inbox()
    assert station.waiting() == []
    assert "No answer" in installation(rollout, station).steps[0]["detail"]

    station.silent = False
    plane.clock.advance(minutes=6)
    fleet.settle(2)

    assert states(rollout) == {"CS-1": "active"}
    assert installation(rollout, station).steps[0]["tries"] == 2


def test_partial_success_names_what_was_refused_and_still_closes_with_the_server_root(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    identity_root, server_root = own_anchors(plane.clock())
    extra = anchor(authority(plane.clock(), "Spare Root").pem, plane.clock(), "charger_identity", "spare")
    station = fleet.add("CS-1", refuses={"CN=Spare Root"})
    versions = [bundle([extra, identity_root], plane.clock()), bundle([server_root], plane.clock())]
    rollout, server_rollout = release(plane, versions, cohort("North", fleet.identities))

    fleet.settle(2)

    ended = installation(rollout, station)
    assert (ended.state, ended.reason_code) == ("failed", "refused")
    assert "The station refused spare (Rejected); what else was sent is installed." in ended.detail
    assert states(server_rollout) == {"CS-1": "active"}
    assert station.holds(identity_root.certificate_pem)
    assert station.holds(server_root.certificate_pem)


def test_a_family_that_fails_stops_alone_at_its_limit(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    bad, good = family("Bad"), family("Good")
    canary = fleet.add("BAD-0", bad)
    worse = [fleet.add(f"BAD-{number}", bad) for number in range(1, 8)]
    for number in range(3):
        fleet.add(f"GOOD-{number}", good)
    identity_root, server_root = own_anchors(plane.clock())
    rollout, _ = release(
        plane,
        [bundle([one], plane.clock()) for one in (identity_root, server_root)],
        cohort("North", fleet.identities),
        failure_limit=2,
        concurrency=1,
        threshold_percent=30,
    )
    for station in worse:
        station.refuses = {identity_root.subject}

    fleet.settle(20)

    done = states(rollout)
    assert installation(rollout, canary).state == "active"
    assert [done[f"GOOD-{number}"] for number in range(3)] == ["active"] * 3
    assert sorted(done[f"BAD-{number}"] for number in range(1, 8)) == ["failed"] * 2 + ["intended"] * 5
    stopped = rollout.families.get(family=bad)
    assert (stopped.stopped, stopped.failed) == (True, 2)

    for station in worse:
        station.refuses = set()
    control.allow_family(
        rollout=rollout,
        family_id=stopped.pk,
        further_failures=1,
        actor=OPERATOR,
        reason="new firmware",
        now=plane.clock(),
    )
    control.retry_failed(rollout=again(rollout), actor=OPERATOR, reason="new firmware", now=plane.clock())
    fleet.settle(12)

    assert set(states(rollout).values()) == {"active"}


def test_a_station_that_knows_no_such_command_fails_at_once_and_its_family_is_known_for_it(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    kind = family("Old")
    station = fleet.add("CS-0", kind, unknown_actions={Action.INSTALL_CERTIFICATE})
    rollout, _ = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))

    fleet.settle(2)

    ended = installation(rollout, station)
    assert (ended.state, ended.reason_code) == ("failed", "not_supported")
    assert "cannot install identity root" in ended.detail
    assert again(rollout).state == "stopped"


@pytest.mark.sets_defects_aside
def test_a_charger_whose_row_cannot_be_worked_on_holds_up_nobody_and_stays_in_sight(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    stations = [fleet.add(f"CS-{number}", family(f"Family {number}")) for number in range(3)]
    rollout, _ = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))
    fleet.turn()
    bad = installation(rollout, stations[0])
    garbled = [{**bad.steps[0], "anchor": 0, "state": "waiting"}]
    BundleInstallation.objects.filter(pk=bad.pk).update(steps=garbled, next_run_at=plane.clock(), awaiting="")

    fleet.settle()

    assert [installation(rollout, one).state for one in stations[1:]] == ["active", "active"]
    setback = Setback.objects.filter(work="anchors-go-on", key=bad.pk).get()
    assert setback.identity == stations[0].identity
    assert SecurityEvent.objects.filter(type="WorkSetAside", identity=stations[0].identity).exists()
