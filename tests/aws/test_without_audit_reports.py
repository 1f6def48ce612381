"""A lost answer of AWS Private CA where no bucket for audit reports is set up."""

from datetime import timedelta

import pytest

from inventory.choices import JobState, RecordState, Severity
from inventory.models import (
    CertificateRecord,
    SecurityEvent,
)
from tests.acm_pca import AcmPcaServer
from tests.aws.installation import Installation
from tests.aws.lost_answers import in_the_inventory, lose_the_answer, serials
from tests.support import charger, request_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def bucketless(installation: Installation) -> Installation:
    installation.configure(aws_audit_report_bucket=None)
    return installation


def test_without_a_bucket_nothing_is_asked_twice_and_a_person_is_told(
    bucketless: Installation, aws: AcmPcaServer
) -> None:
    job = bucketless.request(charger("CS-1"))
    lose_the_answer(bucketless, job)
    for _ in range(10):
        bucketless.work()
        bucketless.clock.advance(hours=1)

    job.refresh_from_db()
    assert job.state == JobState.WAITING
    assert job.waiting_for.startswith("the CA's lost answer to be looked up by a person: no bucket is set up")
    assert len(aws.calls("IssueCertificate")) == 1
    event = SecurityEvent.objects.get(type="IssuanceNeedsReconciliation")
    assert event.severity == Severity.CRITICAL
    assert "set BFCERTS_AWS_AUDIT_REPORT_BUCKET" in event.message
    assert f"Job {job.pk} ends" in event.message


def test_a_bucket_that_is_set_up_at_last_is_used(bucketless: Installation, aws: AcmPcaServer) -> None:
    job = bucketless.request(charger("CS-1"))
    lose_the_answer(bucketless, job, gap=timedelta(hours=3))
    bucketless.work()

    bucketless.configure()
    bucketless.until_it_moves_on(job)

    assert job.step == "await_install", job.outcome
    assert serials(bucketless) == in_the_inventory()
    assert len(aws.issued) == 1


def test_without_anybody_looking_the_job_ends_and_makes_place_for_a_new_request(
    bucketless: Installation, aws: AcmPcaServer
) -> None:
    identity = charger("CS-1")
    job = bucketless.request(identity)
    lose_the_answer(bucketless, job)

    bucketless.until_it_moves_on(job, most=timedelta(hours=25))

    record = CertificateRecord.objects.get()
    assert job.state == JobState.FAILED
    assert "nobody could find out whether it issued" in job.outcome
    assert record.state == RecordState.DELETED
    assert "if its audit report has a certificate valid from" in record.failure_reason
    assert len(aws.calls("IssueCertificate")) == 1

    again = bucketless.request(identity)
    bucketless.work()
    again.refresh_from_db()
    assert again.step == "await_install"


def test_a_newer_request_follows_when_nobody_looked(bucketless: Installation, aws: AcmPcaServer) -> None:
    identity = charger("CS-1")
    job = bucketless.request(identity)
    lose_the_answer(bucketless, job)
    bucketless.send_csr(identity, request_for("CS-1"))
    bucketless.work()

    bucketless.until_it_moves_on(job, most=timedelta(hours=25))

    assert job.step == "await_install", job.outcome
    assert [aws.issued[1].serial_hex] == in_the_inventory()
