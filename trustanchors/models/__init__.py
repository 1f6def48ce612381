"""One aggregate a file."""

from trustanchors.models.anchor import TrustAnchor
from trustanchors.models.bundle import BundleAnchor, TrustAnchorBundle
from trustanchors.models.installation import BundleInstallation
from trustanchors.models.rollout import BundleRollout, RolloutFamily

__all__ = [
    "BundleAnchor",
    "BundleInstallation",
    "BundleRollout",
    "RolloutFamily",
    "TrustAnchor",
    "TrustAnchorBundle",
]
