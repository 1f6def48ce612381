"""The charger path with nothing faked: real TLS, real OCPP 2.0.1, real processes."""

import pytest

from bfcerts.ocpp.models import StationSession
from inventory.choices import JobState, RecordState
from inventory.models import CertificateRecord, ManagedIdentity, SecurityEvent
from inventory.services import lifecycle, station_commands
from tests.end_to_end.plant import OPERATOR, Plant, StationThread, eventually
from tests.simulator.events import EventKind
from tests.simulator.quirks import Quirks

pytestmark = pytest.mark.django_db(transaction=True)


def active(identity: ManagedIdentity) -> CertificateRecord | None:
    return CertificateRecord.objects.filter(identity=identity, state=RecordState.ACTIVE).first()


def test_from_no_certificate_over_renewal_to_revocation(plant: Plant, stations: StationThread) -> None:
    identity, station = stations.commission("CS-0001")
    stations.start([station])
    job = lifecycle.issue(identity=identity, purpose="charger_identity", actor=OPERATOR, reason="first")
    first = eventually(
        lambda: CertificateRecord.objects.filter(
            identity=identity, state=RecordState.INSTALLED_PENDING_ACTIVATION
        ).first(),
        what="the certificate is installed",
    )

    station_commands.cut_over(identity=identity, actor=OPERATOR, reason="to profile 3")
    eventually(lambda: active(identity), what="the certificate is active")
    job.refresh_from_db()
    assert job.state == JobState.SUCCEEDED
    session = StationSession.objects.get(station_id="CS-0001", closed_at__isnull=True)
    assert (session.security_profile, session.certificate_fingerprint) == (3, first.fingerprint)

    lifecycle.renew(record=first, actor=OPERATOR, reason="renewal")
    second = eventually(
        lambda: (
            CertificateRecord.objects.filter(identity=identity, state=RecordState.ACTIVE).exclude(pk=first.pk).first()
        ),
        what="the new certificate is active",
    )
    first.refresh_from_db()
    assert first.state == RecordState.RETIRED
    assert station.fingerprint == second.fingerprint

    before = station.events.last_number
    lifecycle.revoke(record=second, actor=OPERATOR, reason="stolen", revocation_reason="keyCompromise")
    stations.call(station.wait_for_event(EventKind.DISCONNECTED, after=before))
    eventually(
        lambda: SecurityEvent.objects.filter(
            identity=identity, native_type="certificate_revoked", type="ConnectionRefused"
        ).exists(),
        what="the refusal is a security event that names the station",
    )
    propagated = eventually(
        lambda: CertificateRecord.objects.filter(pk=second.pk, revocation_propagated_at__isnull=False).first(),
        what="the CA was told",
    )
    assert propagated.revoked_at is not None


def test_a_station_that_asks_in_anothers_name_gets_nothing_and_is_seen(plant: Plant, stations: StationThread) -> None:
    quirks = Quirks.from_mapping({"wrong_csr": "foreign_name", "wrong_csr_name": "CS-0001"})
    identity, station = stations.commission("CS-0002", quirks=quirks)
    stations.start([station])

    job = lifecycle.issue(identity=identity, purpose="charger_identity", actor=OPERATOR, reason="first")

    eventually(lambda: type(job).objects.get(pk=job.pk).state == JobState.FAILED, what="the job ends")
    job.refresh_from_db()
    assert "“CS-0001” does not name CS-0002" in job.outcome
    assert SecurityEvent.objects.filter(identity=identity, type="CSRRejected").exists()
    assert not CertificateRecord.objects.filter(identity=identity).exists()


def test_a_station_that_never_comes_back_keeps_its_old_certificate(plant: Plant, stations: StationThread) -> None:
    identity, station = stations.commission("CS-0003")
    stations.start([station])
    lifecycle.issue(identity=identity, purpose="charger_identity", actor=OPERATOR, reason="first")
    eventually(
        lambda: CertificateRecord.objects.filter(state=RecordState.INSTALLED_PENDING_ACTIVATION).exists(),
        what="the certificate is installed",
    )
    station_commands.cut_over(identity=identity, actor=OPERATOR, reason="to profile 3")
    first = eventually(lambda: active(identity), what="the certificate is active")

    station.quirks = Quirks(reconnect_with_old_certificate=True)
    lifecycle.renew(record=first, actor=OPERATOR, reason="renewal")
    eventually(
        lambda: CertificateRecord.objects.filter(
            identity=identity, state=RecordState.INSTALLED_PENDING_ACTIVATION
        ).exists(),
        what="the new certificate is installed",
    )
    stations.call(station.wait_for(lambda it: it.connected and it.fingerprint == first.fingerprint))

    first.refresh_from_db()
    assert first.state == RecordState.ACTIVE
    assert StationSession.objects.get(station_id="CS-0003", closed_at__isnull=True).security_profile == 3
