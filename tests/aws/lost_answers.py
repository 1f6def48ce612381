"""Answers of AWS Private CA that are lost, and how many certificates there are then."""

from datetime import timedelta

from inventory.choices import JobState, RecordState
from inventory.models import (
    CertificateJob,
    CertificateRecord,
)
from tests.aws.installation import Installation

REPORT = "CreateCertificateAuthorityAuditReport"


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
