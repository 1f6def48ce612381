"""What operators do with a migration under way, and what happens when chargers surprise them."""

from collections.abc import Callable
from datetime import time, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from bfcerts.ocpp.canonical import Action
from inventory.actors import Actor
from inventory.choices import EventType
from inventory.errors import NotPermittedError, TransitionRefusedError
from inventory.models import DomainEvent, ManagedIdentity, PlannedAbsence
from inventory.services import station_commands
from migration.models import Breaker, MigrationCase, MigrationWindow, Wave
from migration.services import breakers, driving, forecast, lowering, rollouts, windows
from migration.services.why import why
from tests.admin import given
from tests.dying import DiesAt, WorkerDiedError
from tests.migration import given as moving
from tests.migration.fleet import Fleet, capable_family, cohort, records_of, roll_out
from tests.support import OPERATOR, ControlPlane, request_for
from trustanchors.models import BundleInstallation, TrustAnchorBundle

pytestmark = pytest.mark.django_db


@pytest.fixture
def fleet(plane: ControlPlane) -> Fleet:
    return Fleet(plane)


def code_of(identity: ManagedIdentity, plane: ControlPlane) -> str:
    identity.refresh_from_db()
    answer = why(identity, plane.clock())
    return "" if answer is None else answer.code.value


def test_a_paused_rollout_starts_nobody_and_lets_who_is_under_way_arrive(plane: ControlPlane, fleet: Fleet) -> None:
    first, second = fleet.add(2, family=capable_family())
    fleet.confirm_anchors()
    rollout = roll_out(plane, cohort("All", [first.identity, second.identity]), concurrency=1)
    fleet.turn()

    rollouts.pause(rollout=rollout, actor=OPERATOR, reason="A storm", now=plane.clock())
    fleet.settle(6)
    assert (first.case.state, second.case.state) == ("active", "pending")
    assert code_of(second.identity, plane) == "rollout_paused"
    assert "A storm" in str(why(second.identity, plane.clock()))

    rollouts.resume(rollout=rollout, actor=OPERATOR, reason="It is over", now=plane.clock())
    fleet.settle(8)
    assert second.case.state == "active"


def test_the_next_wave_waits_for_a_person_where_the_rollout_says_so(plane: ControlPlane, fleet: Fleet) -> None:
    first, second = fleet.add(2, family=capable_family())
    fleet.confirm_anchors()
    rollout = roll_out(
        plane, cohort("First", [first.identity]), cohort("Second", [second.identity]), advance_automatically="no"
    )
    fleet.turn()
    with pytest.raises(TransitionRefusedError, match="has not passed"):
        rollouts.start_next(rollout=rollout, actor=OPERATOR, reason="test", now=plane.clock())
    fleet.settle(8)
    assert (first.case.state, second.case.state) == ("active", "pending")
    assert code_of(second.identity, plane) == "wave_not_started"

    rollouts.start_next(rollout=rollout, actor=OPERATOR, reason="test", now=plane.clock())
    fleet.settle(8)
    assert second.case.state == "active"


def test_the_failed_are_retried_when_the_cause_is_mended(plane: ControlPlane, fleet: Fleet) -> None:
    (station,) = fleet.add(1, family=capable_family(), returns="2")
    fleet.confirm_anchors()
    rollout = roll_out(plane, cohort("All", [station.identity]), retry_budget=0, family_failure_limit=5)
    fleet.settle(4)
    plane.clock.advance(hours=5)
    fleet.settle(2)
    rollout.refresh_from_db()
    assert (station.case.state, rollout.state) == ("quarantine", "paused")

    station.returns = "3"
    assert rollouts.retry_failed(rollout=rollout, actor=OPERATOR, reason="Mended", now=plane.clock()) == 1
    rollouts.resume(rollout=rollout, actor=OPERATOR, reason="Mended", now=plane.clock())
    fleet.settle(10)

    rollout.refresh_from_db()
    assert (station.case.state, rollout.state) == ("active", "complete")


