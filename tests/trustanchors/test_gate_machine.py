"""Whatever the order of answers, silence, repeats and people, the gate never opens below its threshold.

Hypothesis drives rollouts on the real database: stations that answer, refuse, repeat, stay silent or forget what they
had; time; the duties in any order; and operators who pause, retry, release anew, roll back and withdraw.
"""

from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from bfcerts.ocpp.canonical import CommandOutcome
from bfcerts.ocpp.models import OutboxCommand
from inventory.errors import InventoryError
from inventory.models import Cohort
from tests.support import OPERATOR, Clock, ControlPlane
from tests.trustanchors.support import Fleet, anchor, authority, bundle, cohort, family, join, own_anchors
from trustanchors.choices import CONFIRMED_STATES, FAILED_STATES, OPENING_STATES
from trustanchors.models import BundleInstallation, BundleRollout, TrustAnchor, TrustAnchorBundle
from trustanchors.services import beginning, control, duties, membership, releasing, withdrawal
from trustanchors.services.gate import why_closed
from trustanchors.services.releasing import Pace

pytestmark = pytest.mark.django_db

DUTIES = [
    membership.take_in_members,
    beginning.begin_due,
    beginning.begin_due,
    duties.go_on_due,
    duties.hold_deadlines,
    duties.check_due,
    duties.end_withdrawn,
    beginning.begin_anew,
]
pick = st.integers(0, 11)


