"""What the operator learns of many equal refusals: the first at once, and then how many there were."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bfcerts.ocpp.canonical import RefusalReason
from bfcerts.ocpp.gateway.database import DatabaseThread
from bfcerts.ocpp.gateway.evidence import EvidenceWriter
from bfcerts.ocpp.gateway.refusals import WINDOW_SECONDS, Refusals
from bfcerts.ocpp.registry import ConnectionAttempt, PresentedCertificate, Refusal
from tests.ocpp.node import stored

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
ATTEMPT = ConnectionAttempt("CS-1", "192.0.2.1", "profile2", "ocpp2.0.1", None, b"secret", NOW)
WRONG = Refusal(RefusalReason.WRONG_PASSWORD, "wrong")


def reported(*steps: tuple[float, ConnectionAttempt, Refusal]) -> list[tuple[str, str, int]]:
    """Refuse at these seconds, sweep a long time after the last, and return what was stored: station, reason, count."""

    async def run() -> None:
        now = [0.0]
        thread = DatabaseThread("test", asyncio.get_running_loop())
        refusals = Refusals(EvidenceWriter(thread), lambda: now[0])
        thread.start()
        for seconds, attempt, refusal in steps:
            now[0] = seconds
            refusals.of_station(attempt, refusal)
            refusals.sweep(NOW)
        now[0] += WINDOW_SECONDS + 1
        refusals.sweep(NOW)
        await thread.stop()

    asyncio.run(run())
    return [(row.station_id, row.payload["reason"], row.payload["count"]) for row in stored("connection_refused")]


def test_equal_refusals_are_one_row_at_once_and_one_with_their_number() -> None:
    assert reported(*[(float(second), ATTEMPT, WRONG) for second in range(5)]) == [
        ("CS-1", "wrong_password", 1),
        ("CS-1", "wrong_password", 4),
    ]


def test_a_single_refusal_is_one_row() -> None:
    assert reported((0.0, ATTEMPT, WRONG)) == [("CS-1", "wrong_password", 1)]


def test_after_its_window_a_refusal_is_news_again() -> None:
    assert reported((0.0, ATTEMPT, WRONG), (WINDOW_SECONDS + 1, ATTEMPT, WRONG)) == [("CS-1", "wrong_password", 1)] * 2


def test_another_station_address_or_reason_is_news() -> None:
    others = [
        (replace(ATTEMPT, station_id="CS-2"), WRONG),
        (replace(ATTEMPT, address="192.0.2.2"), WRONG),
        (ATTEMPT, Refusal(RefusalReason.PROFILE_TOO_LOW, "low")),
    ]
    assert len(reported((0.0, ATTEMPT, WRONG), *[(0.0, attempt, refusal) for attempt, refusal in others])) == 4


def test_station_ids_that_a_stranger_makes_up_are_no_news() -> None:
    certificate = PresentedCertificate("ab" * 32, b"no certificate at all")
    unknown = Refusal(RefusalReason.UNKNOWN_STATION, "unknown")
    foreign = Refusal(RefusalReason.CERTIFICATE_OF_ANOTHER_STATION, "foreign")
    steps = [
        (0.0, replace(ATTEMPT, station_id=f"made-up-{number}", certificate=presented), refusal)
        for number in range(50)
        for presented, refusal in ((None, unknown), (certificate, foreign))
    ]
    assert [(reason, count) for _, reason, count in reported(*steps)] == [
        ("unknown_station", 1),
        ("certificate_of_another_station", 1),
        ("unknown_station", 49),
        ("certificate_of_another_station", 49),
    ]


def test_no_password_is_ever_stored() -> None:
    reported((0.0, ATTEMPT, WRONG))
    assert "secret" not in str([row.payload for row in stored("connection_refused")])
