"""One report in half an hour, whichever of many workers asks for it."""

from datetime import UTC, datetime, timedelta

import pytest

from inventory.services.audit_reports import StoredReportBook
from tests.pki.report_book import MemoryReportBook
from tests.support import in_threads

HALF_AN_HOUR = timedelta(minutes=30)
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
CA, OTHER = (
    "arn:aws:acm-pca:eu-central-1:1:certificate-authority/a",
    "arn:aws:acm-pca:eu-central-1:1:certificate-authority/b",
)


@pytest.fixture(params=[StoredReportBook, MemoryReportBook])
def book(request: pytest.FixtureRequest, db: None) -> StoredReportBook | MemoryReportBook:
    made: StoredReportBook | MemoryReportBook = request.param()
    return made


def claim(book: StoredReportBook | MemoryReportBook, at: datetime, authority: str = CA) -> bool:
    return book.claim(authority, now=at, free_since=at - HALF_AN_HOUR)


def test_a_claim_stands_for_half_an_hour(book: StoredReportBook | MemoryReportBook) -> None:
    assert book.last(CA) is None
    assert claim(book, NOW)
    assert not claim(book, NOW + timedelta(minutes=29))
    assert claim(book, NOW, OTHER)
    assert book.last(CA) == (NOW, "")

    later = NOW + HALF_AN_HOUR
    assert claim(book, later)
    assert book.last(CA) == (later, "")


def test_only_the_claim_itself_is_answered_or_withdrawn(book: StoredReportBook | MemoryReportBook) -> None:
    claim(book, NOW)
    later = NOW + HALF_AN_HOUR
    claim(book, later)

    book.note(CA, claimed_at=NOW, report_id="of the one before")
    book.withdraw(CA, claimed_at=NOW)
    assert book.last(CA) == (later, "")

    book.note(CA, claimed_at=later, report_id="one")
    assert book.last(CA) == (later, "one")
    book.withdraw(CA, claimed_at=later)
    assert book.last(CA) is None
    assert claim(book, later)


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_one_asks() -> None:
    def one() -> bool:
        return claim(StoredReportBook(), NOW)

    assert in_threads(*[one] * 8).count(True) == 1
    later = NOW + HALF_AN_HOUR

    def next_one() -> bool:
        return claim(StoredReportBook(), later)

    assert in_threads(*[next_one] * 8).count(True) == 1
