"""Whatever happens in whatever order, a charger has a key that works (domain.md), and the database agrees with itself.

Hypothesis drives the real services, door, outbox and inbox with model stations that have one slot or two, use a new key
at once or after a restart, refuse, drop answers, lose connections and restart; operators rotate; time passes; workers
die between any two statements.
"""

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from bfcerts.ocpp import inbox
from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.models import OutboxCommand
from bfcerts.ocpp.outbox import expire_overdue
from inventory.audit import attributed
from inventory.choices import EventType
from inventory.errors import InventoryError
from inventory.models import ChargerFamily, DomainEvent
from migration.key_choices import KEY_TRANSITIONS, KeyState, RotationStage
from migration.models import AuthorizationKey, KeyRotation
from migration.services import authorization_keys, key_duties, rotation
from tests.dying import DiesAt, WorkerDiedError
from tests.migration.model_station import ModelStation
from tests.support import OPERATOR, Clock, ControlPlane, charger

pytestmark = pytest.mark.django_db

SPANS = [
    timedelta(seconds=1),
    timedelta(seconds=40),
    timedelta(minutes=3),
    timedelta(hours=5),
    timedelta(days=2),
    timedelta(days=8),
]
S = KeyState
fates = st.sampled_from(
    ["accepted", "accepted", "reboot", "rejected", "error", "lost", "lost", "timed_out", "timed_out", "back first"]
)
deaths = st.one_of(st.just(0), st.integers(1, 30))
"""At which statement a worker dies; 0: it does not."""


def station_on(plane: ControlPlane, name: str, *, two_slots: bool, late: bool, prompt: bool) -> ModelStation:
    with attributed(OPERATOR, "given"):
        family = ChargerFamily.objects.create(name=name, vendor="V", model=name, reconnects_by_itself=prompt)
    identity = charger(name, family=family)
    secret = f"first-key-of-{name:->8}"
    authorization_keys.set_initial(identity=identity, secret=secret, actor=OPERATOR, reason="given", now=plane.clock())
    made = ModelStation(identity, plane, secret, two_slots=two_slots, applies_after_restart=late)
    made.connect()
    plane.work()
    return made


