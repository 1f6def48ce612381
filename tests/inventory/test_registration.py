"""Registering what others issued: from our authorities where we manage it, on evidence that may be stated."""

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from inventory.choices import STATEABLE_EVIDENCE, EvidenceKind, JobAction, RecordState
from inventory.errors import CsrRejectedError, InvalidInputError, TransitionRefusedError
from inventory.models import CertificateJob, CertificateRecord, Evidence, IssuingAuthority, ManagedIdentity
from inventory.services import identities, lifecycle
from tests.inventory.commanded import registered
from tests.inventory.material import ca_certificate, external_certificate, publish_external_authority
from tests.support import NAMES, OPERATOR, ControlPlane, charger

pytestmark = pytest.mark.django_db

INSTALLED = {"state": "installed_pending_activation", "evidence_kind": "install_acknowledged"}
OBSERVED = sorted(set(EvidenceKind.values) - STATEABLE_EVIDENCE)


# -- from whom -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["issued", "installed_pending_activation"])
def test_what_we_manage_comes_from_an_authority_of_its_trust_domain(plane: ControlPlane, state: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        registered(plane, charger("CS-1"), state=state, evidence_kind="install_acknowledged")

    name = IssuingAuthority.objects.get(trust_domain="charger_identity").name
    assert str(refusal.value) == (
        "The certificate cannot be registered: No path leads from CN=CS-1, issued by O=External CA, to an anchor of "
        "this trust domain. Charger identity certificates of CS-1 are managed by us, so they come from an issuing "
        f"authority of ours (“{name}”). Give the chain up to it; where somebody else issues them, set the identity's "
        "operating mode to brokered or tracked only first."
    )
    assert not CertificateRecord.objects.exists()


def test_an_authority_of_another_trust_domain_does_not_count(plane: ControlPlane) -> None:
    publish_external_authority(plane.clock(), trust_domain="backend_server")

    with pytest.raises(InvalidInputError, match="to an anchor of this trust domain"):
        registered(plane, charger("CS-1"), chain_pem=ca_certificate(plane.clock()))


def test_an_authority_that_is_not_trusted_any_more_does_not_count(plane: ControlPlane) -> None:
    publish_external_authority(plane.clock(), trusted=False)

    with pytest.raises(InvalidInputError, match="to an anchor of this trust domain"):
        registered(plane, charger("CS-1"))


def test_a_name_is_no_signature(plane: ControlPlane) -> None:
    publish_external_authority(plane.clock(), name="Other CA")
    forged = external_certificate("CS-2", plane.clock(), 100)
    real = external_certificate("CS-1", plane.clock(), 100, issuer="Other CA")
    IssuingAuthority.objects.filter(name="Other CA").update(
        certificate_pem=ca_certificate(plane.clock(), name="External CA", issuer="Other CA")
    )

    with pytest.raises(InvalidInputError, match="to an anchor of this trust domain"):
        registered(plane, charger("CS-1"), certificate_pem=real)
    assert registered(plane, charger("CS-2"), certificate_pem=forged).fingerprint


def test_intermediates_below_our_authority_are_given_and_kept_up_to_the_root(plane: ControlPlane) -> None:
    authority = publish_external_authority(plane.clock(), name="Root of the field")
    below = ca_certificate(plane.clock(), name="CA of a site", issuer="Root of the field")
    leaf = external_certificate("CS-1", plane.clock(), 100, issuer="CA of a site")

    with pytest.raises(InvalidInputError, match="Give the chain up to it"):
        registered(plane, charger("CS-1"), certificate_pem=leaf)
    record = registered(plane, ManagedIdentity.objects.get(), certificate_pem=leaf, chain_pem=below)

    assert record.chain_pem == below + authority.chain_pem


def test_an_expired_certificate_is_not_taken_in_as_one_of_ours(plane: ControlPlane) -> None:
    publish_external_authority(plane.clock())
    pem = external_certificate("CS-1", plane.clock(), 10)
    plane.clock.advance(days=11)

    with pytest.raises(InvalidInputError, match="is valid from"):
        registered(plane, charger("CS-1"), certificate_pem=pem)


@pytest.mark.parametrize(
    ("certificate", "said"),
    [
        ({"name": "CS-2"}, "common name “CS-2” does not name CS-1"),
        ({"subject": [("CN", "CS-1"), ("UID", "CS-2")]}, "also names “CS-2”, which is not CS-1"),
        ({"subject": [("O", "CS-1")]}, "has 0 common names"),
        (
            {"extensions": [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])]},
            "has extended key usages that Charger",
        ),
        ({"extensions": [x509.SubjectAlternativeName([x509.DNSName("CS-2")])]}, "not CS-1's: DNS:CS-2"),
        ({"key": ec.generate_private_key(ec.SECP521R1())}, "key is EC-P521; the policy"),
        ({"days": 3650}, "the policy “Charger identity, default” allows 180 days from now"),
    ],
    ids=["another name", "a second name", "no name", "usages", "alternative names", "key", "validity"],
)
def test_what_we_manage_is_what_its_request_would_have_had_to_be(
    plane: ControlPlane, certificate: dict[str, Any], said: str
) -> None:
    publish_external_authority(plane.clock())
    values = {"name": "CS-1", "days": 100, **certificate}
    if "subject" in values:
        values["subject"] = x509.Name([x509.NameAttribute(NAMES[short], value) for short, value in values["subject"]])
    pem = external_certificate(now=plane.clock(), **values)

    with pytest.raises(CsrRejectedError) as refusal:
        registered(plane, charger("CS-1"), certificate_pem=pem, **INSTALLED)

    assert said in str(refusal.value)
    assert not CertificateRecord.objects.exists()


