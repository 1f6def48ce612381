"""The lifecycle commands: what each does, what it refuses and in which words."""

from datetime import timedelta
from typing import Any

import pytest

from bfcerts.ocpp.canonical import Action
from inventory.choices import EventType, EvidenceKind, JobAction, JobState, OperatingMode, RecordState
from inventory.errors import (
    CsrRejectedError,
    InvalidInputError,
    LastCredentialError,
    TransitionRefusedError,
)
from inventory.models import (
    CertificateJob,
    CertificateRecord,
    DomainEvent,
    Evidence,
    IssuingAuthority,
    LifecyclePolicy,
    ManagedIdentity,
)
from inventory.purposes import PurposeError, purpose, purposes
from inventory.services import identities, lifecycle, policies, transitions
from tests.inventory.material import external_certificate, publish_external_authority
from tests.support import OPERATOR, ControlPlane, charger, new_key, request_for

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def vehicle(**fields: Any) -> ManagedIdentity:
    return identities.create(
        kind="vehicle", authoritative_identifier="WAUZZZ1", actor=OPERATOR, reason="test", **fields
    )


INSTALLED = {"state": "installed_pending_activation", "evidence_kind": "install_acknowledged"}
"""How a certificate is registered that somebody has put into its station by hand."""


def register(plane: ControlPlane, identity: ManagedIdentity, **fields: Any) -> CertificateRecord:
    publish_external_authority(plane.clock())
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


# -- register external -----------------------------------------------------------------------------------------------


def test_an_external_certificate_is_taken_in_as_issued(plane: ControlPlane) -> None:
    record = register(plane, charger("CS-1"))

    assert (record.state, record.registered_externally) == (RecordState.ISSUED, True)
    assert record.responsible_authority == "O=External CA"
    assert events(record, EventType.CERTIFICATE_ISSUED) == 1


