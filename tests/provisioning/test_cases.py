"""A case from its start to its end: prerequisites, delivery, activation, failure, block and what follows."""

from typing import Any

import pytest

from inventory.actors import Actor
from inventory.choices import EventType, RecordState
from inventory.errors import HeldBackError, InvalidInputError, InventoryError, TransitionRefusedError
from inventory.models import CertificateRecord, DomainEvent, Evidence, SecurityEvent
from inventory.services import identities, lifecycle
from inventory.services.operating_modes import OwnershipUndecidedError
from provisioning.errors import CaseOpenError, PrerequisitesError, StaleEvidenceError
from provisioning.models import ExternalReference, ProvisioningCase, ProvisioningEvidence
from provisioning.services import cases, duties, outcomes
from provisioning.services.prerequisites import judge
from tests.admin.given import person
from tests.provisioning.support import (
    AUTHORITY,
    CONTACT,
    DAY,
    EMAID,
    activated,
    again,
    certificate,
    confirm_all,
    decide,
    in_delivery,
    root_of,
    says,
    start,
    vehicle,
)
from tests.support import OPERATOR, Clock, ControlPlane

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def decided(plane: ControlPlane) -> None:
    decide()


def events(kind: EventType) -> list[DomainEvent]:
    return list(DomainEvent.objects.filter(type=kind).order_by("pk"))


# -- the way to active -----------------------------------------------------------------------------------------------


def test_a_case_goes_from_its_prerequisites_to_active_with_every_answer_kept(clock: Clock) -> None:
    identity = vehicle("WAUZZZ1")
    case = start(clock, identity)
    assert case.state == "prerequisite"
    assert "A root of ISO 15118 contract" not in case.why
    assert "Nobody has confirmed it yet" in case.why

    root_of("iso15118_contract", clock)
    case = confirm_all(clock, case)
    assert case.state == "delivery"

    says(clock, case, "delivery", certificate_pem=certificate(clock), trace_id="t-1")
    assert again(case).state == "pending_activation"
    record = CertificateRecord.objects.get()
    assert (record.state, record.mode) == (RecordState.INSTALLED_PENDING_ACTIVATION, "brokered")

    says(clock, case, "readiness", reference="C-77", reference_kind="contract", trace_id="t-2")

    case = again(case)
    assert (case.state, case.why, case.record_id) == ("active", "", record.pk)
    record.refresh_from_db()
    assert record.state == RecordState.ACTIVE
    assert case.fingerprint == record.fingerprint
    assert ExternalReference.objects.get().value == "C-77"
    moved = events(EventType.PROVISIONING_STATE_CHANGED)
    assert [(event.payload["oldState"], event.payload["newState"]) for event in moved] == [
        ("", "prerequisite"),
        ("prerequisite", "delivery"),
        ("delivery", "pending_activation"),
        ("pending_activation", "active"),
    ]
    assert {event.payload["vehicleId"] for event in moved} == {"WAUZZZ1"}
    assert {event.payload["provisioningPath"] for event in moved} == {"hubject"}
    told = events(EventType.PROVISIONING_EVIDENCE_RECORDED)
    assert [event.payload["newState"] for event in told] == ["pending_activation", "active"]
    assert told[1].payload["externalRef"] == "C-77"


def test_each_failing_prerequisite_is_named_with_why_not(clock: Clock) -> None:
    case = start(clock, pcid="")

    failing = {item.key: item.why for item in judge(case, clock()) if not item.met}

    assert set(failing) == {"account_ready", "contract_agreed", "root_known", "pcid_known"}
    assert "add the scheme's" in failing["root_known"]
    with pytest.raises(PrerequisitesError, match="No root of") as refusal:
        cases.deliver(case=case, actor=OPERATOR, reason="test", now=clock())
    assert set(refusal.value.keys) == set(failing)


def test_what_is_judged_from_facts_is_judged_again_by_itself(clock: Clock) -> None:
    case = confirm_all(clock, start(clock))
    assert case.state == "prerequisite"

    root_of("iso15118_contract", clock)
    clock.advance(minutes=6)
    duties.drive(clock())

    assert again(case).state == "delivery"


def test_a_fact_is_not_confirmed_by_a_person(clock: Clock) -> None:
    case = start(clock)

    with pytest.raises(InvalidInputError, match="it is judged from what we know; to be confirmed: account_ready"):
        cases.confirm(case=case, prerequisite="root_known", actor=OPERATOR, reason="test", now=clock())


