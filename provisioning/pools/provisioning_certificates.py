"""The provisioning certificate pool: publishing, reading, deleting. What is deleted takes its contracts along."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from django.db import connection, transaction

from bfcerts.pki.certificates import parse_ca_certificate, parse_certificate
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.services.command import command
from provisioning.models import PoolProvisioningCertificate, PoolRoot
from provisioning.pools import changes, normal_forms, telling
from provisioning.pools.callers import Caller
from provisioning.pools.chains import key_identifier, read, verified
from provisioning.pools.choices import ANCHORS_OF_VEHICLES, ChangeKind, PoolEvent, PoolRole, PoolScope
from provisioning.pools.errors import NotInPoolError, PoolError
from provisioning.pools.shown import der_base64, distinguished_name

NOT_FOUND: Final = "The OEM provisioning certificate with given PCID is not found."
_MOST_IDENTIFIERS: Final = 20


def publish(*, caller: Caller, body: dict[str, Any], now: datetime) -> PoolProvisioningCertificate:
    """Store a vehicle's provisioning certificate; that of the same PCID is overwritten.

    :param body: as OPCP's ProvisioningCertificate.
    :raises PoolError: when it is not the caller's to publish, or does not verify to a root of the pool.
    """
    caller.require(PoolScope.PROVISIONING, [PoolRole.OEM], "publish provisioning certificates", now)
    vehicle = read(body.get("vehicleCertificate"), "vehicleCertificate")
    sub_ca1 = read(body.get("subCA1Certificate"), "subCa1Certificate")
    given = body.get("subCA2Certificate")
    sub_ca2 = read(given, "subCa2Certificate") if given else None
    if len(vehicle.common_names) != 1:
        raise PoolError("Invalid certificate format on vehicleCertificate: its subject has no single common name")
    pcid = normal_forms.pcid(vehicle.common_names[0])
    if not caller.owns_pcid(pcid):
        caller.refuse(f"publish the provisioning certificate of {pcid}", "the WMI is not its own", now)
    if vehicle.not_after <= now:
        raise PoolError("The validUntil date of provisioning certificate is in the past.")
    previous = normal_forms.pcid(body["previousPcid"]) if body.get("previousPcid") else ""
    root = verified(vehicle, [one for one in (sub_ca2, sub_ca1) if one is not None], ANCHORS_OF_VEHICLES, now)
    values: dict[str, Any] = {
        "node": caller.node,
        "namespace": normal_forms.namespace(body.get("xsdMsgDefNamespace")),
        "vehicle_certificate_pem": vehicle.pem,
        "sub_ca1_pem": sub_ca1.pem,
        "sub_ca2_pem": sub_ca2.pem if sub_ca2 is not None else "",
        "root": root,
        "v2g_root_key_identifiers": _key_identifiers(body.get("v2gRootAuthorityKeyIdentifiers")),
        "previous_pcid": previous,
        "fingerprint": vehicle.fingerprint_sha256,
        "public_key_sha256": vehicle.public_key_sha256,
        "serial_number": vehicle.serial_hex,
        "not_before": vehicle.not_before,
        "not_after": vehicle.not_after,
    }
    with attributed(caller.actor, "Published over OPCP"), transaction.atomic():
        return _store(pcid, values, now)


def _store(pcid: str, values: dict[str, Any], now: datetime) -> PoolProvisioningCertificate:
    certificate, new = PoolProvisioningCertificate.objects.select_for_update(of=("self",)).get_or_create(
        pcid=pcid, defaults={**values, "published_at": now, "updated_at": now}
    )
    if new:
        changes.of_provisioning(ChangeKind.PROVISIONING_ADDED, certificate, now)
        return certificate
    former, former_key = certificate.fingerprint, certificate.public_key_sha256
    if former != values["fingerprint"]:
        certificate.revoked_at = None
    for name, value in values.items():
        setattr(certificate, name, value)
    certificate.updated_at = now
    certificate.save()
    if former_key != certificate.public_key_sha256:
        # Their private keys are encrypted for the former key; whoever published them is told, and publishes anew.
        certificate.contracts.filter(orphaned_at=None).update(orphaned_at=now)
    if former != certificate.fingerprint:
        changes.of_provisioning(ChangeKind.PROVISIONING_UPDATED, certificate, now)
        telling.of_provisioning(PoolEvent.PROVISIONING_UPDATED, certificate, now)
    return certificate


def find(*, caller: Caller, pcid: str, now: datetime) -> PoolProvisioningCertificate:
    """The certificate of a vehicle; any for a mobility operator, its own for a manufacturer.

    :raises NotInPoolError: when there is none.
    """
    caller.require(PoolScope.PROVISIONING, [PoolRole.MO, PoolRole.OEM], "read provisioning certificates", now)
    wanted = normal_forms.pcid(pcid)
    if caller.node.role == PoolRole.OEM and not caller.owns_pcid(wanted):
        caller.refuse(f"read the provisioning certificate of {wanted}", "the WMI is not its own", now)
    found = PoolProvisioningCertificate.objects.filter(pcid=wanted).select_related("root").first()
    if found is None:
        raise NotInPoolError(NOT_FOUND)
    return found


def delete(*, caller: Caller, pcid: str, now: datetime) -> None:
    """Delete a vehicle's certificate, and with it every contract of the vehicle.

    :raises NotInPoolError: when there is none.
    """
    caller.require(PoolScope.PROVISIONING, [PoolRole.OEM], "delete provisioning certificates", now)
    wanted = normal_forms.pcid(pcid)
    if not caller.owns_pcid(wanted):
        caller.refuse(f"delete the provisioning certificate of {wanted}", "the WMI is not its own", now)
    with attributed(caller.actor, "Deleted over OPCP"), transaction.atomic():
        take_away(locked(wanted), now)


def remove(*, certificate: PoolProvisioningCertificate, actor: Actor, reason: str, now: datetime) -> None:
    """The same, by a person of the administration."""
    with command(actor, "provisioning.remove_poolprovisioningcertificate", reason):
        take_away(locked(certificate.pcid), now)


def locked(pcid: str) -> PoolProvisioningCertificate:
    """The row that every change of a vehicle's contracts holds.

    :raises NotInPoolError: when there is none.
    """
    found = (
        PoolProvisioningCertificate.objects.select_for_update(of=("self",)).select_related("node").filter(pcid=pcid)
    ).first()
    if found is None:
        raise NotInPoolError(NOT_FOUND)
    return found


def take_away(certificate: PoolProvisioningCertificate, now: datetime) -> int:
    """Delete a certificate that is locked, with its contracts; who had one is told.

    :returns: how many contracts went along.
    """
    telling.of_provisioning(PoolEvent.PROVISIONING_DELETED, certificate, now)
    contracts = list(certificate.contracts.order_by("pk"))
    for contract in contracts:
        telling.of_contract(PoolEvent.CONTRACT_DELETED, contract, certificate, now)
    changes.of_contracts(ChangeKind.CONTRACT_DELETED, contracts, certificate.pcid, now)
    changes.of_provisioning(ChangeKind.PROVISIONING_DELETED, certificate, now)
    delete_rows([contract.pk for contract in contracts])
    certificate.delete()
    return len(contracts)


def delete_rows(keys: Sequence[int]) -> None:
    """Delete contracts by their keys, without reading what is encrypted in them."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM provisioning_poolcontract WHERE id = ANY(%s)", [list(keys)])