class Gates(RuleBasedStateMachine):
    """Four chargers of two families, one that joins later, and everything that can happen to their anchors."""

    configuration: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        self.example: AbstractContextManager[object] = transaction.atomic()
        self.example.__enter__()
        self.clock = Clock(datetime.now(UTC).replace(microsecond=0))
        self.plane = ControlPlane(self.clock)
        self.fleet = Fleet(self.plane)
        self.answered: list[OutboxCommand] = []
        self.withdrawn: set[int] = set()
        self.group: Cohort | None = None
        self.roots: list[TrustAnchor] = []

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.example.__exit__(None, None, None)

    @initialize(threshold=st.sampled_from([1, 50, 75, 100]))
    def release_to_the_first(self, threshold: int) -> None:
        self.plane.start()
        families = [family("Eagle"), family("Falcon")]
        for number in range(4):
            self.fleet.add(f"CS-{number}", families[number % 2])
        self.group = cohort("North", self.fleet.identities)
        self.fleet.add("CS-LATE", families[0])
        identity_root, server_root = own_anchors(self.clock())
        self.roots = [identity_root, anchor(authority(self.clock()).pem, self.clock())]
        self.pace = Pace(threshold_percent=threshold, failure_limit=2)
        self.release([bundle([identity_root], self.clock()), bundle([server_root], self.clock())])

    def release(self, versions: list[TrustAnchorBundle]) -> None:
        assert self.group is not None
        releasing.release(
            bundles=versions, cohort=self.group, pace=self.pace, actor=OPERATOR, reason="test", now=self.clock()
        )

    def rollout(self, number: int) -> BundleRollout:
        rollouts = list(BundleRollout.objects.select_related("bundle", "cohort").order_by("pk"))
        return rollouts[number % len(rollouts)]

    # -- what happens

    @rule(number=pick)
    def a_duty_runs(self, number: int) -> None:
        DUTIES[number % len(DUTIES)](self.clock())

    @rule()
    def everything_goes_its_way(self) -> None:
        self.fleet.turn()

    @rule(who=pick)
    def a_station_serves(self, who: int) -> None:
        self.fleet.stations[who % 5].serve()

    @rule(who=pick, how=st.sampled_from([CommandOutcome.TIMED_OUT, CommandOutcome.EXPIRED, CommandOutcome.REJECTED]))
    def a_command_ends_badly(self, who: int, how: CommandOutcome) -> None:
        for command in self.fleet.stations[who % 5].waiting()[:1]:
            self.fleet.stations[who % 5].end(command, how, status="Rejected", content={"status": "Rejected"})
            self.plane.read_inbox()

    @rule(number=pick)
    def an_answer_comes_once_more(self, number: int) -> None:
        ended = list(OutboxCommand.objects.exclude(state=OutboxCommand.State.QUEUED).order_by("-pk")[:12])
        if ended:
            command = ended[number % len(ended)]
            self.plane.answer(command, status="Accepted", answer={"status": "Accepted", "certificates": []})
            self.plane.read_inbox()

    @rule(who=pick)
    def a_station_connects(self, who: int) -> None:
        self.fleet.stations[who % 5].connect()

    @rule(who=pick)
    def a_station_forgets_a_root(self, who: int) -> None:
        del self.fleet.stations[who % 5].store[:1]

    @rule(hours=st.sampled_from([0.05, 0.6, 25, 200]))
    def time_passes(self, hours: float) -> None:
        self.clock.advance(hours=hours)

    @rule()
    def a_charger_joins(self) -> None:
        assert self.group is not None
        join(self.group, self.fleet.stations[-1].identity)

    # -- what people do

    @rule(number=pick, verb=st.sampled_from([control.pause, control.resume, control.stop, control.retry_failed]))
    def somebody_steers(self, number: int, verb: Any) -> None:
        with suppress(InventoryError):
            verb(rollout=self.rollout(number), actor=OPERATOR, reason="test", now=self.clock())

    @rule(both=st.booleans())
    def somebody_releases_anew(self, both: bool) -> None:
        with suppress(InventoryError):
            self.release([bundle(self.roots if both else self.roots[:1], self.clock())])

    @rule(number=pick)
    def somebody_rolls_back(self, number: int) -> None:
        with suppress(InventoryError):
            releasing.roll_back(rollout=self.rollout(number), actor=OPERATOR, reason="test", now=self.clock())

    @rule(number=pick, emergency=st.booleans())
    def somebody_withdraws(self, number: int, emergency: bool) -> None:
        chosen = self.rollout(number).bundle
        with suppress(InventoryError):
            withdrawal.withdraw(bundle=chosen, emergency=emergency, actor=OPERATOR, reason="test", now=self.clock())
        self.withdrawn.add(chosen.pk)

    # -- what always holds

    @invariant()
    def the_counts_are_those_of_the_installations(self) -> None:
        for rollout in BundleRollout.objects.all():
            states = list(rollout.installations.values_list("state", flat=True))
            assert rollout.targets == len(states)
            assert rollout.confirmed == sum(state in CONFIRMED_STATES for state in states)
            assert rollout.failed == sum(state in FAILED_STATES for state in states)

    @invariant()
    def no_gate_is_open_below_its_threshold(self) -> None:
        for rollout in BundleRollout.objects.all():
            met = rollout.targets > 0 and rollout.confirmed * 100 >= rollout.threshold_percent * rollout.targets
            assert rollout.gate_open == (met and rollout.state in OPENING_STATES)

    @invariant()
    def a_withdrawn_bundle_opens_nothing(self) -> None:
        for rollout in BundleRollout.objects.filter(bundle__in=self.withdrawn):
            assert not rollout.gate_open
            for installation in rollout.installations.filter(current=True).select_related("identity"):
                assert why_closed(installation.identity, self.clock()) is not None

    @invariant()
    def whoever_may_be_cut_over_has_confirmed_its_anchors(self) -> None:
        for station in self.fleet.stations[:4]:
            if self.group is not None and why_closed(station.identity, self.clock()) is None:
                own = BundleInstallation.objects.filter(identity=station.identity, current=True)
                assert set(own.values_list("state", flat=True)) <= set(CONFIRMED_STATES)
                assert own.count() == 2

    @invariant()
    def the_root_of_our_server_chain_is_never_deleted(self) -> None:
        deleted = OutboxCommand.objects.filter(action="delete_certificate")
        server = TrustAnchor.objects.filter(purpose="backend_server").first()
        if server is not None:
            serials = {int(one.payload["hash_data"]["serialNumber"], 16) for one in deleted}
            assert int(server.serial_number, 16) not in serials


def test_the_gate_holds_in_any_order(db: None, settings_of_pki: Any) -> None:
    run_state_machine_as_test(
        Gates,
        settings=settings(
            max_examples=10,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def settings_of_pki(settings: Any, authority_directory: Path) -> Any:
    from inventory.services import issuance
    from tests.conftest import pki_configuration

    settings.CONFIGURATION = pki_configuration(authority_directory)
    issuance.authorities.cache_clear()
    yield
    issuance.authorities.cache_clear()
