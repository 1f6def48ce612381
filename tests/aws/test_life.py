"""A charger's certificates at AWS Private CA from the first to a revoked one, through the real jobs."""

from datetime import timedelta
from pathlib import Path

import pytest

from inventory.choices import EventType, JobAction, JobState, RecordState
from inventory.models import CertificateJob, CertificateRecord, DomainEvent
from inventory.services import lifecycle, sweeps
from tests.acm_pca import AcmPcaServer
from tests.aws.installation import Installation
from tests.pki.openssl import verifies
from tests.support import OPERATOR, charger, new_key

pytestmark = pytest.mark.django_db


def test_from_no_certificate_to_active_renewed_and_revoked(
    installation: Installation, aws: AcmPcaServer, tmp_path: Path
) -> None:
    identity, key = charger("CS-1"), new_key()
    first = installation.enrol(identity, key)
    assert first.state == RecordState.ACTIVE
    assert first.authority is not None
    assert first.authority.reference == aws.arns["charger_identity"]
    assert first.not_after is not None
    assert verifies(
        first.certificate_pem,
        root_pem=first.authority.root_pem,
        between=[first.authority.certificate_pem],
        purpose="sslclient",
        folder=tmp_path,
    )

    installation.clock.now = first.not_after - timedelta(days=30)
    sweeps.start_due_renewals(installation.clock())
    second = installation.complete(CertificateJob.objects.get(action=JobAction.RENEW), key)
    first.refresh_from_db()
    assert (first.state, second.state) == (RecordState.RETIRED, RecordState.ACTIVE)
    assert second.not_after is not None
    assert second.not_after > first.not_after
    assert [one.serial_hex for one in aws.issued] == [first.serial_number, second.serial_number]

    aws.lose_answer("RevokeCertificate")
    lifecycle.revoke(
        record=second,
        actor=OPERATOR,
        reason="stolen",
        revocation_reason="keyCompromise",
        now=installation.clock(),
    )
    second.refresh_from_db()
    assert (second.state, second.revocation_propagated_at) == (RecordState.REVOKED, None)
    revoked_at = installation.clock()
    installation.work()
    installation.clock.advance(minutes=1)
    installation.work()

    second.refresh_from_db()
    assert (second.revoked_at, second.revocation_propagated_at) == (revoked_at, installation.clock())
    assert len(aws.calls("RevokeCertificate")) == 2  # the second one was told that it is done already
    assert aws.issued[1].revoked_for == "KEY_COMPROMISE"
    assert aws.issued[0].revoked_for is None
    assert not CertificateJob.objects.open().exists()
    assert not CertificateJob.objects.filter(state=JobState.FAILED).exists()
    told = list(DomainEvent.objects.order_by("id").values_list("type", flat=True))
    assert told.count(EventType.CERTIFICATE_ISSUED) == told.count(EventType.CERTIFICATE_ACTIVATED) == 2
    assert told.count(EventType.CERTIFICATE_REVOKED) == told.count(EventType.REVOCATION_PROPAGATED) == 1


def test_a_ca_that_is_disabled_meanwhile_is_waited_for_by_both(installation: Installation, aws: AcmPcaServer) -> None:
    record = installation.enrol(charger("CS-1"))
    aws.fail("RevokeCertificate", "InvalidStateException", "The certificate authority is DISABLED.")
    aws.set_status("charger_identity", "DISABLED")
    lifecycle.revoke(record=record, actor=OPERATOR, reason="stolen", now=installation.clock())
    issuing = installation.request(charger("CS-2"))
    installation.work()

    for job in CertificateJob.objects.open():
        assert job.state == JobState.WAITING
        assert "check its state, the ARN in BFCERTS_AWS_PRIVATE_CA_ARNS and the IAM rights" in job.outcome

    aws.set_status("charger_identity", "ACTIVE")
    installation.clock.advance(minutes=1)
    installation.work()
    issuing.refresh_from_db()
    record.refresh_from_db()
    assert issuing.step == "await_install", issuing.outcome
    assert record.revocation_propagated_at is not None
    assert CertificateRecord.objects.get(identity__authoritative_identifier="CS-2").state == RecordState.ISSUED
