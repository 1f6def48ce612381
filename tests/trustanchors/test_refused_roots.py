"""Roots that a station refuses: because it has them already, or because it cannot keep them; and roots that lose it."""

from datetime import timedelta

import pytest
from cryptography import x509

from bfcerts.ocpp.canonical import Action
from inventory.choices import Capability
from inventory.models import ChargerFamily, SecurityEvent
from inventory.services import capabilities
from tests.support import OPERATOR, ControlPlane
from tests.trustanchors.support import (
    CSMS_ROOT,
    Fleet,
    again,
    cohort,
    family,
    installation,
    own_bundles,
    own_root,
    release,
    states,
)
from trustanchors.services import control
from trustanchors.services.gate import why_closed

pytestmark = pytest.mark.django_db


def declared_family(plane: ControlPlane) -> ChargerFamily:
    """A family that installs roots, as somebody says."""
    kind = family("Eagle")
    capabilities.declare(
        family=kind,
        capability=Capability.INSTALL_CERTIFICATE,
        supported=True,
        source="Data sheet",
        actor=OPERATOR,
        reason="test",
        now=plane.clock(),
    )
    return kind


@pytest.mark.parametrize("answer", ["Rejected", "Failed"])
def test_a_root_that_is_refused_because_it_is_there_counts_as_installed(plane: ControlPlane, answer: str) -> None:
    fleet = Fleet(plane)
    kind = declared_family(plane)
    station = fleet.add("CS-0", kind, refuses_what_it_has=answer)
    for domain in ("charger_identity", "backend_server"):
        root = x509.load_pem_x509_certificate(own_root(domain).encode())
        station.store.append((CSMS_ROOT, root, root))

    rollouts = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))
    fleet.settle(4)

    assert [states(rollout) for rollout in rollouts] == [{"CS-0": "active"}, {"CS-0": "active"}]
    assert all(again(rollout).gate_open for rollout in rollouts)
    assert why_closed(station.identity, plane.clock()) is None
    installs = [step for step in installation(rollouts[0], station).steps if step["kind"] == "install"]
    assert {step["state"] for step in installs} == {"done"}
    assert "The anchor was there already" in installs[0]["detail"]
    known = capabilities.state_of(kind)[Capability.INSTALL_CERTIFICATE]
    assert (known.supported, known.source) == (True, "Data sheet")


def test_a_root_that_failed_and_is_not_there_tells_against_what_was_declared(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    kind = declared_family(plane)
    station = fleet.add("CS-0", kind, size=0)

    rollout, _ = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))
    fleet.turn()

    known = capabilities.state_of(kind)[Capability.INSTALL_CERTIFICATE]
    assert (known.supported, known.basis) == (False, "observed")
    assert "does not list it" in known.source
    assert installation(rollout, station).reason_code in ("refused", "not_listed")


def test_a_canary_that_a_root_lost_stops_its_family_and_is_remembered(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    forgetful, sound = family("Forgetful"), family("Sound")
    first, second = fleet.add("CS-0", forgetful, forgets=True), fleet.add("CS-1", forgetful, forgets=True)
    other = fleet.add("CS-2", sound)
    rollouts = release(
        plane, own_bundles(plane.clock()), cohort("North", fleet.identities), deadline=timedelta(hours=2)
    )

    fleet.settle(3)
    plane.clock.advance(hours=3)
    fleet.settle(3)

    identity_rollout = rollouts[0]
    lost = installation(identity_rollout, first)
    assert (lost.state, lost.reason_code) == ("failed", "lost")
    assert "CS-0 is the first of its family (Forgetful) and has not come back since identity root" in lost.detail
    known = capabilities.state_of(forgetful)[Capability.KEEPS_SEVERAL_ROOTS]
    assert (known.supported, known.basis) == (False, "observed")
    assert known.source.startswith("CS-0 did not come back since identity root was installed on it")
    event = SecurityEvent.objects.get(type="AnchorCanaryLost", identity=first.identity)
    assert (event.severity, "No other charger of its family is begun" in event.message) == ("critical", True)
    group = again(identity_rollout).families.get(family=forgetful)
    assert group.halted_by == lost.detail
    assert "CS-0" in again(identity_rollout).outcome
    assert Action.INSTALL_CERTIFICATE not in second.took
    assert states(identity_rollout)["CS-1"] == "intended"
    assert installation(identity_rollout, other).state == "active"

    first.silent = False
    control.retry_failed(rollout=again(identity_rollout), actor=OPERATOR, reason="it is back", now=plane.clock())
    fleet.settle(2)

    assert {installation(identity_rollout, one).reason_code for one in (first, second)} == {"would_be_lost"}
    assert Action.INSTALL_CERTIFICATE not in second.took


def test_a_family_that_keeps_its_roots_is_not_given_those_of_another_bundle_once_more(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    keeping, unknown = family("Keeping"), family("Unknown")
    capabilities.declare(
        family=keeping,
        capability=Capability.KEEPS_SEVERAL_ROOTS,
        supported=True,
        source="Test bench",
        actor=OPERATOR,
        reason="test",
        now=plane.clock(),
    )
    first, second = fleet.add("CS-0", keeping), fleet.add("CS-1", unknown)

    release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities))
    fleet.settle(4)

    assert first.took.count(Action.INSTALL_CERTIFICATE) == 2
    assert second.took.count(Action.INSTALL_CERTIFICATE) == 3
