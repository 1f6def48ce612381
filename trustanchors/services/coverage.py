"""What a charger has to trust so that it can connect and take its certificate, and who would be without it."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from bfcerts.pki.certificates import parse_ca_certificate, split_chain
from inventory.choices import RecordState
from inventory.models import CertificateRecord, IssuingAuthority
from inventory.purposes import BACKEND_SERVER, CHARGER_IDENTITY
from trustanchors.choices import GATING_PURPOSES, STANDING_STATES, InstallationState
from trustanchors.errors import ReleaseRefusedError
from trustanchors.models import BundleInstallation, TrustAnchor, TrustAnchorBundle


@dataclass(frozen=True, slots=True)
class NeededRoot:
    """A root that no charger may be without."""

    fingerprint: str
    subject: str
    what_for: str
    purpose: str


def _presented() -> set[str]:
    chains = CertificateRecord.objects.filter(purpose=BACKEND_SERVER.key, state=RecordState.ACTIVE).exclude(
        chain_pem=""
    )
    return {split_chain(chain)[-1] for chain in chains.values_list("chain_pem", flat=True).distinct()}


def presented_roots() -> list[NeededRoot]:
    """The roots of the chains that our listeners present now; none before any does."""
    return _needed(_presented(), "the server certificate that the gateway presents", BACKEND_SERVER.key)


def coming_roots() -> list[NeededRoot]:
    """The root of the chain that our listeners would present with their next certificate."""
    roots = _roots_of_the_authority(BACKEND_SERVER.trust_domain)
    return _needed(roots, "the server certificate that the gateway would present", BACKEND_SERVER.key)


def server_roots() -> list[NeededRoot]:
    """The roots of the chains that our listeners present now; before any does, of the CA that will issue for them."""
    return _needed(
        _presented() or _roots_of_the_authority(BACKEND_SERVER.trust_domain),
        "the server certificate that the gateway presents",
        BACKEND_SERVER.key,
    )


def identity_roots() -> list[NeededRoot]:
    """The root of the charger identity CA: stations check CertificateSigned against their CSMS roots (A02)."""
    roots = _roots_of_the_authority(CHARGER_IDENTITY.trust_domain)
    return _needed(roots, "the charger identity CA", CHARGER_IDENTITY.key)


def needed_roots() -> list[NeededRoot]:
    """Every root that a charger's CSMS store has to hold.

    :raises ReleaseRefusedError: while they are not known: then no release can be shown to be safe.
    """
    server, identity = server_roots(), identity_roots()
    missing = "server certificates" if not server else "charger identities" if not identity else ""
    if missing:
        raise ReleaseRefusedError(
            f"Nobody knows yet which CA issues {missing}: the PKI worker has not published its authorities. Start it, "
            "then release again."
        )
    return [*identity, *server]


def closing_anchors() -> list[TrustAnchor]:
    """The anchors of our present server chain, which go last: some stations trust only the last (conformance 3)."""
    fingerprints = [root.fingerprint for root in server_roots()]
    return list(TrustAnchor.objects.filter(fingerprint__in=fingerprints, purpose__in=GATING_PURPOSES).order_by("pk"))


def fingerprints_of(bundles: Iterable[TrustAnchorBundle]) -> set[str]:
    """What these bundles hold, all together."""
    wanted = [bundle.pk for bundle in bundles]
    return set(TrustAnchor.objects.filter(bundles__in=wanted).values_list("fingerprint", flat=True))


def current_bundles(identity_ids: Collection[int], purposes: Sequence[str]) -> dict[int, set[int]]:
    """The bundles that stand for each of these identities, by identity, in these purposes."""
    rows = BundleInstallation.objects.filter(
        identity_id__in=identity_ids,
        purpose__in=purposes,
        current=True,
        rollout__state__in=STANDING_STATES,
    ).exclude(state=InstallationState.WITHDRAWN)
    found: dict[int, set[int]] = {}
    for identity_id, bundle_id in rows.values_list("identity_id", "rollout__bundle_id"):
        found.setdefault(identity_id, set()).add(bundle_id)
    return found


def in_words(missing: Sequence[NeededRoot]) -> str:
    """Roots that are not covered, in a sentence's middle."""
    return " and ".join(f"{root.subject}, the root of {root.what_for}" for root in missing)


def _roots_of_the_authority(trust_domain: str) -> set[str]:
    authorities = IssuingAuthority.objects.filter(trust_domain=trust_domain, issues=True)
    return {split_chain(pem)[-1] for pem in authorities.values_list("root_pem", flat=True)}


def _needed(pems: Iterable[str], what_for: str, purpose: str) -> list[NeededRoot]:
    parsed = [parse_ca_certificate(pem) for pem in sorted(pems)]
    return [NeededRoot(one.fingerprint_sha256, one.subject_text, what_for, purpose) for one in parsed]
