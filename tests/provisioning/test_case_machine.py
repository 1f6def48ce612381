"""Whatever comes in whatever order, no case is active without fresh authoritative evidence, and no blocked one in use.

Hypothesis drives one vehicle's cases on the real database: answers that are fresh, old, late, repeated, about another
certificate or from somebody who decides nothing; revocations and suspensions from outside and here; time; duties; and
operators who confirm, retry, block, unblock, cancel and start anew.
"""

from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, ClassVar

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from inventory.choices import EventType
from inventory.errors import InventoryError
from inventory.models import CertificateRecord, DomainEvent
from inventory.services import lifecycle, sweeps
from provisioning.choices import CASE_TRANSITIONS, OPEN, CaseState
from provisioning.models import ProvisioningCase, ProvisioningEvidence
from provisioning.services import cases, duties
from tests.provisioning.support import CONFIRMED, certificate, decide, root_of, says, start, vehicle
from tests.support import OPERATOR, Clock, ControlPlane

pytestmark = pytest.mark.django_db

S = CaseState
SPANS = [timedelta(seconds=1), timedelta(minutes=6), timedelta(hours=13), timedelta(days=2), timedelta(days=8)]
ages = st.sampled_from([timedelta(0), timedelta(0), timedelta(minutes=3), timedelta(hours=2), timedelta(days=2)])
mostly_not = st.sampled_from([False, False, True])
pick = st.sampled_from([0, 0, 0, 1, 2])
"""Mostly the newest case."""


