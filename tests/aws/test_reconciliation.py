"""An answer of the CA that was lost for longer than it remembers: looked up in its audit report, then gone on with."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from bfcerts.pki.authorities import RevocationReason
from inventory.choices import JobQueue, JobState, RecordState, Severity
from inventory.jobs import engine
from inventory.models import (
    AuditReport,
    CertificateJob,
    CertificateRecord,
    IssuanceIntent,
    PublicKeyOwner,
    SecurityEvent,
)
from inventory.services import identities, issuance
from tests.acm_pca import AcmPcaServer
from tests.aws.installation import BUCKET, Installation
from tests.support import OPERATOR, charger, new_key, request_for

pytestmark = pytest.mark.django_db

REPORT = "CreateCertificateAuthorityAuditReport"
DESCRIBE = "DescribeCertificateAuthorityAuditReport"


def lose_the_answer(installation: Installation, job: CertificateJob, *, gap: timedelta = timedelta(minutes=6)) -> None:
    """The CA issues, its answer is lost, and nobody works for a while."""
    installation.aws.lose_answer("IssueCertificate")
    installation.work()
    job.refresh_from_db()
    assert (job.state, job.step) == (JobState.WAITING, "issue")
    installation.clock.advance(seconds=gap.total_seconds())


def serials(installation: Installation) -> list[str]:
    return sorted(one.serial_hex for one in installation.aws.issued)


def in_the_inventory() -> list[str]:
    return sorted(CertificateRecord.objects.filter(state=RecordState.ISSUED).values_list("serial_number", flat=True))


# -- one certificate, whatever was lost ------------------------------------------------------------------------------


def test_a_lost_answer_is_found_in_the_audit_report(installation: Installation, aws: AcmPcaServer) -> None:
    job = installation.request(charger("CS-1"))
    lose_the_answer(installation, job)

    waited = installation.until_it_moves_on(job)

    assert (job.state, job.step) == (JobState.WAITING, "await_install"), job.outcome
    assert serials(installation) == in_the_inventory()
    assert len(aws.calls("IssueCertificate")) == len(aws.calls(REPORT)) == 1
    assert waited == [
        "the CA to be done with what it was asked for before its records are read",
        "the CA to make an audit report",
    ]


def test_what_the_ca_never_heard_of_is_asked_for_again(installation: Installation, aws: AcmPcaServer) -> None:
    aws.drop("IssueCertificate")
    job = installation.request(charger("CS-1"))
    installation.work()
    assert aws.issued == []
    installation.clock.advance(minutes=6)

    installation.until_it_moves_on(job)

    assert job.step == "await_install", job.outcome
    assert serials(installation) == in_the_inventory()
    assert len(aws.calls(REPORT)) == 1
    assert len(aws.issued) == 1


def test_within_five_minutes_the_token_is_enough(installation: Installation, aws: AcmPcaServer) -> None:
    aws.lose_answer("IssueCertificate", times=3)
    job = installation.request(charger("CS-1"))

    installation.until_it_moves_on(job, most=timedelta(minutes=5))

    assert job.step == "await_install", job.outcome
    assert serials(installation) == in_the_inventory()
    assert len(aws.issued) == 1
    assert len(aws.calls("IssueCertificate")) == 4
    assert aws.calls(REPORT) == []


def test_a_ca_that_loses_every_answer_issues_once_all_the_same(installation: Installation, aws: AcmPcaServer) -> None:
    aws.lose_answer("IssueCertificate", times=1000)
    job = installation.request(charger("CS-1"))

    installation.until_it_moves_on(job)

    assert job.step == "await_install", job.outcome
    assert serials(installation) == in_the_inventory()
    assert len(aws.issued) == 1


def test_a_worker_that_died_at_the_ca_is_made_up_for(installation: Installation, aws: AcmPcaServer) -> None:
    job = installation.request(charger("CS-1"))
    lose_the_answer(installation, job, gap=timedelta(seconds=30))
    engine.claim(queue=JobQueue.PKI, now=installation.clock(), limit=1, lease=timedelta(seconds=60))
    installation.clock.advance(minutes=6)

    installation.until_it_moves_on(job)

    assert job.step == "await_install", job.outcome
    assert serials(installation) == in_the_inventory()
    assert len(aws.issued) == 1


def test_several_lost_answers_of_one_second_share_one_report(installation: Installation, aws: AcmPcaServer) -> None:
    """They have the same validity, so only their keys tell them apart."""
    jobs = [installation.request(charger(f"CS-{number}")) for number in range(5)]
    aws.lose_answer("IssueCertificate", times=5)
    installation.work()
    installation.clock.advance(minutes=6)

    installation.until_it_moves_on(*jobs)

    assert {job.step for job in jobs} == {"await_install"}
    assert len(aws.issued) == 5
    assert len(aws.calls(REPORT)) == 1
    issued_for = {leaf.serial_hex: leaf.certificate_pem for leaf in aws.issued}
    for job in jobs:
        record = CertificateRecord.objects.get(jobs=job)
        assert issued_for[record.serial_number] == record.certificate_pem
        assert f"CN={record.identity.authoritative_identifier}" in record.subject


def test_a_certificate_that_another_record_holds_is_not_taken_twice(
    installation: Installation, aws: AcmPcaServer
) -> None:
    """The same key and the same second, asked for by two identities in turn: the second gets one of its own."""
    key, second = new_key(), charger("CS-2")
    first = installation.request(charger("CS-1"), key)
    installation.work()
    held = CertificateRecord.objects.get()
    PublicKeyOwner.objects.update(identity=second)
    job = installation.request(second, key)
    aws.drop("IssueCertificate")
    installation.work()
    installation.clock.advance(minutes=6)

    installation.until_it_moves_on(job)

    first.refresh_from_db()
    assert (first.step, job.step) == ("await_install", "await_install"), job.outcome
    assert len(set(in_the_inventory())) == len(aws.issued) == 2
    assert CertificateRecord.objects.get(pk=held.pk).serial_number == held.serial_number


def test_a_certificate_that_somebody_revoked_by_hand_is_not_taken_up(
    installation: Installation, aws: AcmPcaServer
) -> None:
    job = installation.request(charger("CS-1"))
    lose_the_answer(installation, job)
    (lost,) = aws.issued
    issuance.authority_for("charger_identity").revoke(lost.serial_hex, RevocationReason.SUPERSEDED)

    installation.until_it_moves_on(job)

    assert job.step == "await_install", job.outcome
    assert in_the_inventory() == [aws.issued[1].serial_hex]


def test_what_is_found_is_still_being_signed(installation: Installation, aws: AcmPcaServer) -> None:
    job = installation.request(charger("CS-1"))
    lose_the_answer(installation, job)
    aws.answer_after(polls=3)

    waited = installation.until_it_moves_on(job)

    assert job.step == "await_install", job.outcome
    assert waited.count("the CA to sign what it was asked for before") == 3
    assert serials(installation) == in_the_inventory()


def test_a_second_lost_answer_is_found_as_well(installation: Installation, aws: AcmPcaServer) -> None:
    """The first was lost on the way there, the second on the way back: each is looked up before the next."""
    aws.drop("IssueCertificate")
    job = installation.request(charger("CS-1"))
    installation.work()
    installation.clock.advance(minutes=6)
    aws.lose_answer("IssueCertificate", times=1000)

    installation.until_it_moves_on(job)

    assert job.step == "await_install", job.outcome
    assert serials(installation) == in_the_inventory()
    assert len(aws.calls(REPORT)) == 2


# -- nothing is looked up that was never lost ------------------------------------------------------------------------


def test_a_clear_no_leaves_nothing_to_look_up_however_long_it_lasts(
    installation: Installation, aws: AcmPcaServer
) -> None:
    aws.throttle("IssueCertificate", times=200)
    job = installation.request(charger("CS-1"))

    waited = installation.until_it_moves_on(job)

    assert set(waited) == {"a free place in the CA's quota"}
    assert job.step == "await_install", job.outcome
    assert len(aws.issued) == 1
    assert aws.calls(REPORT) == []


@pytest.mark.parametrize("hours", [1, 30])
def test_a_ca_that_could_not_be_reached_was_never_asked(
    installation: Installation, aws: AcmPcaServer, hours: int
) -> None:
    installation.request(warmed_up := charger("CS-0"))
    installation.work()
    job = installation.request(charger("CS-1"))
    with aws.unreachable():
        ends = installation.clock() + timedelta(hours=hours)
        while installation.clock() < ends:
            installation.work()
            job.refresh_from_db()
            assert job.waiting_for.startswith("the CA to be reachable: "), job.outcome
            assert IssuanceIntent.objects.get(job=job).submitted_at is None
            installation.clock.now = job.next_run_at

    installation.until_it_moves_on(job)

    assert job.step == "await_install", job.outcome
    assert len(aws.issued) == 2
    assert aws.calls(REPORT) == []
    assert warmed_up.pk


def test_a_newer_request_need_not_wait_for_one_that_the_ca_refused_to_take(
    installation: Installation, aws: AcmPcaServer
) -> None:
    identity = charger("CS-1")
    aws.throttle("IssueCertificate")
    job = installation.request(identity)
    installation.work()

    newest = new_key()
    installation.send_csr(identity, request_for("CS-1", newest))
    installation.until_it_moves_on(job)

    assert job.step == "await_install", job.outcome
    assert "newer_csr" not in job.parameters
    assert len(aws.issued) == 1


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


# -- without a bucket ------------------------------------------------------------------------------------------------


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