def test_a_serial_number_on_record_names_the_charger_too(plane: ControlPlane) -> None:
    publish_external_authority(plane.clock())
    pem = external_certificate(
        "SN-7", plane.clock(), 100, extensions=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])]
    )

    record = registered(plane, charger("CS-1", serial_number="SN-7"), certificate_pem=pem, **INSTALLED)

    assert record.state == RecordState.INSTALLED_PENDING_ACTIVATION


@pytest.mark.parametrize("mode", ["brokered", "tracked_only"])
def test_what_others_lead_comes_from_whomever_they_choose(plane: ControlPlane, mode: str) -> None:
    record = registered(plane, charger("CS-1", mode=mode))

    assert (record.state, record.authority) == (RecordState.ISSUED, None)


def test_what_a_platform_issues_itself_comes_from_that_platform(plane: ControlPlane) -> None:
    hub = identities.create(kind="iot_hub_device", authoritative_identifier="hub-1", actor=OPERATOR, reason="test")

    record = registered(
        plane, hub, purpose="iot_hub_device", slot="abc", state="active", evidence_kind="platform_status"
    )

    assert (record.state, record.mode) == (RecordState.ACTIVE, "managed")


def test_the_authority_that_issues_learns_of_a_revocation_and_a_former_one_is_not_asked(plane: ControlPlane) -> None:
    publish_external_authority(plane.clock())
    former = registered(plane, charger("CS-1"))
    IssuingAuthority.objects.filter(trust_domain="charger_identity", issues=True).update(issues=False)
    IssuingAuthority.objects.filter(name="External CA").update(issues=True)
    present = registered(plane, charger("CS-2"))

    for record in (former, present):
        lifecycle.revoke(record=record, actor=OPERATOR, reason="test", now=plane.clock())

    assert former.authority is None
    assert [job.record for job in CertificateJob.objects.filter(action=JobAction.REVOKE)] == [present]


# -- on what evidence ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OBSERVED)
@pytest.mark.parametrize("state", ["issued", "installed_pending_activation", "active"])
def test_what_only_we_can_observe_is_not_taken_from_a_statement(plane: ControlPlane, kind: str, state: str) -> None:
    publish_external_authority(plane.clock())

    with pytest.raises(TransitionRefusedError) as refusal:
        registered(plane, charger("CS-1"), state=state, evidence_kind=kind)

    assert str(refusal.value) == (
        f"{EvidenceKind(kind).label} is something that only we can observe; it is not taken from a statement. State "
        "one of install_acknowledged, delivery_acknowledged, external_confirmation, evse_acceptance, platform_status, "
        "operator_statement, or register the certificate as issued and wait until it is seen."
    )
    assert not CertificateRecord.objects.exists()
    assert not Evidence.objects.exists()


def test_connections_listeners_and_transactions_are_observed() -> None:
    assert {"mtls_connection", "listener_presents", "vas_transaction", "fallback_connection"} <= set(OBSERVED)


def test_an_unknown_kind_of_evidence_is_refused(plane: ControlPlane) -> None:
    with pytest.raises(InvalidInputError, match="'hearsay' is no kind of evidence; use one of install_acknowledged"):
        registered(plane, charger("CS-1"), state="active", evidence_kind="hearsay")


def test_a_revocation_by_others_is_not_known_from_what_only_we_observe(plane: ControlPlane) -> None:
    record = registered(plane, charger("CS-1", mode="tracked_only"))

    with pytest.raises(InvalidInputError, match="'mtls_connection' is not how one learns of a revocation"):
        lifecycle.revoke(record=record, evidence_kind="mtls_connection", actor=OPERATOR, reason="test")


def test_a_certificate_that_was_put_in_by_hand_is_active_when_it_was_seen(plane: ControlPlane) -> None:
    publish_external_authority(plane.clock())
    identity = charger("CS-1")
    record = registered(plane, identity, state="installed_pending_activation", evidence_kind="install_acknowledged")
    assert record.state == RecordState.INSTALLED_PENDING_ACTIVATION

    plane.connect(identity, record)
    plane.work()

    record.refresh_from_db()
    assert record.state == RecordState.ACTIVE
