"""What is merely observed of stations: a fallback to the retired certificate, and what they report."""

from datetime import datetime, timedelta

import pytest

from bfcerts.ocpp.canonical import Evidence
from inventory.choices import RecordState, SecurityCategory
from inventory.models import Evidence as StoredEvidence
from inventory.models import SecurityEvent
from inventory.services import lifecycle, sweeps
from tests.support import OPERATOR, ControlPlane, charger

pytestmark = pytest.mark.django_db


# -- fallback --------------------------------------------------------------------------------------------------------


def test_coming_back_with_the_retired_certificate_is_recorded_and_shown(plane: ControlPlane) -> None:
    identity = charger("CS-1")
    old = plane.enrol(identity)
    plane.complete(lifecycle.renew(record=old, actor=OPERATOR, reason="test", now=plane.clock()))
    plane.clock.advance(hours=1)

    plane.connect(identity, old)
    plane.work()

    old.refresh_from_db()
    assert old.state == RecordState.RETIRED
    assert StoredEvidence.objects.filter(record=old, kind="fallback_connection").count() == 1
    event = SecurityEvent.objects.get(type="FallbackToRetiredCertificate")
    assert f"came back with its retired certificate {old.pk}" in event.message


def test_a_connection_handled_after_the_certificate_expired_is_neither_error_nor_fallback(plane: ControlPlane) -> None:
    from bfcerts.ocpp.models import InboxMessage

    identity = charger("CS-1")
    record = plane.enrol(identity)
    assert record.not_after is not None
    plane.clock.now = record.not_after - timedelta(minutes=1)
    plane.connect(identity, record)
    plane.clock.advance(minutes=2)
    sweeps.retire_expired(plane.clock())
    plane.work()

    assert set(InboxMessage.objects.values_list("state", "error")) == {("done", "")}
    assert not SecurityEvent.objects.filter(type="FallbackToRetiredCertificate").exists()


# -- what is merely observed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "timestamp",
    [
        "2026-06-01T12:00:00Z",
        "2026-06-01T12:00:00+02:00",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        "yesterday",
        "",
        None,
        12,
    ],
)
def test_whatever_time_a_station_gives_its_event_can_be_read_again(plane: ControlPlane, timestamp: object) -> None:
    charger("CS-1")
    plane.observe("CS-1", Evidence.SECURITY_EVENT, {"type": "TamperDetectionActivated", "timestamp": timestamp})
    plane.work()

    event = SecurityEvent.objects.get(type="TamperDetectionActivated")
    assert isinstance(event.occurred_at, datetime)
    assert event.recorded_at == plane.clock()
    assert (event.category, event.severity) == (SecurityCategory.PLATFORM, "critical")


def test_an_event_under_a_free_name_is_kept_verbatim(plane: ControlPlane) -> None:
    plane.observe("CS-9", Evidence.SECURITY_EVENT, {"type": "VendorSpecific" * 9, "tech_info": "x" * 2000})
    plane.work()

    event = SecurityEvent.objects.get()
    assert event.native_type == ("VendorSpecific" * 9)[:60]
    assert (event.identity, event.station_id) == (None, "CS-9")
    assert len(event.technical_detail) == 1000


@pytest.mark.parametrize(
    ("kind", "event", "said"),
    [
        ("malformed_frame", "InvalidMessages", "CS-1 sent a frame that breaks OCPP: the reason"),
        ("too_many_questions", "TooManyQuestions", "CS-1 is answered “Failed”: the reason. Look at its log."),
    ],
)
def test_what_a_station_does_against_the_protocol_is_an_event_that_says_so(
    plane: ControlPlane, kind: str, event: str, said: str
) -> None:
    charger("CS-1")
    plane.observe("CS-1", Evidence.PROTOCOL_VIOLATION, {"kind": kind, "detail": "the reason"})
    plane.work()

    assert SecurityEvent.objects.get(type=event).message == said
