"""A year of the charger path in some seconds: renewals come in time, and nobody is ever without a way in."""

from datetime import datetime, timedelta

import pytest

from bfcerts.ocpp.registry import Admission
from inventory.choices import EventType, JobState, RecordState
from inventory.models import CertificateJob, CertificateRecord, DomainEvent, ManagedIdentity
from inventory.services.door import CertificateDoor
from tests.inventory.attempts import certificate_attempt
from tests.support import ControlPlane, charger

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
OFFLINE_FOR = 9
"""One of the chargers is connected only every so many days."""


def gets_in(identity: ManagedIdentity, now: datetime) -> bool:
    """Whether the charger gets in with the certificate that ends last, which is what some stations present."""
    newest = CertificateRecord.objects.filter(identity=identity).exclude(fingerprint="").latest("not_after")
    (decision,) = CertificateDoor().decide([certificate_attempt(newest, now)])
    return isinstance(decision, Admission)


def test_a_year_passes_and_every_charger_has_a_usable_certificate_on_every_day(plane: ControlPlane) -> None:
    often, seldom = charger("CS-often"), charger("CS-seldom")
    for identity in (often, seldom):
        plane.enrol(identity)
    started = plane.clock()

    for day in range(3, 366, 3):
        plane.clock.now = started + day * DAY
        plane.sweep()
        plane.clock.advance(hours=2)
        plane.sweep()  # here a renewal may fail that waited in vain,
        plane.sweep()  # and with the next sweep the next one is waiting for the station
        plane.play_station(often)
        plane.play_station(often)
        if day % OFFLINE_FOR == 0:
            plane.play_station(seldom)
            plane.play_station(seldom)
        for identity in (often, seldom):
            records = CertificateRecord.objects.of(identity.pk, "charger_identity")
            for moment in (plane.clock(), plane.clock() + DAY, plane.clock() + 2 * DAY):
                assert records.usable_at(moment).filter(state=RecordState.ACTIVE).count() == 1, f"{identity}, day {day}"
                assert gets_in(identity, moment), f"{identity}, day {day}"

    for identity in (often, seldom):
        events = DomainEvent.objects.filter(identity=identity)
        assert events.filter(type=EventType.CERTIFICATE_ACTIVATED).count() == 3
        assert events.filter(type=EventType.CERTIFICATE_RETIRED).count() == 2
        assert not events.filter(type__in=[EventType.ESCALATION_RAISED, EventType.INCIDENT_RAISED]).exists()
        for replaced in CertificateRecord.objects.filter(identity=identity, state=RecordState.RETIRED):
            first = events.filter(type=EventType.CERTIFICATE_RENEWAL_STARTED, record=replaced).earliest("id")
            assert replaced.not_after is not None
            assert 27 * DAY <= replaced.not_after - first.occurred_at <= 37 * DAY
    assert not CertificateJob.objects.open().exists()
    ended = CertificateJob.objects.exclude(state=JobState.SUCCEEDED).filter(identity=often)
    assert not ended.exists()
