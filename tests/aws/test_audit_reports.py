"""The audit report that says what AWS Private CA issued: asked for, waited for, read, and told of."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from inventory.choices import JobState, RecordState, Severity
from inventory.models import (
    AuditReport,
    CertificateRecord,
    SecurityEvent,
)
from inventory.services import identities
from tests.acm_pca import AcmPcaServer
from tests.aws.installation import BUCKET, Installation
from tests.aws.lost_answers import REPORT, in_the_inventory, lose_the_answer, serials
from tests.support import OPERATOR, charger

pytestmark = pytest.mark.django_db
DESCRIBE = "DescribeCertificateAuthorityAuditReport"


# -- the report itself -----------------------------------------------------------------------------------------------


def test_a_report_in_progress_is_polled_by_a_requeued_step(installation: Installation, aws: AcmPcaServer) -> None:
    aws.report_after(polls=4, takes=timedelta(minutes=2))
    job = installation.request(charger("CS-1"))
    lose_the_answer(installation, job)

    waited = installation.until_it_moves_on(job)

    assert job.step == "await_install", job.outcome
    assert waited.count("the CA to finish its audit report") == 4
    assert len(aws.calls(DESCRIBE)) == 5
    assert len(aws.calls(REPORT)) == 1
    assert serials(installation) == in_the_inventory()


def test_the_next_report_is_asked_for_when_aws_makes_one(installation: Installation, aws: AcmPcaServer) -> None:
    """One in half an hour for each CA: what was lost after the last one waits for its turn."""
    first = installation.request(charger("CS-1"))
    lose_the_answer(installation, first)
    installation.until_it_moves_on(first)
    asked_at = installation.clock()
    second = installation.request(charger("CS-2"))
    lose_the_answer(installation, second)

    waited = installation.until_it_moves_on(second)

    assert second.step == "await_install", second.outcome
    assert "the CA's next audit report, of which it makes one in 30 minutes" in waited
    assert len(aws.calls(REPORT)) == 2
    assert installation.clock() - asked_at < timedelta(minutes=31)
    assert serials(installation) == in_the_inventory()


def test_a_report_that_somebody_else_asked_for_is_waited_out(installation: Installation, aws: AcmPcaServer) -> None:
    job = installation.request(charger("CS-1"))
    lose_the_answer(installation, job)
    aws.service.reports.create(aws.arns["charger_identity"], BUCKET, [])

    waited = installation.until_it_moves_on(job)

    assert "the CA to take on another audit report; somebody else has asked for one" in waited
    assert job.step == "await_install", job.outcome
    assert serials(installation) == in_the_inventory()


def test_a_report_whose_id_was_lost_is_followed_by_another(installation: Installation, aws: AcmPcaServer) -> None:
    aws.lose_answer(REPORT)
    job = installation.request(charger("CS-1"))
    lose_the_answer(installation, job)

    waited = installation.until_it_moves_on(job)

    assert any("the id of the last one was lost" in one for one in waited)
    assert len(aws.calls(REPORT)) == 2
    assert job.step == "await_install", job.outcome
    assert serials(installation) == in_the_inventory()


def test_a_report_that_failed_is_followed_by_another(installation: Installation, aws: AcmPcaServer) -> None:
    aws.fail_reports()
    job = installation.request(charger("CS-1"))
    lose_the_answer(installation, job)

    waited = installation.until_it_moves_on(job)

    assert any("AWS could not make the last one" in one for one in waited)
    assert job.step == "await_install", job.outcome
    assert serials(installation) == in_the_inventory()


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def other_fields(content: bytes) -> bytes:
    return content.replace(b"issuedAt", b"made")


def no_json(content: bytes) -> bytes:
    return b"awsAccountId,certificateArn"


@pytest.mark.parametrize("spoil", [half, other_fields, no_json])
def test_a_report_that_cannot_be_read_issues_nothing(
    installation: Installation, aws: AcmPcaServer, spoil: Callable[[bytes], bytes]
) -> None:
    aws.spoil_reports(spoil)
    job = installation.request(charger("CS-1"))
    lose_the_answer(installation, job)
    with pytest.raises(AssertionError):
        installation.until_it_moves_on(job, most=timedelta(minutes=50))
    assert "the last one" in job.waiting_for
    assert len(aws.issued) == 1

    aws.spoil_reports(bytes)
    installation.until_it_moves_on(job)

    assert job.step == "await_install", job.outcome
    assert serials(installation) == in_the_inventory()


def test_a_report_that_was_deleted_is_followed_by_another(
    installation: Installation, aws: AcmPcaServer, s3: Any
) -> None:
    aws.report_after(polls=1000)
    job = installation.request(charger("CS-1"))
    lose_the_answer(installation, job, gap=timedelta(minutes=10))
    installation.work()
    aws.report_after(polls=0)
    report = aws.service.reports.describe(aws.arns["charger_identity"], AuditReport.objects.get().report_id)
    assert report["AuditReportStatus"] == "SUCCESS"
    s3.delete_object(Bucket=BUCKET, Key=report["S3Key"])

    waited = installation.until_it_moves_on(job)

    assert any("no longer in the bucket" in one for one in waited)
    assert job.step == "await_install", job.outcome
    assert serials(installation) == in_the_inventory()


def test_a_bucket_that_is_not_there_is_waited_for_and_says_what_to_do(
    installation: Installation, aws: AcmPcaServer
) -> None:
    installation.configure(aws_audit_report_bucket="another-bucket")
    job = installation.request(charger("CS-1"))
    lose_the_answer(installation, job, gap=timedelta(minutes=10))
    installation.work()

    job.refresh_from_db()
    assert job.state == JobState.WAITING
    assert "does not write its audit report to the bucket another-bucket" in job.outcome
    assert "Check BFCERTS_AWS_AUDIT_REPORT_BUCKET and the bucket's policy" in job.outcome

    installation.configure()
    installation.until_it_moves_on(job)
    assert job.step == "await_install", job.outcome
    assert len(aws.issued) == 1


def test_a_report_that_may_not_be_read_says_which_right_is_missing(
    installation: Installation, aws: AcmPcaServer, s3: Any
) -> None:
    denied = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/*"}
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": [denied]}))
    job = installation.request(charger("CS-1"))
    lose_the_answer(installation, job, gap=timedelta(minutes=10))
    try:
        installation.work()
        installation.clock.advance(seconds=30)
        installation.work()
    finally:
        s3.delete_bucket_policy(Bucket=BUCKET)
    job.refresh_from_db()
    assert job.state == JobState.WAITING
    assert f"s3:GetObject on {BUCKET}/audit-report/*" in job.outcome

    installation.until_it_moves_on(job)
    assert job.step == "await_install", job.outcome
    assert len(aws.issued) == 1


def test_an_outage_while_looking_never_fails_the_job(installation: Installation, aws: AcmPcaServer) -> None:
    job = installation.request(charger("CS-1"))
    lose_the_answer(installation, job)
    aws.drop(REPORT, times=3)
    aws.drop(DESCRIBE, times=5)
    aws.throttle("GetCertificate", times=5)

    installation.until_it_moves_on(job, most=timedelta(hours=12))

    assert job.step == "await_install", job.outcome
    assert serials(installation) == in_the_inventory()


# -- it is told ------------------------------------------------------------------------------------------------------


def test_a_lost_answer_is_told_once(installation: Installation, aws: AcmPcaServer) -> None:
    job = installation.request(charger("CS-1"))
    lose_the_answer(installation, job)

    installation.until_it_moves_on(job)

    event = SecurityEvent.objects.get(type="IssuanceUnconfirmed")
    assert event.severity == Severity.WARNING
    assert "only its audit report says whether it issued" in event.message
    assert event.job == job


def test_what_was_lost_for_an_identity_disabled_meanwhile_is_not_asked_for_again_and_told(
    installation: Installation, aws: AcmPcaServer
) -> None:
    identity = charger("CS-1")
    job = installation.request(identity)
    lose_the_answer(installation, job)
    identities.set_enabled(identity=identity, enabled=False, actor=OPERATOR, reason="stolen")

    installation.until_it_moves_on(job)

    record = CertificateRecord.objects.get()
    assert (job.state, record.state) == (JobState.FAILED, RecordState.DELETED)
    assert "if its audit report has a certificate valid from" in record.failure_reason
    assert SecurityEvent.objects.filter(type="IssuanceUnconfirmed").count() == 1
    assert len(aws.issued) == 1
