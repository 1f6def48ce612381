"""Issuing, renewing and delivering again: what each command does, what it refuses and in which words."""

from datetime import timedelta
from typing import Any

import pytest

from bfcerts.ocpp.canonical import Action
from inventory.choices import EventType, EvidenceKind, JobAction, JobState, OperatingMode, RecordState
from inventory.errors import (
    CsrRejectedError,
    InvalidInputError,
    TransitionRefusedError,
)
from inventory.models import (
    CertificateJob,
    CertificateRecord,
    DomainEvent,
    IssuingAuthority,
    LifecyclePolicy,
    ManagedIdentity,
)
from inventory.purposes import PurposeError, purposes
from inventory.services import identities, lifecycle, policies
from tests.inventory.commanded import register
from tests.support import OPERATOR, ControlPlane, charger, new_key, request_for

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def vehicle(**fields: Any) -> ManagedIdentity:
    """A vehicle of a pilot, which needs no ownership decision."""
    return identities.create(
        kind="vehicle", authoritative_identifier="WAUZZZ1", pilot=True, actor=OPERATOR, reason="test", **fields
    )


# -- issue and renew -------------------------------------------------------------------------------------------------


def test_a_request_given_with_the_command_goes_straight_to_the_ca(plane: ControlPlane) -> None:
    job = lifecycle.issue(
        identity=charger("CS-1"),
        purpose="charger_identity",
        csr_pem=request_for("CS-1"),
        actor=OPERATOR,
        reason="test",
        now=plane.clock(),
    )

    assert (job.state, job.step) == (JobState.QUEUED, "issue")
    assert not plane.commands(job.identity, Action.REQUEST_CSR)


def test_a_bad_request_given_with_the_command_is_refused_before_a_job_is_opened(plane: ControlPlane) -> None:
    first, second = charger("CS-1"), charger("CS-2")
    key = new_key()

    def issue(identity: ManagedIdentity, csr: str) -> CertificateJob:
        return lifecycle.issue(
            identity=identity,
            purpose="charger_identity",
            csr_pem=csr,
            actor=OPERATOR,
            reason="test",
            now=plane.clock(),
        )

    with pytest.raises(CsrRejectedError, match="“CS-2” does not name CS-1"):
        issue(first, request_for("CS-2"))
    assert not CertificateJob.objects.exists()
    issue(first, request_for("CS-1", key))
    with pytest.raises(CsrRejectedError, match="has been used by another identity"):
        issue(second, request_for("CS-2", key))
    assert CertificateJob.objects.get().is_open


def test_a_disabled_identity_gets_nothing_new(plane: ControlPlane) -> None:
    record = plane.enrol(charger("CS-1"))
    identities.set_enabled(identity=record.identity, enabled=False, actor=OPERATOR, reason="test")

    with pytest.raises(TransitionRefusedError, match="CS-1 is disabled; enable it before it gets certificates"):
        lifecycle.renew(record=record, actor=OPERATOR, reason="test", now=plane.clock())
    with pytest.raises(TransitionRefusedError, match="CS-1 is disabled"):
        lifecycle.issue(identity=record.identity, purpose="charger_identity", actor=OPERATOR, reason="test")


@pytest.mark.parametrize(
    ("kind", "purpose_key", "slot", "sentence"),
    [
        ("vehicle", "charger_identity", "", "Charger identity certificates are for Charger; X-1 is a vehicle"),
        ("charger", "backend_server", "ecdsa", "are for Service endpoint; X-1 is a charger"),
        ("service_endpoint", "backend_server", "", "Backend server needs a slot: the key type, ecdsa or rsa"),
        ("charger", "charger_identity", "x", "Charger identity has no slots; leave the slot empty instead of 'x'"),
        ("charger", "nonsense", "", "There is no certificate purpose 'nonsense'; the known ones are "),
    ],
)
def test_a_purpose_is_for_its_subjects_and_slots(
    plane: ControlPlane, kind: str, purpose_key: str, slot: str, sentence: str
) -> None:
    identity = identities.create(kind=kind, authoritative_identifier="X-1", actor=OPERATOR, reason="test")

    with pytest.raises(PurposeError, match=sentence):
        lifecycle.issue(identity=identity, purpose=purpose_key, slot=slot, actor=OPERATOR, reason="test")
    with pytest.raises(PurposeError, match=sentence):
        register(plane, identity, purpose=purpose_key, slot=slot)