def test_a_wave_is_rolled_back_as_far_as_its_families_can(plane: ControlPlane, fleet: Fleet) -> None:
    (flexible,) = fleet.add(1, family=capable_family("Eagle", can_lower_profile=True))
    (stiff,) = fleet.add(1, family=capable_family("Vulture"))
    fleet.confirm_anchors()
    rollout = roll_out(plane, cohort("All", [flexible.identity, stiff.identity]))
    fleet.settle(10)
    assert set(fleet.states().values()) == {"active"}
    flexible.returns = stiff.returns = "2"

    wave = rollouts.roll_back(wave=rollout.waves.get(), actor=OPERATOR, reason="Bad roots", now=plane.clock())
    assert [case.identity for case in lowering.cannot_go_back(wave)] == [stiff.identity]
    fleet.settle(4)

    flexible.identity.refresh_from_db()
    assert (flexible.case.state, flexible.identity.security_profile) == ("pending", 2)
    assert flexible.identity.fallback_until is None
    assert code_of(flexible.identity, plane) == "wave_ended"
    assert stiff.case.state == "active"
    stiff.identity.refresh_from_db()
    assert stiff.identity.security_profile == 3
    assert not Breaker.objects.exists()
    assert not PlannedAbsence.objects.filter(ended_at__isnull=True).exists()


def test_a_charger_that_refuses_to_go_back_is_shown_and_goes_on_on_profile_3(plane: ControlPlane, fleet: Fleet) -> None:
    (station,) = fleet.add(1, family=capable_family(can_lower_profile=True))
    fleet.confirm_anchors()
    roll_out(plane, cohort("All", [station.identity]))
    fleet.settle(8)
    station.refuses = {Action.SET_NETWORK_PROFILE}

    rollouts.roll_back_case(case=station.case, actor=OPERATOR, reason="test", now=plane.clock())
    fleet.settle(2)

    assert (station.case.state, station.case.reason_code) == ("quarantine", "stays_on_profile_3")
    assert records_of(station.identity)[0].state == "active"


def test_a_family_that_cannot_lower_its_profile_is_not_told_to(plane: ControlPlane, fleet: Fleet) -> None:
    (station,) = fleet.add(1, family=capable_family())
    fleet.confirm_anchors()
    roll_out(plane, cohort("All", [station.identity]))
    fleet.settle(8)
    with pytest.raises(TransitionRefusedError, match="cannot lower its profile"):
        rollouts.roll_back_case(case=station.case, actor=OPERATOR, reason="test", now=plane.clock())


def test_a_charger_that_changes_its_family_in_the_middle_goes_back(plane: ControlPlane, fleet: Fleet) -> None:
    waiting, moving = fleet.add(2, family=capable_family())
    other = capable_family("Other")
    fleet.confirm_anchors()
    roll_out(plane, cohort("All", [moving.identity, waiting.identity]), per_minute=1)
    driving.drive(plane.clock())
    plane.work()
    started = MigrationCase.objects.get(state="installing")
    ManagedIdentity.objects.update(family=other)
    for station in fleet.stations:
        station.serve()
    fleet.settle(3)

    started.refresh_from_db()
    assert (started.state, "planned as one of family Eagle" in started.last_failure) == ("pending", True)
    for station in fleet.stations:
        assert code_of(station.identity, plane) == "family_changed"


def test_an_arrival_after_the_deadline_still_counts(plane: ControlPlane, fleet: Fleet) -> None:
    (station,) = fleet.add(1, family=capable_family(), returns="")
    fleet.confirm_anchors()
    roll_out(plane, cohort("All", [station.identity]))
    fleet.settle(4)
    plane.clock.advance(hours=5)
    fleet.turn()
    assert station.case.state == "rollback"

    station.connect(3)

    assert station.case.state == "active"
    states = DomainEvent.objects.filter(type=EventType.MIGRATION_STATE_CHANGED).order_by("pk")
    assert list(states.values_list("resulting_state", flat=True))[-4:] == [
        "pending", "installing", "pending_activation", "active",
    ]  # fmt: skip


def test_a_late_answer_changes_nothing(plane: ControlPlane, fleet: Fleet) -> None:
    (station,) = fleet.add(1, family=capable_family())
    fleet.confirm_anchors()
    roll_out(plane, cohort("All", [station.identity]), retry_budget=0)
    driving.drive(plane.clock())
    plane.work()
    late = plane.open_command(station.identity, Action.REQUEST_CSR)
    plane.clock.advance(hours=5)
    station.silent = True
    fleet.turn()
    case = station.case
    assert case.state == "quarantine"

    plane.answer(late)
    plane.work()

    after = station.case
    assert (after.state, after.why) == (case.state, case.why)


