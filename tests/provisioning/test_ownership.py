"""Ownership decisions: completeness, what applies to whom, what may be stored, and who is named in refusals."""

import csv
from typing import Any

import pytest

from inventory.choices import OperatingMode, RecordState
from inventory.errors import InvalidInputError, TransitionRefusedError
from inventory.models import Artifact, CertificateRecord, ManagedIdentity
from inventory.purposes import purpose
from inventory.services import artifacts, lifecycle
from inventory.services.actions import for_record
from inventory.services.operating_modes import NotOursError, NotStoredError, OwnershipUndecidedError
from provisioning.models import OwnershipDecision
from provisioning.services import ownership
from tests.inventory.material import ca_certificate
from tests.provisioning.support import AUTHORITY, CONTACT, CONTRACT, DECIDED, EMAID, certificate, decide, vehicle
from tests.support import OPERATOR, Clock, ControlPlane, request_for

pytestmark = pytest.mark.django_db


def register(clock: Clock, identity: ManagedIdentity, **values: Any) -> CertificateRecord:
    options = {
        "purpose": CONTRACT,
        "slot": EMAID,
        "certificate_pem": certificate(clock),
        "chain_pem": ca_certificate(clock(), name="Example Mobility Sub-CA"),
        "state": RecordState.ACTIVE,
        "evidence_kind": "external_confirmation",
        **values,
    }
    return lifecycle.register_external(identity=identity, actor=OPERATOR, reason="test", now=clock(), **options)


# -- completeness ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", sorted(set(DECIDED) - {"purpose", "authority_contact"}))
def test_each_of_the_eleven_fields_has_to_be_decided(plane: ControlPlane, clock: Clock, field: str) -> None:
    item = decide(**{field: ""})

    assert len(item.missing) == 1
    with pytest.raises(OwnershipUndecidedError, match=f"{item.missing[0]} is missing"):
        register(clock, vehicle())
    assert register(clock, vehicle(pilot=True)).state == RecordState.ACTIVE


def test_without_any_decision_the_sentence_says_what_to_do(plane: ControlPlane, clock: Clock) -> None:
    with pytest.raises(OwnershipUndecidedError) as refusal:
        register(clock, vehicle("WAUZZZ1"))

    assert str(refusal.value) == (
        "The ownership of ISO 15118 contract certificates outside of every program is not decided: a decision is "
        "missing. Until it is, only identities marked as pilot may use them, and WAUZZZ1 is none. Complete the "
        "ownership decision, or mark it as pilot."
    )


def test_a_decision_that_differs_by_program_decides_for_no_program(plane: ControlPlane, clock: Clock) -> None:
    decide(variability="oem")

    with pytest.raises(OwnershipUndecidedError, match=r"a decision for program north \(the general one differs by"):
        register(clock, vehicle(program="north"))
    decide(program="north", variability="oem")
    assert register(clock, vehicle(program="north")).mode == OperatingMode.BROKERED


def test_what_is_ours_alone_needs_no_decision(plane: ControlPlane) -> None:
    with pytest.raises(InvalidInputError, match="there is nothing to decide"):
        decide(purpose="charger_identity")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"our_role": "issuer"}, "whoever issues keeps the whole certificate"),
        ({"our_role": "issuer", "source_of_truth": ""}, "so the endpoint has to own the private key"),
        ({"program": "north"}, "a decision for one program is not the same everywhere"),
        ({"delivery_path": "est"}, "are not delivered by Enrolment over EST"),
        ({"our_role": "owner"}, "our role: Value 'owner' is not a valid choice"),
    ],
)
def test_a_decision_that_contradicts_itself_is_refused(
    plane: ControlPlane, values: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        decide(**values)
    assert not OwnershipDecision.objects.exists()


def test_a_decision_is_made_once(plane: ControlPlane) -> None:
    decide()

    with pytest.raises(InvalidInputError, match="is decided already"):
        decide()


# -- the operating mode ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "mode"), [("broker", "brokered"), ("tracker", "tracked_only"), ("observer", "tracked_only")]
)
def test_our_role_decides_the_mode_unless_the_identity_has_its_own(plane: ControlPlane, role: str, mode: str) -> None:
    decide(our_role=role)

    assert vehicle().mode_for(purpose(CONTRACT)) == mode
    assert vehicle(mode="managed").mode_for(purpose(CONTRACT)) == "managed"


