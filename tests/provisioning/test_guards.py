"""What the database refuses of provisioning, whoever asks."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F

from inventory.models import CertificateRecord
from provisioning.models import ExternalReference, OwnershipDecision, ProvisioningCase, ProvisioningEvidence
from tests.provisioning.support import activated, certificate, decide, in_delivery, says
from tests.support import Clock, ControlPlane

pytestmark = pytest.mark.django_db


@pytest.fixture
def case(plane: ControlPlane, clock: Clock) -> ProvisioningCase:
    """An active case with a reference."""
    decide()
    made = activated(clock)
    says(clock, made, "request", reference="C-1", reference_kind="contract")
    return made


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def another(case: ProvisioningCase, **values: object) -> None:
    """A row like this case's."""
    row: dict[str, object] = {**ProvisioningCase.objects.filter(pk=case.pk).values().get(), "id": None, **values}
    ProvisioningCase.objects.bulk_create([ProvisioningCase(**row)])


def renewed(case: ProvisioningCase) -> ProvisioningCase:
    """Another case of the same vehicle, in delivery."""
    now = case.opened_at
    return in_delivery(Clock(now), identity=case.identity)


REFUSED: dict[str, Callable[[ProvisioningCase], object]] = {
    "a case jumps over its states": lambda case: ProvisioningCase.objects.filter(pk=renewed(case).pk).update(
        state="active", activation_evidence=case.activation_evidence
    ),
    "a case rests on the evidence of another": lambda case: ProvisioningCase.objects.filter(
        pk=pending_like(case).pk
    ).update(state="active", activation_evidence=case.activation_evidence),
    "a case begins as active": lambda case: another(case, superseded_at=None),
    "a case is removed": lambda case: execute("DELETE FROM provisioning_provisioningcase"),
    "a case gets another slot": lambda case: ProvisioningCase.objects.update(slot="X"),
    "a blocked case has an active certificate": lambda case: ProvisioningCase.objects.update(
        state="blocked", blocked_by="x", blocked_at=F("opened_at"), why="x"
    ),
    "evidence is changed": lambda case: ProvisioningEvidence.objects.update(outcome="positive"),
    "evidence is made fresh again": lambda case: ProvisioningEvidence.objects.update(
        fresh_until=F("fresh_until") + timedelta(days=1)
    ),
    "evidence is removed": lambda case: execute("DELETE FROM provisioning_provisioningevidence"),
    "a reference is changed": lambda case: ExternalReference.objects.update(value="C-2"),
    "history is rewritten": lambda case: execute("UPDATE provisioning_historicalprovisioningcase SET actor = 'nobody'"),
    "the history of decisions is rewritten": lambda case: execute(
        "UPDATE provisioning_historicalownershipdecision SET actor = 'nobody'"
    ),
    "a certificate is stored beyond its decision": lambda case: CertificateRecord.objects.update(
        certificate_pem="x", kept="whole_chain"
    ),
    "a record of a lifecycle has a certificate": lambda case: CertificateRecord.objects.update(certificate_pem="x"),
    "an issuer keeps less than the whole": lambda case: OwnershipDecision.objects.update(our_role="issuer"),
    "evidence keeps a private key": lambda case: execute(
        "INSERT INTO provisioning_provisioningevidence (identity_id, system, kind, outcome, status, summary, "
        "authoritative, observed_at, received_at, fresh_until, trace_id, external_reference, content, fingerprint, "
        "actor, correlation_id, dedupe_key) SELECT identity_id, system, kind, outcome, status, summary, authoritative, "
        "observed_at, received_at, fresh_until, trace_id, external_reference, "
        "'{\"k\": \"-----BEGIN PRIVATE KEY-----\"}', fingerprint, actor, correlation_id, 'other' "
        "FROM provisioning_provisioningevidence LIMIT 1"
    ),
}


def pending_like(case: ProvisioningCase) -> ProvisioningCase:
    """Another case of the same vehicle, delivered."""
    clock = Clock(case.opened_at)
    made = in_delivery(clock, identity=case.identity)
    says(clock, made, "delivery", certificate_pem=certificate(clock))
    return made


@pytest.mark.parametrize("what", REFUSED)
def test_the_database_refuses_when(what: str, case: ProvisioningCase) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        REFUSED[what](case)


def test_the_database_refuses_an_active_certificate_of_a_blocked_case(case: ProvisioningCase, clock: Clock) -> None:
    says(clock, case, "notice", "suspended")
    record = CertificateRecord.objects.get()
    CertificateRecord.objects.filter(pk=record.pk).update(state="installed_pending_activation")

    with pytest.raises(IntegrityError, match="its provisioning case is blocked"), transaction.atomic():
        CertificateRecord.objects.filter(pk=record.pk).update(
            state="active", activation_evidence=record.evidence.latest("pk")
        )


def test_the_database_refuses_a_record_where_only_evidence_is_kept(plane: ControlPlane, clock: Clock) -> None:
    decide()
    case = in_delivery(clock)
    says(clock, case, "delivery", certificate_pem=certificate(clock))
    row: dict[str, object] = {**CertificateRecord.objects.values().get()}
    OwnershipDecision.objects.update(source_of_truth="evidence_only")
    row |= {"id": None, "fingerprint": "ab" * 32, "serial_number": "77"}

    with pytest.raises(IntegrityError, match="only evidence is kept"), transaction.atomic():
        CertificateRecord.objects.bulk_create([CertificateRecord(**row)])
