"""The lock-out forecast: exactly which chargers could not reconnect after a change, and on what evidence.

A charger has to trust one of the roots that our listeners present, and we have to accept what it comes with. What is
known of its roots is what it last listed, else what was confirmed, else that it connected while the present chain was
presented. Where nothing is known it is named as well: a forecast that guesses helps nobody.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings
from django.db.models import Min

from bfcerts.ocpp.models import StationSession
from inventory.actors import Actor
from inventory.choices import RecordState
from inventory.errors import InvalidInputError, InventoryError
from inventory.models import CertificateRecord, IssuingAuthority, ManagedIdentity
from inventory.purposes import BACKEND_SERVER, CHARGER_IDENTITY
from inventory.seams import Gated
from trustanchors.choices import CONNECTION_USE, GATING_PURPOSES, InstallationState
from trustanchors.models import BundleInstallation, BundleRollout, TrustAnchor, TrustAnchorBundle
from trustanchors.services import coverage, listing

SHOWN = 20
BATCH = 2_000
OVERRIDE = "migration.override_lockout_forecast"


@dataclass(frozen=True, slots=True)
class CutOver:
    """These chargers are cut over to Profile 3."""

    identities: Sequence[ManagedIdentity]
    certificates_to_come: bool = False
    """They get their certificates on the way, so that they have none yet says nothing."""
    unknown_is_no_evidence: bool = False
    """Only what tells against a charger counts, not that nothing is known of its roots."""


@dataclass(frozen=True, slots=True)
class AnchorWithdrawal:
    """A bundle is withdrawn, and what only it holds is deleted from the chargers."""

    bundle: TrustAnchorBundle


@dataclass(frozen=True, slots=True)
class ServerCertificateChange:
    """Our listeners present chains to these roots, and to no others."""

    root_fingerprints: frozenset[str]
    """SHA-256, lower-case hex."""


Change = CutOver | AnchorWithdrawal | ServerCertificateChange


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


def predict(change: Change, now: datetime) -> list[LockedOut]:
    """Whom a change would lock out, in order of their ids."""
    match change:
        case CutOver(identities, to_come, unknown_is_no_evidence):
            present = frozenset(root.fingerprint for root in coverage.server_roots())
            return [
                LockedOut(identity, why)
                for batch in _batches(identities)
                for identity, why in _by_roots(batch, present, now, unknown_is_no_evidence)
                + _by_certificates(batch, now, to_come)
            ]
        case AnchorWithdrawal(bundle):
            return list(_without_bundle(bundle, now))
        case ServerCertificateChange(roots):
            return [
                LockedOut(identity, why)
                for batch in _connecting_chargers()
                for identity, why in _by_roots(batch, roots, now)
            ]


def require_safe(change: Change, *, actor: Actor, override: bool, reason: str, now: datetime) -> list[LockedOut]:
    """Refuse a change that locks chargers out.

    :param override: do it all the same, which needs a permission of its own and a reason.
    :returns: whom it locks out, where that was overridden.
    :raises LockOutError: naming the first of them.
    """
    locked_out = predict(change, now)
    if not locked_out:
        return []
    if not override:
        first = "; ".join(item.sentence for item in locked_out[:SHOWN])
        raise LockOutError(
            f"{len(locked_out)} chargers could not reconnect: {first}. Mend what is named, or override the forecast "
            "with a reason if you have the permission to.",
            locked_out,
        )
    actor.require(OVERRIDE)
    if not reason.strip():
        raise InvalidInputError("A reason is needed: say why chargers may be locked out, for the audit trail.")
    return locked_out


# -- the gate for single cut-overs -------------------------------------------------------------------------------------

_overridden: ContextVar[bool] = ContextVar("forecast_overridden", default=False)


@contextmanager
def overridden(*, actor: Actor) -> Iterator[None]:
    """Let cut-overs inside pass although the forecast is against them.

    :raises NotPermittedError: without the permission.
    """
    actor.require(OVERRIDE)
    token = _overridden.set(True)
    try:
        yield
    finally:
        _overridden.reset(token)


def gate(action: Gated, identity: ManagedIdentity, now: datetime) -> str | None:
    """Why a charger may not be cut over: it could not come back.

    A single command of an operator is refused on evidence alone: of a charger that is new nothing is known yet.
    """
    if action != Gated.CUT_OVER or _overridden.get():
        return None
    locked_out = predict(CutOver((identity,), unknown_is_no_evidence=True), now)
    return locked_out[0].sentence if locked_out else None


# -- evidence ----------------------------------------------------------------------------------------------------------

Finding = tuple[ManagedIdentity, str]


def _by_roots(
    identities: Sequence[ManagedIdentity], roots: frozenset[str], now: datetime, evidence_only: bool = False
) -> list[Finding]:
    """Those who are known to trust none of these roots, or of whom nothing is known."""
    anchors = {anchor.fingerprint: anchor for anchor in TrustAnchor.objects.filter(fingerprint__in=roots)}
    known = _KnownRoots.of(identities, now)
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
    def of(cls, identities: Sequence[ManagedIdentity], now: datetime) -> "_KnownRoots":
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


def _by_certificates(identities: Sequence[ManagedIdentity], now: datetime, to_come: bool) -> list[Finding]:
    """Those whose own certificate our door would refuse."""
    configuration = settings.CONFIGURATION
    ports = (configuration.gateway_profile3_port, configuration.gateway_dual_port)
    if all(port is None for port in ports) and not configuration.gateway_profile3_url:
        return [
            (item, f"{item.authoritative_identifier} has no listener to come to on Profile 3") for item in identities
        ]
    if to_come:
        return []
    usable: dict[int, CertificateRecord] = {}
    records = CertificateRecord.objects.filter(identity__in=identities, purpose=CHARGER_IDENTITY.key).usable_at(now)
    for record in records.filter(state__in=[RecordState.ACTIVE, RecordState.INSTALLED_PENDING_ACTIVATION]).order_by(
        "pk"
    ):
        usable[record.identity_id] = record
    distrusted = set(
        IssuingAuthority.objects.filter(trust_domain=CHARGER_IDENTITY.trust_domain, trusted=False).values_list(
            "pk", flat=True
        )
    )
    return [
        (identity, why)
        for identity in identities
        if (why := _own_certificate(identity, usable.get(identity.pk), distrusted))
    ]


def _own_certificate(identity: ManagedIdentity, record: CertificateRecord | None, distrusted: set[int]) -> str:
    who = identity.authoritative_identifier
    if record is None:
        return f"{who} has no installed certificate that opens the door"
    if record.authority_id in distrusted:
        return f"certificate {record.pk} of {who} comes from an authority that our door no longer trusts"
    return ""


def _without_bundle(bundle: TrustAnchorBundle, now: datetime) -> Iterator[LockedOut]:
    """Those who would keep no root of our present server chain without the anchors of this bundle.

    What the present chain needs is never deleted by a withdrawal; this is what would be left if it were.
    """
    gone = set(bundle.anchors.values_list("fingerprint", flat=True))
    present = {root.fingerprint for root in coverage.server_roots()}
    if not gone & present:
        return
    holders = BundleInstallation.objects.filter(rollout__bundle=bundle, current=True).exclude(
        state=InstallationState.WITHDRAWN
    )
    after = 0
    while True:
        batch = list(holders.filter(identity_id__gt=after).select_related("identity").order_by("identity_id")[:BATCH])
        kept = _kept_by_others([item.identity_id for item in batch], bundle)
        for item in batch:
            if not kept.get(item.identity_id, set()) & present:
                who = item.identity.authoritative_identifier
                yield LockedOut(item.identity, f"{who} has the root of our server certificate from {bundle} alone")
        if len(batch) < BATCH:
            return
        after = batch[-1].identity_id


def _kept_by_others(identity_ids: Sequence[int], bundle: TrustAnchorBundle) -> dict[int, set[str]]:
    others = BundleInstallation.objects.filter(
        identity_id__in=identity_ids, current=True, state__in=[InstallationState.INSTALLED, InstallationState.ACTIVE]
    ).exclude(rollout__bundle=bundle)
    kept: dict[int, set[str]] = {}
    for identity_id, fingerprint in others.values_list("identity_id", "rollout__bundle__anchors__fingerprint"):
        kept.setdefault(identity_id, set()).add(fingerprint)
    return kept


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


def _batches(identities: Iterable[ManagedIdentity]) -> Iterator[list[ManagedIdentity]]:
    everybody = sorted(identities, key=lambda identity: identity.pk)
    for start in range(0, len(everybody), BATCH):
        yield everybody[start : start + BATCH]
