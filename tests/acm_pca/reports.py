"""The audit reports of the stand-in: asked for, written some time later, at most one of a CA in half an hour."""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import ClientError

from bfcerts.pki.certificates import parse_certificate
from tests.acm_pca.errors import ServiceError

if TYPE_CHECKING:
    from tests.acm_pca.service import IssuedCertificate

INTERVAL = timedelta(minutes=30)


class Bucket(Protocol):
    """Where reports are written, as boto3's client of S3 has it."""

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> Any:  # noqa: N803  # boto3's own names
        """Store an object; raises what boto3 raises when the bucket does not take it."""


@dataclass
class _Report:
    authority_arn: str
    created_at: datetime
    bucket: str
    key: str
    content: bytes
    status: str = "CREATING"
    polls: int = 0


@dataclass
class AuditReports:
    """The two operations.

    :ivar polls_until_done: how many descriptions answer CREATING before one answers.
    :ivar creation_takes: how long writing a report takes by the clock.
    :ivar failing: how many of the next reports end as FAILED.
    :ivar spoil: what is done to the content of every report before it is written.
    """

    clock: Callable[[], datetime]
    store: Bucket | None
    polls_until_done: int = 0
    creation_takes: timedelta = timedelta(0)
    failing: int = 0
    spoil: Callable[[bytes], bytes] = bytes
    _reports: dict[str, _Report] = field(default_factory=dict)

    def create(self, authority_arn: str, bucket: str, issued: list["IssuedCertificate"]) -> dict[str, Any]:
        """CreateCertificateAuthorityAuditReport."""
        now = self.clock()
        if any(
            one.authority_arn == authority_arn and now - one.created_at < INTERVAL for one in self._reports.values()
        ):
            raise ServiceError("RequestInProgressException", "One report of a CA can be made in 30 minutes.")
        report_id = str(uuid.uuid4())
        key = f"audit-report/{authority_arn.rpartition('/')[2]}/{report_id}.json"
        self._write(bucket, key.replace(report_id, "acm-pca-permission-test-key"), b"")
        self._reports[report_id] = _Report(authority_arn, now, bucket, key, self.spoil(report_of(issued)))
        return {"AuditReportId": report_id, "S3Key": key}

    def describe(self, authority_arn: str, report_id: str) -> dict[str, Any]:
        """DescribeCertificateAuthorityAuditReport; the report is in the bucket once this says SUCCESS."""
        report = self._reports.get(report_id)
        if report is None or report.authority_arn != authority_arn:
            raise ServiceError("ResourceNotFoundException", f"Could not find audit report {report_id}.")
        report.polls += 1
        done = report.polls > self.polls_until_done and self.clock() >= report.created_at + self.creation_takes
        if report.status == "CREATING" and done:
            self._finish(report)
        return {
            "AuditReportStatus": report.status,
            "S3BucketName": report.bucket,
            "S3Key": report.key,
            "CreatedAt": report.created_at.timestamp(),
        }

    def _finish(self, report: _Report) -> None:
        if self.failing:
            self.failing -= 1
            report.status = "FAILED"
            return
        self._write(report.bucket, report.key, report.content)
        report.status = "SUCCESS"

    def _write(self, bucket: str, key: str, content: bytes) -> None:
        if self.store is None:
            raise ServiceError("RequestFailedException", "This stand-in was given no S3 to write to.")
        try:
            self.store.put_object(Bucket=bucket, Key=key, Body=content)
        except ClientError as error:
            raise ServiceError(
                "RequestFailedException", f"The bucket {bucket} does not let AWS Private CA write: {error}"
            ) from error


def report_of(issued: list["IssuedCertificate"]) -> bytes:
    """A report as AWS documents it: one array, times with a numeric zone, serial numbers in pairs of digits."""
    return json.dumps([_entry(one) for one in issued], indent=2).encode()


def _entry(issued: "IssuedCertificate") -> dict[str, str]:
    leaf = parse_certificate(issued.certificate_pem)
    digits = leaf.serial_hex
    entry = {
        "awsAccountId": issued.arn.split(":")[4],
        "certificateArn": issued.arn,
        "serial": ":".join(digits[start : start + 2] for start in range(0, len(digits), 2)),
        "subject": leaf.subject_text,
        "notBefore": _moment(leaf.not_before),
        "notAfter": _moment(leaf.not_after),
        "issuedAt": _moment(issued.issued_at),
        "templateArn": issued.template_arn,
    }
    if issued.revoked_at is not None:
        entry |= {"revokedAt": _moment(issued.revoked_at), "revocationReason": issued.revoked_for or "UNSPECIFIED"}
    return entry


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S%z}"
