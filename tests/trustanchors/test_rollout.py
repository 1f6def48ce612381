"""A release from its first canary to its gate, on stations that keep what they are given."""

from datetime import timedelta

import pytest

from bfcerts.ocpp.canonical import Action, CommandOutcome
from bfcerts.ocpp.models import OutboxCommand
from inventory.choices import EventType
from inventory.models import DomainEvent, ManagedIdentity, SecurityEvent, Setback
from inventory.services import catalogue, identities
from tests.support import OPERATOR, ControlPlane
from tests.trustanchors.support import (
    CSMS_ROOT,
    Fleet,
    again,
    anchor,
    authority,
    bundle,
    cohort,
    family,
    installation,
    join,
    own_anchors,
    own_bundles,
    release,
    states,
)
from trustanchors.models import BundleInstallation
from trustanchors.services import control, membership
from trustanchors.services.gate import readiness, why_closed

pytestmark = pytest.mark.django_db


def test_a_release_reaches_everybody_and_opens_the_gate(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    kind = family("Eagle")
    for number in range(4):
        fleet.add(f"CS-{number}", kind)
    identity_rollout, server_rollout = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))
    assert "has not reached it yet" in str(why_closed(fleet.identities[0], plane.clock()))

    fleet.settle()

    for rollout in (again(identity_rollout), again(server_rollout)):
        assert (rollout.state, rollout.confirmed, rollout.targets, rollout.gate_open) == ("complete", 4, 4, True)
        assert set(states(rollout).values()) == {"active"}
    assert all(why_closed(identity, plane.clock()) is None for identity in fleet.identities)
    assert all(readiness(identity, plane.clock()) is None for identity in fleet.identities)
    assert DomainEvent.objects.filter(type=EventType.TRUST_ANCHOR_RELEASE_REQUESTED).count() == 2
    assert DomainEvent.objects.filter(type=EventType.TRUST_ANCHOR_INSTALLED).count() == 8


def test_the_root_of_our_server_chain_is_the_last_to_be_installed(plane: ControlPlane) -> None:
    """Conformance 3: some stations trust only the last installed CSMS root."""
    fleet = Fleet(plane)
    station = fleet.add("CS-1")
    identity_root, server_root = own_anchors(plane.clock())
    other = anchor(authority(plane.clock()).pem, plane.clock(), "backend_server", "next server root")
    bundles = [bundle([identity_root], plane.clock()), bundle([server_root, other], plane.clock())]

    release(plane, bundles, cohort("North", fleet.identities))
    fleet.settle(2)

    sent = [command.payload["certificate"] for command in plane.commands(station.identity, Action.INSTALL_CERTIFICATE)]
    assert sorted(sent[:2]) != sorted(sent[-2:])
    assert sent[-1] == server_root.certificate_pem
    assert station.store[-1][0] == CSMS_ROOT
    assert [held for _, held, _ in station.store][-1].subject.rfc4514_string() == server_root.subject


def test_nobody_of_a_family_is_begun_before_its_canary_came_back(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    kind = family("Eagle")
    stations = [fleet.add(f"CS-{number}", kind) for number in range(3)]
    rollout, _ = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))

    fleet.settle(5, come_back=False)

    assert sorted(states(rollout).values()) == ["installed", "intended", "intended"]
    canary = next(station for station in stations if installation(rollout, station).canary)
    assert "reset" in canary.took
    assert "reset" not in [action for station in stations if station is not canary for action in station.took]

    canary.connect()
    fleet.settle(3, come_back=False)

    assert sorted(states(rollout).values()) == ["active", "installed", "installed"]


def test_a_connection_below_profile_2_proves_nothing(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    station = fleet.add("CS-1")
    rollout, _ = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))
    fleet.settle(2, come_back=False)

    station.connect(profile=1)

    assert states(rollout) == {"CS-1": "installed"}


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