def test_an_identitys_own_list_of_purposes_holds(plane: ControlPlane) -> None:
    identity = charger("CS-1", allowed_purposes=["iso15118_evse_leaf"])

    with pytest.raises(PurposeError, match="CS-1 may not hold Charger identity certificates: add the purpose"):
        lifecycle.issue(identity=identity, purpose="charger_identity", actor=OPERATOR, reason="test")


def test_only_an_active_certificate_is_renewed(plane: ControlPlane) -> None:
    record = plane.enrol(charger("CS-1"))
    lifecycle.revoke(record=record, actor=OPERATOR, reason="test", now=plane.clock())

    with pytest.raises(
        TransitionRefusedError, match=f"Certificate {record.pk} is revoked; only one that is active can be renewed"
    ):
        lifecycle.renew(record=record, actor=OPERATOR, reason="test", now=plane.clock())


def test_the_new_leaf_ends_after_the_one_it_replaces_whatever_the_policy_says(plane: ControlPlane) -> None:
    old = plane.enrol(charger("CS-1"))
    LifecyclePolicy.objects.filter(purpose="charger_identity").update(validity=90 * DAY)

    new = plane.complete(lifecycle.renew(record=old, actor=OPERATOR, reason="test", now=plane.clock()))

    assert old.not_after is not None
    assert new.not_after == old.not_after + timedelta(minutes=1)


# -- firmware signing ------------------------------------------------------------------------------------------------