class Rotations(RuleBasedStateMachine):
    """One model station, its operator, the workers, and time."""

    def __init__(self) -> None:
        super().__init__()
        self.example: AbstractContextManager[object] = transaction.atomic()
        self.example.__enter__()
        self.clock = Clock(datetime.now(UTC).replace(microsecond=0))
        self.plane = ControlPlane(self.clock)
        self.states: dict[int, str] = {}

    @initialize(two_slots=st.booleans(), late=st.booleans(), prompt=st.booleans(), taken=st.booleans(), fate=fates)
    def begin(self, two_slots: bool, late: bool, prompt: bool, taken: bool, fate: str) -> None:
        """Somewhere on the way, or random orders would seldom get beyond its beginning."""
        self.station = station_on(self.plane, "CS-1", two_slots=two_slots, late=late, prompt=prompt)
        self.rotate()
        self.hear_a_command(taken, fate)
        self.plane.read_inbox()

    def teardown(self) -> None:
        try:
            self.come_to_rest()
        finally:
            transaction.set_rollback(True)
            self.example.__exit__(None, None, None)

    def attempt(self, work: Callable[[], object], dies_at: int = 0) -> None:
        """Work in one transaction, whose worker may die at a statement of it."""
        with suppress(WorkerDiedError), transaction.atomic(), connection.execute_wrapper(DiesAt(dies_at)):
            work()

    # -- operators, workers and time

    @rule(what=st.sampled_from(["rotate", "rotate", "revoke", "revoke active", "set", "import"]), dies_at=deaths)
    def an_operator_acts(self, what: str, dies_at: int) -> None:
        """Whatever is not forced: it is refused, or takes nothing that the station needs."""
        if what == "rotate":
            self.rotate(dies_at)
            return
        identity, now = self.station.identity, self.clock()
        with suppress(InventoryError):
            if what in ("set", "import"):
                give = authorization_keys.set_initial if what == "set" else authorization_keys.import_existing
                give(identity=identity, secret="not-what-it-has-at-all", actor=OPERATOR, reason="test", now=now)
                return
            key = AuthorizationKey.objects.filter(state=S.PENDING if what == "revoke" else S.ACTIVE).first()
            if key is not None:
                authorization_keys.revoke(key=key, actor=OPERATOR, reason="test", now=now)

    def rotate(self, dies_at: int = 0) -> None:
        def work() -> None:
            with suppress(InventoryError):
                rotation.rotate(identity=self.station.identity, actor=OPERATOR, reason="test", now=self.clock())

        self.attempt(work, dies_at)

    @rule(dies_at=deaths)
    def a_worker_works(self, dies_at: int) -> None:
        self.attempt(lambda: inbox.process_due(now=self.clock(), limit=50), dies_at)
        self.attempt(lambda: key_duties.go_on(self.clock()), dies_at)
        self.attempt(lambda: key_duties.retire_due(self.clock()), dies_at)

    @rule(span=st.sampled_from(SPANS))
    def time_passes(self, span: timedelta) -> None:
        self.clock.now += span
        expire_overdue(self.clock())
        self.plane.read_inbox()
        key_duties.go_on(self.clock())
        key_duties.retire_due(self.clock())

    # -- the station

    @rule(taken=st.booleans(), fate=fates)
    def hear(self, taken: bool, fate: str) -> None:
        self.hear_a_command(taken, fate)

    @rule(taken=st.booleans(), fate=fates, dies_at=deaths)
    def hear_and_work(self, taken: bool, fate: str, dies_at: int) -> None:
        self.hear_a_command(taken, fate)
        self.a_worker_works(dies_at)

    @rule(what=st.sampled_from(["reconnect", "restart", "go away"]))
    def move(self, what: str) -> None:
        match what:
            case "reconnect":
                self.station.connect()
            case "restart":
                self.station.restart()
            case _:
                self.station.disconnect()

    def hear_a_command(self, taken: bool, fate: str) -> None:
        """An honest station: it says Accepted only for what it keeps, and Rejected only for what it does not keep.

        What it kept at an earlier sending, whose answer was lost, it refuses as well: a restart is pending, or the key
        is the same as before.
        """
        command = self.station.next_command()
        if command is None:
            return
        if command.action == Action.RESET:
            self.restart_after(command, fate)
            return
        if fate in ("accepted", "reboot", "back first") or (taken and fate != "rejected"):
            self.station.take(command)
        match fate:
            case "accepted":
                self.station.answer(command)
            case "reboot":
                self.station.answer(command, status="RebootRequired")
            case "rejected":
                self.station.answer(command, "rejected")
            case "error":
                self.station.answer(command, "error", code="InternalError")
            case "timed_out":
                self.station.answer(command, "timed_out")
            case "lost":
                self.station.disconnect()
                self.station.connect()
            case "back first":
                self.station.connect()
                self.station.answer(command)

    def restart_after(self, command: OutboxCommand, fate: str) -> None:
        if fate == "rejected":
            self.station.answer(command, "rejected")
            return
        if fate != "lost":
            self.station.answer(command)
        self.station.restart()

    # -- what always holds

    @invariant()
    def it_always_has_a_way_in(self) -> None:
        if hasattr(self, "station"):
            assert self.station.has_a_way_in(), (self.station, list(AuthorizationKey.objects.values()))
            assert self.station.refusals == 0 or self.station.two_slots

    @invariant()
    def one_key_is_active_and_every_move_is_one_of_the_table(self) -> None:
        found = dict(AuthorizationKey.objects.values_list("pk", "state"))
        for key, state in found.items():
            before = self.states.get(key, state)
            steps = {before} | KEY_TRANSITIONS[before]
            assert state in steps | {last for step in steps for last in KEY_TRANSITIONS[step]}
        self.states = found
        if found:
            assert list(found.values()).count(S.ACTIVE) == 1

    @invariant()
    def every_key_has_a_rotation_that_agrees_with_it_and_keeps_no_secret_too_long(self) -> None:
        for item in KeyRotation.objects.select_related("key"):
            assert item.is_open == (item.key.state == S.PENDING)
            assert (item.stage == RotationStage.FAILED) == (item.key.state == S.REVOKED)
            assert item.sealed_secret is None or item.stored_at is None
            assert not item.is_open or item.next_step_at is not None

    @invariant()
    def every_step_is_one_event(self) -> None:
        for key in AuthorizationKey.objects.filter(source="generated"):
            events = [event.type for event in DomainEvent.objects.filter(payload__keyId=key.pk).order_by("pk")]
            assert len(events) == len(set(events))
            assert events[0] == EventType.AUTHORIZATION_KEY_GENERATED
            was_active = key.activated_at is not None
            assert (EventType.AUTHORIZATION_KEY_ACTIVATED in events) == was_active
            assert not was_active or EventType.AUTHORIZATION_KEY_DELIVERED in events

    def come_to_rest(self) -> None:
        """Left alone with a station that obeys, every rotation ends, and the station is in with the active key."""
        if not hasattr(self, "station"):
            return
        for _ in range(7):
            self.station.restart()
            for _ in range(2):
                while (command := self.station.next_command()) is not None:
                    self.station.take(command)
                    self.station.answer(command)
                    self.plane.work()
                    if command.action == Action.RESET:
                        self.station.restart()
                self.plane.work()
                self.clock.now += timedelta(minutes=5)
                key_duties.go_on(self.clock())
            self.clock.now += timedelta(days=8)
            expire_overdue(self.clock())
            self.plane.work()
            key_duties.go_on(self.clock())
            key_duties.retire_due(self.clock())
            self.it_always_has_a_way_in()
        assert not AuthorizationKey.objects.filter(state__in=[S.PENDING, S.RETIRING]).exists(), list(
            KeyRotation.objects.values()
        )
        assert self.station.connect()
        assert not KeyRotation.objects.exclude(sealed_secret=None).exists()


