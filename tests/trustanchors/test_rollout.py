"""A release from its first canary to its gate, on stations that keep what they are given."""

from datetime import timedelta

import pytest

from bfcerts.ocpp.canonical import Action, CommandOutcome
from inventory.choices import EventType
from inventory.models import DomainEvent, ManagedIdentity
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
