"""The lock-out forecast: exactly which chargers could not reconnect after a change, and on what evidence.

A charger has to trust one of the roots that our listeners present, of which `trustanchors.services.lock_out` knows, and
we have to accept what it comes with.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from inventory.actors import Actor
from inventory.choices import RecordState
from inventory.models import CertificateRecord, IssuingAuthority, ManagedIdentity
from inventory.purposes import CHARGER_IDENTITY
from trustanchors.services import coverage, lock_out
from trustanchors.services.lock_out import AnchorWithdrawal, Finding, LockedOut, LockOutError, ServerCertificateChange

__all__ = [
    "OVERRIDE",
    "VIEW",
    "AnchorWithdrawal",
    "Change",
    "CutOver",
    "LockOutError",
    "LockedOut",
    "ServerCertificateChange",
    "of_one",
    "predict",
    "require_safe",
]

BATCH = 2_000
OVERRIDE = lock_out.OVERRIDE
VIEW = "migration.view_migrationcase"


@dataclass(frozen=True, slots=True)
class CutOver:
    """These chargers are cut over to Profile 3."""

    identities: Sequence[ManagedIdentity]
    certificates_to_come: bool = False
    """They get their certificates on the way, so that they have none yet says nothing."""
    unknown_is_no_evidence: bool = False
    """Only what tells against a charger counts, not that nothing is known of its roots."""


Change = CutOver | AnchorWithdrawal | ServerCertificateChange


def predict(change: Change, now: datetime) -> list[LockedOut]:
    """Whom a change would lock out, in order of their ids."""
    match change:
        case CutOver(identities, to_come, unknown_is_no_evidence):
            present = frozenset(root.fingerprint for root in coverage.server_roots())
            return [
                LockedOut(identity, why)
                for batch in _batches(identities)
                for identity, why in lock_out.by_roots(batch, present, unknown_is_no_evidence)
                + _by_certificates(batch, now, to_come)
            ]
        case AnchorWithdrawal():
            return list(lock_out.after_withdrawal(change, now))
        case ServerCertificateChange():
            return list(lock_out.after_server_change(change, now))


def require_safe(change: Change, *, actor: Actor, override: bool, reason: str, now: datetime) -> list[LockedOut]:
    """Refuse a change that locks chargers out; see `trustanchors.services.lock_out.require_none`."""
    return lock_out.require_none(iter(predict(change, now)), actor=actor, override=override, reason=reason)


# -- single cut-overs --------------------------------------------------------------------------------------------------


class OfOneCharger:
    """The forecast as every cut-over of a single charger asks for it.

    Such a command is refused on evidence alone: of a charger that is new nothing is known yet.
    """

    permission = OVERRIDE

    def evidence_against(self, identity: ManagedIdentity, now: datetime) -> str:
        return "; ".join(item.sentence for item in predict(of_one(identity), now))

    def require_safe(
        self, identity: ManagedIdentity, *, actor: Actor, override: bool, reason: str, now: datetime
    ) -> str:
        locked_out = require_safe(of_one(identity), actor=actor, override=override, reason=reason, now=now)
        return "; ".join(item.sentence for item in locked_out)


def of_one(identity: ManagedIdentity) -> CutOver:
    """The cut-over of a single charger, with the certificate that it has."""
    return CutOver((identity,), unknown_is_no_evidence=True)


# -- evidence ----------------------------------------------------------------------------------------------------------


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


def _batches(identities: Iterable[ManagedIdentity]) -> Iterator[list[ManagedIdentity]]:
    everybody = sorted(identities, key=lambda identity: identity.pk)
    for start in range(0, len(everybody), BATCH):
        yield everybody[start : start + BATCH]
