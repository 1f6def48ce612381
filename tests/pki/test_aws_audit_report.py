"""Reading the audit reports of AWS Private CA, whatever is in them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bfcerts.pki.authorities.aws_audit_report import LONGEST_ENTRY, AuditReports, UnreadableReportError, read_array
from bfcerts.pki.authorities.aws_private_ca import AwsPrivateAuthority
from bfcerts.pki.authorities.base import Candidates, CannotLook, StillLooking
from tests.acm_pca import AcmPcaServer
from tests.aws import services
from tests.pki.authority_contract import TRUST_DOMAIN, request
from tests.pki.aws import client
from tests.pki.material import parsed_csr
from tests.pki.report_book import MemoryReportBook

if TYPE_CHECKING:
    from mypy_boto3_acm_pca import ACMPCAClient

BUCKET = "audit-reports"
SECOND = timedelta(seconds=1)

# -- the stream ------------------------------------------------------------------------------------------------------

ENTRIES = [{"subject": "CN=Ladesäule 1", "revokedAt": None}, {"nested": {"list": [1, 2, "]}"]}}, {"empty": {}}]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
@pytest.mark.parametrize("indent", [None, 2])
def test_entries_come_whole_however_the_text_is_cut(size: int, indent: int | None) -> None:
    text = json.dumps(ENTRIES, indent=indent, ensure_ascii=False).encode()
    chunks = [text[start : start + size] for start in range(0, len(text), size)]
    assert list(read_array(chunks)) == ENTRIES


def test_a_ca_that_issued_nothing_has_an_empty_report() -> None:
    assert list(read_array([b" [ ", b"]\n"])) == []


def test_an_entry_is_given_before_the_next_is_read() -> None:
    def chunks() -> Iterator[bytes]:
        yield b'[{"a": 1},'
        raise AssertionError("read too far")

    assert next(read_array(chunks())) == {"a": 1}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"   ",
        b"[",
        b"{}",
        b",[]",
        b'"text"',
        b"<Error/>",
        b'[{"a": 1}',
        b'[{"a": 1}, 2]',
        b"[[]]",
        b'[{"a": 1]',
        b'[{"a": "\xff"}]',
        b"\xef\xbb\xbf[]",
        b'[{"a": ' + b"[" * 100_000,
        b'[{"a": "' + b"x" * (LONGEST_ENTRY + 1),
    ],
)
def test_anything_else_is_no_report(text: bytes) -> None:
    with pytest.raises(UnreadableReportError, match="the last one"):
        list(read_array([text]))


# -- the report of a CA ----------------------------------------------------------------------------------------------


class Clock:
    """AWS's time, which a test moves on."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        return self.now


class CountingStore:
    """S3, and how often it was read."""

    def __init__(self, s3: Any) -> None:
        self._s3 = s3
        self.reads = 0

    def get_object(self, *, Bucket: str, Key: str) -> Any:  # noqa: N803  # boto3's own names
        self.reads += 1
        return self._s3.get_object(Bucket=Bucket, Key=Key)


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    with services.moto_server() as url, services.client("s3", url) as made:
        services.make_bucket(made, BUCKET)
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(tmp_path: Path, clock: Clock, s3: Any) -> Iterator[AcmPcaServer]:
    with AcmPcaServer(tmp_path, [TRUST_DOMAIN, "vehicle_vas_identity"], clock=clock, store=s3) as running:
        yield running


@pytest.fixture
def boto(server: AcmPcaServer) -> Iterator["ACMPCAClient"]:
    with client(server.url) as made:
        yield made


@pytest.fixture
def store(s3: Any) -> CountingStore:
    return CountingStore(s3)


@pytest.fixture
def book() -> MemoryReportBook:
    return MemoryReportBook()


def authority_of(
    server: AcmPcaServer, boto: "ACMPCAClient", store: CountingStore, book: MemoryReportBook, domain: str = TRUST_DOMAIN
) -> AwsPrivateAuthority:
    arn = server.arns[domain]
    return AwsPrivateAuthority(boto, arn, domain, reports=AuditReports(boto, store, BUCKET, arn, book))


