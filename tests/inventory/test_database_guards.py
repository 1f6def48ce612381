"""The invariants of records and jobs, as the database itself holds them whoever asks."""

from datetime import timedelta

import pytest
from django.db import transaction

from inventory.choices import RECORD_TRANSITIONS, RecordState
from inventory.models import (
    CertificateJob,
    CertificateRecord,
    IssuingAuthority,
)
from tests.inventory.guards import refused
from tests.inventory.records import NOW, bring_to, evidence_for, move, record_of, sql
from tests.support import ControlPlane, charger, job_for

pytestmark = pytest.mark.django_db


# -- transitions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", RecordState.values)
def test_the_transition_table_holds_in_the_database(db: None, source: str) -> None:
    record = record_of(charger())
    bring_to(record, source)

    for target in RecordState.values:
        if target == source or target in RECORD_TRANSITIONS[source]:
            with transaction.atomic():
                move(record, target)
                transaction.set_rollback(True)
        else:
            with refused(f"{source} to {target} is no transition"):
                move(record, target)


@pytest.mark.parametrize("state", [state for state in RecordState.values if state != "requested"])
def test_a_record_of_ours_begins_as_requested(db: None, state: str) -> None:
    with refused(f"a certificate record cannot begin as {state}"):
        record_of(charger(), state=state, fingerprint="f", revoked_at=NOW)


@pytest.mark.parametrize("state", ["active", "inactive", "retired", "revoked", "deleted"])
def test_an_external_record_does_not_begin_beyond_its_installation(db: None, state: str) -> None:
    with refused(f"a certificate record cannot begin as {state}"):
        record_of(charger(), state=state, fingerprint="f", revoked_at=NOW, registered_externally=True)


@pytest.mark.parametrize("state", ["issued", "installed_pending_activation"])
def test_an_external_record_may_begin_as_what_it_is(db: None, state: str) -> None:
    assert record_of(charger(), state=state, fingerprint="f", registered_externally=True).state == state


def test_a_record_is_never_removed(db: None) -> None:
    record = record_of(charger())

    with refused("is never removed; delete it by its lifecycle"):
        sql("DELETE FROM inventory_certificaterecord WHERE id = %s", record.pk)


def test_a_revoked_record_has_a_time(db: None) -> None:
    record = record_of(charger())
    bring_to(record, "issued")

    with refused("revoked_has_time"):
        sql("UPDATE inventory_certificaterecord SET state = 'revoked', revoked_at = NULL WHERE id = %s", record.pk)


# -- one active, on evidence of its own ------------------------------------------------------------------------------


def test_two_certificates_of_one_slot_are_not_active_at_once(db: None) -> None:
    identity = charger()
    first, second = record_of(identity), record_of(identity)
    bring_to(first, "active")
    bring_to(second, "installed_pending_activation")

    with refused("one_active_per_slot"):
        move(second, "active")


def test_different_slots_may_be_active_side_by_side(db: None) -> None:
    identity = charger()
    first, second = record_of(identity, slot="a"), record_of(identity, slot="b")

    bring_to(first, "active")
    bring_to(second, "active")

    assert CertificateRecord.objects.filter(state="active").count() == 2


def test_a_certificate_is_not_active_without_evidence(db: None) -> None:
    record = record_of(charger())
    bring_to(record, "installed_pending_activation")

    with refused("active needs evidence of its own"):
        sql(
            "UPDATE inventory_certificaterecord SET state = 'active', activation_evidence_id = NULL WHERE id = %s",
            record.pk,
        )


def test_a_certificate_is_not_active_on_the_evidence_of_another(db: None) -> None:
    record, other = record_of(charger()), record_of(charger())
    bring_to(record, "installed_pending_activation")

    with refused("active needs evidence of its own"):
        sql(
            "UPDATE inventory_certificaterecord SET state = 'active', activation_evidence_id = %s WHERE id = %s",
            evidence_for(other).pk,
            record.pk,
        )


def test_an_active_certificate_does_not_lose_its_evidence(db: None) -> None:
    record = record_of(charger())
    bring_to(record, "active")

    with refused("active needs evidence of its own"):
        sql("UPDATE inventory_certificaterecord SET activation_evidence_id = NULL WHERE id = %s", record.pk)


# -- what never changes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value"),
    [("purpose", "backend_server"), ("slot", "other"), ("trust_domain", "backend_server")],
)
def test_what_a_record_is_for_never_changes(db: None, column: str, value: str) -> None:
    record = record_of(charger())

    with refused("identity, purpose, slot and trust domain never change"):
        sql(f"UPDATE inventory_certificaterecord SET {column} = %s WHERE id = %s", value, record.pk)  # noqa: S608  # our own names


def test_a_record_never_changes_its_identity(db: None) -> None:
    record = record_of(charger())

    with refused("identity, purpose, slot and trust domain never change"):
        sql("UPDATE inventory_certificaterecord SET identity_id = %s WHERE id = %s", charger().pk, record.pk)


@pytest.mark.parametrize("column", ["fingerprint", "serial_number", "issuer_sha256", "public_key_sha256"])
def test_an_issued_certificate_never_changes(db: None, column: str) -> None:
    record = record_of(charger())
    bring_to(record, "issued")

    with refused("an issued certificate never changes"):
        sql(f"UPDATE inventory_certificaterecord SET {column} = 'other' WHERE id = %s", record.pk)  # noqa: S608  # our own names


# -- uniqueness and trust domains ------------------------------------------------------------------------------------


