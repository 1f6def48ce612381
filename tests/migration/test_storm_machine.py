"""Two rollouts, a renewal storm and a rotation of all keys at once, in whatever order: domain.md's invariants hold.

Beside what `test_wave_machine` does: chargers on Profile 3 whose certificates are renewed all at once, a plan that
gives everybody on Profile 2 a new key, operators who cut over or rotate single chargers, answers that are lost after or
before they were acted on, and workers that die in any of the duties. A station here has the keys and certificates that
it has really been given, and leaves only when it is told to, or has something new to come back with.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from django.db import connection, transaction

from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.models import OutboxCommand, StationSession
from bfcerts.pki.certificates import parse_certificate
from inventory.actors import Actor
from inventory.choices import RecordState
from inventory.errors import InventoryError
from inventory.models import CertificateRecord, PlannedAbsence, SitePolicy
from inventory.services import caps, catalogue, lifecycle, plans, station_commands, sweeps
from inventory.services.plans import running
from migration.models import AuthorizationKey
from migration.services import bulk_rotation, driving, key_duties, rotation
from tests.dying import DiesAt, WorkerDiedError
from tests.migration.fleet import Fleet, Station, capable_family, cohort, roll_out
from tests.migration.test_wave_machine import (
    CASE_VERBS,
    ROLLOUT_VERBS,
    SITE,
    Migration,
)
from tests.support import OPERATOR, ControlPlane, request_for

pytestmark = pytest.mark.django_db

MOVING, RENEWING = 5, 3
EVERYBODY = MOVING + RENEWING
AWAY_AT_ONCE = 2
RENEWAL = Actor.system("renewal")
MOODS = ["3", "3", "3", "2", ""]
LONGER = [timedelta(minutes=6), timedelta(hours=1), timedelta(hours=5), timedelta(days=2)]
DUTIES: list[Callable[[datetime], object]] = [
    driving.drive,
    running.run_plans,
    bulk_rotation.take_turns,
    key_duties.go_on,
    key_duties.retire_due,
    sweeps.expire_commands,
    sweeps.revoke_unconfirmed,
]


@dataclass
class TrueStation(Station):
    """A charger that has what it was given, and no more."""

    certificates: list[str] = field(default_factory=list)
    """Fingerprints of those installed, the newest last."""
    loses_its_answer: bool = False

    def _answer(self, command: OutboxCommand) -> None:
        if command.action in self.refuses:
            self.plane.answer(command, "rejected", status="Rejected")
            self.plane.work()
            return
        self.plane.answer(command, "timed_out" if self.loses_its_answer else "accepted")
        match command.action:
            case Action.REQUEST_CSR if not self.loses_its_answer:
                self.plane.send_csr(self.identity, request_for(self.identity.authoritative_identifier))
            case Action.DELIVER_CERTIFICATE:
                self.certificate = parse_certificate(command.payload["chain"]).fingerprint_sha256
                self.certificates.append(self.certificate)
            case Action.SET_AUTHORIZATION_KEY:
                self.key_id = int(command.reference.split(":")[1])
        self.plane.work()
        if command.action == Action.RESET or self.comes_back_by_itself(command):
            self.restart()

    def comes_back_by_itself(self, command: OutboxCommand) -> bool:
        """With a renewed certificate everybody does, with a new key the families that say so."""
        if command.action == Action.SET_AUTHORIZATION_KEY:
            return self.identity.family is not None and self.identity.family.reconnects_by_itself
        return command.action == Action.DELIVER_CERTIFICATE and self.is_on_profile_3()

    def restart(self) -> None:
        """Leave, which it may only with a place of its site, and come back where it can."""
        absences = PlannedAbsence.objects.filter(identity=self.identity, ended_at__isnull=True)
        assert absences.filter(until__gt=self.plane.clock()).exists(), f"{self.identity} leaves without a place"
        self.close()
        if self.returns:
            self.connect(int(self.returns))

    def is_on_profile_3(self) -> bool:
        name = self.identity.authoritative_identifier
        return StationSession.objects.filter(station_id=name, closed_at__isnull=True, security_profile=3).exists()


class TrueFleet(Fleet):
    """Chargers that have what they were given."""

    def add(self, number: int = 1, **given: Any) -> list[Station]:
        made = super().add(number, **given)
        true = [TrueStation(item.plane, item.identity, key_id=item.key_id) for item in made]
        self.stations[-number:] = true
        return list(true)


class Storm(Migration):
    """Eight chargers of two families at one site that may spare two: five move and get keys, three are renewed."""

    def begin(self) -> None:
        self.fleet = TrueFleet(self.plane)
        self.passed = set()
        eagle = capable_family("Eagle", reconnects_by_itself=True)
        vulture = capable_family("Vulture", can_lower_profile=True)
        policy = SitePolicy(site=SITE, away_percent=50, away_most=AWAY_AT_ONCE)
        catalogue.save(entry=policy, actor=OPERATOR, reason="test")
        for number in range(EVERYBODY):
            self.fleet.add(1, family=vulture if number % 3 == 2 else eagle, site=SITE)
        self.fleet.confirm_anchors()
        identities = [station.identity for station in self.fleet.stations]
        for station in self.fleet.stations[MOVING:]:
            self.enrol(station)
        limits = {"success_threshold_percent": 50, "failure_threshold_percent": 50, "minimum_sample": 2}
        roll_out(
            self.plane, cohort("A", identities[:2]), cohort("B", identities[2:3]), **limits, family_failure_limit=2
        )
        roll_out(self.plane, cohort("C", identities[3:MOVING]), **limits, retry_budget=0)
        self.all_keys_are_rotated()
        self.a_renewal_storm_begins()

    def enrol(self, station: Station) -> None:
        """It is on Profile 3 with a certificate that it was given."""
        lifecycle.issue(
            identity=station.identity,
            purpose="charger_identity",
            actor=OPERATOR,
            reason="test",
            now=self.plane.clock(),
        )
        self.plane.work()
        station.serve()
        station.connect(3)
        station.identity.refresh_from_db()
        assert station.identity.security_profile == 3

    def station(self, number: int) -> TrueStation:
        station = super().station(number)
        assert isinstance(station, TrueStation)
        return station

    # -- what happens ------------------------------------------------------------------------------------------------

    def all_keys_are_rotated(self) -> None:
        with suppress(InventoryError), transaction.atomic():
            plan = plans.make(
                kind="key_rotation",
                parameters={"site": SITE, "only_needed": "no", "per_minute": "1000", "per_site": "5"},
                actor=OPERATOR,
                reason="test",
                now=self.now,
            )
            plans.apply(plan=plan, digest=plan.digest, actor=OPERATOR, reason="test", now=self.now)

    def a_renewal_storm_begins(self) -> None:
        for record in CertificateRecord.objects.filter(purpose="charger_identity", state=RecordState.ACTIVE):
            with suppress(InventoryError), transaction.atomic():
                lifecycle.renew(record=record, actor=RENEWAL, reason="All at once", now=self.now)
        self.plane.work()

    def the_duty_runs(self, rounds: int) -> None:
        for _ in range(rounds):
            for duty in DUTIES:
                duty(self.now)
            self.plane.work()
            self.plane.clock.advance(seconds=3)

    def the_duty_dies(self, statement: int, which: Callable[[datetime], object]) -> None:
        with suppress(WorkerDiedError), transaction.atomic(), connection.execute_wrapper(DiesAt(statement)):
            which(self.now)

    def the_fleet_goes_on(self, moods: list[str]) -> None:
        """Everybody answers everything, and comes back where their mood and their credentials take them."""
        self.the_duty_runs(1)
        for number, mood in enumerate(moods):
            self.a_station_answers(number, 9, False, mood)
            self.never_more_of_a_site_are_away_than_may_be()

    def a_station_answers(self, number: int, answers: int, refuses: bool, returns: str) -> None:
        station = self.station(number)
        if not self.is_connected(station):
            return
        self.decide_where_it_returns(station, returns)
        for command in station._waiting()[:answers]:
            station.refuses = {Action(command.action)} if refuses else set()
            station._answer(command)
            if not self.is_connected(station):
                break
        self.plane.work()

    def an_answer_is_lost(self, number: int, acted: bool) -> None:
        """It was asked, and did it or not; nobody hears."""
        station = self.station(number)
        waiting = station._waiting() if self.is_connected(station) else []
        if not waiting:
            return
        if acted:
            self.decide_where_it_returns(station, "2")
            station.loses_its_answer, station.refuses = True, set()
            station._answer(waiting[0])
            station.loses_its_answer = False
        else:
            self.plane.answer(waiting[0], "timed_out")
        self.plane.work()

    def a_station_connects(self, number: int, profile: int) -> None:
        station = self.station(number)
        if self.opens_on_profile_3(station) if profile == 3 else self.opens_on_profile_2(station):
            station.connect(profile)

    def a_station_loses_its_connection(self, number: int) -> None:
        self.station(number).close()

    def an_answer_comes_too_late(self, number: int) -> None:
        """Of a key nobody says that it was taken before it was sent."""
        name = self.station(number).identity.authoritative_identifier
        ended = OutboxCommand.objects.filter(station_id=name, state__in=["expired", "cancelled"])
        late = ended.exclude(action__in=[Action.SET_AUTHORIZATION_KEY, Action.DELIVER_CERTIFICATE]).first()
        if late is not None:
            self.plane.answer(late)
            self.plane.work()

    def an_operator_cuts_one_over(self, number: int) -> None:
        with suppress(InventoryError), transaction.atomic():
            station_commands.cut_over(
                identity=self.station(number).identity,
                actor=OPERATOR,
                reason="test",
                override_forecast=True,
                now=self.now,
            )
        self.plane.work()

    def an_operator_rotates_a_key(self, number: int) -> None:
        """Also of a charger that is away."""
        with suppress(InventoryError), transaction.atomic():
            rotation.rotate(identity=self.station(number).identity, actor=OPERATOR, reason="test", now=self.now)
        self.plane.work()

    def time_passes(self, span: timedelta) -> None:
        self.plane.clock.now += span
        for duty in DUTIES[3:]:
            duty(self.now)
        self.plane.work()

    def decide_where_it_returns(self, station: TrueStation, wanted: str) -> None:
        opens = {"3": self.opens_on_profile_3(station), "2": self.opens_on_profile_2(station), "": True}
        others = {"3": "2", "2": "3", "": ""}
        station.returns = wanted if opens[wanted] else others[wanted] if opens[others[wanted]] else ""

    def is_connected(self, station: Station) -> bool:
        name = station.identity.authoritative_identifier
        return StationSession.objects.filter(station_id=name, closed_at__isnull=True).exists()

    # -- what is always so -------------------------------------------------------------------------------------------

    def never_more_of_a_site_are_away_than_may_be(self) -> None:
        assert caps.most_away(SITE) == AWAY_AT_ONCE
        assert caps.away(SITE, self.now) <= AWAY_AT_ONCE < EVERYBODY

    def every_charger_has_a_way_in(self) -> None:
        for number in range(len(self.fleet.stations)):
            station = self.station(number)
            assert self.opens_on_profile_2(station) or any(
                self.usable(station.identity, fingerprint) for fingerprint in station.certificates
            ), f"{station.identity} has no way in"

    def opens_on_profile_2(self, station: Station) -> bool:
        identity = station.identity
        lowered = identity.fallback_until is not None and identity.fallback_until > self.now
        assert station.key_id is not None
        accepted = AuthorizationKey.objects.filter(pk=station.key_id, state__in=AuthorizationKey.ACCEPTED_STATES)
        return (identity.security_profile <= 2 or lowered) and accepted.exists()

    def opens_on_profile_3(self, station: Station) -> bool:
        assert isinstance(station, TrueStation)
        for fingerprint in reversed(station.certificates):
            if self.usable(station.identity, fingerprint):
                station.certificate = fingerprint
                return True
        return False

    # -- one random order --------------------------------------------------------------------------------------------

    def step(self, chance: Random) -> None:
        """Something happens, the usual more often than the rest."""
        who = chance.randrange(EVERYBODY)
        happenings: list[tuple[int, Callable[[], object]]] = [
            (8, lambda: self.the_fleet_goes_on([chance.choice(MOODS) for _ in range(EVERYBODY)])),
            (4, lambda: self.the_duty_runs(chance.randint(1, 3))),
            (4, lambda: self.the_duty_dies(chance.randint(1, 120), chance.choice(DUTIES))),
            (6, lambda: self.a_station_answers(who, chance.randint(1, 4), chance.random() < 0.3, chance.choice(MOODS))),
            (6, lambda: self.an_answer_is_lost(who, chance.random() < 0.5)),
            (4, lambda: self.a_station_connects(who, chance.choice([2, 3]))),
            (2, lambda: self.a_station_loses_its_connection(who)),
            (2, lambda: self.an_answer_comes_too_late(who)),
            (5, lambda: self.time_passes(chance.choice(LONGER))),
            (3, lambda: self.an_operator_acts_on_a_charger(who % MOVING, chance.choice(CASE_VERBS))),
            (3, lambda: self.an_operator_acts_on_a_rollout(chance.random() < 0.5, chance.choice(ROLLOUT_VERBS))),
            (1, lambda: self.an_operator_rolls_a_wave_back(chance.randrange(3))),
            (1, self.an_operator_closes_a_breaker),
            (1, lambda: self.anchors_go_missing_and_come_back(who)),
            (1, self.all_keys_are_rotated),
            (1, self.a_renewal_storm_begins),
            (3, lambda: self.an_operator_cuts_one_over(who)),
            (2, lambda: self.an_operator_rotates_a_key(who)),
        ]
        weights = [weight for weight, _ in happenings]
        chance.choices([happening for _, happening in happenings], weights)[0]()

    def check(self) -> None:
        """What is always so."""
        self.no_gate_opens_below_its_threshold()
        self.never_more_of_a_site_are_away_than_may_be()
        self.every_charger_has_a_way_in()
        self.every_charger_that_is_not_active_has_exactly_one_answer()
        self.every_transition_is_in_the_table_and_in_the_log()


@pytest.mark.parametrize("seed", range(12))
def test_two_rollouts_a_renewal_storm_and_a_key_rotation_lock_nobody_out(plane: ControlPlane, seed: int) -> None:
    Storm.plane = plane
    storm, chance = Storm(), Random(seed)  # a repeatable order, no secret
    try:
        storm.begin()
        storm.check()
        for _ in range(30):
            storm.step(chance)
            storm.check()
    finally:
        storm.teardown()
