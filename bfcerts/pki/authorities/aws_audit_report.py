"""The audit report of AWS Private CA: every certificate that a CA issued, where a lost answer is found again.

AWS makes at most one report of a CA in half an hour and writes it to S3 as one JSON array. It names neither tokens nor
keys, so what it yields are candidates: certificates of the right validity that were issued since the request was made
up. The report of a busy CA has hundreds of megabytes; it is read as a stream, once for all that look into it.
"""

import codecs
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import ClientError

from bfcerts.pki.authorities.aws_errors import code_of, translated
from bfcerts.pki.authorities.base import (
    AuthorityError,
    AuthorityMisconfigured,
    AuthorityUnavailable,
    Candidates,
    ReportBook,
    RequestRefused,
    SignRequest,
    StillLooking,
    Throttled,
)

if TYPE_CHECKING:
    from mypy_boto3_acm_pca import ACMPCAClient

INTERVAL = timedelta(minutes=30)
"""AWS makes one report of a CA in this time."""
COMPLETE_AFTER = timedelta(minutes=10)
"""So long after a request was first sent, whatever its repetitions started is in a report: AWS takes seconds to sign,
and repetitions end before it forgets their token."""
CREATION = timedelta(minutes=1)
"""Longer than a worker waits for the id of a report that it asked for."""
POLL = timedelta(seconds=30)
CLOCK_DIFFERENCE = timedelta(minutes=5)
"""How far AWS's clock and ours may be apart."""
LONGEST_ENTRY = 65536
_CHUNK = 1024 * 1024


class ObjectStore(Protocol):
    """The one operation of S3 that is needed, as boto3's client has it."""

    def get_object(self, *, Bucket: str, Key: str) -> Mapping[str, Any]:  # noqa: N803  # boto3's own names
        """The object, with its content as a stream under "Body"."""


class UnreadableReportError(ValueError):
    """A report is not the JSON that AWS documents."""


@dataclass(frozen=True)
class _Contents:
    """What one report says of certificates issued since a day, by their validity."""

    report_id: str
    since: datetime
    references: Mapping[tuple[datetime, datetime], list[str]] = field(repr=False)


class AuditReports:
    """The audit reports of one CA.

    :param store: S3, read with the PKI process's credentials.
    :param bucket: where AWS is to write them.
    :param book: remembers the last one.
    """

    def __init__(self, client: "ACMPCAClient", store: ObjectStore, bucket: str, arn: str, book: ReportBook) -> None:
        self._client = client
        self._store = store
        self._bucket = bucket
        self._arn = arn
        self._book = book
        self._contents: _Contents | None = None

    def candidates(
        self, request: SignRequest, *, since: datetime, asked_at: datetime, now: datetime
    ) -> Candidates | StillLooking:
        """See `CertificateAuthority.recover`.

        :raises AuthorityError: any but RequestRefused.
        """
        complete_at = asked_at + COMPLETE_AFTER
        if now < complete_at:
            return StillLooking("the CA to be done with what it was asked for before its records are read", complete_at)
        last = self._book.last(self._arn)
        if last is None:
            return self._ask_for_one(now)
        requested_at, report_id = last
        if requested_at < complete_at:
            return self._ask_for_next(requested_at, now, "")
        if not report_id and now - requested_at < CREATION:
            return StillLooking("the CA to make an audit report", now + POLL)
        if not report_id:
            return self._ask_for_next(requested_at, now, "the id of the last one was lost")
        try:
            found = self._read(report_id, since)
        except UnreadableReportError as error:
            return self._ask_for_next(requested_at, now, str(error))
        if found is None:
            return StillLooking("the CA to finish its audit report", now + POLL)
        return Candidates(tuple(found.get((request.not_before, request.not_after), ())))

    def _ask_for_next(self, requested_at: datetime, now: datetime, why: str) -> StillLooking:
        free_at = requested_at + INTERVAL
        if now >= free_at:
            return self._ask_for_one(now)
        because = f" ({why})" if why else ""
        return StillLooking(f"the CA's next audit report, of which it makes one in 30 minutes{because}", free_at)

    def _ask_for_one(self, now: datetime) -> StillLooking:
        asked = StillLooking("the CA to make an audit report", now + POLL)
        if not self._book.claim(self._arn, now=now, free_since=now - INTERVAL):
            return asked
        try:
            report_id = self._create()
        except AuthorityError as error:
            # Where an answer was lost the report may have been made: the claim then stands until the next may be.
            if not isinstance(error, AuthorityUnavailable) or not error.sent:
                self._book.withdraw(self._arn, claimed_at=now)
            raise
        if report_id is None:
            self._book.withdraw(self._arn, claimed_at=now)
            return StillLooking(
                "the CA to take on another audit report; somebody else has asked for one", now + 10 * POLL
            )
        self._book.note(self._arn, claimed_at=now, report_id=report_id)
        return asked

    def _create(self) -> str | None:
        """CreateCertificateAuthorityAuditReport; None while AWS refuses because of another one."""
        try:
            with translated(self._arn):
                answer = self._client.create_certificate_authority_audit_report(
                    CertificateAuthorityArn=self._arn, S3BucketName=self._bucket, AuditReportResponseFormat="JSON"
                )
        except (Throttled, AuthorityUnavailable) as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and code_of(cause) in (
                "RequestInProgressException",
                "LimitExceededException",
            ):
                return None
            raise
        except RequestRefused as error:
            raise AuthorityMisconfigured(
                f"{self._arn} does not write its audit report to the bucket {self._bucket}: {error} Check "
                "BFCERTS_AWS_AUDIT_REPORT_BUCKET and the bucket's policy, which has to let AWS Private CA write there."
            ) from error
        return answer["AuditReportId"]

    def _read(self, report_id: str, since: datetime) -> Mapping[tuple[datetime, datetime], list[str]] | None:
        """What the report says; None while AWS is writing it.

        :raises UnreadableReportError: when it never will say anything.
        """
        wanted = since - CLOCK_DIFFERENCE
        known = self._contents
        if known and known.report_id == report_id and known.since <= wanted:
            return known.references
        place = self._place(report_id)
        if place is None:
            return None
        floor = wanted.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        references: dict[tuple[datetime, datetime], list[str]] = {}
        for entry in self._entries(*place):
            issued = _Issued.read(entry)
            if issued.at >= floor and not issued.revoked:
                references.setdefault((issued.not_before, issued.not_after), []).append(issued.arn)
        self._contents = _Contents(report_id, floor, references)
        return references

    def _place(self, report_id: str) -> tuple[str, str] | None:
        try:
            with translated(self._arn):
                answer = self._client.describe_certificate_authority_audit_report(
                    CertificateAuthorityArn=self._arn, AuditReportId=report_id
                )
        except RequestRefused as error:
            raise UnreadableReportError(f"AWS does not know the last one any more: {error}") from error
        except AuthorityMisconfigured as error:
            if isinstance(error.__cause__, ClientError) and code_of(error.__cause__) == "ResourceNotFoundException":
                raise UnreadableReportError("AWS does not know the last one any more") from error
            raise
        match answer["AuditReportStatus"]:
            case "SUCCESS":
                return answer["S3BucketName"], answer["S3Key"]
            case "FAILED":
                raise UnreadableReportError("AWS could not make the last one; see whether its bucket may be written to")
        return None

    def _entries(self, bucket: str, key: str) -> Iterator[Any]:
        rights = f"the bucket's policy and the PKI process's right to s3:GetObject on {bucket}/audit-report/*"
        with translated(f"The bucket {bucket}", rights):
            try:
                body = self._store.get_object(Bucket=bucket, Key=key)["Body"]
            except ClientError as error:
                if code_of(error) == "NoSuchKey":
                    raise UnreadableReportError(f"the last one is no longer in the bucket {bucket}") from error
                raise
            with closing(body):
                yield from read_array(body.iter_chunks(_CHUNK))


