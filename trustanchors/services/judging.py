"""What a release would do to each charger, and why not: asked by previews, plans, releases and newcomers alike."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import QuerySet

from inventory.choices import Capability, SubjectKind
from inventory.models import FamilyCapability, ManagedIdentity
from trustanchors.choices import CERTIFICATE_USES, CONNECTION_USE, GATING_PURPOSES, BundleState
from trustanchors.errors import BundleRefusedError, ReleaseRefusedError
from trustanchors.models import TrustAnchor, TrustAnchorBundle
from trustanchors.services import bundles as bundle_service
from trustanchors.services import coverage, keeping_roots, sequence

BATCH = 2000
NOT_A_TARGET = frozenset({"not_a_charger", "disabled"})
"""Whom a release does not concern at all; everybody else of the cohort counts, whether able or not."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a charger can take a release; `code` is empty where it can."""

    code: str = ""
    reason: str = ""
    steps: tuple[str, ...] = ()
    missing: tuple[coverage.NeededRoot, ...] = ()
    """Roots that it would be without."""


@dataclass(slots=True)
class Tally:
    """What a release comes to over a whole cohort."""

    able: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    families: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    """One sentence of each code."""

    @property
    def targets(self) -> int:
        return self.able + sum(count for code, count in self.codes.items() if code not in NOT_A_TARGET)


class Judge:
    """Judges identities for a release of these bundles, in a number of queries for each batch that does not grow."""

    def __init__(self, bundles: Sequence[TrustAnchorBundle]) -> None:
        self._bundles = [(bundle, bundle.ordered_anchors()) for bundle in bundles]
        self._closing = coverage.closing_anchors()
        concerns_connection = any(CERTIFICATE_USES[bundle.purpose] == CONNECTION_USE for bundle in bundles)
        given = {anchor.fingerprint for _, anchors in self._bundles for anchor in anchors}
        needed = coverage.needed_roots() if concerns_connection else []
        self._open_needs = [root for root in needed if root.fingerprint not in given]
        self._keeps = keeping_roots.known()
        self._lost_one = keeping_roots.that_lost_one()
        self._endangering = [
            anchor
            for bundle, anchors in self._bundles
            for anchor in keeping_roots.endangering(anchors, CERTIFICATE_USES[bundle.purpose])
        ]
        self._purposes = {bundle.purpose for bundle in bundles}
        self._anchors_of: dict[int, frozenset[tuple[int, str]]] = {}
        self._purpose_of: dict[int, str] = {}
        self._cannot = set(
            FamilyCapability.objects.filter(
                capability__in=[Capability.INSTALL_CERTIFICATE, Capability.LIST_CERTIFICATES], supported=False
            ).values_list("family_id", flat=True)
        )

    def judge(self, identities: Sequence[ManagedIdentity]) -> list[Judgement]:
        """A judgement for each, in their order. The identities come with their family."""
        standing = coverage.current_bundles([identity.pk for identity in identities], list(CERTIFICATE_USES))
        self._read({bundle for bundles in standing.values() for bundle in bundles})
        return [self._one(identity, standing.get(identity.pk, set())) for identity in identities]

    def tally(self, identities: "QuerySet[ManagedIdentity]") -> Tally:
        """Everybody of a cohort."""
        tally = Tally()
        for batch in batches(identities):
            for identity, judgement in zip(batch, self.judge(batch), strict=True):
                tally.families[identity.family.name if identity.family else "unknown"] += 1
                if judgement.code:
                    tally.codes[judgement.code] += 1
                    tally.examples.setdefault(judgement.code, judgement.reason)
                else:
                    tally.able += 1
        return tally

    def _one(self, identity: ManagedIdentity, standing: set[int]) -> Judgement:
        name = identity.authoritative_identifier
        if identity.kind != SubjectKind.CHARGER:
            kind = identity.get_kind_display().lower()
            return Judgement("not_a_charger", f"{name} is a {kind}; anchors are released to chargers.")
        if not identity.enabled:
            return Judgement("disabled", f"{name} is disabled; enable it first.")
        if identity.family_id in self._cannot:
            return Judgement(
                "not_supported",
                f"{name} is of the family {identity.family}, whose stations cannot install anchors or say what they "
                "have.",
            )
        if identity.family_id in self._lost_one and self._endangering:
            names = ", ".join(anchor.name for anchor in self._endangering)
            return Judgement(
                "would_be_lost",
                f"{name} is of the family {identity.family}, and {self._lost_one[identity.family_id]}: it would be "
                f"lost by {names}. Declare that the family keeps several roots when that is settled.",
            )
        missing = self._missing(standing)
        if missing:
            return Judgement(
                "not_covered", f"{name} would be without {coverage.in_words(missing)}.", missing=tuple(missing)
            )
        return self._room(identity, standing)

    def _missing(self, standing: set[int]) -> list[coverage.NeededRoot]:
        """What it would be without, with what stands already in the purposes that are not released now."""
        if not self._open_needs:
            return []
        others = [
            fingerprint
            for bundle in standing
            for _, fingerprint in self._anchors_of[bundle]
            if self._purpose_of[bundle] in GATING_PURPOSES and self._purpose_of[bundle] not in self._purposes
        ]
        return [root for root in self._open_needs if root.fingerprint not in others]

    def _room(self, identity: ManagedIdentity, standing: set[int]) -> Judgement:
        """Whether its store has room: until what is replaced is deleted, it holds the old beside the new."""
        name = identity.authoritative_identifier
        steps: list[str] = []
        held = {anchor for bundle in standing for anchor, _ in self._anchors_of[bundle]}
        for bundle, anchors in self._bundles:
            sendable = sequence.sendable(anchors, identity.family)
            if not sendable:
                return Judgement(
                    "nothing_to_send",
                    f"{bundle} has no self-signed root, and {identity.family or 'an unknown family'} is not known to "
                    "take anything else.",
                )
            keeps = identity.family_id in self._keeps
            ordered = sequence.in_order(sendable, CERTIFICATE_USES[bundle.purpose], self._closing, keeps=keeps)
            steps += [f"install:{anchor.pk}" for anchor in ordered]
            held |= {anchor.pk for anchor in ordered}
        size = identity.family.certificate_store_size if identity.family else None
        if size is not None and len(held) > size:
            return Judgement(
                "store_too_small",
                f"The store of {name} holds {size} certificates ({identity.family}), and with this release it would "
                f"have to hold {len(held)}. Withdraw what it no longer needs, or make the bundle smaller.",
            )
        return Judgement(steps=(*steps, "list"))

    def _read(self, bundle_ids: set[int]) -> None:
        new = bundle_ids - self._anchors_of.keys()
        if not new:
            return
        purposes = dict(TrustAnchorBundle.objects.filter(pk__in=new).values_list("pk", "purpose"))
        self._purpose_of |= purposes
        places = TrustAnchor.objects.filter(bundles__in=new).values_list("bundles", "pk", "fingerprint")
        for bundle_id in new:
            self._anchors_of[bundle_id] = frozenset((pk, mark) for bundle, pk, mark in places if bundle == bundle_id)


