"""What can be a trust anchor, what cannot, and what a bundle may hold."""

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from inventory.actors import Actor
from inventory.choices import EventType
from inventory.errors import InventoryError, NotPermittedError
from inventory.models import DomainEvent
from tests.admin import given
from tests.support import OPERATOR, Clock, ControlPlane
from tests.trustanchors.support import (
    Fleet,
    anchor,
    authority,
    bundle,
    cohort,
    family,
    own_anchors,
    own_bundles,
    own_root,
    release,
    states,
)
from trustanchors.errors import AnchorRefusedError, BundleRefusedError, ReleaseRefusedError
from trustanchors.models import BundleRollout, TrustAnchor
from trustanchors.services import anchors, bundles, membership, releasing
from trustanchors.services.releasing import Pace

pytestmark = pytest.mark.django_db


def refusal(plane: ControlPlane, pem: str, purpose: str = "charger_identity") -> str:
    with pytest.raises(AnchorRefusedError) as caught:
        anchor(pem, plane.clock(), purpose)
    assert not TrustAnchor.objects.filter(certificate_pem=pem).exists()
    return caught.value.reason_code


BAD: dict[str, Callable[[Clock], str]] = {
    "not_a_ca": lambda clock: authority(clock(), is_ca=False).pem,
    "not_valid": lambda clock: authority(clock(), days=(-20, -1)).pem,
    "weak_key": lambda clock: authority(clock(), key=rsa.generate_private_key(65537, 1024)).pem,  # noqa: S505  # what is refused
    "not_pem": lambda clock: "-----BEGIN NOTHING-----",
    "several": lambda clock: authority(clock()).pem + authority(clock()).pem,
    "issuer_unknown": lambda clock: authority(clock(), under=authority(clock())).pem,
}


@pytest.mark.parametrize("code", BAD)
def test_what_cannot_be_an_anchor_is_refused(plane: ControlPlane, code: str) -> None:
    assert refusal(plane, BAD[code](plane.clock)) == code


def test_a_key_below_224_bits_is_too_weak(plane: ControlPlane) -> None:
    assert refusal(plane, authority(plane.clock(), key=ec.generate_private_key(ec.SECP192R1())).pem) == "weak_key"


def test_an_anchor_is_known_once(plane: ControlPlane) -> None:
    pem = authority(plane.clock()).pem
    anchor(pem, plane.clock())

    with pytest.raises(AnchorRefusedError) as caught:
        anchor(pem, plane.clock())
    assert caught.value.reason_code == "known_already"


def test_an_anchor_of_another_trust_domain_is_refused_by_certificate_and_by_key(plane: ControlPlane) -> None:
    first = authority(plane.clock())
    anchor(first.pem, plane.clock(), "charger_identity")
    with pytest.raises(AnchorRefusedError, match="Trust domains never mix"):
        anchor(first.pem, plane.clock(), "iso15118_evse_leaf")

    assert refusal(plane, authority(plane.clock(), key=first.key).pem, "iso15118_evse_leaf") == "foreign_trust_domain"
    assert refusal(plane, own_root("backend_server"), "charger_identity") == "foreign_trust_domain"


def test_a_reserved_trust_domain_has_no_anchors(plane: ControlPlane) -> None:
    with pytest.raises(InventoryError, match="reserved trust domain"):
        anchor(authority(plane.clock()).pem, plane.clock(), "firmware_signing")


def test_an_intermediate_is_named_by_the_key_of_its_issuer(plane: ControlPlane) -> None:
    root = authority(plane.clock())
    between = authority(plane.clock(), under=root)
    known = anchor(root.pem, plane.clock())

    made = anchor(between.pem, plane.clock())

    assert not made.self_signed
    assert made.hash_data["SHA256"]["issuerKeyHash"] == known.hash_data["SHA256"]["issuerKeyHash"]


def test_versions_are_numbered_for_each_purpose(plane: ControlPlane) -> None:
    identity_root, server_root = own_anchors(plane.clock())

    made = [bundle([one], plane.clock()) for one in (identity_root, identity_root, server_root)]

    assert [(one.purpose, one.version) for one in made] == [
        ("charger_identity", 1),
        ("charger_identity", 2),
        ("backend_server", 1),
    ]


def test_a_bundle_with_a_duplicate_an_expired_or_a_foreign_anchor_is_refused(plane: ControlPlane) -> None:
    identity_root, server_root = own_anchors(plane.clock())
    short = anchor(authority(plane.clock(), days=(-1, 1)).pem, plane.clock())

    with pytest.raises(BundleRefusedError, match="stands in the bundle twice"):
        bundle([identity_root, identity_root], plane.clock())
    with pytest.raises(BundleRefusedError, match="Trust domains never mix"):
        bundle([identity_root, server_root], plane.clock())
    with pytest.raises(BundleRefusedError, match="needs at least one anchor"):
        bundles.draft(purpose_key="charger_identity", anchors=[], actor=OPERATOR, reason="test")
    with pytest.raises(BundleRefusedError, match="stations refuse it"):
        bundle([short], plane.clock.advance(days=2))


