"""Withdrawal, replacement A → A+B → B, and the way back."""

from typing import Any

import pytest

from bfcerts.ocpp.canonical import Action
from inventory.actors import Actor
from inventory.choices import EventType
from inventory.errors import InvalidInputError, NotPermittedError
from inventory.models import DomainEvent, SecurityEvent
from tests.admin.given import person
from tests.simulator.quirks import SerialStyle
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
from trustanchors.errors import BundleRefusedError, ReleaseRefusedError
from trustanchors.models import BundleRollout, TrustAnchorBundle
from trustanchors.services import releasing, withdrawal
from trustanchors.services.gate import why_closed
from trustanchors.services.lock_out import LockOutError

pytestmark = pytest.mark.django_db


def test_a_withdrawal_closes_the_gate_in_the_same_transaction(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    station = fleet.add("CS-0")
    rollout, _ = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))
    fleet.settle(3)
    assert why_closed(station.identity, plane.clock()) is None

    withdrawal.withdraw(bundle=rollout.bundle, actor=OPERATOR, reason="a CA was broken into", now=plane.clock())

    assert not again(rollout).gate_open
    assert "is withdrawn" in str(why_closed(station.identity, plane.clock()))
    assert DomainEvent.objects.filter(type=EventType.TRUST_ANCHOR_WITHDRAWN).count() == 1
    with pytest.raises(BundleRefusedError, match="was withdrawn on"):
        withdrawal.withdraw(bundle=rollout.bundle, actor=OPERATOR, reason="again", now=plane.clock())


def test_a_withdrawal_while_a_rollout_runs_sends_nothing_more(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    stations = [fleet.add(f"CS-{number}") for number in range(3)]
    rollout, server_rollout = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))
    for station in stations:
        station.silent = True
    fleet.turn()

    withdrawal.withdraw(bundle=rollout.bundle, actor=OPERATOR, reason="wrong root", now=plane.clock())
    fleet.turn()

    assert set(states(rollout).values()) == {"withdrawn"}
    sent = [one for station in stations for one in station.waiting() if one.reference.startswith("anchors:")]
    rollouts = {int(one.reference.split(":")[1]) for one in sent}
    assert rollouts <= set(server_rollout.installations.values_list("pk", flat=True))
    for station in stations:
        station.silent = False
    fleet.settle(4)
    assert not again(rollout).gate_open
    # The others would now be without the root of the charger identity CA: nothing is half done to them.
    assert states(server_rollout) == {"CS-0": "active", "CS-1": "failed", "CS-2": "failed"}
    assert installation(server_rollout, stations[1]).reason_code == "not_covered"
    assert stations[1].took == []


