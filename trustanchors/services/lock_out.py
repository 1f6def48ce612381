"""Who could not reconnect after a change of anchors or of our server certificate, and on what evidence.

What is known of a charger's roots is what it last listed, else what was confirmed, else that it connected while the
present chain was presented. Where nothing is known it is named as well: a forecast that guesses helps nobody.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from django.db.models import Min, Q

from bfcerts.ocpp.models import StationSession
from inventory.actors import Actor
from inventory.choices import RecordState
from inventory.errors import InvalidInputError, InventoryError
from inventory.models import CertificateRecord, ManagedIdentity
from inventory.purposes import BACKEND_SERVER
from inventory.services import holding
from inventory.words import counted
from trustanchors.choices import CERTIFICATE_USES, CONFIRMED_STATES, CONNECTION_USE, GATING_PURPOSES, InstallationState
from trustanchors.models import BundleInstallation, BundleRollout, TrustAnchor, TrustAnchorBundle
from trustanchors.services import coverage, listing

SHOWN = 20
BATCH = 2_000
OVERRIDE = holding.OVERRIDE


@dataclass(frozen=True, slots=True)
class AnchorWithdrawal:
    """A bundle is withdrawn."""

    bundle: TrustAnchorBundle
    deletes_needed: bool = True
    """What only it holds is deleted from the chargers, also where their connection rests on it. Otherwise nothing that
    a connection rests on is deleted, so it locks nobody out."""


@dataclass(frozen=True, slots=True)
class ServerCertificateChange:
    """Our listeners present chains to these roots, and to no others."""

    root_fingerprints: frozenset[str]
    """SHA-256, lower-case hex."""


@dataclass(frozen=True, slots=True)
class LockedOut:
    """A charger that could not reconnect."""

    identity: ManagedIdentity
    sentence: str
    """On what evidence."""


class LockOutError(InventoryError):
    """The change would lock chargers out."""

    code = "would_lock_out"

    def __init__(self, message: str, locked_out: Sequence[LockedOut] = ()) -> None:
        super().__init__(message)
        self.locked_out = list(locked_out)


def after_withdrawal(change: AnchorWithdrawal, now: datetime) -> Iterator[LockedOut]:
    """Those who would be left without any root of our present server chain, in order of their ids.

    Deleted is what the bundle holds and no other standing bundle of the charger; from whom nothing was sent, nothing is
    deleted.
    """
    gone = set(change.bundle.anchors.values_list("fingerprint", flat=True))
    present = {root.fingerprint for root in coverage.server_roots()}
    if not change.deletes_needed or not gone & present:
        return
    was_sent = Q(started_at__isnull=False) | Q(state__in=CONFIRMED_STATES)
    holders = BundleInstallation.objects.filter(was_sent, rollout__bundle=change.bundle, current=True).exclude(
        state=InstallationState.WITHDRAWN
    )
    after = 0
    while True:
        batch = list(holders.filter(identity_id__gt=after).select_related("identity").order_by("identity_id")[:BATCH])
        identities = [item.identity for item in batch]
        kept = _kept_by_others([identity.pk for identity in identities], change.bundle)
        left = {identity.pk: frozenset(present - (gone - kept.get(identity.pk, set()))) for identity in identities}
        known = _KnownRoots.of(identities)
        anchors = _anchors(frozenset[str]().union(*left.values()))
        for identity in identities:
            if why := _why_left_without(identity, left[identity.pk], change.bundle, known, anchors):
                yield LockedOut(identity, why)
        if len(batch) < BATCH:
            return
        after = batch[-1].identity_id


def _why_left_without(
    identity: ManagedIdentity,
    left: frozenset[str],
    bundle: TrustAnchorBundle,
    known: "_KnownRoots",
    anchors: dict[str, TrustAnchor],
) -> str:
    who = identity.authoritative_identifier
    if not left:
        return f"{who} has the root of our server certificate from {bundle} alone"
    return known.why_not_any(identity, left, [anchors[item] for item in sorted(left) if item in anchors])


def after_server_change(change: ServerCertificateChange, now: datetime) -> Iterator[LockedOut]:
    """Those who could not check the chain that our listeners would present, in order of their ids."""
    for batch in _connecting_chargers():
        for identity, why in by_roots(batch, change.root_fingerprints):
            yield LockedOut(identity, why)


def require_none(locked_out: Iterator[LockedOut], *, actor: Actor, override: bool, reason: str) -> list[LockedOut]:
    """Refuse a change that locks chargers out.

    :param override: do it all the same, which needs a permission of its own and a reason.
    :returns: whom it locks out, where that was overridden.
    :raises LockOutError: naming the first of them.
    """
    found = list(locked_out)
    if not found:
        return []
    if not override:
        first = "; ".join(item.sentence for item in found[:SHOWN])
        raise LockOutError(
            f"{counted(len(found), 'charger')} could not reconnect: {first}. Mend what is named, or override the "
            "forecast with a reason if you have the permission to.",
            found,
        )
    actor.require(OVERRIDE)
    if not reason.strip():
        raise InvalidInputError("A reason is needed: say why chargers may be locked out, for the audit trail.")
    return found


def in_words(locked_out: Iterator[LockedOut]) -> str:
    """The first of those who would be locked out, for a page; that there are none, where there are none."""
    found = list(islice(locked_out, SHOWN + 1))
    if not found:
        return "Nobody."
    more = " And others: the page of the forecast lists them all." if len(found) > SHOWN else ""
    return "; ".join(item.sentence for item in found[:SHOWN]) + "." + more


# -- evidence ----------------------------------------------------------------------------------------------------------

Finding = tuple[ManagedIdentity, str]


def _anchors(fingerprints: Collection[str]) -> dict[str, TrustAnchor]:
    return {anchor.fingerprint: anchor for anchor in TrustAnchor.objects.filter(fingerprint__in=fingerprints)}


def by_roots(
    identities: Sequence[ManagedIdentity], roots: frozenset[str], evidence_only: bool = False
) -> list[Finding]:
    """Those who are known to trust none of these roots, or of whom nothing is known."""
    anchors = _anchors(roots)
    known = _KnownRoots.of(identities)
    return [
        (identity, why)
        for identity in identities
        if (identity.pk in known.listed or not evidence_only)
        and (why := known.why_not_any(identity, roots, [anchors[item] for item in sorted(roots) if item in anchors]))
    ]


@dataclass(slots=True)
class _KnownRoots:
    """What is known of the roots that chargers trust."""

    listed: dict[int, list[listing.Entry]] = field(default_factory=dict)
    checked: dict[int, datetime] = field(default_factory=dict)
    confirmed: dict[int, set[str]] = field(default_factory=dict)
    seen: dict[str, datetime] = field(default_factory=dict)
    presented: frozenset[str] = frozenset()

    @classmethod
    def of(cls, identities: Sequence[ManagedIdentity]) -> "_KnownRoots":
        known = cls(presented=frozenset(root.fingerprint for root in coverage.server_roots()))
        holding: dict[int, set[int]] = {}
        rows = (
            BundleInstallation.objects.filter(identity__in=identities, current=True, purpose__in=GATING_PURPOSES)
            .only("identity_id", "state", "listed", "checked_at", "rollout_id")
            .order_by("checked_at")
        )
        bundle_of = dict(
            BundleRollout.objects.filter(pk__in={row.rollout_id for row in rows}).values_list("pk", "bundle_id")
        )
        for row in rows:
            if row.listed is not None and row.checked_at is not None:
                known.listed[row.identity_id] = listing.restored(row.listed)
                known.checked[row.identity_id] = row.checked_at
            if row.is_confirmed:
                holding.setdefault(bundle_of[row.rollout_id], set()).add(row.identity_id)
        through = TrustAnchor.bundles.through.objects.filter(bundle_id__in=holding)
        for bundle_id, fingerprint in through.values_list("bundle_id", "anchor__fingerprint"):
            for identity_id in holding[bundle_id]:
                known.confirmed.setdefault(identity_id, set()).add(fingerprint)
        since = CertificateRecord.objects.filter(purpose=BACKEND_SERVER.key, state=RecordState.ACTIVE).aggregate(
            since=Min("activated_at")
        )["since"]
        stations = [identity.authoritative_identifier for identity in identities]
        sessions = StationSession.objects.filter(station_id__in=stations)
        if since is not None:
            sessions = sessions.filter(connected_at__gte=since)
        newest = sessions.order_by("station_id", "-connected_at").distinct("station_id")
        known.seen = dict(newest.values_list("station_id", "connected_at"))
        return known

    def why_not_any(self, identity: ManagedIdentity, roots: frozenset[str], anchors: Sequence[TrustAnchor]) -> str:
        who, key = identity.authoritative_identifier, identity.pk
        names = " or ".join(str(anchor) for anchor in anchors) or "the root of our server certificate"
        entries, checked = self.listed.get(key), self.checked.get(key)
        if entries is not None and checked is not None:
            if any(entry.use == CONNECTION_USE and entry.names(anchor) for entry in entries for anchor in anchors):
                return ""
            if anchors:
                return f"{who} listed its anchors on {checked:%Y-%m-%d %H:%M} UTC, and {names} was not among them"
        if self.confirmed.get(key, set()) & roots:
            return ""
        if who in self.seen and roots & self.presented:
            return ""
        return f"nothing shows that {who} trusts {names}: it has confirmed no anchors and not connected to that chain"


def _kept_by_others(identity_ids: Sequence[int], bundle: TrustAnchorBundle) -> dict[int, set[str]]:
    """What other bundles intend for these chargers, which a withdrawal leaves alone."""
    standing = coverage.current_bundles(identity_ids, list(CERTIFICATE_USES))
    others = {one for bundles in standing.values() for one in bundles} - {bundle.pk}
    held: dict[int, set[str]] = {}
    places = TrustAnchor.bundles.through.objects.filter(bundle_id__in=others)
    for bundle_id, fingerprint in places.values_list("bundle_id", "anchor__fingerprint"):
        held.setdefault(bundle_id, set()).add(fingerprint)
    return {
        pk: {fingerprint for one in bundles for fingerprint in held.get(one, set())} for pk, bundles in standing.items()
    }


def _connecting_chargers() -> Iterator[list[ManagedIdentity]]:
    chargers = ManagedIdentity.objects.filter(kind="charger", enabled=True, security_profile__gte=2)
    after = 0
    while True:
        batch = list(chargers.filter(pk__gt=after).order_by("pk")[:BATCH])
        if batch:
            yield batch
        if len(batch) < BATCH:
            return
        after = batch[-1].pk