def test_a_charger_always_has_a_key_that_works(plane: ControlPlane) -> None:
    run_state_machine_as_test(
        Rotations,
        settings=settings(
            max_examples=15,
            stateful_step_count=20,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


# -- every single statement ------------------------------------------------------------------------------------------


def count_statements(work: Callable[[], object]) -> int:
    seen = itertools.count()

    def execute(run: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        next(seen)
        return run(sql, params, many, context)

    with transaction.atomic():
        with connection.execute_wrapper(execute):
            work()
        transaction.set_rollback(True)
    return next(seen)


@pytest.mark.parametrize("late", [False, True], ids=["used at once", "used after a restart"])
@pytest.mark.parametrize("two_slots", [False, True], ids=["one slot", "two slots"])
def test_a_worker_that_dies_at_any_statement_of_a_rotation_locks_nobody_out(
    plane: ControlPlane, two_slots: bool, late: bool
) -> None:
    """Each stage dies at its first, second, … last statement, is done again, and ends as if it ran once."""
    made = station_on(plane, "CS-1", two_slots=two_slots, late=late, prompt=False)

    def read() -> object:
        return inbox.process_due(now=plane.clock(), limit=50)

    def station_takes_the_key() -> None:
        command = made.next_command()
        assert command is not None
        made.take(command)
        made.answer(command)

    stages: list[tuple[Callable[[], object], Callable[[], object]]] = [
        (
            lambda: rotation.rotate(identity=made.identity, actor=OPERATOR, reason="test", now=plane.clock()),
            station_takes_the_key,
        ),
        (read, lambda: plane.clock.advance(minutes=1)),
        (lambda: key_duties.go_on(plane.clock()), made.restart),
        (read, lambda: plane.clock.advance(days=8)),
        (lambda: key_duties.retire_due(plane.clock()), lambda: None),
    ]
    deaths = 0
    for work, then in stages:
        statements = count_statements(work)
        assert statements > 1
        for number in range(1, statements + 1):
            with pytest.raises(WorkerDiedError), transaction.atomic(), connection.execute_wrapper(DiesAt(number)):
                work()
            assert made.has_a_way_in(), (work, number)
            deaths += 1
        work()
        assert made.has_a_way_in()
        then()
        assert made.has_a_way_in()

    assert deaths > 40
    states = AuthorizationKey.objects.order_by("version").values_list("state", flat=True)
    assert list(states) == ["retired", "active"]
    assert made.refusals == 0