def described(certificate: PoolProvisioningCertificate, root: PoolRoot) -> dict[str, Any]:
    """As OPCP's ProvisioningCertificateData."""
    anchor = parse_ca_certificate(root.certificate_pem)
    shown: dict[str, Any] = {
        "vehicleCertificate": der_base64(parse_certificate(certificate.vehicle_certificate_pem)),
        "subCA1Certificate": der_base64(parse_ca_certificate(certificate.sub_ca1_pem)),
        "xsdMsgDefNamespace": certificate.namespace,
        "rootIssuerDistinguishedName": distinguished_name(anchor),
        "rootIssuerSerialNumber": anchor.serial_hex,
        "rootAuthorityKeyIdentifier": key_identifier(anchor),
        "fingerprint": certificate.fingerprint,
    }
    if certificate.sub_ca2_pem:
        shown["subCA2Certificate"] = der_base64(parse_ca_certificate(certificate.sub_ca2_pem))
    if certificate.v2g_root_key_identifiers:
        shown["v2gRootAuthorityKeyIdentifiers"] = certificate.v2g_root_key_identifiers
    if certificate.previous_pcid:
        shown["previousPcid"] = certificate.previous_pcid
    return shown


def _key_identifiers(given: object) -> list[str]:
    if given in (None, []):
        return []
    texts = [str(one) for one in given] if isinstance(given, list) else []
    ok = texts and all(0 < len(one) <= 120 and set(one.lower()) <= set("0123456789abcdef:") for one in texts)
    if not ok or len(texts) > _MOST_IDENTIFIERS:
        raise PoolError(f"v2gRootAuthorityKeyIdentifiers : must be 1 to {_MOST_IDENTIFIERS} identifiers in hexadecimal")
    return list(dict.fromkeys(texts))
