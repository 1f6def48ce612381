"""Whether a family goes on trusting the CSMS roots that it has when it is given another one.

Unknown counts as no: then the root of our present server chain is installed last. A station that also reconnects at
once, after a root that is not that one, is lost all the same, and nothing on the wire says so beforehand; that is what
a canary is for (`trustanchors.services.canaries`). A family that lost one is given no root beside that of our server
until a person declares the capability anew.
"""

from collections.abc import Iterable

from inventory.choices import Capability, CapabilityBasis
from inventory.models import FamilyCapability
from trustanchors.choices import CONNECTION_USE
from trustanchors.models import TrustAnchor
from trustanchors.services import coverage

KEEPS = Capability.KEEPS_SEVERAL_ROOTS


def is_known(family_id: int | None) -> bool:
    """Whether a family is known to keep its roots."""
    return family_id in known()


def known() -> set[int]:
    """The families that are known to keep their roots."""
    rows = FamilyCapability.objects.filter(capability=KEEPS, supported=True)
    return set(rows.values_list("family_id", flat=True))


def that_lost_one() -> dict[int, str]:
    """The families of which a charger was lost by a root, with what was seen."""
    rows = FamilyCapability.objects.filter(capability=KEEPS, supported=False, basis=CapabilityBasis.OBSERVED)
    return dict(rows.values_list("family_id", "source"))


def endangering(anchors: Iterable[TrustAnchor], use: str) -> list[TrustAnchor]:
    """Of these anchors, those after which a station that forgets the others does not trust our server any more."""
    if use != CONNECTION_USE:
        return []
    present = {root.fingerprint for root in coverage.server_roots()}
    return [anchor for anchor in anchors if anchor.fingerprint not in present]
