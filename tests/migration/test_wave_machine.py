"""Whatever happens in whatever order, the invariants of a migration hold (domain.md).

Hypothesis drives two rollouts at once on the real database and the real local CA: stations that oblige, refuse, fall
back, come late or never, gates that close, operators, time, and a driver that dies between any two statements.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, ClassVar

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.models import OutboxCommand
from inventory.choices import EventType, RecordState
from inventory.errors import InventoryError
from inventory.models import CertificateRecord, DomainEvent, ManagedIdentity, PlannedAbsence
from inventory.services import caps, sweeps
from migration.models import AuthorizationKey, Breaker, MigrationCase, MigrationRollout, Wave
from migration.services import breakers, driving, gates, rollouts
from migration.services.why import whys
from migration.states import CASE_TRANSITIONS
from tests.dying import DiesAt, WorkerDiedError
from tests.migration.fleet import Fleet, Station, capable_family, cohort, roll_out
from tests.migration.tallying import counted, tallied
from tests.support import OPERATOR, Clock, ControlPlane
from trustanchors.models import BundleInstallation, BundleRollout

pytestmark = pytest.mark.django_db

SITE = "Depot"
SPANS = [timedelta(seconds=3), timedelta(minutes=6), timedelta(hours=1), timedelta(hours=5), timedelta(days=2)]
who = st.integers(0, 5)
CASE_VERBS = [
    rollouts.quarantine,
    rollouts.release,
    rollouts.approve_exception,
    rollouts.cancel,
    rollouts.roll_back_case,
]
ROLLOUT_VERBS = [
    rollouts.pause,
    rollouts.resume,
    rollouts.resume,
    rollouts.start_next,
    rollouts.retry_failed,
    rollouts.stop,
]


class Migration(RuleBasedStateMachine):
    """Six chargers of two families at one site, in two rollouts."""

    plane: ClassVar[ControlPlane]

    def __init__(self) -> None:
        super().__init__()
        self.example: AbstractContextManager[object] = transaction.atomic()
        self.example.__enter__()
        clock = Clock(datetime.now(UTC).replace(microsecond=0))
        self.plane.clock = clock
        self.fleet = Fleet(self.plane)

    @initialize()
    def two_rollouts_begin(self) -> None:
        eagle, vulture = capable_family("Eagle"), capable_family("Vulture", can_lower_profile=True)
        for number in range(6):
            self.fleet.add(1, family=vulture if number % 3 == 2 else eagle, site=SITE)
        self.fleet.confirm_anchors()
        identities = [station.identity for station in self.fleet.stations]
        limits = {"success_threshold_percent": 50, "failure_threshold_percent": 50, "minimum_sample": 2}
        roll_out(
            self.plane, cohort("A", identities[:2]), cohort("B", identities[2:4]), **limits, family_failure_limit=2
        )
        roll_out(self.plane, cohort("C", identities[4:]), **limits, retry_budget=0)
        self.passed: set[int] = set()

    @property
    def now(self) -> datetime:
        return self.plane.clock()

    def station(self, number: int) -> Station:
        station = self.fleet.stations[number]
        station.identity.refresh_from_db()
        return station

    # -- what happens ------------------------------------------------------------------------------------------------

    @rule(rounds=st.integers(1, 3))
    def the_duty_runs(self, rounds: int) -> None:
        closed = self.gate_is_closed()
        before = self.started()
        for _ in range(rounds):
            driving.drive(self.now)
            self.plane.work()
            self.plane.clock.advance(seconds=3)
        if closed:
            arrived = set(
                CertificateRecord.objects.filter(state=RecordState.ACTIVE).values_list("identity_id", flat=True)
            )
            assert self.started() - before <= arrived

    @rule(statement=st.integers(1, 120))
    def the_duty_dies(self, statement: int) -> None:
        with suppress(WorkerDiedError), transaction.atomic(), connection.execute_wrapper(DiesAt(statement)):
            driving.drive(self.now)

    @rule(moods=st.lists(st.sampled_from(["3", "3", "3", "2", ""]), min_size=6, max_size=6), turns=st.integers(1, 5))
    def the_fleet_goes_on(self, moods: list[str], turns: int) -> None:
        """Everybody answers everything, and comes back where their mood and their credentials take them."""
        for _ in range(turns):
            self.the_duty_runs(1)
            for number, mood in enumerate(moods):
                self.a_station_answers(number, 9, False, mood)
                self.never_more_of_a_site_are_away_than_may_be()

    @rule(number=who, answers=st.integers(1, 4), refuses=st.booleans(), returns=st.sampled_from(["3", "2", ""]))
    def a_station_answers(self, number: int, answers: int, refuses: bool, returns: str) -> None:
        station = self.station(number)
        station.returns = returns if returns != "3" or self.opens_on_profile_3(station) else "2"
        if station.returns == "2" and not self.opens_on_profile_2(station):
            station.returns = ""
        for command in station._waiting()[:answers]:
            station.refuses = {Action(command.action)} if refuses else set()
            station._answer(command)
        self.plane.work()

    @rule(number=who, profile=st.sampled_from([2, 3]))
    def a_station_connects(self, number: int, profile: int) -> None:
        station = self.station(number)
        if self.opens_on_profile_3(station) if profile == 3 else self.opens_on_profile_2(station):
            station.connect(profile)

    @rule(number=who)
    def an_answer_comes_too_late(self, number: int) -> None:
        station = self.station(number)
        ended = OutboxCommand.objects.filter(
            station_id=station.identity.authoritative_identifier, state__in=["expired", "cancelled"]
        ).first()
        if ended is not None:
            self.plane.answer(ended)
            self.plane.work()

    @rule(span=st.sampled_from(SPANS))
    def time_passes(self, span: timedelta) -> None:
        self.plane.clock.now += span
        sweeps.expire_commands(self.now)
        sweeps.revoke_unconfirmed(self.now)
        self.plane.work()

    @rule(number=who, verb=st.sampled_from(CASE_VERBS))
    def an_operator_acts_on_a_charger(self, number: int, verb: Callable[..., Any]) -> None:
        case = MigrationCase.objects.filter(identity=self.fleet.stations[number].identity).latest("pk")
        with suppress(InventoryError), transaction.atomic():
            verb(case=case, actor=OPERATOR, reason="test", now=self.now)

    @rule(newest=st.booleans(), verb=st.sampled_from(ROLLOUT_VERBS))
    def an_operator_acts_on_a_rollout(self, newest: bool, verb: Callable[..., Any]) -> None:
        rollout = MigrationRollout.objects.order_by("-pk" if newest else "pk")[0]
        with suppress(InventoryError), transaction.atomic():
            verb(rollout=rollout, actor=OPERATOR, reason="test", now=self.now)

    @rule(position=st.integers(0, 2))
    def an_operator_rolls_a_wave_back(self, position: int) -> None:
        wave = Wave.objects.order_by("pk")[position]
        if wave.state not in ("pending", "running"):
            with suppress(InventoryError), transaction.atomic():
                rollouts.roll_back(wave=wave, actor=OPERATOR, reason="test", now=self.now)

    @rule()
    def an_operator_closes_a_breaker(self) -> None:
        opened = Breaker.objects.filter(closed_at__isnull=True).first()
        if opened is not None:
            breakers.close(breaker=opened, actor=OPERATOR, reason="test", now=self.now)

    @rule(number=who)
    def anchors_go_missing_and_come_back(self, number: int) -> None:
        installations = BundleInstallation.objects.filter(identity=self.fleet.stations[number].identity)
        lost = installations.filter(state="mismatched").update(state="installed")
        if not lost:
            installations.update(state="mismatched", mismatched_at=self.now)

    # -- what is always so -------------------------------------------------------------------------------------------

    @invariant()
    def no_gate_opens_below_its_threshold(self) -> None:
        for wave in Wave.objects.select_related("rollout"):
            if wave.state == "passed" and wave.pk not in self.passed:
                self.passed.add(wave.pk)
                active = MigrationCase.objects.filter(wave=wave, state="active").count()
                assert active >= gates.needed(wave.total or 0, wave.success_percent)
            if wave.started_at is not None:
                earlier = wave.rollout.waves.filter(position__lt=wave.position)
                assert all(before.pk in self.passed for before in earlier)
                assert wave.total == wave.cases.exclude(state="cancelled").count() or wave.total is not None

    @invariant()
    def the_tallies_are_what_there_is(self) -> None:
        assert tallied() == counted()

    @invariant()
    def never_more_of_a_site_are_away_than_may_be(self) -> None:
        away = PlannedAbsence.objects.filter(site=SITE, ended_at__isnull=True, until__gt=self.now).count()
        assert caps.most_away(SITE) == 1
        assert away <= 1
        for case in MigrationCase.objects.filter(state="pending_activation", deadline__gt=self.now):
            assert PlannedAbsence.objects.filter(identity=case.identity_id, ended_at__isnull=True).exists()

    @invariant()
    def every_charger_has_a_way_in(self) -> None:
        for number in range(len(self.fleet.stations)):
            station = self.station(number)
            assert self.opens_on_profile_2(station) or self.usable(station.identity)

    @invariant()
    def every_charger_that_is_not_active_has_exactly_one_answer(self) -> None:
        identities = list(ManagedIdentity.objects.filter(kind="charger").select_related("family"))
        answers = whys(identities, self.now)
        for identity in identities:
            answer = answers[identity.pk]
            active = MigrationCase.objects.filter(identity=identity, state="active").exists()
            assert (answer is None) == (active or self.done_without_a_case(identity))
            if answer is not None:
                assert answer.code
                assert answer.sentence
                assert answer.what_next

    @invariant()
    def every_transition_is_in_the_table_and_in_the_log(self) -> None:
        for case in MigrationCase.objects.all():
            told = DomainEvent.objects.filter(type=EventType.MIGRATION_STATE_CHANGED, payload__caseId=case.pk)
            states = list(told.order_by("pk").values_list("payload__previousState", "resulting_state"))
            assert states[0] == ("", "pending")
            for (_, former), (previous, state) in pairwise(states):
                assert previous == former
                assert state in CASE_TRANSITIONS[former]
            assert states[-1][1] == case.state

    # -- facts -------------------------------------------------------------------------------------------------------

    def started(self) -> set[int]:
        begun = DomainEvent.objects.filter(type=EventType.MIGRATION_STATE_CHANGED, resulting_state="installing")
        return set(begun.values_list("identity_id", flat=True))

    def gate_is_closed(self) -> bool:
        return not BundleRollout.objects.filter(gate_open=True).exists()

    def done_without_a_case(self, identity: ManagedIdentity) -> bool:
        return identity.security_profile >= 3 and not MigrationCase.objects.filter(identity=identity).exists()

    def opens_on_profile_2(self, station: Station) -> bool:
        identity = station.identity
        lowered = identity.fallback_until is not None and identity.fallback_until > self.now
        accepted = AuthorizationKey.objects.filter(identity=identity, state__in=AuthorizationKey.ACCEPTED_STATES)
        return (identity.security_profile <= 2 or lowered) and accepted.exists()

    def opens_on_profile_3(self, station: Station) -> bool:
        return bool(station.certificate) and self.usable(station.identity, station.certificate)

    def usable(self, identity: ManagedIdentity, fingerprint: str = "") -> bool:
        records = CertificateRecord.objects.filter(identity=identity, purpose="charger_identity").usable_at(self.now)
        return (records.filter(fingerprint=fingerprint) if fingerprint else records).exists()

    def teardown(self) -> None:
        self.example.__exit__(WorkerDiedError, WorkerDiedError(), None)


def test_the_invariants_of_a_migration_hold_in_every_order(plane: ControlPlane) -> None:
    Migration.plane = plane
    run_state_machine_as_test(
        Migration,
        settings=settings(
            max_examples=15,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