def test_a_normal_withdrawal_leaves_the_anchors_where_they_are(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    identity_root, server_root = own_anchors(plane.clock())
    station = fleet.add("CS-0")
    versions = [bundle([identity_root], plane.clock()), bundle([server_root], plane.clock())]
    rollout, _ = release(plane, versions, cohort("North", fleet.identities))
    fleet.settle(3)

    withdrawal.withdraw(bundle=rollout.bundle, actor=OPERATOR, reason="not used", now=plane.clock())
    fleet.settle(2)

    assert station.holds(identity_root.certificate_pem)
    assert Action.DELETE_CERTIFICATE not in station.took


def test_an_emergency_deletes_what_may_not_be_trusted_and_never_what_the_connection_rests_on(
    plane: ControlPlane,
) -> None:
    fleet = Fleet(plane)
    identity_root, server_root = own_anchors(plane.clock())
    broken = anchor(authority(plane.clock()).pem, plane.clock(), "backend_server", "broken root")
    station = fleet.add("CS-0", serials=SerialStyle.PADDED)
    versions = [bundle([identity_root], plane.clock()), bundle([broken, server_root], plane.clock())]
    _, rollout = release(plane, versions, cohort("North", fleet.identities))
    fleet.settle(3)
    assert station.holds(broken.certificate_pem)

    withdrawal.withdraw(
        bundle=rollout.bundle, emergency=True, actor=OPERATOR, reason="its key was stolen", now=plane.clock()
    )
    fleet.settle(2)

    assert states(rollout) == {"CS-0": "withdrawn"}
    assert not station.holds(broken.certificate_pem)
    assert station.holds(server_root.certificate_pem)
    assert station.holds(identity_root.certificate_pem)
    assert SecurityEvent.objects.filter(type="TrustAnchorWithdrawn", severity="critical").count() == 1


def test_an_emergency_that_deletes_what_connections_rest_on_is_refused_with_the_list_unless_overridden(
    plane: ControlPlane,
) -> None:
    fleet = Fleet(plane)
    stations = [fleet.add(f"CS-{number}", family(f"Family {number}")) for number in range(2)]
    fleet.add("CS-other")
    identity_rollout, rollout = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities[:2]))
    fleet.settle(4)
    server, server_pem = rollout.bundle, rollout.bundle.ordered_anchors()[0].certificate_pem
    asked: dict[str, Any] = {"bundle": server, "reason": "its key was stolen", "now": plane.clock()}
    told = withdrawal.forecast(server, plane.clock())
    assert "With that deleted: CS-0 has the root of our server certificate" in told
    assert withdrawal.forecast(identity_rollout.bundle, plane.clock()).endswith("With that deleted: Nobody.")

    with pytest.raises(InvalidInputError, match="in an emergency"):
        withdrawal.withdraw(**asked, delete_needed=True, actor=OPERATOR)
    with pytest.raises(LockOutError, match=r"2 chargers could not reconnect: CS-0 has .* alone; CS-1") as refused:
        withdrawal.withdraw(**asked, emergency=True, delete_needed=True, actor=OPERATOR)
    assert [item.identity for item in refused.value.locked_out] == fleet.identities[:2]
    clerk = Actor.person(person("clerk", "trustanchors.emergencywithdraw_trustanchorbundle"))
    with pytest.raises(NotPermittedError, match="override_lockout_forecast"):
        withdrawal.withdraw(**asked, emergency=True, delete_needed=True, override_forecast=True, actor=clerk)
    assert TrustAnchorBundle.objects.get(pk=server.pk).state == "released"
    assert all(station.holds(server_pem) for station in stations)

    withdrawal.withdraw(**asked, emergency=True, delete_needed=True, override_forecast=True, actor=OPERATOR)
    fleet.settle(2)

    assert not any(station.holds(server_pem) for station in stations)
    event = SecurityEvent.objects.get(type="TrustAnchorWithdrawn")
    assert "the forecast was overridden: 2 chargers may not reconnect: CS-0, CS-1" in event.message


def replaced(plane: ControlPlane, fleet: Fleet, *steps: str) -> dict[str, BundleRollout]:
    """Release server bundles of several steps, as “A” and “A+B”, one after the other; each is seen through."""
    now = plane.clock()
    identity_root, server_root = own_anchors(now)
    known = {"S": server_root, **{name: anchor(authority(now).pem, now, "backend_server", name) for name in "AB"}}
    group = cohort("North", fleet.identities)
    rollouts: dict[str, BundleRollout] = {}
    for step in steps:
        versions = [bundle([known[name] for name in step.split("+")], plane.clock())]
        if not rollouts:
            versions.insert(0, bundle([identity_root], now))
        rollouts[step] = release(plane, versions, group)[-1]
        fleet.settle(5)
    return rollouts


def names(station_holds: list[str]) -> set[str]:
    return set(station_holds)


@pytest.mark.parametrize("serials", list(SerialStyle))
def test_an_anchor_is_replaced_by_way_of_both(plane: ControlPlane, serials: SerialStyle) -> None:
    """A → A+B → B; the old one is deleted only when the new is in use."""
    fleet = Fleet(plane)
    kind = family("Eagle")
    stations = [fleet.add(f"CS-{number}", kind, serials=serials, algorithm="SHA512") for number in range(2)]

    rollouts = replaced(plane, fleet, "A+S", "A+B+S", "B+S")

    last = again(rollouts["B+S"])
    assert (last.state, last.gate_open) == ("complete", True)
    for station in stations:
        held = {certificate.subject.rfc4514_string() for _, certificate, _ in station.store}
        wanted = {one.subject for one in last.bundle.ordered_anchors()}
        assert wanted <= held
        assert len(held) == 3  # with the root of the charger identity CA
        first_deletion = station.took.index(Action.DELETE_CERTIFICATE)
        assert station.took[:first_deletion].count(Action.INSTALL_CERTIFICATE) >= 4
        assert states(last) == {"CS-0": "active", "CS-1": "active"}
    versions = TrustAnchorBundle.objects.filter(purpose="backend_server").order_by("version")
    assert list(versions.values_list("state", flat=True)) == ["superseded", "superseded", "released"]


