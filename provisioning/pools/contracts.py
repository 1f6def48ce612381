"""The contract certificate pool: publishing, deleting, choosing the default, listing. Answering cars is in `answers`.

Changes of one EMAID wait for each other, then those of one vehicle: a lock of the EMAID, then the row of the vehicle's
provisioning certificate. So two publications of one EMAID, or of two contracts for one vehicle, come one after the
other, and each leaves exactly one default.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Q, QuerySet

from bfcerts.pki.certificates import parse_certificate
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.errors import TransitionRefusedError
from inventory.services import versions
from inventory.services.command import command
from provisioning.models import PoolContract, PoolNode, PoolProvisioningCertificate, PoolRoot
from provisioning.pools import changes, contents, nodes, normal_forms, telling
from provisioning.pools.callers import Caller
from provisioning.pools.chains import verified
from provisioning.pools.choices import (
    ANCHORS_OF_CONTRACTS,
    ANCHORS_OF_SIGNERS,
    ChangeKind,
    IdentifierKind,
    PoolEvent,
    PoolRole,
    PoolScope,
)
from provisioning.pools.contents import Published
from provisioning.pools.errors import NotInPoolError, PoolError
from provisioning.pools.provisioning_certificates import delete_rows, locked
from provisioning.pools.shown import der_base64, distinguished_name, instant

NOT_FOUND: Final = "The contract for the given EMAID not found."
NO_VEHICLE: Final = "The OEM provisioning certificate with the given PCID is not available."
ANOTHER_VEHICLE: Final = "Invalid Tupple - EMAID is already used by other PCID."
PAST: Final = "The validUntil date of contract certificate is in the past."


def publish(*, caller: Caller, body: dict[str, Any], now: datetime) -> PoolContract:
    """Store a contract for a vehicle; that of the same EMAID is overwritten. The same again changes nothing.

    :param body: as OPCP's SignedContractData; see `contents.read` for what we take beside it.
    :raises PoolError: when it is not the caller's, its vehicle is not known, or its chain does not verify.
    """
    caller.require(PoolScope.CONTRACTS, [PoolRole.MO, PoolRole.CPS], "publish contracts", now)
    emaid, pcid = normal_forms.emaid(body.get("emaid")), normal_forms.pcid(body.get("pcid"))
    namespace = normal_forms.namespace(body.get("xsdMsgDefNamespace"), default=False)
    owner = _owner(caller, emaid, now)
    published = contents.read(body, emaid)
    if published.contract.not_after <= now:
        raise PoolError(PAST)
    root = verified(published.contract, published.others, ANCHORS_OF_CONTRACTS, now)
    signer = _signer_root(published, body.get("cpsV2GRootCertificateFingerprint"), now)
    with attributed(caller.actor, "Published over OPCP"), transaction.atomic():
        _lock_emaid(emaid)
        try:
            vehicle = locked(pcid)
        except NotInPoolError:
            raise PoolError(NO_VEHICLE) from None
        if vehicle.not_after <= now or vehicle.revoked_at is not None:
            raise PoolError(NO_VEHICLE)
        of_emaid = PoolContract.objects.filter(emaid_key=normal_forms.emaid_key(emaid))
        present = {one.namespace: one for one in of_emaid}
        if any(one.provisioning_certificate_id != vehicle.pk for one in present.values()):
            raise PoolError(ANOTHER_VEHICLE)
        contract = present.get(namespace) or PoolContract(
            provisioning_certificate=vehicle,
            namespace=namespace,
            emaid_key=normal_forms.emaid_key(emaid),
            published_at=now,
            is_default=not vehicle.contracts.filter(namespace=namespace, is_default=True).exists(),
        )
        if contract.content_sha256 == published.digest and contract.vehicle_key_sha256 == vehicle.public_key_sha256:
            return contract
        _store(contract, emaid, owner, vehicle, published, root, signer, now)
    return contract


def _store(
    contract: PoolContract,
    emaid: str,
    owner: PoolNode,
    vehicle: PoolProvisioningCertificate,
    published: Published,
    root: PoolRoot,
    signer: PoolRoot | None,
    now: datetime,
) -> None:
    new = contract._state.adding
    contract.emaid = emaid
    contract.node = owner
    contract.certificate_pem = published.contract.pem
    contract.root, contract.signer_root = root, signer
    contract.vehicle_key_sha256 = vehicle.public_key_sha256
    contract.signed_data = published.signed_data
    contract.installation_response = published.installation_response
    contract.update_response = published.update_response
    contract.content_sha256 = published.digest
    contract.metadata = published.metadata
    contract.fingerprint = published.contract.fingerprint_sha256
    contract.serial_number = published.contract.serial_hex
    contract.not_before, contract.not_after = published.contract.not_before, published.contract.not_after
    contract.updated_at, contract.revoked_at, contract.orphaned_at = now, None, None
    contract.save()
    kind = ChangeKind.CONTRACT_PUBLISHED if new else ChangeKind.CONTRACT_UPDATED
    changes.of_contracts(kind, [contract], vehicle.pcid, now)
    event = PoolEvent.CONTRACT_CREATED if new else PoolEvent.CONTRACT_UPDATED
    telling.of_contract(event, contract, vehicle, now)


def delete(*, caller: Caller, emaid: str, now: datetime) -> int:
    """Delete a contract of the caller's, for every edition of ISO 15118.

    :returns: how many rows.
    :raises NotInPoolError: when there is none.
    """
    caller.require(PoolScope.CONTRACTS, [PoolRole.MO], "delete contracts", now)
    wanted = normal_forms.emaid(emaid)
    if not caller.owns_emaid(wanted):
        caller.refuse(f"delete the contract {wanted}", "it is another mobility operator's", now)
    with attributed(caller.actor, "Deleted over OPCP"), transaction.atomic():
        return _delete(wanted, now)


def remove(*, contract: PoolContract, actor: Actor, reason: str, now: datetime) -> int:
    """The same, by a person of the administration."""
    with command(actor, "provisioning.remove_poolcontract", reason):
        return _delete(contract.emaid, now)


def block(*, contract: PoolContract, actor: Actor, reason: str, now: datetime) -> PoolContract:
    """Say that a contract certificate is revoked: it is given to nobody from now on, and cleansed next."""
    with command(actor, "provisioning.revoke_poolcontract", reason):
        if PoolContract.objects.filter(pk=contract.pk, revoked_at__isnull=False).exists():
            raise TransitionRefusedError(f"{contract.emaid} is blocked already.")
        block_all([contract.pk], now)
    return PoolContract.objects.get(pk=contract.pk)


def block_all(contract_ids: Sequence[int], now: datetime) -> None:
    """Give contracts to nobody any more, and choose other defaults of their vehicles; what is gone is left alone.

    All locks of EMAIDs come first and then the vehicles, as everywhere, so that nobody waits in a circle.
    """
    found = PoolContract.objects.filter(pk__in=contract_ids)
    named = list(found.values_list("emaid", "provisioning_certificate__pcid"))
    for emaid in sorted({emaid for emaid, _ in named}):
        _lock_emaid(emaid)
    for pcid in sorted({pcid for _, pcid in named}):
        try:
            vehicle = locked(pcid)
        except NotInPoolError:
            continue
        blocked = list(vehicle.contracts.filter(pk__in=contract_ids, revoked_at=None).order_by("pk"))
        PoolContract.objects.filter(pk__in=[one.pk for one in blocked]).update(revoked_at=now)
        changes.of_contracts(ChangeKind.CONTRACT_REVOKED, blocked, vehicle.pcid, now)
        for contract in blocked:
            if contract.is_default:
                ensure_default(vehicle, contract.namespace, now, but_for=contract)


def set_default(*, caller: Caller, pcid: str, emaid: str, now: datetime) -> None:
    """Make a contract the one that the vehicle is answered with, in each edition in which it was published.

    :raises NotInPoolError: when the vehicle has no such contract.
    """
    caller.require(PoolScope.CONTRACTS, [PoolRole.OEM], "choose default contracts", now)
    vehicle_id, wanted = normal_forms.pcid(pcid), normal_forms.emaid(emaid)
    if not caller.owns_pcid(vehicle_id):
        caller.refuse(f"choose the default contract of {vehicle_id}", "the WMI is not its own", now)
    with attributed(caller.actor, "Chosen over OPCP"), transaction.atomic():
        try:
            vehicle = locked(vehicle_id)
        except NotInPoolError:
            raise NotInPoolError(NOT_FOUND) from None
        chosen = list(vehicle.contracts.filter(emaid_key=normal_forms.emaid_key(wanted), revoked_at=None))
        if not chosen:
            raise NotInPoolError(NOT_FOUND)
        for contract in chosen:
            make_default(vehicle, contract, now)


def make_default(vehicle: PoolProvisioningCertificate, contract: PoolContract, now: datetime) -> None:
    """Choose one of a vehicle's contracts; the vehicle is locked."""
    if contract.is_default:
        return
    # Two statements, because the index looks at each row; that there is one at the end, the trigger asks at commit.
    vehicle.contracts.filter(namespace=contract.namespace, is_default=True).update(is_default=False)
    PoolContract.objects.filter(pk=contract.pk).update(is_default=True)
    contract.is_default = True
    changes.of_contracts(ChangeKind.DEFAULT_CHOSEN, [contract], vehicle.pcid, now)