def batches(identities: "QuerySet[ManagedIdentity]", size: int = BATCH) -> Iterator[list[ManagedIdentity]]:
    """Identities with their family, in the order of their ids, so many at a time."""
    last = 0
    while True:
        batch = list(identities.filter(pk__gt=last).select_related("family").order_by("pk")[:size])
        if not batch:
            return
        yield batch
        last = batch[-1].pk


def check_bundles(bundles: Sequence[TrustAnchorBundle], now: datetime) -> None:
    """Refuse bundles that cannot be released at all, or not together.

    :raises ReleaseRefusedError: naming the one that is wrong.
    """
    if not bundles:
        raise ReleaseRefusedError("Name at least one bundle to release.")
    purposes = [bundle.purpose for bundle in bundles]
    if len(set(purposes)) < len(purposes):
        raise ReleaseRefusedError("Two of these bundles are of one purpose; release one version of each purpose.")
    for bundle in bundles:
        if bundle.purpose not in CERTIFICATE_USES:
            raise ReleaseRefusedError(
                f"{bundle}: anchors of {bundle.get_purpose_display()} are not delivered to chargers over OCPP."
            )
        if bundle.state == BundleState.WITHDRAWN:
            raise ReleaseRefusedError(f"{bundle} is withdrawn and is never released again. Make the next version.")
        try:
            for anchor in bundle.ordered_anchors():
                bundle_service.check_valid(anchor, now)
        except BundleRefusedError as error:
            raise ReleaseRefusedError(f"{bundle} cannot be released: {error}") from None