def test_a_bundle_that_expires_before_its_release_is_refused_then(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    fleet.add("CS-0")
    identity_root, server_root = own_anchors(plane.clock())
    short = anchor(authority(plane.clock(), days=(-1, 1)).pem, plane.clock())
    versions = [bundle([identity_root, short], plane.clock()), bundle([server_root], plane.clock())]
    plane.clock.advance(days=2)

    with pytest.raises(ReleaseRefusedError, match="stations refuse it"):
        release(plane, versions, cohort("North", fleet.identities))


def test_a_draft_can_be_changed_and_a_released_bundle_not(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    fleet.add("CS-0")
    identity_root, server_root = own_anchors(plane.clock())
    spare = anchor(authority(plane.clock()).pem, plane.clock())
    first = bundle([identity_root], plane.clock())

    changed = bundles.change(bundle=first, anchors=[spare, identity_root], actor=OPERATOR, reason="order")
    assert changed.ordered_anchors() == [spare, identity_root]

    release(plane, [changed, bundle([server_root], plane.clock())], cohort("North", fleet.identities))
    with pytest.raises(BundleRefusedError, match="never changes"):
        bundles.change(bundle=first, anchors=[identity_root], actor=OPERATOR, reason="no")


# -- what a release refuses ------------------------------------------------------------------------------------------


def test_a_release_that_would_strand_somebody_is_refused(plane: ControlPlane) -> None:
    """Conformance 3: what a charger has together must cover the present server chain."""
    fleet = Fleet(plane)
    fleet.add("CS-0")
    identity_root, _ = own_anchors(plane.clock())
    alone = bundle([identity_root], plane.clock())

    with pytest.raises(ReleaseRefusedError, match="the root of the server certificate that the gateway presents"):
        release(plane, [alone], cohort("North", fleet.identities))

    assert BundleRollout.objects.count() == 0
    assert alone.state == "draft"


def test_bundles_that_were_released_before_count_for_the_coverage(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    fleet.add("CS-0")
    group = cohort("North", fleet.identities)
    first, second = own_bundles(plane.clock())
    release(plane, [first, second], group)
    membership.take_in_members(plane.clock())
    spare = anchor(authority(plane.clock()).pem, plane.clock())
    newer = bundle([first.ordered_anchors()[0], spare], plane.clock())

    (rollout,) = release(plane, [newer], group)

    assert rollout.previous is not None


def test_an_empty_cohort_and_a_threshold_that_cannot_be_met_are_refused(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    small = family("Small", certificate_store_size=1)
    fleet.add("CS-0", small)
    fleet.add("CS-1")
    versions = own_bundles(plane.clock())

    with pytest.raises(ReleaseRefusedError, match="there is nobody to release to"):
        release(plane, versions, cohort("Empty", []))
    with pytest.raises(ReleaseRefusedError, match="cannot be met: 1 of 2 chargers can take the release"):
        release(plane, versions, cohort("North", fleet.identities))
    with pytest.raises(InventoryError, match="cannot be met; give 1 to 100"):
        Pace(threshold_percent=0).check()


def test_a_store_that_is_too_small_is_known_before_anything_is_sent(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    small = fleet.add("CS-0", family("Small", certificate_store_size=1))
    fleet.add("CS-1")
    rollout, _ = release(plane, own_bundles(plane.clock()), cohort("North", fleet.identities), threshold_percent=50)

    fleet.settle(4)

    assert states(rollout) == {"CS-0": "failed", "CS-1": "active"}
    assert small.took == []
    assert "holds 1 certificates" in rollout.installations.get(identity=small.identity).detail


def test_only_roots_are_sent_to_a_family_that_is_not_known_to_take_more(plane: ControlPlane) -> None:
    """Conformance 16: what is not self-signed can be neither listed nor deleted on one stack."""
    fleet = Fleet(plane)
    plain = fleet.add("CS-0", family("Plain"))
    taking = fleet.add("CS-1", family("Taking", accepts_intermediate_roots=True))
    identity_root, server_root = own_anchors(plane.clock())
    root = authority(plane.clock())
    other_root = anchor(root.pem, plane.clock())
    between = anchor(authority(plane.clock(), under=root).pem, plane.clock())
    versions = [bundle([identity_root, other_root, between], plane.clock()), bundle([server_root], plane.clock())]

    rollout, _ = release(plane, versions, cohort("North", fleet.identities), threshold_percent=50)
    fleet.settle(4)

    assert states(rollout)["CS-0"] == "active"
    assert not plain.holds(between.certificate_pem)
    assert taking.holds(between.certificate_pem)


def test_the_same_bundle_is_not_released_twice(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    fleet.add("CS-0")
    group = cohort("North", fleet.identities)
    versions = own_bundles(plane.clock())
    release(plane, versions, group)
    membership.take_in_members(plane.clock())

    with pytest.raises(ReleaseRefusedError, match="stands already"):
        release(plane, versions, group)
    assert DomainEvent.objects.filter(type=EventType.TRUST_ANCHOR_RELEASE_REQUESTED).count() == 2


def test_every_verb_has_a_permission_of_its_own(plane: ControlPlane) -> None:
    fleet = Fleet(plane)
    fleet.add("CS-0")
    group = cohort("North", fleet.identities)
    somebody = Actor.person(given.person("somebody", *given.view_permissions()))
    pem = authority(plane.clock()).pem

    with pytest.raises(NotPermittedError, match="add_trustanchor"):
        anchors.add(certificate_pem=pem, purpose_key="charger_identity", actor=somebody, reason="test")
    versions = own_bundles(plane.clock())
    with pytest.raises(NotPermittedError, match="release_trustanchorbundle"):
        releasing.release(bundles=versions, cohort=group, actor=somebody, reason="test")
    with pytest.raises(NotPermittedError, match="rollback_bundlerollout"):
        releasing.roll_back(rollout=release(plane, versions, group)[0], actor=somebody, reason="test")
