"""Writing down what became of something in the pools, inside the transaction that made it true."""

from datetime import datetime

from inventory.audit import current_attribution
from provisioning.models import PoolChange, PoolContract, PoolProvisioningCertificate, PoolRoot
from provisioning.pools.choices import ChangeKind


def of_root(kind: ChangeKind, root: PoolRoot, now: datetime) -> None:
    _write([_change(kind, now, fingerprint=root.fingerprint, not_after=root.not_after)])


def of_provisioning(kind: ChangeKind, certificate: PoolProvisioningCertificate, now: datetime) -> None:
    _write(
        [
            _change(
                kind,
                now,
                node_id=certificate.node_id,
                pcid=certificate.pcid,
                namespace=certificate.namespace,
                fingerprint=certificate.fingerprint,
                not_after=certificate.not_after,
            )
        ]
    )


def of_contracts(kind: ChangeKind, contracts: list[PoolContract], pcid: str, now: datetime) -> None:
    """The same of each of a vehicle's contracts, by one statement."""
    _write(
        [
            _change(
                kind,
                now,
                node_id=one.node_id,
                pcid=pcid,
                emaid=one.emaid,
                namespace=one.namespace,
                fingerprint=one.fingerprint,
                not_after=one.not_after,
            )
            for one in contracts
        ]
    )


def _change(kind: ChangeKind, now: datetime, **what: object) -> PoolChange:
    attribution = current_attribution()
    return PoolChange(
        kind=kind,
        at=now,
        actor=attribution.actor.name,
        reason=attribution.reason,
        correlation_id=attribution.correlation_id,
        **what,
    )


def _write(changes: list[PoolChange]) -> None:
    PoolChange.objects.bulk_create(changes)
