"""The charger path over OCPP 1.6J: the same commands and states, real TLS, real processes."""

import pytest

from bfcerts.ocpp.models import OutboxCommand, StationSession
from inventory.choices import JobState, RecordState
from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity
from inventory.services import lifecycle, station_commands
from tests.end_to_end.plant import OPERATOR, Plant, StationThread, eventually

pytestmark = pytest.mark.django_db(transaction=True)


def newest(identity: ManagedIdentity, state: RecordState) -> CertificateRecord | None:
    return CertificateRecord.objects.filter(identity=identity, state=state).order_by("-pk").first()


def test_from_a_password_to_profile_3_and_a_renewal_on_one_address(plant: Plant, stations: StationThread) -> None:
    identity, station = stations.commission("CP-0016", listener="dual", protocol="ocpp1.6")
    stations.start([station])
    lifecycle.issue(identity=identity, purpose="charger_identity", actor=OPERATOR, reason="first")
    first = eventually(lambda: newest(identity, RecordState.INSTALLED_PENDING_ACTIVATION), what=plant.situation)

    station_commands.cut_over(identity=identity, actor=OPERATOR, reason="to profile 3")
    eventually(lambda: newest(identity, RecordState.ACTIVE), what=plant.situation)
    session = StationSession.objects.get(station_id="CP-0016", closed_at__isnull=True)
    assert (session.protocol, session.listener, session.security_profile) == ("ocpp1.6", "dual", 3)
    assert session.certificate_fingerprint == first.fingerprint

    lifecycle.renew(record=first, actor=OPERATOR, reason="renewal")
    second = eventually(
        lambda: (
            CertificateRecord.objects.filter(identity=identity, state=RecordState.ACTIVE).exclude(pk=first.pk).first()
        ),
        what=plant.situation,
    )
    stations.call(station.wait_for(lambda it: it.connected and it.fingerprint == second.fingerprint))
    first.refresh_from_db()
    assert first.state == RecordState.RETIRED


def test_a_station_whose_address_takes_no_certificate_is_not_locked_out(plant: Plant, stations: StationThread) -> None:
    """It would keep its address, and be refused there: the cut-over says so and sends nothing."""
    identity, station = stations.commission("CP-0017", listener="profile2", protocol="ocpp1.6")
    stations.start([station])
    lifecycle.issue(identity=identity, purpose="charger_identity", actor=OPERATOR, reason="first")
    eventually(lambda: newest(identity, RecordState.INSTALLED_PENDING_ACTIVATION), what=plant.situation)

    job = station_commands.cut_over(identity=identity, actor=OPERATOR, reason="to profile 3")
    refused = eventually(
        lambda: OutboxCommand.objects.filter(
            station_id="CP-0017", action="set_security_profile", state="failed"
        ).first(),
        what=plant.situation,
    )
    assert "the listener profile2 takes no Profile 3" in refused.error_description
    assert not OutboxCommand.objects.filter(station_id="CP-0017", action="reset").exists()
    assert CertificateJob.objects.get(pk=job.pk).state != JobState.SUCCEEDED
    assert StationSession.objects.get(station_id="CP-0017", closed_at__isnull=True).security_profile == 2