def test_a_delete_that_finds_nothing_is_repeated_with_a_padded_serial(plane: ControlPlane) -> None:
    """Conformance 8: one finds nothing when asked with the bare serial that it reported itself."""
    fleet = Fleet(plane)
    station = fleet.add("CS-0", deletes_padded_only=True)
    now = plane.clock()
    identity_root, server_root = own_anchors(now)
    odd = anchor(authority(now, serial=0xABC).pem, now, "backend_server", "odd serial")
    group = cohort("North", fleet.identities)
    release(plane, [bundle([identity_root], now), bundle([odd, server_root], now)], group)
    fleet.settle(3)

    release(plane, [bundle([server_root], plane.clock())], group)
    fleet.settle(3)

    deletes = plane.commands(station.identity, Action.DELETE_CERTIFICATE)
    assert [one.payload["hash_data"]["serialNumber"] for one in deletes] == ["abc", "0abc"]
    assert not station.holds(odd.certificate_pem)


def test_a_rollback_gives_the_cohort_the_version_before(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    station = fleet.add("CS-0")
    rollouts = replaced(plane, fleet, "A+S", "B+S")
    former = again(rollouts["A+S"]).bundle

    back = releasing.roll_back(rollout=again(rollouts["B+S"]), actor=OPERATOR, reason="B is bad", now=plane.clock())
    assert not again(rollouts["B+S"]).gate_open
    fleet.settle(4)

    assert back.bundle == former
    assert (again(rollouts["B+S"]).state, again(back).state) == ("rolled_back", "complete")
    held = {certificate.subject.rfc4514_string() for _, certificate, _ in station.store}
    assert {one.subject for one in former.ordered_anchors()} <= held
    assert len(held) == 3
    assert former.state == "superseded"
    assert TrustAnchorBundle.objects.get(pk=former.pk).state == "released"


def test_there_is_a_way_back_from_a_withdrawn_version(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    station = fleet.add("CS-0")
    rollouts = replaced(plane, fleet, "A+S", "B+S")
    withdrawal.withdraw(bundle=again(rollouts["B+S"]).bundle, actor=OPERATOR, reason="B is bad", now=plane.clock())

    back = releasing.roll_back(rollout=again(rollouts["B+S"]), actor=OPERATOR, reason="B is bad", now=plane.clock())
    fleet.settle(4)

    assert again(back).gate_open
    assert why_closed(station.identity, plane.clock()) is None


def test_a_release_that_has_not_begun_can_be_rolled_back(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    fleet.add("CS-0")
    now = plane.clock()
    identity_root, server_root = own_anchors(now)
    group = cohort("North", fleet.identities)
    first, _ = release(plane, [bundle([identity_root], now), bundle([server_root], now)], group)
    fleet.turn()
    (second,) = release(plane, [bundle([identity_root], now)], group)
    assert second.state == "planned"

    back = releasing.roll_back(rollout=second, actor=OPERATOR, reason="too early", now=now)

    assert (again(second).state, back.bundle) == ("rolled_back", first.bundle)


def test_the_first_release_of_a_cohort_has_no_way_back(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    fleet.add("CS-0")
    rollout, _ = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))

    with pytest.raises(ReleaseRefusedError, match="no former version"):
        releasing.roll_back(rollout=rollout, actor=OPERATOR, reason="no", now=plane.clock())


def test_what_is_under_way_on_a_charger_is_broken_off_by_a_newer_release(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    station = fleet.add("CS-0", silent=True)
    now = plane.clock()
    identity_root, server_root = own_anchors(now)
    group = cohort("North", fleet.identities)
    first, _ = release(plane, [bundle([identity_root], now), bundle([server_root], now)], group)
    fleet.turn()
    spare = anchor(authority(now).pem, now, "charger_identity", "spare")

    (second,) = release(plane, [bundle([identity_root, spare], now)], group)
    fleet.turn()
    station.silent = False
    fleet.settle(4)

    assert (again(first).state, states(first)) == ("stopped", {"CS-0": "withdrawn"})
    assert states(second) == {"CS-0": "active"}
    assert installation(second, station).current
