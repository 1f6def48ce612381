"""Released bundles in the artifact store, as they were released."""

from datetime import datetime, timedelta
from functools import partial

from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import ArtifactKind
from inventory.jobs import setbacks
from inventory.jobs.periodic import duty
from inventory.models import Artifact
from inventory.services import artifacts
from trustanchors.choices import BundleState
from trustanchors.models import TrustAnchorBundle

KEEPER = Actor.system("trust-anchors")


@duty("anchors-artifacts", timedelta(minutes=1))
def keep_released_bundles(now: datetime) -> int:
    """Keep the certificates of every bundle that was released since the last time.

    :returns: how many were kept.
    """
    released = TrustAnchorBundle.objects.exclude(state=BundleState.DRAFT).exclude(released_at=None)
    released = setbacks.without(released, "anchors-artifacts", now)
    origins = {_origin(bundle): bundle for bundle in released}
    kept = set(Artifact.objects.filter(origin__in=origins).values_list("origin", flat=True))
    count = 0
    for origin, bundle in origins.items():
        if origin not in kept:
            count += setbacks.apart("anchors-artifacts", bundle.pk, now, partial(_keep, bundle, origin, now)) or 0
    return count


def _keep(bundle: TrustAnchorBundle, origin: str, now: datetime) -> int:
    with attributed(KEEPER, f"Keep {bundle} as it was released"):
        artifacts.keep(
            kind=ArtifactKind.BUNDLE,
            origin=origin,
            name=f"bundles/{bundle.purpose.replace('_', '-')}/{bundle.version}.pem",
            chunks=[anchor.certificate_pem.encode() for anchor in bundle.ordered_anchors()],
            largest=artifacts.LARGEST_TEXT,
            content_type="application/x-pem-file",
            now=now,
        )
    return 1


def _origin(bundle: TrustAnchorBundle) -> str:
    return f"bundle:{bundle.pk}:{bundle.digest}"
