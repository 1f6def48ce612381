"""Given-parts of the tests of provisioning: vehicles with decided ownership, their cases, and what partners say."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from bfcerts.pki.certificates import parse_certificate
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.models import ManagedIdentity
from inventory.services import identities
from provisioning.models import OwnershipDecision, ProvisioningCase, ProvisioningEvidence
from provisioning.services import cases, outcomes, ownership
from provisioning.services.outcomes import Answer
from tests.inventory.material import ca_certificate, external_certificate
from tests.support import OPERATOR, Clock
from trustanchors.models import TrustAnchor

CONTRACT = "iso15118_contract"
EMAID = "DE8ACC12E46L89"
PCID = "HUBOpenProvCert001"
AUTHORITY = "Example Mobility"
CONTACT = "+49 30 1234567"
CONFIRMED = ("account_ready", "contract_agreed")
DECIDED: dict[str, Any] = {
    "purpose": CONTRACT,
    "standards_source": "ISO 15118-2, Hubject OPCP 1.0",
    "business_owner": "Charging operations",
    "issuer": AUTHORITY,
    "private_key_owner": "external",
    "delivery_path": "hubject",
    "our_role": "broker",
    "source_of_truth": "lifecycle_only",
    "revocation_authority": AUTHORITY,
    "support_owner": "Charging support",
    "variability": "global",
    "authority_contact": CONTACT,
}


def vehicle(name: str = "", **fields: Any) -> ManagedIdentity:
    """A vehicle in the inventory."""
    return identities.create(
        kind="vehicle",
        authoritative_identifier=name or f"WAU{uuid4().hex[:14].upper()}",
        actor=OPERATOR,
        reason="test",
        **fields,
    )


def decide(**values: Any) -> OwnershipDecision:
    """A complete decision for contracts in every program, unless these values say otherwise."""
    entry = OwnershipDecision(**{**DECIDED, **values})
    return ownership.save(entry=entry, actor=OPERATOR, reason="test")


def root_of(purpose: str, clock: Clock) -> TrustAnchor:
    """A root of the scheme among the trust anchors."""
    parsed = parse_certificate(ca_certificate(clock(), name=f"Scheme {purpose}"))
    known = TrustAnchor.objects.filter(fingerprint=parsed.fingerprint_sha256).first()
    if known is not None:
        return known
    with attributed(OPERATOR, "test"):
        return TrustAnchor.objects.create(
            purpose=purpose,
            trust_domain=purpose,
            name=f"Scheme {purpose}",
            certificate_pem=parsed.pem,
            fingerprint=parsed.fingerprint_sha256,
            public_key_sha256=parsed.public_key_sha256,
            subject=parsed.subject_text,
            issuer=parsed.issuer_text,
            serial_number=parsed.serial_hex,
            key_algorithm=parsed.key_algorithm,
            self_signed=True,
            not_before=parsed.not_before,
            not_after=parsed.not_after,
            hash_data={},
            created_at=clock(),
        )


def start(clock: Clock, identity: ManagedIdentity | None = None, **values: Any) -> ProvisioningCase:
    """A case for a contract over Hubject, unless these values say otherwise."""
    options: dict[str, Any] = {
        "identity": identity or vehicle(),
        "purpose": CONTRACT,
        "slot": EMAID,
        "path": "hubject",
        "pcid": PCID,
        "actor": OPERATOR,
        "reason": "test",
        "now": clock(),
        **values,
    }
    return cases.start(**options)


def confirm_all(clock: Clock, case: ProvisioningCase, *keys: str, actor: Actor = OPERATOR) -> ProvisioningCase:
    """Whatever a person has to confirm on this path."""
    for key in keys or CONFIRMED:
        case = cases.confirm(case=case, prerequisite=key, actor=actor, reason="Seen in writing", now=clock())
    return case


def in_delivery(clock: Clock, **values: Any) -> ProvisioningCase:
    """A case whose prerequisites are met."""
    root_of(values.get("purpose", CONTRACT), clock)
    case = confirm_all(clock, start(clock, **values))
    assert case.state == "delivery", case.why
    return case


def says(
    clock: Clock, case: ProvisioningCase, kind: str, outcome: str = "positive", **values: Any
) -> ProvisioningEvidence:
    """An answer of Hubject, unless these values say otherwise."""
    options = {"system": "hubject", "observed_at": clock(), "summary": f"{kind} {outcome}", **values}
    answer = Answer(kind=kind, outcome=outcome, **options)
    return outcomes.record_outcome(case=case, answer=answer, actor=OPERATOR, reason="answer", now=clock())


def certificate(clock: Clock, name: str = PCID, days: float = 365) -> str:
    """A contract certificate of the scheme, in PEM."""
    return external_certificate(name, clock(), days, issuer="Example Mobility Sub-CA")


def activated(clock: Clock, **values: Any) -> ProvisioningCase:
    """A case whose certificate is in use."""
    case = in_delivery(clock, **values)
    says(clock, case, "delivery", certificate_pem=certificate(clock))
    says(clock, case, "readiness")
    return again(case)


def again(case: ProvisioningCase) -> ProvisioningCase:
    """As it is now."""
    return ProvisioningCase.objects.select_related("identity", "record").get(pk=case.pk)


DAY = timedelta(days=1)
