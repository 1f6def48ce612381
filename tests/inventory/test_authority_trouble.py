"""What a certificate authority can do to us: slow, throttled, away, with lost answers; over the real AWS adapter."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bfcerts.configuration import Configuration
from bfcerts.ocpp.canonical import Action
from bfcerts.setting_kinds import AuthorityKind, Process
from inventory.choices import EventType, JobAction, JobState, RecordState
from inventory.models import (
    CertificateJob,
    CertificateRecord,
    DomainEvent,
    ManagedIdentity,
    RateBucket,
    SecurityEvent,
)
from inventory.services import identities, issuance, lifecycle
from tests.acm_pca import AcmPcaServer
from tests.support import OPERATOR, Clock, ControlPlane, charger, request_for

pytestmark = pytest.mark.django_db

TRUST_DOMAINS = ("charger_identity", "vehicle_vas_identity", "backend_server")


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
def plane(db: None, settings: Any, aws: AcmPcaServer, clock: Clock) -> Iterator[ControlPlane]:
    settings.CONFIGURATION = configuration(aws)
    issuance.authorities.cache_clear()
    plane = ControlPlane(clock)
    plane.start()
    yield plane
    issuance.authorities.cache_clear()


def configuration(aws: AcmPcaServer, **more: object) -> Configuration:
    return Configuration.model_validate(
        {
            "process": Process.PKI,
            "pki_secret_key": "test-pki-signing-key-0123456789abcdef0123456789",
            "authority": AuthorityKind.AWS_PRIVATE_CA,
            "aws_region": "eu-central-1",
            "aws_endpoint_url": aws.url,
            "aws_private_ca_arns": aws.arns,
            **more,
        }
    )


def request(plane: ControlPlane, identity: ManagedIdentity) -> CertificateJob:
    return lifecycle.issue(
        identity=identity,
        purpose="charger_identity",
        csr_pem=request_for(identity.authoritative_identifier),
        actor=OPERATOR,
        reason="test",
        now=plane.clock(),
    )


def test_a_charger_becomes_active_with_a_certificate_of_aws(plane: ControlPlane, aws: AcmPcaServer) -> None:
    record = plane.enrol(charger("CS-1"))

    assert record.state == RecordState.ACTIVE
    assert [one.serial_hex for one in aws.issued] == [record.serial_number]
    assert record.authority is not None
    assert record.authority.reference == aws.arns["charger_identity"]


def test_a_slow_ca_is_polled_and_issues_once(plane: ControlPlane, aws: AcmPcaServer) -> None:
    aws.answer_after(polls=30)
    job = request(plane, charger("CS-1"))

    for _ in range(31):
        plane.work()
        plane.clock.advance(minutes=1)

    job.refresh_from_db()
    assert job.step == "await_install"
    assert len(aws.issued) == len(aws.calls("IssueCertificate")) == 1


def test_throttling_fails_no_job_before_its_time_as_a_whole_is_over(plane: ControlPlane, aws: AcmPcaServer) -> None:
    aws.throttle("IssueCertificate", times=100)
    job = request(plane, charger("CS-1"))

    for _ in range(100):
        plane.work()
        job.refresh_from_db()
        assert job.state == JobState.WAITING, job.outcome
        assert job.waiting_for == "a free place in the CA's quota"
        plane.clock.advance(seconds=2)
    plane.work()

    job.refresh_from_db()
    assert (job.state, job.step) == (JobState.WAITING, "await_install")


def test_an_outage_never_fails_a_job_and_is_waited_for_longer_each_time(plane: ControlPlane, aws: AcmPcaServer) -> None:
    job = request(plane, charger("CS-1"))

    waits = []
    with aws.unreachable():
        for _ in range(40):
            plane.work()
            job.refresh_from_db()
            assert job.state == JobState.WAITING, job.outcome
            assert job.waiting_for.startswith("the CA to be reachable: ")
            waits.append((job.next_run_at - plane.clock()).total_seconds())
            plane.clock.now = job.next_run_at
    assert waits[:8] == [30, 60, 120, 240, 480, 960, 1920, 3600]
    plane.work()

    job.refresh_from_db()
    assert job.step == "await_install"


def test_our_own_limits_hold_calls_back_and_let_each_through_in_turn(
    plane: ControlPlane, aws: AcmPcaServer, settings: Any
) -> None:
    settings.CONFIGURATION = configuration(aws, aws_issue_per_second=0.5)
    jobs = [request(plane, charger(f"CS-{number}")) for number in range(3)]

    for expected in (1, 2, 3):
        plane.work()
        assert len(aws.calls("IssueCertificate")) == expected
        plane.clock.advance(seconds=2)

    plane.work()
    assert {CertificateJob.objects.get(pk=job.pk).step for job in jobs} == {"await_install"}
    assert RateBucket.objects.filter(name="aws-private-ca:issue").exists()


def test_a_lost_answer_is_asked_for_again_and_makes_no_second_certificate(
    plane: ControlPlane, aws: AcmPcaServer
) -> None:
    aws.lose_answer("IssueCertificate")
    job = request(plane, charger("CS-1"))
    plane.work()
    assert len(aws.issued) == 1

    plane.clock.advance(seconds=30)
    plane.work()

    job.refresh_from_db()
    assert job.step == "await_install"
    assert [one.serial_hex for one in aws.issued] == [CertificateRecord.objects.get().serial_number]
    assert not SecurityEvent.objects.filter(type="IssuanceUnconfirmed").exists()


def test_a_disabled_ca_is_waited_for_and_says_what_to_do(plane: ControlPlane, aws: AcmPcaServer) -> None:
    aws.set_status("charger_identity", "DISABLED")
    job = request(plane, charger("CS-1"))
    plane.work()

    job.refresh_from_db()
    assert job.state == JobState.WAITING
    assert "InvalidStateException" in job.outcome
    assert "check its state" in job.outcome

    aws.set_status("charger_identity", "ACTIVE")
    plane.clock.advance(seconds=30)
    plane.work()
    job.refresh_from_db()
    assert job.step == "await_install"


def test_a_ca_that_cannot_be_described_yet_is_waited_for(plane: ControlPlane, aws: AcmPcaServer) -> None:
    from inventory.audit import attributed
    from inventory.models import IssuingAuthority

    with attributed(OPERATOR, "as before the first start"):
        IssuingAuthority.objects.all().delete()
    aws.throttle("DescribeCertificateAuthority", times=20)
    job = request(plane, charger("CS-1"))

    for _ in range(21):
        plane.work()
        job.refresh_from_db()
        plane.clock.now = max(plane.clock(), min(job.next_run_at, plane.clock() + timedelta(hours=2)))

    assert job.step == "await_install", job.outcome


def test_a_refusal_by_the_ca_ends_the_request_visibly(plane: ControlPlane, aws: AcmPcaServer) -> None:
    aws.fail("IssueCertificate", "MalformedCSRException", "bad CSR")
    job = request(plane, charger("CS-1"))

    plane.work()

    job.refresh_from_db()
    record = CertificateRecord.objects.get()
    assert job.state == JobState.FAILED
    assert job.outcome.startswith("The CA refused the request: ")
    assert (record.state, record.failure_reason) == (RecordState.DELETED, job.outcome)
    event = DomainEvent.objects.get(type=EventType.CSR_REJECTED)
    assert event.payload["rule"] == "malformed_csr"


def test_after_a_refusal_by_the_ca_the_newer_request_has_its_turn(plane: ControlPlane, aws: AcmPcaServer) -> None:
    identity = charger("CS-1")
    aws.answer_after(polls=1)
    job = request(plane, identity)
    plane.work()
    plane.send_csr(identity, request_for("CS-1"))
    plane.work()
    job.refresh_from_db()
    assert job.parameters["newer_csr"]
    aws.fail("GetCertificate", "RequestFailedException", "refused by the CA")

    plane.clock.advance(minutes=1)
    plane.work()
    plane.clock.advance(minutes=1)
    plane.work()

    job.refresh_from_db()
    assert (job.state, job.step) == (JobState.WAITING, "await_install"), job.outcome
    assert "newer_csr" not in job.parameters
    states = sorted(CertificateRecord.objects.values_list("state", flat=True))
    assert states == [RecordState.DELETED, RecordState.ISSUED]


def test_what_the_ca_issues_to_an_identity_disabled_meanwhile_is_recorded_and_revoked(
    plane: ControlPlane, aws: AcmPcaServer
) -> None:
    identity = charger("CS-1")
    aws.answer_after(polls=1)
    job = request(plane, identity)
    plane.work()
    assert len(aws.issued) == 1
    identities.set_enabled(identity=identity, enabled=False, actor=OPERATOR, reason="stolen")

    plane.clock.advance(minutes=1)
    plane.work()

    job.refresh_from_db()
    record = CertificateRecord.objects.get()
    assert (job.state, job.outcome) == (JobState.FAILED, "CS-1 is disabled.")
    assert (record.state, record.serial_number) == (RecordState.REVOKED, aws.issued[0].serial_hex)
    assert aws.issued[0].revoked_for == "SUPERSEDED"
    assert not plane.commands(identity, Action.DELIVER_CERTIFICATE)


def test_a_bad_request_while_the_ca_signs_the_good_one_forgets_no_certificate(
    plane: ControlPlane, aws: AcmPcaServer
) -> None:
    identity = charger("CS-1")
    aws.answer_after(polls=1)
    job = request(plane, identity)
    plane.work()
    plane.send_csr(identity, request_for("CS-99"))
    plane.work()

    plane.clock.advance(minutes=1)
    plane.work()

    job.refresh_from_db()
    assert (job.state, job.step) == (JobState.WAITING, "await_install"), job.outcome
    assert DomainEvent.objects.filter(type=EventType.CSR_REJECTED).count() == 1


# -- revocation ------------------------------------------------------------------------------------------------------


def test_a_revocation_waits_out_throttling_and_outages(plane: ControlPlane, aws: AcmPcaServer) -> None:
    record = plane.enrol(charger("CS-1"))
    aws.throttle("RevokeCertificate", times=20)
    aws.drop("RevokeCertificate", times=3)
    lifecycle.revoke(
        record=record, actor=OPERATOR, reason="stolen", revocation_reason="keyCompromise", now=plane.clock()
    )

    for _ in range(24):
        plane.work()
        plane.clock.advance(hours=1)

    record.refresh_from_db()
    assert record.revocation_propagated_at is not None
    assert aws.issued[0].revoked_for == "KEY_COMPROMISE"
    assert DomainEvent.objects.filter(type=EventType.REVOCATION_PROPAGATED).count() == 1
    assert CertificateJob.objects.get(action=JobAction.REVOKE).state == JobState.SUCCEEDED


def test_a_revocation_whose_answer_was_lost_is_done_once(plane: ControlPlane, aws: AcmPcaServer) -> None:
    record = plane.enrol(charger("CS-1"))
    aws.lose_answer("RevokeCertificate")
    lifecycle.revoke(record=record, actor=OPERATOR, reason="stolen", now=plane.clock())

    plane.work()
    plane.clock.advance(minutes=1)
    plane.work()

    record.refresh_from_db()
    assert record.revocation_propagated_at is not None
    assert DomainEvent.objects.filter(type=EventType.REVOCATION_PROPAGATED).count() == 1