def test_readiness_that_comes_before_the_delivery_counts_once_that_is_known(clock: Clock) -> None:
    case = in_delivery(clock)

    says(clock, case, "readiness")
    assert again(case).state == "delivery"
    says(clock, case, "delivery", certificate_pem=certificate(clock))

    assert again(case).state == "active"


def test_the_same_answer_twice_is_one(clock: Clock) -> None:
    case = in_delivery(clock)

    first = says(clock, case, "delivery", certificate_pem=certificate(clock), dedupe_key="webhook:1")
    second = says(clock, case, "delivery", certificate_pem=certificate(clock), dedupe_key="webhook:1")

    assert first.pk == second.pk
    assert ProvisioningEvidence.objects.count() == 1
    assert len(events(EventType.PROVISIONING_EVIDENCE_RECORDED)) == 1


def test_a_key_of_another_case_is_not_taken(clock: Clock) -> None:
    says(clock, in_delivery(clock), "request", dedupe_key="webhook:1")

    with pytest.raises(InvalidInputError, match="belongs to an answer about another case"):
        says(clock, start(clock), "request", dedupe_key="webhook:1")


def test_the_emaid_and_the_pcid_are_compared_without_regard_to_their_spelling(clock: Clock) -> None:
    case = start(clock, slot="de-8ac-c12e46l89-0")

    assert (case.slot, case.pcid) == (EMAID, "HUBOPENPROVCERT001")
    with pytest.raises(CaseOpenError):
        start(clock, case.identity, slot="DE*8AC*C12E46L89")
    says(clock, case, "request", emaid="DE-8AC-C12E46L89")
    with pytest.raises(InvalidInputError, match="about the contract DE8ACC12E46L90"):
        says(clock, case, "request", emaid="DE8ACC12E46L90")


# -- freshness -------------------------------------------------------------------------------------------------------


def test_stale_readiness_activates_nothing(clock: Clock) -> None:
    case = in_delivery(clock)
    says(clock, case, "delivery", certificate_pem=certificate(clock))

    says(clock, case, "readiness", observed_at=clock() - 2 * DAY)

    assert again(case).state == "pending_activation"
    says(clock, case, "readiness")
    assert again(case).state == "active"


def test_the_lifecycle_takes_no_old_confirmation_either(clock: Clock) -> None:
    case = in_delivery(clock)
    says(clock, case, "delivery", certificate_pem=certificate(clock))
    record = CertificateRecord.objects.get()
    old = Evidence.objects.create(
        record=record, kind="external_confirmation", observed_at=clock() - 2 * DAY, source="x", dedupe_key="old"
    )

    with pytest.raises(TransitionRefusedError, match="is too old to bring certificate"):
        lifecycle.activate(record=record, evidence=old, actor=OPERATOR, reason="test", now=clock())


def test_an_answer_about_another_certificate_activates_nothing(clock: Clock) -> None:
    case = in_delivery(clock)
    says(clock, case, "delivery", certificate_pem=certificate(clock))

    says(clock, case, "readiness", fingerprint="ab" * 32)

    assert again(case).state == "pending_activation"


def test_a_person_without_the_right_to_attest_moves_nothing(clock: Clock) -> None:
    case = in_delivery(clock)
    says(clock, case, "delivery", certificate_pem=certificate(clock))
    clerk = Actor.person(person("clerk", "provisioning.record_provisioningevidence"))
    answer = outcomes.Answer(system="hubject", kind="readiness", outcome="positive")
    evidence = outcomes.record_outcome(case=case, answer=answer, actor=clerk, reason="They called", now=clock())

    assert not evidence.authoritative
    assert again(case).state == "pending_activation"


def test_an_answer_of_the_future_is_refused(clock: Clock) -> None:
    with pytest.raises(InvalidInputError, match="which is in the future"):
        says(clock, in_delivery(clock), "readiness", observed_at=clock() + DAY)


# -- failure ---------------------------------------------------------------------------------------------------------


def test_a_refusal_fails_the_case_and_its_budget_of_tries_ends(clock: Clock) -> None:
    case = in_delivery(clock)
    for left in (2, 1, 0):
        says(clock, case, "request", "refused", summary="No such PCID.")
        assert again(case).state == "failed"
        clock.advance(minutes=1)
        case = cases.retry(case=case, actor=OPERATOR, reason="Mended", now=clock())
        assert (case.state, case.tries_left) == ("delivery", left)

    says(clock, case, "request", "refused", summary="No such PCID.")
    with pytest.raises(TransitionRefusedError, match=r"as often as it may: Hubject refused: No such PCID\."):
        cases.retry(case=case, actor=OPERATOR, reason="Once more", now=clock())


