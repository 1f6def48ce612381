"""By what the lists of trust anchors are narrowed."""

from inventory.api.filters import Narrowing
from trustanchors.models import BundleInstallation, BundleRollout, TrustAnchor, TrustAnchorBundle


class AnchorFilter(Narrowing):
    """Anchors."""

    class Meta:
        model = TrustAnchor
        fields = ["purpose", "fingerprint"]


class BundleFilter(Narrowing):
    """Bundles."""

    class Meta:
        model = TrustAnchorBundle
        fields = ["purpose", "version", "state"]


class RolloutFilter(Narrowing):
    """Rollouts."""

    class Meta:
        model = BundleRollout
        fields = ["bundle", "cohort", "purpose", "state"]


class InstallationFilter(Narrowing):
    """Installations."""

    class Meta:
        model = BundleInstallation
        fields = ["rollout", "identity", "purpose", "state", "current"]
