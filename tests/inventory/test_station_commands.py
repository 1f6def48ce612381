"""Cutting over and plain commands: what stations answer to each step, and what is refused."""

from typing import Any

import pytest

from bfcerts.ocpp.canonical import Action, CommandOutcome
from inventory.choices import JobState, RecordState
from inventory.errors import InvalidInputError, TransitionRefusedError
from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity
from inventory.services import identities, station_commands
from tests.inventory.answered import again, queued
from tests.support import OPERATOR, ControlPlane, charger

pytestmark = pytest.mark.django_db

CUT_OVER = (
    Action.SET_NETWORK_PROFILE,
    Action.SET_NETWORK_PRIORITY,
    Action.SET_SECURITY_PROFILE,
    Action.RESET,
)


# -- cut-over --------------------------------------------------------------------------------------------------------


def cutting_over(plane: ControlPlane) -> tuple[ManagedIdentity, CertificateJob]:
    identity = charger("CS-1")
    plane.enrol(identity)
    ManagedIdentity.objects.update(security_profile=2)
    identity.refresh_from_db()
    plane.seen(identity)
    job = station_commands.cut_over(identity=identity, actor=OPERATOR, reason="test", now=plane.clock())
    plane.work()
    return identity, job


def test_a_cut_over_goes_step_by_step_and_ends_with_the_connection(plane: ControlPlane) -> None:
    identity, job = cutting_over(plane)
    for action in CUT_OVER:
        assert queued(identity) == [action]
        plane.answer(plane.open_command(identity, action))
        plane.work()
    assert again(job).waiting_for == "the station to come back on Profile 3"

    plane.connect(identity, CertificateRecord.objects.get(state=RecordState.ACTIVE))
    plane.work()

    identity.refresh_from_db()
    assert again(job).state == JobState.SUCCEEDED
    assert identity.security_profile == 3


def test_a_refused_step_of_a_cut_over_is_repeated_and_the_next_is_not_sent(plane: ControlPlane) -> None:
    identity, job = cutting_over(plane)
    plane.answer(plane.open_command(identity, Action.SET_NETWORK_PROFILE), "rejected", status="Failed")
    plane.work()
    assert queued(identity) == []
    assert again(job).outcome == "The station did not take network profile: Failed"

    plane.clock.advance(minutes=1)
    plane.work()
    assert queued(identity) == [Action.SET_NETWORK_PROFILE]


def test_a_reset_that_cuts_the_connection_before_its_answer_is_no_failure(plane: ControlPlane) -> None:
    identity, job = cutting_over(plane)
    for action in CUT_OVER[:-1]:
        plane.answer(plane.open_command(identity, action))
        plane.work()
    plane.answer(plane.open_command(identity, Action.RESET), CommandOutcome.TIMED_OUT)
    plane.work()

    assert again(job).state == JobState.WAITING
    plane.connect(identity, CertificateRecord.objects.get(state=RecordState.ACTIVE))
    plane.work()
    assert again(job).state == JobState.SUCCEEDED


def test_a_station_that_does_not_come_back_ends_the_cut_over_and_keeps_its_way_in(plane: ControlPlane) -> None:
    identity, job = cutting_over(plane)
    for action in CUT_OVER:
        plane.answer(plane.open_command(identity, action))
        plane.work()

    plane.clock.advance(hours=5)
    plane.work()

    identity.refresh_from_db()
    assert again(job).state == JobState.FAILED
    assert "did not finish the cut-over in time" in again(job).outcome
    assert identity.security_profile == 2


def test_a_cut_over_needs_a_certificate_and_a_station_that_is_not_there_yet(plane: ControlPlane) -> None:
    with pytest.raises(TransitionRefusedError, match="CS-2 has no installed certificate to come back with"):
        station_commands.cut_over(identity=charger("CS-2"), actor=OPERATOR, reason="test", now=plane.clock())
    record = plane.enrol(charger("CS-1"))
    with pytest.raises(TransitionRefusedError, match="CS-1 is on Profile 3 already"):
        station_commands.cut_over(identity=record.identity, actor=OPERATOR, reason="test", now=plane.clock())


# -- plain commands --------------------------------------------------------------------------------------------------


def test_commands_are_for_chargers_that_are_enabled(plane: ControlPlane) -> None:
    vehicle = identities.create(kind="vehicle", authoritative_identifier="WAUZZZ1", actor=OPERATOR, reason="test")
    with pytest.raises(TransitionRefusedError, match="is a vehicle; only chargers take OCPP commands"):
        station_commands.reset(identity=vehicle, actor=OPERATOR, reason="test", now=plane.clock())
    identity = charger("CS-1")
    disabled = identities.set_enabled(identity=identity, enabled=False, actor=OPERATOR, reason="test")
    with pytest.raises(TransitionRefusedError, match="CS-1 is disabled; enable it first"):
        station_commands.list_certificates(identity=disabled, actor=OPERATOR, reason="test", now=plane.clock())


def test_the_roots_are_sent_with_the_servers_last(plane: ControlPlane) -> None:
    from inventory.models import IssuingAuthority

    identity = charger("CS-1")
    station_commands.install_trust_anchors(identity=identity, actor=OPERATOR, reason="test", now=plane.clock())

    sent = [command.payload["certificate"] for command in plane.commands(identity, Action.INSTALL_CERTIFICATE)]
    roots = dict(IssuingAuthority.objects.values_list("trust_domain", "root_pem"))
    assert sent == [roots["charger_identity"], roots["backend_server"]]


@pytest.mark.parametrize(
    ("act", "arguments", "sentence"),
    [
        (station_commands.reset, {"kind": "Now"}, "'Now' is no kind of reset; use OnIdle or Immediate"),
    ],
)
def test_bad_arguments_are_refused(plane: ControlPlane, act: Any, arguments: dict[str, str], sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        act(identity=charger("CS-1"), actor=OPERATOR, reason="test", now=plane.clock(), **arguments)