def test_what_is_not_done_by_its_deadline_has_failed(clock: Clock) -> None:
    case = in_delivery(clock)

    clock.advance(days=8)
    duties.drive(clock())

    case = again(case)
    assert case.state == "failed"
    assert "stayed in state delivery until its deadline" in case.why


def test_what_was_said_before_a_retry_counts_no_more(clock: Clock) -> None:
    case = in_delivery(clock)
    says(clock, case, "readiness")
    says(clock, case, "request", "refused")
    clock.advance(minutes=1)
    cases.retry(case=case, actor=OPERATOR, reason="again", now=clock())

    says(clock, case, "delivery", certificate_pem=certificate(clock))

    assert again(case).state == "pending_activation"


# -- revocation and suspension ---------------------------------------------------------------------------------------


def test_an_external_revocation_ends_our_record_at_once_and_names_whom_to_call(clock: Clock) -> None:
    case = activated(clock)

    says(clock, case, "certificate_status", "revoked", system="status", summary="OCSP says revoked.")

    case = again(case)
    record = CertificateRecord.objects.get()
    assert (case.state, record.state) == ("blocked", RecordState.REVOKED)
    assert case.blocked_by == AUTHORITY
    assert f"Call {AUTHORITY}: {CONTACT}." in case.why
    warning = SecurityEvent.objects.get(type="ProvisioningBlocked")
    assert CONTACT in warning.message


def test_a_suspension_sets_the_record_aside_until_fresh_word_unblocks_it(clock: Clock) -> None:
    case = activated(clock)
    clock.advance(minutes=1)
    says(clock, case, "notice", "suspended")
    record = CertificateRecord.objects.get()
    assert (again(case).state, record.state) == ("blocked", RecordState.INACTIVE)

    with pytest.raises(StaleEvidenceError, match=f"no fresh word of {AUTHORITY}"):
        cases.unblock(case=case, actor=OPERATOR, reason="test", now=clock())

    clock.advance(minutes=1)
    says(clock, case, "notice", "reinstated")
    clock.advance(days=2)
    with pytest.raises(StaleEvidenceError):
        cases.unblock(case=case, actor=OPERATOR, reason="test", now=clock())
    says(clock, case, "notice", "reinstated", trace_id="later")
    case = cases.unblock(case=case, actor=OPERATOR, reason="They said so", now=clock())
    assert case.state == "prerequisite"

    clock.advance(minutes=1)
    confirm_all(clock, case)
    assert again(case).state == "pending_activation"
    says(clock, case, "readiness")
    record.refresh_from_db()
    assert (again(case).state, record.state) == ("active", RecordState.ACTIVE)


def test_a_record_of_a_blocked_case_comes_into_use_by_no_other_door(clock: Clock) -> None:
    case = in_delivery(clock)
    says(clock, case, "delivery", certificate_pem=certificate(clock))
    says(clock, case, "notice", "suspended")
    record = CertificateRecord.objects.get()
    fresh = Evidence.objects.create(
        record=record, kind="external_confirmation", observed_at=clock(), source="x", dedupe_key="fresh"
    )

    with pytest.raises(HeldBackError, match="is blocked"):
        lifecycle.activate(record=record, evidence=fresh, actor=OPERATOR, reason="test", now=clock())


def test_a_revocation_of_another_certificate_leaves_the_case(clock: Clock) -> None:
    case = activated(clock)

    says(clock, case, "certificate_status", "revoked", system="status", fingerprint="ab" * 32)

    assert again(case).state == "active"


def test_a_suspension_that_was_lifted_already_blocks_nothing_when_it_arrives_late(clock: Clock) -> None:
    case = activated(clock)
    suspended_at = clock()
    clock.advance(minutes=5)
    says(clock, case, "notice", "reinstated")

    says(clock, case, "notice", "suspended", observed_at=suspended_at)

    assert again(case).state == "active"


def test_a_revocation_here_blocks_the_case(clock: Clock) -> None:
    case = activated(clock)

    lifecycle.revoke(record=CertificateRecord.objects.get(), actor=OPERATOR, reason="Stolen", now=clock())

    case = again(case)
    assert case.state == "blocked"
    assert "was revoked here: Stolen" in case.why