@pytest.fixture
def authority(
    server: AcmPcaServer, boto: "ACMPCAClient", store: CountingStore, book: MemoryReportBook
) -> AwsPrivateAuthority:
    return authority_of(server, boto, store, book)


def candidates(authority: AwsPrivateAuthority, asked: Any, since: datetime, clock: Clock) -> tuple[str, ...]:
    asked_at = clock.now
    while True:
        found = authority.recover(asked, since=since, asked_at=asked_at, now=clock.now)
        if isinstance(found, Candidates):
            return found.references
        assert isinstance(found, StillLooking)
        clock.now = found.until


def test_only_what_is_new_enough_and_of_the_same_validity_may_be_it(
    authority: AwsPrivateAuthority, server: AcmPcaServer, clock: Clock
) -> None:
    asked = request(token="asked")
    old = authority.submit(replace(asked, token="old"))
    clock.now += timedelta(days=2)
    authority.submit(replace(asked, token="other end", not_after=asked.not_after + SECOND))
    authority.submit(replace(asked, token="other begin", not_before=asked.not_before - SECOND))
    since = clock.now
    first, second = authority.submit(asked), authority.submit(replace(asked, token="2", csr=parsed_csr("CP-2")))

    assert set(candidates(authority, asked, since, clock)) == {first, second}
    assert set(candidates(authority, asked, since - timedelta(days=3), clock)) == {old, first, second}


def test_one_report_is_made_and_read_once_for_all_that_look_into_it(
    authority: AwsPrivateAuthority,
    server: AcmPcaServer,
    boto: "ACMPCAClient",
    store: CountingStore,
    book: MemoryReportBook,
    clock: Clock,
) -> None:
    since = clock.now
    one_second = request()
    asked = [replace(one_second, csr=parsed_csr(f"CP-{number}"), token=str(number)) for number in range(20)]
    references = [authority.submit(one) for one in asked]
    clock.now += timedelta(minutes=15)
    asked_at, found = clock.now - timedelta(minutes=15), []
    for one in asked * 3:
        recovery = authority.recover(one, since=since, asked_at=asked_at, now=clock.now)
        if isinstance(recovery, Candidates):
            found.append(recovery.references)

    assert found
    assert all(set(one) == set(references) for one in found)
    assert len(server.calls("CreateCertificateAuthorityAuditReport")) == 1
    assert store.reads == 1

    restarted = authority_of(server, boto, store, book)
    recovery = restarted.recover(asked[0], since=since, asked_at=asked_at, now=clock.now)
    assert isinstance(recovery, Candidates)
    assert len(server.calls("CreateCertificateAuthorityAuditReport")) == 1


def test_each_ca_has_reports_of_its_own(
    authority: AwsPrivateAuthority,
    server: AcmPcaServer,
    boto: "ACMPCAClient",
    store: CountingStore,
    book: MemoryReportBook,
    clock: Clock,
) -> None:
    since, asked = clock.now, request()
    reference = authority.submit(asked)
    vehicles = authority_of(server, boto, store, book, "vehicle_vas_identity")

    assert candidates(vehicles, asked, since, clock) == ()
    assert candidates(authority, asked, since, clock) == (reference,)
    assert len(server.calls("CreateCertificateAuthorityAuditReport")) == 2


def test_a_report_from_before_the_request_was_settled_does_not_count(
    authority: AwsPrivateAuthority, server: AcmPcaServer, clock: Clock
) -> None:
    since, early = clock.now, request(token="early")
    first = authority.submit(early)
    assert candidates(authority, early, since, clock) == (first,)
    late = request(token="late")
    second = authority.submit(late)

    assert second in candidates(authority, late, since, clock)
    assert len(server.calls("CreateCertificateAuthorityAuditReport")) == 2


def test_without_reports_it_says_what_to_set(boto: "ACMPCAClient", server: AcmPcaServer, clock: Clock) -> None:
    recovery = AwsPrivateAuthority(boto, server.arns[TRUST_DOMAIN], TRUST_DOMAIN).recover(
        request(), since=clock.now, asked_at=clock.now, now=clock.now
    )
    assert isinstance(recovery, CannotLook)
    assert "set BFCERTS_AWS_AUDIT_REPORT_BUCKET" in recovery.why
