"""Certificates as tests of the lifecycle commands give them."""

from typing import Any

from inventory.choices import EventType, EvidenceKind
from inventory.models import (
    CertificateRecord,
    DomainEvent,
    Evidence,
    ManagedIdentity,
)
from inventory.services import lifecycle, transitions
from tests.inventory.material import external_certificate, publish_external_authority
from tests.support import OPERATOR, ControlPlane

INSTALLED = {"state": "installed_pending_activation", "evidence_kind": "install_acknowledged"}
"""How a certificate is registered that somebody has put into its station by hand."""


def register(plane: ControlPlane, identity: ManagedIdentity, **fields: Any) -> CertificateRecord:
    """Register a certificate, whose authority becomes known first."""
    publish_external_authority(plane.clock())
    return registered(plane, identity, **fields)


def registered(plane: ControlPlane, identity: ManagedIdentity, **fields: Any) -> CertificateRecord:
    """Register a certificate, as far as what is known of its authority allows."""
    return lifecycle.register_external(
        **{
            "identity": identity,
            "purpose": "charger_identity",
            "certificate_pem": external_certificate(identity.authoritative_identifier, plane.clock(), 100),
            "actor": OPERATOR,
            "reason": "test",
            "now": plane.clock(),
            **fields,
        }
    )


def seen(plane: ControlPlane, record: CertificateRecord, kind: str = EvidenceKind.MTLS_CONNECTION) -> Evidence:
    return transitions.observe(
        record, kind, now=plane.clock(), source="test", dedupe_key=f"test:{Evidence.objects.count()}"
    )


def events(record: CertificateRecord, kind: EventType) -> int:
    return DomainEvent.objects.filter(record=record, type=kind).count()