def test_nobody_leaves_outside_of_the_hours_of_the_site(plane: ControlPlane, fleet: Fleet) -> None:
    (station,) = fleet.add(1, family=capable_family(), site="Depot")
    fleet.confirm_anchors()
    roll_out(plane, cohort("All", [station.identity]))
    hour = plane.clock().hour
    windows.save(
        entry=MigrationWindow(site="Depot", opens=time((hour + 2) % 24), closes=time((hour + 4) % 24)),
        actor=OPERATOR,
        reason="test",
    )

    fleet.settle(3)
    assert station.case.state == "pending"
    assert code_of(station.identity, plane) == "window_closed"
    plane.clock.advance(hours=2)
    fleet.settle(6)
    assert station.case.state == "active"


def test_a_closed_breaker_lets_the_family_go_on_and_counts_anew(plane: ControlPlane, fleet: Fleet) -> None:
    stations = fleet.add(2, family=capable_family(), returns="2")
    fleet.confirm_anchors()
    rollout = roll_out(
        plane,
        cohort("All", [station.identity for station in stations]),
        retry_budget=0,
        family_failure_limit=1,
        concurrency=1,
        success_threshold_percent=50,
        failure_threshold_percent=50,
    )
    fleet.settle(4)
    plane.clock.advance(hours=5)
    fleet.settle(3)
    waiting = MigrationCase.objects.get(state="pending")
    assert code_of(waiting.identity, plane) == "breaker_open"
    for station in stations:
        station.returns = "3"

    MigrationCase.objects.filter(pk=waiting.pk).update(next_look_at=plane.clock() + timedelta(seconds=30))
    breakers.close(breaker=Breaker.objects.get(), actor=OPERATOR, reason="Mended", now=plane.clock())
    waiting.refresh_from_db()
    assert waiting.next_look_at == plane.clock(), "whoever waited for it is looked at now"
    rollouts.retry_failed(rollout=rollout, actor=OPERATOR, reason="Mended", now=plane.clock())
    fleet.settle(12)

    assert set(fleet.states().values()) == {"active"}
    assert Breaker.objects.filter(closed_at__isnull=True).count() == 0


@pytest.mark.parametrize("statement", range(1, 400, 13))
def test_a_driver_that_dies_anywhere_leaves_a_fleet_that_arrives(
    plane: ControlPlane, fleet: Fleet, statement: int
) -> None:
    (station,) = fleet.add(1, family=capable_family(), site="Depot")
    fleet.confirm_anchors()
    roll_out(plane, cohort("All", [station.identity]))
    for _ in range(3):
        try:
            with transaction.atomic(), connection.execute_wrapper(DiesAt(statement)):
                driving.drive(plane.clock())
        except WorkerDiedError:
            pass
        plane.work()
        station.serve()
    fleet.settle(8)

    assert station.case.state == "active"
    assert len(records_of(station.identity)) == 1
    assert Wave.objects.get().state == "passed"


def test_each_verb_is_a_permission_of_its_own(plane: ControlPlane, fleet: Fleet) -> None:
    viewer = Actor.person(given.person("viewer", *given.view_permissions()))
    rollout, case, breaker = moving.migration_rollout(), moving.migration_case(given.identity()), moving.breaker()
    on_rollouts: list[Callable[..., Any]] = [
        rollouts.pause,
        rollouts.resume,
        rollouts.stop,
        rollouts.start_next,
        rollouts.retry_failed,
    ]
    on_cases: list[Callable[..., Any]] = [
        rollouts.quarantine,
        rollouts.release,
        rollouts.approve_exception,
        rollouts.cancel,
        rollouts.roll_back_case,
    ]
    for verb in on_rollouts:
        with pytest.raises(NotPermittedError):
            verb(rollout=rollout, actor=viewer, reason="test", now=plane.clock())
    for verb in on_cases:
        with pytest.raises(NotPermittedError):
            verb(case=case, actor=viewer, reason="test", now=plane.clock())
    with pytest.raises(NotPermittedError):
        breakers.close(breaker=breaker, actor=viewer, reason="test")
    with pytest.raises(NotPermittedError):
        rollouts.roll_back(wave=moving.wave(), actor=viewer, reason="test")


# -- the forecast ------------------------------------------------------------------------------------------------------


