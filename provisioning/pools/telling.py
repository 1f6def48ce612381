"""What webhooks are told: rows of the outbox, written in the transaction that made them true."""

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bfcerts.pki.certificates import parse_ca_certificate, parse_certificate
from provisioning.models import PoolContract, PoolProvisioningCertificate, PoolPush, PoolRoot, PoolWebhook
from provisioning.pools.choices import PoolEvent
from provisioning.pools.shown import CURVES, der_base64, root_as_shown


def of_root(event: PoolEvent, root: PoolRoot, now: datetime) -> None:
    """Tell everybody who asked to be told."""
    parsed = parse_ca_certificate(root.certificate_pem)
    shown = root_as_shown(root)
    payload = {
        "rootCertificateId": shown["rootCertificateId"],
        "distinguishedName": shown["distinguishedName"],
        "commonName": shown["commonName"],
        "rootType": root.root_type,
        "rootSerialNumber": parsed.serial_hex,
        "fingerprintSHA256": root.fingerprint,
        **({"signatureAlgorithm": shown["signatureAlgorithm"]} if "signatureAlgorithm" in shown else {}),
    }
    _write(event, _webhooks(event), shown["xsdMsgDefNamespace"], payload, now)


def of_contract(
    event: PoolEvent, contract: PoolContract, certificate: PoolProvisioningCertificate, now: datetime
) -> None:
    """Tell the manufacturer of the vehicle; whose contract it is hears that, and later how it went."""
    payload = contract_payload(contract, certificate.pcid)
    asked = _webhooks(event, certificate.node_id)
    about = (certificate.pcid, contract.emaid)
    _write(event, asked, contract.namespace, payload, now, about, tells=contract.node_id)
    if asked:
        of_operator(PoolEvent.QUEUED, contract.node_id, contract.namespace, payload, now)


def of_operator(event: PoolEvent, node_id: int, namespace: str, payload: Mapping[str, Any], now: datetime) -> None:
    """Tell the mobility operator what became of a contract of its own."""
    about = (str(payload["pcid"]), str(payload["emaid"]))
    _write(event, _webhooks(event, node_id), namespace, payload, now, about)


def of_provisioning(event: PoolEvent, certificate: PoolProvisioningCertificate, now: datetime) -> None:
    """Tell each mobility operator that has a contract for the vehicle."""
    for contract in certificate.contracts.all():
        payload = {"emaid": contract.emaid, "pcid": certificate.pcid}
        of_operator(event, contract.node_id, contract.namespace, payload, now)


def contract_payload(contract: PoolContract, pcid: str) -> dict[str, Any]:
    """What is said of a contract: its certificate, and nothing of what is encrypted."""
    certificate = parse_certificate(contract.certificate_pem)
    payload: dict[str, Any] = {
        "emaid": contract.emaid,
        "pcid": pcid,
        "contractCert": der_base64(certificate),
    }
    if curve := CURVES.get(certificate.key_algorithm):
        payload["signatureAlgorithm"] = curve
    if contract.signer_root is not None:
        payload["cpsSignerRootFingerprint"] = contract.signer_root.fingerprint
        payload["cpsSignerRootCommonName"] = root_as_shown(contract.signer_root)["commonName"]
    return payload


def _webhooks(event: PoolEvent, node_id: int | None = None) -> Sequence[PoolWebhook]:
    found = PoolWebhook.objects.filter(enabled=True, removed_at__isnull=True, events__contains=[event.value])
    return list(found if node_id is None else found.filter(node_id=node_id))


def _write(
    event: PoolEvent,
    webhooks: Sequence[PoolWebhook],
    namespace: str,
    payload: Mapping[str, Any],
    now: datetime,
    about: tuple[str, str] = ("", ""),
    *,
    tells: int | None = None,
) -> None:
    """
    :param about: PCID and EMAID, by which a push is found.
    """
    if not webhooks:
        return
    event_id = uuid.uuid4()
    envelope = {
        "timestamp": f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "eventId": str(event_id),
        "eventType": event.value,
        "xsdMsgDefNamespace": namespace,
        "payload": dict(payload),
    }
    body = json.dumps(envelope).encode()
    PoolPush.objects.bulk_create(
        PoolPush(
            event_id=event_id,
            webhook=webhook,
            event_type=event,
            body=body,
            pcid=about[0],
            emaid=about[1],
            tells_id=tells,
            created_at=now,
            next_run_at=now,
        )
        for webhook in webhooks
    )