def test_a_charger_that_left_the_cohort_is_sent_nothing_and_stays_a_target(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    stations = [fleet.add(f"CS-{number}") for number in range(3)]
    group = cohort("North", fleet.identities)
    rollout, _ = release(plane, own_bundles(plane.clock()), group)
    membership.take_in_members(plane.clock())

    catalogue.remove_members(cohort=group, identifiers=["CS-2"], actor=OPERATOR, reason="moved away")
    fleet.settle(6)

    assert stations[2].took == []
    assert states(rollout) == {"CS-0": "active", "CS-1": "active", "CS-2": "withdrawn"}
    assert (again(rollout).targets, again(rollout).gate_open) == (3, False)


def test_a_charger_that_changes_its_family_waits_for_the_canary_of_the_new_one(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    old, new = family("Old"), family("New")
    canary, changed = fleet.add("CS-0", old), fleet.add("CS-1", old)
    rollout, _ = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))
    membership.take_in_members(plane.clock())
    identities.update(identity=changed.identity, changes={"family": new}, actor=OPERATOR, reason="new firmware")

    fleet.settle(6)

    assert installation(rollout, canary).canary
    assert installation(rollout, changed).canary
    groups = {str(group): (group.targets, group.confirmed) for group in rollout.families.all()}
    assert groups == {"Old": (1, 1), "New": (1, 1)}


def test_who_joins_the_cohort_later_is_taken_in_and_closes_the_gate_until_confirmed(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    fleet.add("CS-0")
    group = cohort("North", fleet.identities)
    rollout, _ = release(plane, own_bundles(plane.clock()), group)
    fleet.settle(4)
    assert again(rollout).gate_open

    newcomer = fleet.add("CS-1")
    join(group, newcomer.identity)
    assert "has not reached it yet" in str(why_closed(newcomer.identity, plane.clock()))
    membership.take_in_members(plane.clock())
    assert (again(rollout).state, again(rollout).targets, again(rollout).gate_open) == ("running", 2, False)

    fleet.settle(4)

    assert (again(rollout).state, again(rollout).gate_open) == ("complete", True)


def test_a_paused_rollout_begins_nobody_and_goes_on_when_it_is_resumed(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    station = fleet.add("CS-0")
    rollout, _ = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))
    membership.take_in_members(plane.clock())
    control.pause(rollout=rollout, actor=OPERATOR, reason="maintenance", now=plane.clock())

    fleet.settle(2)
    assert states(rollout) == {"CS-0": "intended"}

    control.resume(rollout=rollout, actor=OPERATOR, reason="done", now=plane.clock())
    fleet.settle(3)
    assert states(rollout) == {"CS-0": "active"}
    assert station.took


def test_what_others_are_not_concerned_by_is_no_target(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    fleet.add("CS-0")
    disabled = fleet.add("CS-1")
    identities.set_enabled(identity=disabled.identity, enabled=False, actor=OPERATOR, reason="stolen")
    vehicle = identities.create(kind="vehicle", authoritative_identifier="VIN1", actor=OPERATOR, reason="test")
    group = cohort("North", [*fleet.identities, vehicle])

    rollout, _ = release(plane, own_bundles(plane.clock()), group)
    fleet.settle(3)

    assert states(rollout) == {"CS-0": "active"}
    assert ManagedIdentity.objects.get(pk=vehicle.pk).bundle_installations.count() == 0


def test_a_charger_that_has_its_anchors_is_asked_again_and_a_mismatch_is_an_event_and_a_state(
    plane: ControlPlane,
) -> None:
    fleet = Fleet(plane)
    station = fleet.add("CS-0")
    rollout, _ = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))
    fleet.settle(3)
    lost = station.store.pop(0)

    plane.clock.advance(days=8)
    fleet.turn()

    ended = installation(rollout, station)
    assert (ended.state, ended.detail) == ("mismatched", "The charger does not list identity root.")
    assert DomainEvent.objects.filter(type=EventType.TRUST_ANCHOR_MISMATCH_DETECTED).count() == 1
    assert not again(rollout).gate_open
    assert "1 is needed" in str(why_closed(station.identity, plane.clock()))

    station.store.insert(0, lost)
    plane.clock.advance(days=8)
    fleet.turn()
    station.connect()
    assert installation(rollout, station).state == "active"
    assert again(rollout).gate_open


def test_a_station_that_does_not_answer_the_question_is_asked_again_and_stays_confirmed(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    station = fleet.add("CS-0")
    rollout, _ = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))
    fleet.settle(3)
    plane.clock.advance(days=8)
    station.silent = True
    fleet.turn()

    for command in station.waiting():
        station.end(command, CommandOutcome.EXPIRED)
    plane.read_inbox()

    asked_again = installation(rollout, station)
    assert asked_again.state == "active"
    assert asked_again.next_check_at == plane.clock() + timedelta(days=1)


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