def test_a_charger_that_listed_other_roots_could_not_come_back_and_is_not_cut_over(
    plane: ControlPlane, fleet: Fleet
) -> None:
    (station,) = fleet.add(1, family=capable_family())
    fleet.confirm_anchors()
    roll_out(plane, cohort("All", [station.identity]))
    driving.drive(plane.clock())
    plane.work()
    BundleInstallation.objects.filter(identity=station.identity).update(listed=[], checked_at=plane.clock())
    fleet.settle(3)

    assert station.case.state == "installing"
    assert station.case.reason_code == "would_be_locked_out"
    assert "was not among them" in station.case.why
    predicted = forecast.predict(forecast.CutOver((station.identity,)), plane.clock())
    assert [item.identity for item in predicted] == [station.identity]
    assert not plane.commands(station.identity, Action.RESET)


def test_a_change_of_our_server_certificate_names_exactly_those_without_its_root(
    plane: ControlPlane, fleet: Fleet
) -> None:
    fleet.add(2, family=capable_family())
    fleet.confirm_anchors()
    bundle = TrustAnchorBundle.objects.get(purpose="backend_server")
    present = frozenset(bundle.anchors.values_list("fingerprint", flat=True))

    assert forecast.predict(forecast.ServerCertificateChange(present), plane.clock()) == []
    other = forecast.ServerCertificateChange(frozenset({"0" * 64}))
    locked_out = forecast.predict(other, plane.clock())
    assert [item.identity for item in locked_out] == [station.identity for station in fleet.stations]
    with pytest.raises(forecast.LockOutError, match="2 chargers could not reconnect"):
        forecast.require_safe(other, actor=OPERATOR, override=False, reason="", now=plane.clock())
    viewer = Actor.person(given.person("viewer", *given.view_permissions()))
    with pytest.raises(NotPermittedError):
        forecast.require_safe(other, actor=viewer, override=True, reason="I must", now=plane.clock())
    assert len(forecast.require_safe(other, actor=OPERATOR, override=True, reason="I must", now=plane.clock())) == 2


def test_a_withdrawal_names_those_who_have_our_root_from_that_bundle_alone(plane: ControlPlane, fleet: Fleet) -> None:
    fleet.add(2, family=capable_family())
    fleet.confirm_anchors()
    server = TrustAnchorBundle.objects.get(purpose="backend_server")
    identity = TrustAnchorBundle.objects.get(purpose="charger_identity")

    locked_out = forecast.predict(forecast.AnchorWithdrawal(server), plane.clock())
    assert [item.identity for item in locked_out] == [station.identity for station in fleet.stations]
    assert forecast.predict(forecast.AnchorWithdrawal(identity), plane.clock()) == []


def test_a_single_cut_over_is_refused_on_evidence_unless_the_forecast_is_overridden(
    plane: ControlPlane, fleet: Fleet
) -> None:
    (station,) = fleet.add(1, family=capable_family())
    fleet.confirm_anchors()
    plane.send_csr(station.identity, request_for(station.identity.authoritative_identifier))
    plane.work()
    plane.answer(plane.open_command(station.identity, Action.DELIVER_CERTIFICATE))
    plane.work()
    BundleInstallation.objects.update(listed=[], checked_at=plane.clock())

    cut_over = partial(station_commands.cut_over, identity=station.identity, now=plane.clock())
    with pytest.raises(forecast.LockOutError, match=r"1 charger could not reconnect: .* was not among them"):
        cut_over(actor=OPERATOR, reason="test")
    viewer = Actor.person(given.person("viewer", "inventory.cutover_managedidentity"))
    with pytest.raises(NotPermittedError, match=r"migration\.override_lockout_forecast"):
        cut_over(actor=viewer, reason="I must", override_forecast=True)
    assert not DomainEvent.objects.filter(type="LockOutForecastOverridden").exists()

    job = cut_over(actor=OPERATOR, reason="Seen on site", override_forecast=True)
    assert cut_over(actor=OPERATOR, reason="Again", override_forecast=True) == job
    event = DomainEvent.objects.get(type="LockOutForecastOverridden")
    assert (event.actor, event.reason, event.job) == (OPERATOR.name, "Seen on site", job)
    assert "was not among them" in event.payload["evidence"]
    row = job.history.earliest()
    assert row.parameters == {"forecast_overridden": event.payload["evidence"]}
    assert (row.actor, row.history_change_reason) == (OPERATOR.name, "Seen on site")