@dataclass(frozen=True, slots=True)
class _Issued:
    """One entry of a report, as far as it is of use here."""

    arn: str
    at: datetime
    not_before: datetime
    not_after: datetime
    revoked: bool

    @classmethod
    def read(cls, entry: Any) -> "_Issued":
        try:
            return cls(
                arn=str(entry["certificateArn"]),
                at=_moment(entry["issuedAt"]),
                not_before=_moment(entry["notBefore"]),
                not_after=_moment(entry["notAfter"]),
                revoked=bool(entry.get("revokedAt")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UnreadableReportError(f"the last one has an entry that is not understood: {error!r}") from error


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone")
    return moment.astimezone(UTC)


def read_array(chunks: Iterable[bytes]) -> Iterator[Any]:
    """The objects of one JSON array, each as soon as it is complete; of the text no more than a chunk is held.

    :raises UnreadableReportError: when it is not an array of objects, or ends before the array does.
    """
    decoder, text = json.JSONDecoder(), codecs.getincrementaldecoder("utf-8")()
    pending, opened = "", False
    try:
        for chunk in chunks:
            pending += text.decode(chunk)
            at = 0
            while True:
                while at < len(pending) and pending[at] in " \t\r\n," and (opened or pending[at] != ","):
                    at += 1
                if at == len(pending):
                    break
                if not opened:
                    if pending[at] != "[":
                        raise UnreadableReportError("the last one is not a JSON array")
                    opened, at = True, at + 1
                    continue
                if pending[at] == "]":
                    return
                if pending[at] != "{":
                    raise UnreadableReportError("the last one holds something else than entries")
                try:
                    entry, at = decoder.raw_decode(pending, at)
                except json.JSONDecodeError:
                    if len(pending) - at > LONGEST_ENTRY:
                        raise UnreadableReportError("the last one is not JSON, or holds an endless entry") from None
                    break
                except RecursionError:
                    raise UnreadableReportError("the last one is nested without end") from None
                yield entry
            pending = pending[at:]
    except UnicodeDecodeError:
        raise UnreadableReportError("the last one is not UTF-8") from None
    raise UnreadableReportError("the last one ends in the middle")
