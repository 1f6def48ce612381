"""The cut-over of one charger to Profile 3, and a station that falls back by itself (OCPP 2.0.1 A05, B09)."""

from uuid import uuid4

import pytest

from bfcerts.ocpp import inbox
from bfcerts.ocpp.canonical import Action, Evidence
from bfcerts.ocpp.inbox import Observation
from bfcerts.ocpp.models import StationSession
from inventory.choices import JobState, RecordState
from inventory.errors import TransitionRefusedError
from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity
from inventory.services import station_commands
from tests.support import OPERATOR, ControlPlane, charger, request_for

pytestmark = pytest.mark.django_db(transaction=True)


CUT_OVER = (
    Action.SET_NETWORK_PROFILE,
    Action.SET_NETWORK_PRIORITY,
    Action.SET_SECURITY_PROFILE,
    Action.RESET,
)
"""The steps, in their order, whatever version the station speaks."""


@pytest.fixture
def installed(control_plane: ControlPlane) -> ManagedIdentity:
    """A charger on Profile 2 that has installed its first certificate."""
    identity = charger("CS-1")
    control_plane.send_csr(identity, request_for("CS-1"))
    control_plane.work()
    control_plane.answer(control_plane.open_command(identity, Action.DELIVER_CERTIFICATE))
    control_plane.work()
    control_plane.seen(identity)
    return identity


def up_to_the_reset(plane: ControlPlane, identity: ManagedIdentity) -> CertificateJob:
    job = station_commands.cut_over(identity=identity, actor=OPERATOR, reason="test", now=plane.clock())
    for action in CUT_OVER:
        plane.work()
        plane.answer(plane.open_command(identity, action))
    plane.work()
    return job


def boots(plane: ControlPlane, identity: ManagedIdentity, profile: int) -> None:
    """The station connects on a profile and sends BootNotification."""
    session = StationSession.objects.create(
        id=uuid4(),
        station_id=identity.authoritative_identifier,
        node="test",
        listener=f"profile{profile}",
        protocol="ocpp2.0.1",
        security_profile=profile,
        address="127.0.0.1",
        connected_at=plane.clock.advance(seconds=5),
    )
    observation = Observation(
        identity.authoritative_identifier,
        session.pk,
        Evidence.BOOTED,
        {"reason": "ScheduledReset", "firmware_version": "1.0"},
        plane.clock(),
    )
    inbox.store([observation])
    plane.work()


def test_a_charger_is_told_its_profile_its_priority_and_to_restart(
    control_plane: ControlPlane, installed: ManagedIdentity
) -> None:
    job = up_to_the_reset(control_plane, installed)
    job.refresh_from_db()
    assert job.waiting_for == "the station to come back on Profile 3"

    control_plane.connect(installed, CertificateRecord.objects.get())
    control_plane.work()

    job.refresh_from_db()
    assert job.state == JobState.SUCCEEDED
    assert CertificateRecord.objects.get().state == RecordState.ACTIVE
    with pytest.raises(TransitionRefusedError, match="on Profile 3 already"):
        station_commands.cut_over(identity=installed, actor=OPERATOR, reason="again", now=control_plane.clock())


def test_a_station_that_restarted_and_fell_back_is_restarted_again(
    control_plane: ControlPlane, installed: ManagedIdentity
) -> None:
    job = up_to_the_reset(control_plane, installed)

    boots(control_plane, installed, profile=2)

    job.refresh_from_db()
    assert "came back on Profile 2" in job.outcome
    control_plane.clock.advance(minutes=2)
    control_plane.work()
    control_plane.answer(control_plane.open_command(installed, Action.SET_SECURITY_PROFILE))
    control_plane.work()
    assert control_plane.open_command(installed, Action.RESET).attempts == 0


def test_a_station_that_boots_on_profile_3_is_left_alone(
    control_plane: ControlPlane, installed: ManagedIdentity
) -> None:
    job = up_to_the_reset(control_plane, installed)

    boots(control_plane, installed, profile=3)

    job.refresh_from_db()
    assert (job.step, job.outcome) == ("cut_over_unanswered", "")


def test_a_restart_that_was_never_taken_is_asked_for_again(
    control_plane: ControlPlane, installed: ManagedIdentity
) -> None:
    job = station_commands.cut_over(identity=installed, actor=OPERATOR, reason="test", now=control_plane.clock())
    for action in CUT_OVER[:-1]:
        control_plane.work()
        control_plane.answer(control_plane.open_command(installed, action))
    control_plane.work()

    control_plane.answer(control_plane.open_command(installed, Action.RESET), "expired")
    control_plane.work()
    control_plane.clock.advance(minutes=2)
    control_plane.work()

    job.refresh_from_db()
    assert job.is_open
    assert control_plane.open_command(installed, Action.RESET).attempts == 0
