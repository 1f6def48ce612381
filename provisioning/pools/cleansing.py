"""The recurring duties that keep the pools clean: what expired, was revoked, or has lost what it stood on.

Each round looks by an index at what is over, some hundreds at a time and only by their keys, and takes away what
belongs to one vehicle in one transaction under the vehicle's lock. A round that is killed has done whole vehicles; the
next goes on with what is left. What goes wrong with one vehicle is set aside and holds up no other.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django.db import transaction
from django.db.models import Q, QuerySet

from inventory import seams
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import RecordState
from inventory.jobs import setbacks
from inventory.jobs.periodic import duty
from inventory.models import CertificateRecord
from provisioning.models import PoolContract, PoolIdentifier, PoolProvisioningCertificate, PoolRoot
from provisioning.pools import contracts, provisioning_certificates, telling
from provisioning.pools.choices import IdentifierKind, PoolEvent

CLEANSING: Final = Actor.system("pools")
BATCH: Final = 200
MOST_BATCHES: Final = 20
_WORK: Final = "pool-cleansing"
_PURPOSES: Final = frozenset({"iso15118_contract", "iso15118_oem_provisioning"})


@duty("pool-cleansing", timedelta(minutes=1))
def cleanse(now: datetime) -> int:
    """Take away what is over, at most `MOST_BATCHES` times `BATCH` vehicles and contracts of each kind.

    :returns: how many contracts and provisioning certificates.
    """
    _tell_expired_roots(now)
    identifiers = list(PoolIdentifier.objects.filter(ended_at__isnull=False, cleansed_at=None).order_by("pk")[:BATCH])
    removed_roots = PoolRoot.objects.filter(removed_at__isnull=False)
    vehicles = PoolProvisioningCertificate.objects
    of_vehicles = (
        (vehicles.filter(not_after__lte=now).order_by("not_after"), "Its provisioning certificate has expired"),
        (vehicles.filter(revoked_at__isnull=False).order_by("pk"), "Its provisioning certificate is revoked"),
        (
            vehicles.filter(root__in=removed_roots).order_by("root"),
            "Its root was taken out",
        ),
        *((_vehicles_under(one), f"{one} has ended") for one in identifiers if one.kind == IdentifierKind.WMI),
    )
    of_contracts = (
        (PoolContract.objects.filter(not_after__lte=now).order_by("not_after"), "It has expired"),
        (
            PoolContract.objects.filter(Q(revoked_at__isnull=False) | Q(orphaned_at__isnull=False)).order_by("pk"),
            "It is revoked, or its vehicle has another key",
        ),
        (
            PoolContract.objects.filter(root__in=removed_roots).order_by("root"),
            "Its root was taken out",
        ),
        *((_contracts_under(one), f"{one} has ended") for one in identifiers if one.kind == IdentifierKind.PROVIDER),
    )
    taken = sum(_take_vehicles(found, why, now) for found, why in of_vehicles)
    taken += sum(_take_contracts(found, why, now) for found, why in of_contracts)
    for identifier in identifiers:
        if not _vehicles_under(identifier).exists() and not _contracts_under(identifier).exists():
            PoolIdentifier.objects.filter(pk=identifier.pk).update(cleansed_at=now)
    return taken


def hear_of_records(records: Sequence[CertificateRecord], now: datetime) -> None:
    """What was revoked in the inventory is given to nobody by the pools from this moment on."""
    revoked = [
        record.fingerprint
        for record in records
        if record.purpose in _PURPOSES and record.state == RecordState.REVOKED and record.fingerprint
    ]
    if not revoked:
        return
    with attributed(CLEANSING, "Its certificate was revoked in the inventory"):
        vehicles = PoolProvisioningCertificate.objects.filter(fingerprint__in=revoked, revoked_at=None)
        vehicles.update(revoked_at=now)
        found = PoolContract.objects.filter(fingerprint__in=revoked, revoked_at=None)
        contracts.block_all(list(found.values_list("pk", flat=True)), now)


def connect() -> None:
    """Called once, when the app is ready."""
    seams.on_records_moved(hear_of_records)


def _take_vehicles(found: QuerySet[PoolProvisioningCertificate], why: str, now: datetime) -> int:
    def take(key: int) -> int:
        with attributed(CLEANSING, why), transaction.atomic():
            vehicle = found.select_for_update(of=("self",)).filter(pk=key).first()
            return 0 if vehicle is None else 1 + provisioning_certificates.take_away(vehicle, now)

    taken = 0
    for keys in _batches(found, "pk", now):
        for key in keys:
            taken += setbacks.apart(_WORK, key, now, partial(take, key)) or 0
    return taken


def _take_contracts(found: QuerySet[PoolContract], why: str, now: datetime) -> int:
    def take(vehicle_id: int) -> int:
        with attributed(CLEANSING, why), transaction.atomic():
            vehicle = PoolProvisioningCertificate.objects.select_for_update(of=("self",)).filter(pk=vehicle_id).first()
            if vehicle is None:
                return 0
            over = found.filter(provisioning_certificate=vehicle).select_related("signer_root")
            return contracts.take_away(vehicle, list(over.order_by("pk")), now)

    taken = 0
    for keys in _batches(found, "provisioning_certificate_id", now):
        for key in dict.fromkeys(keys):
            taken += setbacks.apart(_WORK, key, now, partial(take, key)) or 0
    return taken


def _batches(
    found: QuerySet[PoolProvisioningCertificate] | QuerySet[PoolContract], key: str, now: datetime
) -> Iterable[list[int]]:
    """Keys of vehicles that have something to be taken away. What was taken is gone, and what failed is set aside."""
    for _ in range(MOST_BATCHES):
        keys = list(setbacks.without(found, _WORK, now, key).values_list(key, flat=True)[:BATCH])
        if keys:
            yield keys
        if len(keys) < BATCH:
            return


def _vehicles_under(identifier: PoolIdentifier) -> QuerySet[PoolProvisioningCertificate]:
    found = PoolProvisioningCertificate.objects.filter(node_id=identifier.node_id, pcid__startswith=identifier.value)
    return found if identifier.kind == IdentifierKind.WMI else found.none()


def _contracts_under(identifier: PoolIdentifier) -> QuerySet[PoolContract]:
    found = PoolContract.objects.filter(node_id=identifier.node_id, emaid__startswith=identifier.value)
    return found if identifier.kind == IdentifierKind.PROVIDER else found.none()


def _tell_expired_roots(now: datetime) -> None:
    for root in PoolRoot.objects.filter(not_after__lte=now, removed_at=None, expiry_told_at=None).order_by("pk")[
        :BATCH
    ]:
        with attributed(CLEANSING, "It has expired"), transaction.atomic():
            # Not a change of meaning that the audit would have to show: it says only that it was told.
            told = PoolRoot.objects.filter(pk=root.pk, expiry_told_at=None).update(expiry_told_at=now)
            if told:
                telling.of_root(PoolEvent.ROOT_EXPIRED, root, now)
