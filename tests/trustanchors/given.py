"""How to make one of each trust anchor model, for the tests that every model of the doors inherits."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

from django.db.models import Model

from inventory.models import Cohort
from inventory.services import catalogue
from tests.support import OPERATOR, charger
from tests.trustanchors.support import anchor, authority, bundle
from trustanchors.models import BundleInstallation, BundleRollout, TrustAnchor, TrustAnchorBundle
from trustanchors.services import membership, releasing

PURPOSE = "iso15118_evse_leaf"
"""Its anchors decide nothing about a charger's connection, so no authority has to be known."""


def authority_pem() -> str:
    return authority(datetime.now(UTC)).pem


def trust_anchor() -> TrustAnchor:
    return anchor(authority_pem(), datetime.now(UTC), PURPOSE)


def trust_anchor_bundle() -> TrustAnchorBundle:
    return bundle([trust_anchor()], datetime.now(UTC))


def bundle_rollout() -> BundleRollout:
    """A release to a cohort of one charger, which is taken in."""
    members = Cohort(name=f"Cohort {uuid4().hex[:6]}")
    catalogue.save(entry=members, actor=OPERATOR, reason="given")
    identifiers = [charger().authoritative_identifier]
    catalogue.add_members(cohort=members, identifiers=identifiers, actor=OPERATOR, reason="given")
    now = datetime.now(UTC)
    (rollout,) = releasing.release(
        bundles=[trust_anchor_bundle()], cohort=members, actor=OPERATOR, reason="given", now=now
    )
    membership.take_in_members(now)
    return BundleRollout.objects.get(pk=rollout.pk)


def bundle_installation() -> BundleInstallation:
    return bundle_rollout().installations.get()


MAKERS: dict[type[Model], Callable[[], Model]] = {
    TrustAnchor: trust_anchor,
    TrustAnchorBundle: trust_anchor_bundle,
    BundleRollout: bundle_rollout,
    BundleInstallation: bundle_installation,
}
