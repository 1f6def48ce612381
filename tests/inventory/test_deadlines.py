"""Nothing waits for ever: an issuing job ends as a whole, however long its CA or its station keeps it waiting."""

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.models import OutboxCommand
from inventory.choices import JobState, RecordState
from inventory.models import CertificateJob, CertificateRecord, LifecyclePolicy
from inventory.services import issuance, lifecycle
from tests.acm_pca import AcmPcaServer
from tests.inventory.test_authority_trouble import TRUST_DOMAINS, configuration, request
from tests.support import OPERATOR, Clock, ControlPlane, charger, request_for

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
OVERALL = timedelta(days=25, hours=20)
"""What the default policy of chargers gives an issuing job as a whole."""


@pytest.fixture
def credentials() -> Iterator[None]:
    """The PKI worker has its AWS credentials from the environment."""
    names = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    yield
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture
def aws(credentials: None, tmp_path: Path, clock: Clock) -> Iterator[AcmPcaServer]:
    with AcmPcaServer(tmp_path, TRUST_DOMAINS, clock=clock) as server:
        server.answer_after(polls=0)
        yield server


@pytest.fixture
def at_aws(db: None, settings: Any, aws: AcmPcaServer, clock: Clock) -> Iterator[ControlPlane]:
    """A control plane with AWS Private CA."""
    settings.CONFIGURATION = configuration(aws)
    issuance.authorities.cache_clear()
    plane = ControlPlane(clock)
    plane.start()
    yield plane
    issuance.authorities.cache_clear()


def wait_until_it_ends(plane: ControlPlane, job: CertificateJob, latest: datetime) -> datetime:
    """Let the time pass by the job's own waits, which are shorter than it is asked for here."""
    while plane.clock() <= latest:
        plane.work()
        job.refresh_from_db()
        if not job.is_open:
            return plane.clock()
        plane.clock.now = max(job.next_run_at, plane.clock() + 4 * HOUR)
    raise AssertionError(f"still {job.state} at {plane.clock()}: {job.waiting_for}")


def test_a_ca_that_throttles_without_end_does_not_keep_a_job_for_ever(at_aws: ControlPlane, aws: AcmPcaServer) -> None:
    aws.throttle("IssueCertificate", times=10_000)
    began = at_aws.clock()
    job = request(at_aws, charger("CS-1"))

    ended = wait_until_it_ends(at_aws, job, began + 2 * OVERALL)

    assert OVERALL <= ended - began <= OVERALL + 5 * HOUR
    assert job.state == JobState.FAILED
    assert job.outcome.startswith(f"Not done by {began + OVERALL:%Y-%m-%d %H:%M} UTC, the end of the time that it had")
    assert job.outcome.endswith("mend the cause, then start it again.")
    assert CertificateRecord.objects.get().state == RecordState.DELETED


def test_a_ca_that_is_away_is_named_as_what_went_wrong(at_aws: ControlPlane, aws: AcmPcaServer) -> None:
    aws.set_status("charger_identity", "DISABLED")
    began = at_aws.clock()
    job = request(at_aws, charger("CS-1"))

    wait_until_it_ends(at_aws, job, began + 2 * OVERALL)

    assert job.state == JobState.FAILED
    assert "What went wrong last: " in job.outcome
    assert "InvalidStateException" in job.outcome


def test_throttling_ends_no_renewal_before_what_it_replaces_ends(at_aws: ControlPlane, aws: AcmPcaServer) -> None:
    old = at_aws.enrol(charger("CS-1"))
    assert old.not_after is not None
    aws.throttle("IssueCertificate", times=10_000)
    at_aws.clock.now = old.not_after - timedelta(days=60)
    job = lifecycle.renew(record=old, actor=OPERATOR, reason="test", now=at_aws.clock())
    at_aws.work()
    at_aws.send_csr(old.identity, request_for("CS-1"))
    at_aws.work()

    ended = wait_until_it_ends(at_aws, job, old.not_after + timedelta(days=2))

    assert ended >= old.not_after
    assert (job.state, job.deadline) == (JobState.FAILED, old.not_after)


def test_a_certificate_that_the_ca_still_signs_is_waited_for_beyond_the_deadline(
    at_aws: ControlPlane, aws: AcmPcaServer
) -> None:
    aws.answer_after(polls=1)
    job = request(at_aws, charger("CS-1"))
    at_aws.work()
    assert len(aws.issued) == 1
    CertificateJob.objects.filter(pk=job.pk).update(deadline=at_aws.clock())

    at_aws.clock.advance(minutes=1)
    at_aws.work()

    record = CertificateRecord.objects.get()
    assert (record.state, record.serial_number) == (RecordState.ISSUED, aws.issued[0].serial_hex)


def test_an_answer_that_never_comes_has_a_day_beyond_the_deadline_and_no_more(
    at_aws: ControlPlane, aws: AcmPcaServer
) -> None:
    aws.answer_after(polls=100_000)
    asked = at_aws.clock()
    job = request(at_aws, charger("CS-1"))
    at_aws.work()
    CertificateJob.objects.filter(pk=job.pk).update(deadline=asked + HOUR)

    ended = wait_until_it_ends(at_aws, job, asked + timedelta(days=3))

    assert timedelta(hours=25) <= ended - asked <= timedelta(hours=33)
    assert job.state == JobState.FAILED
    record = CertificateRecord.objects.get()
    assert "The CA was asked for it under arn:" in record.failure_reason


def test_a_station_that_sends_one_request_after_another_does_not_keep_its_job_for_ever(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    plane.send_csr(identity, request_for("CS-1"))
    plane.work()
    job = CertificateJob.objects.get()
    deadline = job.deadline

    for _ in range(20):
        plane.clock.advance(days=2)
        plane.send_csr(identity, request_for("CS-1"))
        plane.work()
        job.refresh_from_db()
        if not job.is_open:
            break

    assert (job.state, job.deadline) == (JobState.FAILED, deadline)


def test_what_the_endpoint_is_asked_for_has_a_deadline_from_its_policy(plane: ControlPlane) -> None:
    began = plane.clock()
    LifecyclePolicy.objects.filter(purpose="charger_identity").update(
        delivery_deadline=timedelta(days=30), retry_attempts=0, cut_over_deadline=HOUR, rollback_window=2 * HOUR
    )
    identity = charger("CS-1")
    job = lifecycle.issue(identity=identity, purpose="charger_identity", actor=OPERATOR, reason="test", now=began)
    plane.work()

    job.refresh_from_db()
    assert job.deadline == began + timedelta(days=180) + 3 * HOUR
    assert OutboxCommand.objects.get(action=Action.REQUEST_CSR).station_id == "CS-1"