def ensure_default(
    vehicle: PoolProvisioningCertificate, namespace: str, now: datetime, *, but_for: PoolContract | None = None
) -> None:
    """Choose the newest usable contract of a vehicle where its default is gone or blocked; the vehicle is locked."""
    left = vehicle.contracts.filter(namespace=namespace)
    if but_for is None and left.filter(is_default=True).exists():
        return
    usable = left.filter(revoked_at=None, orphaned_at=None, not_after__gt=now).order_by("-updated_at", "-pk")
    chosen = usable.first() or left.order_by("-updated_at", "-pk").first()
    if chosen is not None and chosen != but_for:
        make_default(vehicle, chosen, now)


def of_vehicle(*, caller: Caller, pcid: str, namespace: str, now: datetime) -> list[PoolContract]:
    """The contracts of a vehicle of the caller's make.

    :param namespace: of one edition; empty for all.
    """
    caller.require(PoolScope.CONTRACTS, [PoolRole.OEM], "list contracts of vehicles", now)
    wanted = normal_forms.pcid(pcid)
    if not caller.owns_pcid(wanted):
        caller.refuse(f"list the contracts of {wanted}", "the WMI is not its own", now)
    return _narrowed(_shown().filter(provisioning_certificate__pcid=wanted), namespace)


def look_up(*, caller: Caller, emaid: str, namespace: str, root: str, now: datetime) -> list[PoolContract]:
    """What the pool has under an EMAID: a mobility operator's own, or for a manufacturer those of its vehicles.

    :param root: fingerprint of the root that the signing service has to be under; empty for any.
    """
    caller.require(PoolScope.CONTRACTS, [PoolRole.MO, PoolRole.OEM], "look contracts up", now)
    wanted = normal_forms.emaid(emaid)
    found = _shown().filter(emaid_key=normal_forms.emaid_key(wanted))
    if caller.node.role == PoolRole.MO:
        if not caller.owns_emaid(wanted):
            caller.refuse(f"look up the contract {wanted}", "it is another mobility operator's", now)
    else:
        found = found.filter(provisioning_certificate__node=caller.node)
    contracts = _narrowed(found, namespace, normal_forms.fingerprint(root) if root else "")
    if not contracts:
        raise NotInPoolError(NOT_FOUND)
    return contracts