def test_a_certificate_without_a_case_is_revoked_on_external_evidence(clock: Clock) -> None:
    record = lifecycle.register_external(
        identity=vehicle(),
        purpose="iso15118_contract",
        slot=EMAID,
        certificate_pem=certificate(clock),
        state="issued",
        actor=OPERATOR,
        reason="test",
        now=clock(),
    )
    answer = outcomes.Answer(system="status", kind="certificate_status", outcome="revoked", observed_at=clock())

    outcomes.record_revocation(record=record, answer=answer, actor=OPERATOR, reason="OCSP", now=clock())

    record.refresh_from_db()
    assert record.state == RecordState.REVOKED
    assert events(EventType.PROVISIONING_EVIDENCE_RECORDED)[0].payload["newState"] == "revoked"


# -- one of each -----------------------------------------------------------------------------------------------------


def test_one_case_is_open_for_an_identity_purpose_and_slot(clock: Clock) -> None:
    case = start(clock)

    with pytest.raises(CaseOpenError, match=f"Case {case.pk} of .* is open"):
        start(clock, case.identity)
    start(clock, case.identity, slot="DE8ACC12E46L90")


def test_the_next_case_takes_the_place_of_the_active_one(clock: Clock) -> None:
    first = activated(clock)
    clock.advance(days=300)
    second = activated(clock, identity=first.identity)

    first, second = again(first), again(second)
    assert first.superseded_at is not None
    assert (first.state, second.state) == ("active", "active")
    assert CertificateRecord.objects.filter(state="active").get().pk == second.record_id


def test_a_revocation_of_the_active_one_does_not_stop_the_one_under_way(clock: Clock) -> None:
    first = activated(clock)
    second = start(clock, first.identity)

    says(clock, first, "notice", "revoked")

    assert again(first).state == "blocked"
    assert again(first).superseded_at is not None
    assert again(second).state == "prerequisite"


# -- who may be provisioned ------------------------------------------------------------------------------------------


def test_where_ownership_is_not_decided_only_pilots_are_provisioned(clock: Clock) -> None:
    decide(program="north", variability="oem", support_owner="")

    with pytest.raises(OwnershipUndecidedError, match="in program north is not decided: support owner is missing"):
        start(clock, vehicle(program="north"))
    assert start(clock, vehicle(program="north", pilot=True)).state == "prerequisite"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"path": "est"}, "are not provisioned by Enrolment over EST; use one of hubject, opnc, ocpi, oem, manual"),
        ({"path": "pigeon"}, "There is no path 'pigeon'"),
        ({"purpose": "iso15118_evse_leaf", "slot": ""}, "are for"),
        ({"slot": ""}, "needs a slot: the EMAID"),
        ({"slot": "contract 7"}, "is no EMAID"),
        ({"pcid": "7"}, "is no PCID"),
    ],
)
def test_what_does_not_fit_is_refused(clock: Clock, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InventoryError, match=sentence):
        start(clock, **values)
    assert not ProvisioningCase.objects.exists()


def test_a_disabled_identity_is_not_provisioned(clock: Clock) -> None:
    identity = vehicle()
    identities.set_enabled(identity=identity, enabled=False, actor=OPERATOR, reason="test")

    with pytest.raises(TransitionRefusedError, match="is disabled"):
        start(clock, identity)


# -- what is kept of an answer ---------------------------------------------------------------------------------------


def test_secrets_keys_and_certificates_are_left_out(clock: Clock) -> None:
    pem = certificate(clock)
    key = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----"

    evidence = says(
        clock,
        in_delivery(clock),
        "request",
        content={
            "access_token": "eyJhbGciOi",
            "headers": {"Authorization": "Bearer abcdefghijkl"},
            "note": f"sent with Bearer abcdefghijklmnop and {key}",
            "certificate": pem,
            "emaid": EMAID,
        },
    )

    kept = str(evidence.content)
    assert EMAID in kept
    for secret in ("eyJhbGciOi", "abcdefghijkl", "MHcCAQEE", "BEGIN CERTIFICATE"):
        assert secret not in kept


def test_a_large_answer_goes_into_the_artifact_store(clock: Clock) -> None:
    evidence = says(clock, in_delivery(clock), "request", content={"list": ["x" * 1000] * 40})

    assert evidence.artifact is not None
    assert evidence.artifact.size > 40_000
    assert set(evidence.content) == {"kept", "sha256"}