def test_each_command_says_who_is_responsible_where_it_may_not(plane: ControlPlane, clock: Clock) -> None:
    decide(our_role="tracker")
    record = register(clock, vehicle("WAUZZZ1"))

    for command in (lifecycle.renew, lifecycle.deactivate):
        with pytest.raises(NotOursError) as refusal:
            command(record=record, actor=OPERATOR, reason="test", now=clock())
        assert refusal.value.extra == {"responsible": AUTHORITY, "contact": CONTACT}
        assert f"{AUTHORITY} is responsible" in str(refusal.value)
        assert str(refusal.value).endswith(f"Ask there: {CONTACT}.")
    with pytest.raises(NotOursError, match="we do not issue them"):
        lifecycle.issue(identity=record.identity, purpose=CONTRACT, slot="X", actor=OPERATOR, reason="test")
    offered = {action.verb: action.why_not for action in for_record(record, OPERATOR, clock())}
    assert CONTACT in offered["deactivate"]
    assert offered["revoke"] == ""


def test_a_brokered_certificate_is_taken_out_of_use_here(plane: ControlPlane, clock: Clock) -> None:
    decide()
    record = register(clock, vehicle())

    lifecycle.deactivate(record=record, actor=OPERATOR, reason="test", force=True, now=clock())
    lifecycle.reactivate(record=record, actor=OPERATOR, reason="test", now=clock())

    record.refresh_from_db()
    assert record.state == RecordState.INSTALLED_PENDING_ACTIVATION


def test_no_request_is_taken_for_keys_of_another_party(plane: ControlPlane) -> None:
    decide(purpose="vehicle_vas_identity", delivery_path="oem", our_role="broker")
    identity = vehicle("WAUZZZ1", mode="managed")

    with pytest.raises(NotStoredError, match="belong to another party"):
        lifecycle.issue(
            identity=identity,
            purpose="vehicle_vas_identity",
            csr_pem=request_for("WAUZZZ1"),
            actor=OPERATOR,
            reason="test",
        )


# -- what is stored --------------------------------------------------------------------------------------------------


def test_the_whole_chain_is_stored_where_it_may_be(plane: ControlPlane, clock: Clock) -> None:
    decide(source_of_truth="whole_chain")

    record = register(clock, vehicle())

    assert "BEGIN CERTIFICATE" in record.certificate_pem
    assert "BEGIN CERTIFICATE" in record.chain_pem


def test_only_the_lifecycle_is_stored_where_no_more_may_be(plane: ControlPlane, clock: Clock) -> None:
    decide(source_of_truth="lifecycle_only")

    record = register(clock, vehicle(), state=RecordState.ISSUED)

    record.refresh_from_db()
    assert (record.kept, record.certificate_pem, record.chain_pem) == ("lifecycle_only", "", "")
    assert record.fingerprint
    assert record.not_after
    assert record.responsible_authority == AUTHORITY
    artifacts.keep_issued_chains(clock())
    assert not Artifact.objects.exists()
    with pytest.raises(TransitionRefusedError, match="only its lifecycle is stored"):
        lifecycle.install(record=record, actor=OPERATOR, reason="test", now=clock())


def test_no_record_is_stored_where_only_evidence_may_be(plane: ControlPlane, clock: Clock) -> None:
    decide(source_of_truth="evidence_only")

    with pytest.raises(NotStoredError, match="only evidence is kept"):
        register(clock, vehicle())
    assert not CertificateRecord.objects.exists()


def test_a_level_below_what_is_stored_is_refused(plane: ControlPlane, clock: Clock) -> None:
    item = decide(source_of_truth="whole_chain")
    register(clock, vehicle())

    item.source_of_truth = "lifecycle_only"
    with pytest.raises(InvalidInputError, match="1 certificates of this purpose and program are stored with more"):
        ownership.save(entry=item, actor=OPERATOR, reason="test")


# -- the matrix ------------------------------------------------------------------------------------------------------


def test_the_matrix_lists_what_is_not_decided_too(plane: ControlPlane) -> None:
    decide(support_owner="")

    rows = {row.title: row for row in ownership.matrix()}

    assert rows["ISO 15118 contract, every other program"].missing == ("support owner",)
    assert rows["Vehicle VAS identity"].missing == ("every field",)
    assert len(rows) == 4


def test_the_export_is_safe_in_a_spreadsheet(plane: ControlPlane) -> None:
    decide(business_owner="=HYPERLINK(1)")

    (_, row) = csv.reader(ownership.as_csv().splitlines())

    assert "'=HYPERLINK(1)" in row
    assert AUTHORITY in row


def test_a_decision_has_its_history(plane: ControlPlane) -> None:
    item = decide()
    item.note = "Signed in May"
    ownership.save(entry=item, actor=OPERATOR, reason="Contract signed")

    newest, first = item.history.all()
    assert (newest.history_change_reason, newest.note) == ("Contract signed", "Signed in May")
    assert first.actor == OPERATOR.name