def described(contracts: Sequence[PoolContract]) -> dict[str, Any]:
    """As OPCP's LookupContractResponse."""
    return {"XMLContracts": [_described(contract) for contract in contracts]}


def _described(contract: PoolContract) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "pcid": contract.provisioning_certificate.pcid,
        "emaid": contract.emaid,
        "xsdMsgDefNamespace": contract.namespace,
        "contractCertificate": der_base64(parse_certificate(contract.certificate_pem)),
        "defaultContract": contract.is_default,
        "certValidFrom": instant(contract.not_before),
        "certValidTo": instant(contract.not_after),
    }
    if contract.signer_root is not None:
        root = parse_certificate(contract.signer_root.certificate_pem)
        shown["cpsRootCertificateDN"] = distinguished_name(root)
        shown["cpsV2GRootCertificateFingerprint"] = contract.signer_root.fingerprint
    return shown


def _shown() -> QuerySet[PoolContract]:
    return PoolContract.objects.select_related("provisioning_certificate", "signer_root")


def _narrowed(found: QuerySet[PoolContract], namespace: str, root: str = "") -> list[PoolContract]:
    wanted = Q(namespace=normal_forms.namespace(namespace)) if namespace else Q()
    if root:
        wanted &= Q(signer_root__fingerprint=root)
    return list(found.filter(wanted).order_by("-is_default", "pk"))