class Provisioning(RuleBasedStateMachine):
    """One vehicle with one contract, and everything that can happen to it."""

    level: ClassVar[str] = "lifecycle_only"

    def __init__(self) -> None:
        super().__init__()
        self.example: AbstractContextManager[object] = transaction.atomic()
        self.example.__enter__()
        self.clock = Clock(datetime.now(UTC).replace(microsecond=0))
        self.activations: set[int] = set()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.example.__exit__(None, None, None)

    @initialize(far=st.sampled_from([0, 1, 2]))
    def a_vehicle_of_a_decided_program(self, far: int) -> None:
        ControlPlane(self.clock).start()
        decide(source_of_truth=self.level)
        root_of("iso15118_contract", self.clock)
        self.identity = vehicle("WAUZZZ1")
        start(self.clock, self.identity)
        if far:
            self.everything_goes_well(0, usable=far == 2)

    def case(self, number: int) -> ProvisioningCase:
        found = list(ProvisioningCase.objects.select_related("identity").order_by("-pk")[:3])
        return found[number % len(found)]

    # -- what operators do

    @rule()
    def another_case_is_started(self) -> None:
        with suppress(InventoryError):
            start(self.clock, self.identity)

    @rule(number=pick, key=st.sampled_from(CONFIRMED))
    def a_prerequisite_is_confirmed(self, number: int, key: str) -> None:
        with suppress(InventoryError):
            cases.confirm(
                case=self.case(number), prerequisite=key, actor=OPERATOR, reason="in writing", now=self.clock()
            )

    def everything_is_confirmed(self, number: int) -> None:
        for key in CONFIRMED:
            self.a_prerequisite_is_confirmed(number, key)

    @rule(number=pick, verb=st.sampled_from([cases.deliver, cases.retry, cases.unblock, cases.block, cases.unblock]))
    def an_operator_gives_a_verb(self, number: int, verb: Any) -> None:
        with suppress(InventoryError):
            verb(case=self.case(number), actor=OPERATOR, reason="test", now=self.clock())

    @rule(number=pick, sure=st.booleans())
    def an_operator_cancels(self, number: int, sure: bool) -> None:
        if sure:
            with suppress(InventoryError):
                cases.cancel(case=self.case(number), actor=OPERATOR, reason="test", now=self.clock())

    @rule(number=pick, usable=st.booleans())
    def everything_goes_well(self, number: int, usable: bool) -> None:
        self.everything_is_confirmed(number)
        self.clock.now += timedelta(seconds=1)
        self.it_is_said_to_be_delivered(number, timedelta(0), True)
        if usable:
            self.it_is_said_to_be_usable(number, timedelta(0), "hubject")

    @rule(usable=st.booleans())
    def everything_goes_well_with_the_newest(self, usable: bool) -> None:
        self.an_operator_gives_a_verb(0, cases.unblock)
        self.an_operator_gives_a_verb(0, cases.retry)
        self.another_case_is_started()
        self.everything_goes_well(0, usable)

    # -- what partners say

    @rule(number=pick, age=ages, with_certificate=st.booleans())
    def it_is_said_to_be_delivered(self, number: int, age: timedelta, with_certificate: bool) -> None:
        values = {"certificate_pem": certificate(self.clock, days=30)} if with_certificate else {}
        self.answer(number, "delivery", "positive", age, **values)

    @rule(number=pick, age=ages, system=st.sampled_from(["hubject", "ocpi"]), of_another=mostly_not)
    def it_is_said_to_be_usable(self, number: int, age: timedelta, system: str, of_another: bool = False) -> None:
        values = {"fingerprint": "ab" * 32} if of_another else {}
        self.answer(number, "readiness", "positive", age, system=system, **values)

    @rule(number=pick, age=ages, outcome=st.sampled_from(["suspended", "revoked", "reinstated", "refused"]))
    def a_notice_comes(self, number: int, age: timedelta, outcome: str) -> None:
        self.answer(number, "notice", outcome, age)

    @rule(number=pick)
    def the_responder_says_revoked(self, number: int) -> None:
        fingerprint = self.case(number).fingerprint
        self.answer(number, "certificate_status", "revoked", timedelta(0), system="status", fingerprint=fingerprint)

    @rule(number=pick)
    def an_answer_comes_once_more(self, number: int) -> None:
        known = ProvisioningEvidence.objects.exclude(case=None).order_by("-pk").first()
        if known is not None and known.case is not None:
            before = ProvisioningEvidence.objects.count()
            says(self.clock, known.case, known.kind, known.outcome, system=known.system, dedupe_key=known.dedupe_key)
            assert ProvisioningEvidence.objects.count() == before

    def answer(self, number: int, kind: str, outcome: str, age: timedelta, **values: Any) -> None:
        with suppress(InventoryError):
            says(self.clock, self.case(number), kind, outcome, observed_at=self.clock() - age, **values)

    # -- what happens here

    @rule(number=pick, verb=st.sampled_from([lifecycle.deactivate, lifecycle.reactivate, lifecycle.revoke]))
    def somebody_works_on_the_certificate(self, number: int, verb: Any) -> None:
        found = list(CertificateRecord.objects.order_by("-pk")[:2])
        if found:
            force = {"force": True} if verb is lifecycle.deactivate else {}
            with suppress(InventoryError):
                verb(record=found[number % len(found)], actor=OPERATOR, reason="test", now=self.clock(), **force)

    @rule(span=st.sampled_from(SPANS))
    def time_passes(self, span: timedelta) -> None:
        self.clock.now += span
        duties.drive(self.clock())
        sweeps.retire_expired(self.clock())

    # -- what always holds

    @invariant()
    def one_case_is_open_and_one_active(self) -> None:
        standing = ProvisioningCase.objects.filter(superseded_at=None)
        assert standing.filter(state__in=OPEN).count() <= 1
        assert standing.filter(state=S.ACTIVE).count() <= 1

    @invariant()
    def an_active_case_rests_on_evidence_that_was_fresh_and_authoritative(self) -> None:
        for case in ProvisioningCase.objects.filter(state=S.ACTIVE):
            evidence = case.activation_evidence
            assert evidence is not None
            assert (evidence.case_id, evidence.authoritative, evidence.outcome) == (case.pk, True, "positive")
            assert evidence.observed_at <= case.entered_state_at < evidence.fresh_until
            if case.superseded_at is None and case.record is not None:
                assert case.record.state == "active"

    @invariant()
    def a_blocked_case_has_no_active_certificate_and_names_whom_to_ask(self) -> None:
        for case in ProvisioningCase.objects.filter(state=S.BLOCKED):
            assert case.record is None or case.record.state != "active"
            assert case.blocked_by

    @invariant()
    def what_was_revoked_outside_is_not_active_here(self) -> None:
        revoked = ProvisioningEvidence.objects.filter(outcome="revoked").exclude(fingerprint="")
        ended = CertificateRecord.objects.filter(fingerprint__in=revoked.values("fingerprint"))
        assert not ended.filter(state="active").exists()

    @invariant()
    def every_move_is_in_the_table_and_in_the_log(self) -> None:
        moved: dict[int, list[tuple[str, str]]] = {}
        for event in DomainEvent.objects.filter(type=EventType.PROVISIONING_STATE_CHANGED).order_by("pk"):
            told = event.payload
            moved.setdefault(told["provisioningCaseId"], []).append((told["oldState"], told["newState"]))
        for case in ProvisioningCase.objects.all():
            states = moved[case.pk]
            assert states[0] == ("", S.PREREQUISITE)
            assert states[-1][1] == case.state
            assert all(new in CASE_TRANSITIONS[old] for old, new in states[1:])
            assert all(before[1] == after[0] for before, after in pairwise(states))

    @invariant()
    def whoever_is_not_active_says_why(self) -> None:
        for case in ProvisioningCase.objects.exclude(state=S.ACTIVE):
            assert case.why


def test_the_invariants_of_provisioning_hold_in_every_order(plane: ControlPlane) -> None:
    run_state_machine_as_test(
        Provisioning,
        settings=settings(
            max_examples=30,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