def test_firmware_signing_is_refused_everywhere_with_a_clear_sentence(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    sentence = "Firmware signing is a reserved trust domain and out of scope"

    with pytest.raises(PurposeError, match=sentence):
        lifecycle.issue(identity=identity, purpose="firmware_signing", actor=OPERATOR, reason="test")
    with pytest.raises(PurposeError, match=sentence):
        register(plane, identity, purpose="firmware_signing")
    with pytest.raises(PurposeError, match=sentence):
        policies.resolve(identity, "firmware_signing")
    with pytest.raises(InvalidInputError, match="firmware_signing"):
        identities.update(
            identity=identity, changes={"allowed_purposes": ["firmware_signing"]}, actor=OPERATOR, reason="test"
        )
    assert "firmware_signing" not in {item.key for item in purposes()}
    assert not IssuingAuthority.objects.filter(trust_domain="firmware_signing").exists()


# -- who is responsible ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [OperatingMode.BROKERED, OperatingMode.TRACKED_ONLY])
def test_what_is_not_managed_by_us_is_not_issued_by_us(plane: ControlPlane, mode: OperatingMode) -> None:
    identity = charger("CS-1", mode=mode)

    with pytest.raises(TransitionRefusedError) as refusal:
        lifecycle.issue(identity=identity, purpose="charger_identity", actor=OPERATOR, reason="test")

    assert str(refusal.value) == (
        f"Charger identity certificates of CS-1 are {mode.label.lower()}: we do not issue them. Their external "
        "authority is responsible; what it reports is registered here."
    )
    assert not CertificateJob.objects.exists()


@pytest.mark.parametrize("mode", [OperatingMode.BROKERED, OperatingMode.TRACKED_ONLY])
def test_what_is_not_managed_by_us_is_renewed_by_the_authority_that_the_sentence_names(
    plane: ControlPlane, mode: OperatingMode
) -> None:
    record = register(
        plane,
        vehicle(mode=mode),
        purpose="iso15118_oem_provisioning",
        state=RecordState.ACTIVE,
        evidence_kind=EvidenceKind.EXTERNAL_CONFIRMATION,
        responsible_authority="Example Motors OEM CA",
    )

    with pytest.raises(TransitionRefusedError, match=r"we do not renew them\. Example Motors OEM CA is responsible"):
        lifecycle.renew(record=record, actor=OPERATOR, reason="test", now=plane.clock())


def test_a_request_of_a_station_in_another_mode_is_refused_and_shown(plane: ControlPlane) -> None:
    from inventory.models import SecurityEvent

    identity = charger("CS-1", mode=OperatingMode.TRACKED_ONLY)
    plane.send_csr(identity, request_for("CS-1"))
    plane.work()

    assert not CertificateJob.objects.exists()
    event = SecurityEvent.objects.get(type="UnsolicitedCertificateRequestRefused")
    assert "which is tracked only; no issuer is set up for it here" in event.message


def test_a_request_for_an_evse_is_never_taken_for_one_of_the_charger_itself(plane: ControlPlane) -> None:
    from inventory.models import SecurityEvent

    identity = charger("CS-1")
    job = lifecycle.issue(
        identity=identity, purpose="charger_identity", actor=OPERATOR, reason="test", now=plane.clock()
    )
    plane.work()
    plane.send_csr(identity, request_for("CS-1"), "V2GCertificate")
    plane.work()

    job.refresh_from_db()
    assert (job.record, job.step) == (None, "await_trigger")
    assert "ISO 15118 EVSE leaf" in SecurityEvent.objects.get(type="UnsolicitedCertificateRequestRefused").message


def test_a_revocation_by_another_authority_is_recorded_with_evidence_and_told_to_no_ca(plane: ControlPlane) -> None:
    record = register(
        plane,
        vehicle(),
        purpose="iso15118_oem_provisioning",
        state=RecordState.ACTIVE,
        evidence_kind=EvidenceKind.EXTERNAL_CONFIRMATION,
        responsible_authority="Example Motors OEM CA",
    )

    lifecycle.revoke(record=record, actor=OPERATOR, reason="Reported by the OEM in its list", now=plane.clock())

    evidence = record.evidence.get(kind=EvidenceKind.OPERATOR_STATEMENT)
    assert evidence.detail == {
        "statement": "Reported by the OEM in its list",
        "responsibleAuthority": "Example Motors OEM CA",
    }
    event = DomainEvent.objects.get(type=EventType.CERTIFICATE_REVOKED)
    assert event.payload["responsibleAuthority"] == "Example Motors OEM CA"
    assert not CertificateJob.objects.filter(action=JobAction.REVOKE).exists()


# -- install ---------------------------------------------------------------------------------------------------------


def test_delivering_again_waits_for_the_job_that_delivers(plane: ControlPlane) -> None:
    plane.send_csr(charger("CS-1"), request_for("CS-1"))
    plane.work()
    record = CertificateRecord.objects.get()

    with pytest.raises(TransitionRefusedError, match="is already delivering certificate"):
        lifecycle.install(record=record, actor=OPERATOR, reason="test", now=plane.clock())


def installed_but_never_used(plane: ControlPlane) -> CertificateRecord:
    identity = charger("CS-1")
    plane.send_csr(identity, request_for("CS-1"))
    plane.work()
    plane.answer(plane.open_command(identity, Action.DELIVER_CERTIFICATE))
    plane.work()
    plane.clock.advance(hours=5)
    plane.work()
    record = CertificateRecord.objects.get()
    assert record.state == RecordState.INSTALLED_PENDING_ACTIVATION
    return record


def test_delivering_again_gives_the_station_another_chance(plane: ControlPlane) -> None:
    record = installed_but_never_used(plane)
    job = lifecycle.install(record=record, actor=OPERATOR, reason="test", now=plane.clock())
    plane.work()
    plane.answer(plane.open_command(record.identity, Action.DELIVER_CERTIFICATE))
    plane.connect(record.identity, record)
    plane.work()

    job.refresh_from_db()
    record.refresh_from_db()
    assert (job.state, record.state) == (JobState.SUCCEEDED, RecordState.ACTIVE)


def test_a_station_that_refuses_what_it_has_ends_the_second_delivery_and_nothing_else(plane: ControlPlane) -> None:
    record = installed_but_never_used(plane)
    job = lifecycle.install(record=record, actor=OPERATOR, reason="test", now=plane.clock())
    plane.work()
    plane.answer(plane.open_command(record.identity, Action.DELIVER_CERTIFICATE), "rejected", status="Rejected")
    plane.work()

    job.refresh_from_db()
    record.refresh_from_db()
    assert job.state == JobState.FAILED
    assert job.outcome == f"CS-1 refused certificate {record.pk}, which it had installed before: Rejected"
    assert record.state == RecordState.INSTALLED_PENDING_ACTIVATION