def _owner(caller: Caller, emaid: str, now: datetime) -> PoolNode:
    """Whose contract it is: the caller's, or where a provisioning service publishes, that of the provider id."""
    if caller.node.role == PoolRole.MO:
        if not caller.owns_emaid(emaid):
            caller.refuse(f"publish the contract {emaid}", "it is another mobility operator's", now)
        return caller.node
    provider = normal_forms.provider_of(emaid)
    owner = nodes.owner(IdentifierKind.PROVIDER, provider)
    if owner is None:
        raise PoolError(f"No mobility operator has a node with the provider id {provider}; have it confirmed first.")
    return owner


def _signer_root(published: Published, named: object, now: datetime) -> PoolRoot | None:
    """The root of the service that signed the data, verified where its chain came along."""
    wanted = normal_forms.fingerprint(named) if isinstance(named, str) and named else ""
    root: PoolRoot | None = None
    for signer in published.signers():
        root = verified(signer, published.others, ANCHORS_OF_SIGNERS, now)
    if root is None and wanted:
        root = PoolRoot.objects.filter(
            fingerprint=wanted, root_type__in=ANCHORS_OF_SIGNERS, removed_at__isnull=True
        ).first()
    if wanted and (root is None or root.fingerprint != wanted):
        raise PoolError("cpsV2GRootCertificateFingerprint : is not the root of the service that signed the data")
    return root


def _delete(emaid: str, now: datetime) -> int:
    _lock_emaid(emaid)
    found = PoolContract.objects.filter(emaid_key=normal_forms.emaid_key(emaid))
    pcid = found.values_list("provisioning_certificate__pcid", flat=True).first()
    if pcid is None:
        raise NotInPoolError(NOT_FOUND)
    vehicle = locked(pcid)
    of_emaid = _shown().filter(provisioning_certificate=vehicle, emaid_key=normal_forms.emaid_key(emaid))
    return take_away(vehicle, list(of_emaid), now)


def take_away(vehicle: PoolProvisioningCertificate, contracts: Sequence[PoolContract], now: datetime) -> int:
    """Delete some contracts of a vehicle that is locked; the manufacturer is told, and another one becomes default."""
    for contract in contracts:
        telling.of_contract(PoolEvent.CONTRACT_DELETED, contract, vehicle, now)
    changes.of_contracts(ChangeKind.CONTRACT_DELETED, list(contracts), vehicle.pcid, now)
    delete_rows([contract.pk for contract in contracts])
    for namespace in sorted({contract.namespace for contract in contracts}):
        ensure_default(vehicle, namespace, now)
    return len(contracts)


def _lock_emaid(emaid: str) -> None:
    """Until the end of the transaction, by advisory lock: there may be no row yet."""
    digest = hashlib.sha256(f"pool-emaid:{normal_forms.emaid_key(emaid)}".encode()).digest()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [int.from_bytes(digest[:8], "big", signed=True)])


def connect() -> None:
    """Called once, when the app is ready."""
    versions.lock_first(PoolContract, _lock_around)


def _lock_around(contract: PoolContract) -> None:
    """What every change of a contract locks before its row."""
    _lock_emaid(contract.emaid)
    PoolProvisioningCertificate.objects.select_for_update(of=("self",)).filter(
        pk=contract.provisioning_certificate_id
    ).first()