def test_a_fingerprint_is_unique(db: None) -> None:
    record_of(charger(), fingerprint="f", serial_number="1", issuer_sha256="a")

    with refused("fingerprint_once"):
        record_of(charger(), fingerprint="f", serial_number="2", issuer_sha256="a")


def test_a_serial_number_is_unique_for_its_issuer_and_free_for_another(db: None) -> None:
    record_of(charger(), fingerprint="f", serial_number="1", issuer_sha256="a")
    record_of(charger(), fingerprint="g", serial_number="1", issuer_sha256="b")

    with refused("serial_once_per_issuer"):
        record_of(charger(), fingerprint="h", serial_number="1", issuer_sha256="a")


def test_an_issued_record_has_a_certificate(db: None) -> None:
    record = record_of(charger())

    with refused("issued_has_fingerprint"):
        sql("UPDATE inventory_certificaterecord SET state = 'issued' WHERE id = %s", record.pk)


def test_firmware_signing_is_stored_nowhere(db: None) -> None:
    with refused("no_firmware_signing|trust_domain_of_purpose"):
        record_of(charger(), purpose="firmware_signing", trust_domain="firmware_signing")


def test_a_record_belongs_to_the_trust_domain_of_its_purpose(db: None) -> None:
    with refused("trust_domain_of_purpose"):
        record_of(charger(), trust_domain="backend_server")


def test_a_record_does_not_take_the_authority_of_another_trust_domain(plane: ControlPlane) -> None:
    record = record_of(charger())
    foreign = IssuingAuthority.objects.get(trust_domain="backend_server")
    own = IssuingAuthority.objects.get(trust_domain="charger_identity")

    with refused("its authority belongs to another trust domain"):
        sql("UPDATE inventory_certificaterecord SET authority_id = %s WHERE id = %s", foreign.pk, record.pk)
    assert sql("UPDATE inventory_certificaterecord SET authority_id = %s WHERE id = %s", own.pk, record.pk) == 1


def test_a_trust_domain_has_one_authority_that_issues(plane: ControlPlane) -> None:
    with refused("one_issuing_authority_per_trust_domain"):
        sql("UPDATE inventory_issuingauthority SET trust_domain = 'charger_identity'")


def test_an_identity_is_one_for_its_kind_and_identifier(db: None) -> None:
    identity = charger("CS-1")
    other = charger("CS-2")

    with refused("one_identity_per_identifier"):
        sql(
            "UPDATE inventory_managedidentity SET authoritative_identifier = %s WHERE id = %s",
            identity.authoritative_identifier,
            other.pk,
        )


# -- jobs ------------------------------------------------------------------------------------------------------------


def test_a_waiting_job_names_what_it_waits_for_and_until_when(db: None) -> None:
    job = job_for(charger(), "test", now=NOW)

    with refused("waiting_names_its_end"):
        sql("UPDATE inventory_certificatejob SET state = 'waiting', waiting_for = 'x' WHERE id = %s", job.pk)
    with refused("waiting_names_its_end"):
        sql("UPDATE inventory_certificatejob SET state = 'waiting', waiting_until = now() WHERE id = %s", job.pk)


def test_an_ended_job_has_a_time(db: None) -> None:
    job = job_for(charger(), "test", now=NOW)

    with refused("ended_job_has_time"):
        sql("UPDATE inventory_certificatejob SET state = 'failed' WHERE id = %s", job.pk)


def test_one_slot_has_one_open_issuing_job_whatever_its_action(db: None) -> None:
    identity = charger()
    job_for(identity, "test", now=NOW, action="issue", target="")
    renewal = job_for(identity, "test", now=NOW)

    with refused("one_open_issuing_job"):
        sql("UPDATE inventory_certificatejob SET action = 'renew', target = '' WHERE id = %s", renewal.pk)


def test_an_action_has_one_open_job(db: None) -> None:
    identity = charger()
    job_for(identity, "test", now=NOW, target="same")
    other = job_for(identity, "test", now=NOW)

    with refused("one_open_job_per_action"):
        sql("UPDATE inventory_certificatejob SET target = 'same' WHERE id = %s", other.pk)


def test_an_idempotency_key_is_one_job(db: None) -> None:
    first, second = (job_for(charger(), "test", now=NOW) for _ in range(2))

    with refused("idempotency_key"):
        sql("UPDATE inventory_certificatejob SET idempotency_key = %s WHERE id = %s", first.idempotency_key, second.pk)
    assert CertificateJob.objects.count() == 2


# -- python's own way around -----------------------------------------------------------------------------------------


def test_the_state_cannot_be_assigned(db: None) -> None:
    record = record_of(charger())

    with pytest.raises(AttributeError):
        record.state = RecordState.ACTIVE
    assert CertificateRecord.objects.get(pk=record.pk).state == RecordState.REQUESTED


def test_a_record_that_fails_to_be_read_again_stays_protected(db: None) -> None:
    record = record_of(charger())
    gone = CertificateRecord.objects.get(pk=record.pk)
    gone.pk = record.pk + 1_000_000

    with pytest.raises(CertificateRecord.DoesNotExist):
        gone.refresh_from_db()
    with pytest.raises(AttributeError):
        gone.state = RecordState.ACTIVE
    with pytest.raises(AttributeError):
        record.state = RecordState.ACTIVE
    assert gone.state == RecordState.REQUESTED


def test_reading_a_record_again_takes_over_the_new_state(db: None) -> None:
    record = record_of(charger())
    bring_to(record, "issued")

    record.refresh_from_db()

    assert record.state == RecordState.ISSUED
    assert record.requested_at - NOW == timedelta(0)