def test_the_same_certificate_again_is_the_record_that_exists(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    pem = external_certificate("CS-1", plane.clock(), 100)

    first = register(plane, identity, certificate_pem=pem)
    again = register(plane, identity, certificate_pem=pem, state=RecordState.ACTIVE)

    assert again.pk == first.pk
    assert events(first, EventType.CERTIFICATE_ISSUED) == 1


def test_a_certificate_is_nobody_elses(plane: ControlPlane) -> None:
    pem = external_certificate("CS-1", plane.clock(), 100)
    record = register(plane, charger("CS-1"), certificate_pem=pem)

    with pytest.raises(InvalidInputError, match=f"registered already, as record {record.pk} of CS-1 for Charger id"):
        register(plane, charger("CS-2"), certificate_pem=pem)


def test_a_key_is_nobody_elses(plane: ControlPlane) -> None:
    key = new_key()
    register(plane, charger("CS-1"), certificate_pem=external_certificate("CS-1", plane.clock(), 100, key=key))

    with pytest.raises(CsrRejectedError, match="has been used by another identity \\(CS-1\\)"):
        register(plane, charger("CS-2"), certificate_pem=external_certificate("CS-2", plane.clock(), 90, key=key))


def test_two_certificates_with_one_serial_number_of_one_issuer_cannot_both_be_genuine(plane: ControlPlane) -> None:
    register(plane, charger("CS-1"), certificate_pem=external_certificate("CS-1", plane.clock(), 100, serial=77))

    with pytest.raises(InvalidInputError, match="with the serial number 4d: one of the two is not genuine"):
        register(plane, charger("CS-2"), certificate_pem=external_certificate("CS-2", plane.clock(), 100, serial=77))


@pytest.mark.parametrize(
    "state",
    [state for state in RecordState.values if state not in ("issued", "installed_pending_activation", "active")],
)
def test_a_certificate_is_not_registered_as_something_else(plane: ControlPlane, state: str) -> None:
    with pytest.raises(InvalidInputError, match=f"cannot be registered as {state}; use issued"):
        register(plane, charger("CS-1"), state=state)
    assert not CertificateRecord.objects.exists()


@pytest.mark.parametrize("state", [RecordState.INSTALLED_PENDING_ACTIVATION, RecordState.ACTIVE])
def test_what_is_more_than_issued_needs_evidence_of_the_right_kind(plane: ControlPlane, state: str) -> None:
    identity = charger("CS-1")

    with pytest.raises(TransitionRefusedError, match="needs evidence; name its kind"):
        register(plane, identity, state=state)
    with pytest.raises(TransitionRefusedError, match="Statement by an operator does not show"):
        register(plane, identity, state=state, evidence_kind=EvidenceKind.OPERATOR_STATEMENT)
    assert not CertificateRecord.objects.exists()


def test_installed_is_not_active(plane: ControlPlane) -> None:
    identity = charger("CS-1")

    with pytest.raises(TransitionRefusedError, match="does not prove that this Charger identity certificate is in use"):
        register(plane, identity, state=RecordState.ACTIVE, evidence_kind=EvidenceKind.INSTALL_ACKNOWLEDGED)
    assert not CertificateRecord.objects.exists()


def test_an_external_certificate_that_is_active_retires_the_one_before(plane: ControlPlane) -> None:
    old = plane.enrol(charger("CS-1"))

    new = register(plane, old.identity, **INSTALLED)
    lifecycle.activate(record=new, evidence=seen(plane, new), actor=OPERATOR, reason="test", now=plane.clock())

    old.refresh_from_db()
    new.refresh_from_db()
    assert (new.state, old.state) == (RecordState.ACTIVE, RecordState.RETIRED)


@pytest.mark.parametrize(
    ("pem", "sentence"),
    [
        ("", "The certificate cannot be registered"),
        ("nonsense", "The certificate cannot be registered"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "The certificate cannot be registered"),
    ],
)
def test_what_is_no_certificate_is_refused(plane: ControlPlane, pem: str, sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        register(plane, charger("CS-1"), certificate_pem=pem)


def test_a_bad_chain_is_refused(plane: ControlPlane) -> None:
    with pytest.raises(InvalidInputError, match="The certificate cannot be registered"):
        register(plane, charger("CS-1"), chain_pem="nonsense")


def test_a_ca_is_no_endpoints_certificate(plane: ControlPlane) -> None:
    with pytest.raises(InvalidInputError, match="certificate of a CA, not of an endpoint"):
        register(plane, charger("CS-1"), certificate_pem=external_certificate("CS-1", plane.clock(), 100, is_ca=True))


def test_a_long_name_of_the_issuer_is_no_obstacle(plane: ControlPlane) -> None:
    issuer, unit = "An issuer with a name" * 3, "x" * 64
    publish_external_authority(plane.clock(), name=issuer, unit=unit)
    pem = external_certificate("CS-1", plane.clock(), 100, issuer=issuer, unit=unit)

    assert len(register(plane, charger("CS-1"), certificate_pem=pem).responsible_authority) <= 200


# -- deactivate, reactivate, delete ----------------------------------------------------------------------------------


def test_the_last_working_certificate_is_not_taken_by_accident(plane: ControlPlane) -> None:
    record = plane.enrol(charger("CS-1"))

    with pytest.raises(LastCredentialError) as refusal:
        lifecycle.deactivate(record=record, actor=OPERATOR, reason="test", now=plane.clock())

    assert str(refusal.value) == (
        f"Deactivating certificate {record.pk} would leave CS-1 without a working certificate. Renew it first, or "
        "force it if you mean to."
    )
    record.refresh_from_db()
    assert record.state == RecordState.ACTIVE
    lifecycle.deactivate(record=record, actor=OPERATOR, reason="test", force=True, now=plane.clock())
    record.refresh_from_db()
    assert record.state == RecordState.INACTIVE


def test_with_another_working_certificate_it_is_no_accident(plane: ControlPlane) -> None:
    old = plane.enrol(charger("CS-1"))
    new = plane.complete(lifecycle.renew(record=old, actor=OPERATOR, reason="test", now=plane.clock()))

    lifecycle.deactivate(record=new, actor=OPERATOR, reason="test", now=plane.clock())

    new.refresh_from_db()
    assert new.state == RecordState.INACTIVE
    assert events(new, EventType.CERTIFICATE_DEACTIVATED) == 1


def test_a_fallback_whose_window_is_over_does_not_count_as_working(plane: ControlPlane) -> None:
    old = plane.enrol(charger("CS-1"))
    new = plane.complete(lifecycle.renew(record=old, actor=OPERATOR, reason="test", now=plane.clock()))
    plane.clock.advance(days=8)

    with pytest.raises(LastCredentialError):
        lifecycle.deactivate(record=new, actor=OPERATOR, reason="test", now=plane.clock())


def test_a_retired_certificate_that_is_the_last_way_in_is_not_deleted_by_accident(plane: ControlPlane) -> None:
    old = plane.enrol(charger("CS-1"))
    new = plane.complete(lifecycle.renew(record=old, actor=OPERATOR, reason="test", now=plane.clock()))
    lifecycle.revoke(record=new, actor=OPERATOR, reason="test", now=plane.clock())

    with pytest.raises(LastCredentialError, match=f"Deleting certificate {old.pk} would leave CS-1 without"):
        lifecycle.delete(record=old, actor=OPERATOR, reason="test", now=plane.clock())
    plane.clock.advance(days=8)
    lifecycle.delete(record=old, actor=OPERATOR, reason="test", now=plane.clock())

    old.refresh_from_db()
    assert (old.state, old.deleted_at) == (RecordState.DELETED, plane.clock())


@pytest.mark.parametrize("state", ["active", "issued", "installed_pending_activation"])
def test_what_is_in_use_or_under_way_is_not_deleted(plane: ControlPlane, state: str) -> None:
    record = register(plane, charger("CS-1"), **({} if state == "issued" else INSTALLED))
    if state == "active":
        evidence = seen(plane, record)
        record = lifecycle.activate(record=record, evidence=evidence, actor=OPERATOR, reason="test", now=plane.clock())

    with pytest.raises(TransitionRefusedError, match="can be deleted"):
        lifecycle.delete(record=record, actor=OPERATOR, reason="test", force=True, now=plane.clock())


def test_a_certificate_that_a_job_works_on_is_not_deleted(plane: ControlPlane) -> None:
    record = plane.enrol(charger("CS-1"))
    lifecycle.revoke(record=record, actor=OPERATOR, reason="test", now=plane.clock())
    job = CertificateJob.objects.get(action=JobAction.REVOKE)

    with pytest.raises(TransitionRefusedError, match=f"Job {job.pk} \\(revoke at the ca\\) still works on"):
        lifecycle.delete(record=record, actor=OPERATOR, reason="test", now=plane.clock())
    plane.work()
    lifecycle.delete(record=record, actor=OPERATOR, reason="test", now=plane.clock())


def test_a_reactivated_certificate_is_active_again_only_on_fresh_evidence(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    record = plane.enrol(identity)
    before = seen(plane, record)
    plane.clock.advance(minutes=1)
    lifecycle.deactivate(record=record, actor=OPERATOR, reason="test", force=True, now=plane.clock())
    plane.clock.advance(minutes=1)
    lifecycle.reactivate(record=record, actor=OPERATOR, reason="test", now=plane.clock())
    record.refresh_from_db()
    assert (record.state, record.activation_evidence) == (RecordState.INSTALLED_PENDING_ACTIVATION, None)

    with pytest.raises(TransitionRefusedError, match=r"was observed before certificate \d+ was deactivated"):
        lifecycle.activate(record=record, evidence=before, actor=OPERATOR, reason="test", now=plane.clock())
    plane.connect(identity, record)
    plane.work()

    record.refresh_from_db()
    assert record.state == RecordState.ACTIVE
    assert events(record, EventType.CERTIFICATE_ACTIVATED) == 2
    assert events(record, EventType.CERTIFICATE_REACTIVATED) == 1


def test_a_connection_from_before_a_deactivation_does_not_bring_the_certificate_back(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    record = plane.enrol(identity)
    plane.connect(identity, record)
    plane.clock.advance(minutes=1)
    lifecycle.deactivate(record=record, actor=OPERATOR, reason="test", force=True, now=plane.clock())
    lifecycle.reactivate(record=record, actor=OPERATOR, reason="test", now=plane.clock())

    plane.work()

    record.refresh_from_db()
    assert record.state == RecordState.INSTALLED_PENDING_ACTIVATION


def test_an_expired_certificate_is_not_reactivated(plane: ControlPlane) -> None:
    record = plane.enrol(charger("CS-1"))
    lifecycle.deactivate(record=record, actor=OPERATOR, reason="test", force=True, now=plane.clock())
    plane.clock.advance(days=200)

    with pytest.raises(TransitionRefusedError, match="has expired; issue a new one instead"):
        lifecycle.reactivate(record=record, actor=OPERATOR, reason="test", now=plane.clock())


def test_a_reactivated_certificate_takes_the_place_of_the_one_that_took_its(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    first = plane.enrol(identity)
    lifecycle.deactivate(record=first, actor=OPERATOR, reason="test", force=True, now=plane.clock())
    ManagedIdentity.objects.update(fallback_until=plane.clock() + timedelta(days=1))  # it may come back by password
    second = plane.enrol(identity)
    plane.clock.advance(minutes=1)
    lifecycle.reactivate(record=first, actor=OPERATOR, reason="test", now=plane.clock())

    plane.connect(identity, first)
    plane.work()

    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, second.state) == (RecordState.ACTIVE, RecordState.RETIRED)


# -- revoke ----------------------------------------------------------------------------------------------------------


def test_a_revoked_certificate_never_comes_back(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    record = plane.enrol(identity)
    lifecycle.revoke(record=record, actor=OPERATOR, reason="stolen", now=plane.clock())
    plane.clock.advance(minutes=1)

    for act in (lifecycle.reactivate, lifecycle.renew, lifecycle.install, lifecycle.deactivate, lifecycle.revoke):
        with pytest.raises(TransitionRefusedError, match="is revoked; only one that is"):
            act(record=record, actor=OPERATOR, reason="test", now=plane.clock())
    with pytest.raises(TransitionRefusedError):
        lifecycle.activate(
            record=record, evidence=seen(plane, record), actor=OPERATOR, reason="test", now=plane.clock()
        )
    plane.connect(identity, record)
    plane.work()

    record.refresh_from_db()
    assert record.state == RecordState.REVOKED


def test_revoking_what_is_being_delivered_stops_the_delivery(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    plane.send_csr(identity, request_for("CS-1"))
    plane.work()
    record = CertificateRecord.objects.get()

    lifecycle.revoke(record=record, actor=OPERATOR, reason="stolen", now=plane.clock())

    job = CertificateJob.objects.get(action=JobAction.ISSUE)
    (command,) = plane.commands(identity, Action.DELIVER_CERTIFICATE)
    assert (job.state, job.outcome) == (JobState.FAILED, f"Certificate {record.pk} was revoked: stolen")
    assert command.state == "cancelled"


def test_the_reason_of_a_revocation_is_one_that_the_ca_takes(plane: ControlPlane) -> None:
    record = plane.enrol(charger("CS-1"))

    with pytest.raises(InvalidInputError, match="'because' is no revocation reason; use one of unspecified, key"):
        lifecycle.revoke(record=record, actor=OPERATOR, reason="test", revocation_reason="because", now=plane.clock())


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


# -- identities ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "CS 1", "CS/1", "<b>CS-1</b>", "CS-ü", "C" * 49, "CS-1\n"])
def test_a_charger_that_could_never_connect_is_not_taken_in(name: str) -> None:
    with pytest.raises(InvalidInputError, match="no charge point id"):
        identities.create(kind="charger", authoritative_identifier=name, actor=OPERATOR, reason="test")

    assert not ManagedIdentity.objects.exists()


@pytest.mark.parametrize("name", ["C" * 48, "CS*1-_=:+|@.x"])
def test_every_charge_point_id_that_ocpp_allows_is_taken_in(name: str) -> None:
    assert identities.create(kind="charger", authoritative_identifier=name, actor=OPERATOR, reason="test").pk


@pytest.mark.parametrize("field", ["enabled", "security_profile", "fallback_until", "kind", "authoritative_identifier"])
def test_what_decides_who_gets_in_is_not_edited(plane: ControlPlane, field: str) -> None:
    identity = charger("CS-1")

    with pytest.raises(InvalidInputError, match=f"{field} cannot be set here; the fields are "):
        identities.update(identity=identity, changes={field: None}, actor=OPERATOR, reason="test")


def test_purposes_know_what_each_of_them_is_for() -> None:
    for item in purposes():
        assert purpose(item.key) is item
        assert item.trust_domain == item.key
        assert item.activating_evidence
        assert item.installing_evidence
