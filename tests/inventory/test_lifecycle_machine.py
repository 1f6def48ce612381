"""Whatever happens in whatever order, the invariants of the record's lifecycle hold (domain.md).

Hypothesis drives the services of the control plane on the real database and the real local CA: operators, stations
that oblige, refuse, repeat and come back with old certificates, time, sweeps, and workers that run a step or two, in
any order, and die in the middle.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    rule,
    run_state_machine_as_test,
)

from bfcerts.ocpp import inbox
from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.models import OutboxCommand
from bfcerts.ocpp.registry import Admission
from inventory.choices import JobQueue, RecordState
from inventory.errors import InventoryError
from inventory.jobs import engine
from inventory.models import CertificateJob, CertificateRecord, ManagedIdentity
from inventory.services import identities, jobs, lifecycle, sweeps
from inventory.services.door import CertificateDoor
from tests.dying import DyingClock, WorkerDiedError
from tests.inventory.attempts import certificate_attempt
from tests.inventory.lifecycle_invariants import LifecycleInvariants
from tests.support import OPERATOR, Clock, ControlPlane, PrivateKey, charger, new_key, request_for

pytestmark = pytest.mark.django_db

S = RecordState
Choice = TypeVar("Choice")
LEASE = timedelta(seconds=60)
SPANS = [
    timedelta(seconds=1),
    timedelta(seconds=61),
    timedelta(minutes=10),
    timedelta(hours=5),
    timedelta(days=2),
    timedelta(days=8),
    timedelta(days=40),
    timedelta(days=150),
]
YEARS = timedelta(days=3 * 365)
"""How far an example goes at most: the local CA does not live for ever."""
SWEEPS: list[Callable[[datetime], object]] = [
    sweeps.start_due_renewals,
    sweeps.retire_expired,
    sweeps.revoke_unconfirmed,
    sweeps.raise_thresholds,
    sweeps.expire_commands,
    sweeps.report_stopped_queues,
]
pick = st.integers(0, 11)
who = st.integers(0, 1)
stages = st.sampled_from(["unknown", "requested", "delivering", "installed", "active", "renewing", "replaced"])
queues = st.sampled_from([JobQueue.GENERAL, JobQueue.PKI])


class Lifecycle(LifecycleInvariants):
    """Two chargers, their operators, the workers, and time."""

    authority_directory: ClassVar[Path]

    def __init__(self) -> None:
        self.example: AbstractContextManager[object] = transaction.atomic()
        self.example.__enter__()
        clock = Clock(datetime.now(UTC).replace(microsecond=0))
        super().__init__(clock, [charger("CS-1"), charger("CS-10")])
        self.ends = self.clock() + YEARS
        self.plane = ControlPlane(self.clock)
        self.keys: list[PrivateKey] = []
        self.last_request = ["", ""]
        self.certificates_before = self.certificates_of_the_ca()

    def teardown(self) -> None:
        try:
            self.come_to_rest()
        finally:
            transaction.set_rollback(True)
            self.example.__exit__(None, None, None)

    # -- what there is to choose from

    def one_of(self, choices: Sequence[Choice], number: int) -> Choice | None:
        return choices[number % len(choices)] if choices else None

    def record(self, number: int, *states: str) -> CertificateRecord | None:
        records = CertificateRecord.objects.filter(state__in=states or S.values).order_by("pk")
        return self.one_of(list(records.select_related("identity")), number)

    def allowed(self, act: Callable[..., object], **arguments: Any) -> None:
        """A command by an operator: done, or refused by the domain; any other error is a defect."""
        with suppress(InventoryError):
            act(actor=OPERATOR, reason="test", now=self.clock(), **arguments)

    # -- where it begins

    @initialize(first=stages, second=stages)
    def begin(self, first: str, second: str) -> None:
        """Somewhere on the way, or random orders would seldom get beyond its beginning."""
        for number, stage in enumerate((first, second)):
            self.bring_to(stage, number)
        self.taken_on_purpose = True

    def bring_to(self, stage: str, number: int) -> None:
        identity = self.chargers[number]
        match stage:
            case "requested":
                self.send_request(number, "new")
                self.plane.read_inbox()
            case "delivering":
                self.send_request(number, "new")
                self.plane.work()
            case "installed":
                self.bring_to("delivering", number)
                self.plane.answer(self.plane.open_command(identity, Action.DELIVER_CERTIFICATE))
                self.plane.work()
            case "active":
                self.plane.enrol(identity)
            case "renewing":
                self.bring_to("active", number)
                self.bring_to("delivering", number)
            case "replaced":
                self.bring_to("renewing", number)
                self.plane.play_station(identity)

    # -- operators

    @rule(number=who)
    def issue(self, number: int) -> None:
        self.allowed(lifecycle.issue, identity=self.chargers[number], purpose="charger_identity")

    @rule(number=pick)
    def renew(self, number: int) -> None:
        if record := self.record(number, S.ACTIVE):
            self.allowed(lifecycle.renew, record=record)

    @rule(number=pick)
    def install(self, number: int) -> None:
        if record := self.record(number):
            self.allowed(lifecycle.install, record=record)

    @rule(number=pick)
    def revoke(self, number: int) -> None:
        if record := self.record(number):
            self.taken_on_purpose = True
            self.allowed(lifecycle.revoke, record=record)

    @rule(number=pick, force=st.booleans())
    def deactivate(self, number: int, force: bool) -> None:
        if record := self.record(number, S.ACTIVE):
            self.taken_on_purpose = force
            self.allowed(lifecycle.deactivate, record=record, force=force)

    @rule(number=pick)
    def reactivate(self, number: int) -> None:
        if record := self.record(number, S.INACTIVE):
            self.allowed(lifecycle.reactivate, record=record)

    @rule(number=pick, force=st.booleans())
    def delete(self, number: int, force: bool) -> None:
        if record := self.record(number):
            self.taken_on_purpose = force
            self.allowed(lifecycle.delete, record=record, force=force)

    @rule(number=pick)
    def cancel(self, number: int) -> None:
        if job := self.one_of(list(CertificateJob.objects.order_by("pk")), number):
            self.allowed(jobs.cancel, job=job)

    @rule(number=pick)
    def hasten(self, number: int) -> None:
        if job := self.one_of(list(CertificateJob.objects.open().order_by("pk")), number):
            self.allowed(jobs.run_now, job=job)

    @rule(number=who)
    def disable_or_enable(self, number: int) -> None:
        identity = ManagedIdentity.objects.get(pk=self.chargers[number].pk)
        identities.set_enabled(identity=identity, enabled=not identity.enabled, actor=OPERATOR, reason="test")

    # -- stations

    @rule(number=who, kind=st.sampled_from(["new", "new", "new", "same", "other station", "other key", "junk"]))
    def send_request(self, number: int, kind: str) -> None:
        """SignCertificate, asked for or not, again, for somebody else, with somebody else's key, or nonsense."""
        identity = self.chargers[number]
        match kind:
            case "new":
                self.keys.append(new_key())
                csr = request_for(identity.authoritative_identifier, self.keys[-1])
                self.last_request[number] = csr
            case "same":
                csr = self.last_request[number]
            case "other station":
                csr = request_for(self.chargers[1 - number].authoritative_identifier)
            case "other key":
                csr = request_for(identity.authoritative_identifier, self.one_of(self.keys, number))
            case _:
                csr = "junk"
        self.plane.send_csr(identity, csr)

    @rule(number=pick, outcome=st.sampled_from(["accepted", "accepted", "rejected", "error", "timed_out"]))
    def answer(self, number: int, outcome: str) -> None:
        """A station's answer, also a late one to what was withdrawn meanwhile."""
        commands = OutboxCommand.objects.exclude(state=OutboxCommand.State.ANSWERED).order_by("-pk")
        if command := self.one_of(list(commands), number):
            self.plane.answer(command, outcome, status=outcome)

    @rule(number=pick)
    def connect(self, number: int) -> None:
        """With any certificate it ever had, as far as the door lets it in."""
        if record := self.record(number, *(state for state in S.values if state != S.REQUESTED)):
            if not record.fingerprint:
                return
            (decision,) = CertificateDoor().decide([certificate_attempt(record, self.clock())])
            if isinstance(decision, Admission):
                assert record.state in (S.ISSUED, S.INSTALLED_PENDING_ACTIVATION, S.ACTIVE, S.RETIRED)
                if decision.evidence_wanted:
                    self.plane.connect(record.identity, record)

    @rule(number=who)
    def oblige(self, number: int) -> None:
        """The station does what it is asked to, all at once."""
        self.plane.play_station(self.chargers[number])

    # -- time, workers, and their end

    @rule(span=st.sampled_from(SPANS))
    def time_passes(self, span: timedelta) -> None:
        self.taken_on_purpose = True
        self.clock.now = min(self.clock() + span, self.ends)

    @rule(sweep=st.sampled_from(SWEEPS))
    def sweep(self, sweep: Callable[[datetime], object]) -> None:
        # What was never seen in use may be taken back; what was in use may not.
        self.taken_on_purpose = sweep is sweeps.revoke_unconfirmed
        in_use = set(CertificateRecord.objects.filter(state=S.ACTIVE).values_list("pk", flat=True))
        sweep(self.clock())
        if self.taken_on_purpose:
            assert in_use == set(CertificateRecord.objects.filter(state=S.ACTIVE).values_list("pk", flat=True))

    @rule(limit=st.integers(1, 3))
    def read_inbox(self, limit: int) -> None:
        inbox.process_due(now=self.clock(), limit=limit)

    @rule(queue=queues, limit=st.integers(1, 3))
    def run_steps(self, queue: str, limit: int) -> None:
        engine.run_due(queue=queue, clock=self.clock, limit=limit, lease=LEASE)

    @rule(queue=queues)
    def a_worker_dies_holding_a_lease(self, queue: str) -> None:
        engine.claim(queue=queue, now=self.clock(), limit=1, lease=LEASE)

    @rule(queue=queues, dies_at=st.integers(2, 3))
    def a_worker_dies_in_a_step(self, queue: str, dies_at: int) -> None:
        """Before the step, or after the CA has answered and before that is stored."""
        with suppress(WorkerDiedError):
            engine.run_due(queue=queue, clock=DyingClock(self.clock, dies_at), limit=2, lease=LEASE)

    @rule()
    def work_settles(self) -> None:
        self.plane.work()

    # -- how it ends

    def certificates_of_the_ca(self) -> set[str]:
        return {path.stem for path in self.authority_directory.glob("charger_identity/issued/*/*.pem")}

    def come_to_rest(self) -> None:
        """Nobody answers any more: every job ends by itself, and no certificate of the CA is forgotten."""
        for _ in range(40):
            self.plane.work()
            if not CertificateJob.objects.open().exists():
                break
            self.clock.now += timedelta(days=3)
            for sweep in SWEEPS[1:]:
                sweep(self.clock())
        assert not CertificateJob.objects.open().exists(), list(CertificateJob.objects.open().values())

        made = self.certificates_of_the_ca() - self.certificates_before
        recorded = Counter(CertificateRecord.objects.exclude(serial_number="").values_list("serial_number", flat=True))
        assert dict(recorded) == dict.fromkeys(made, 1)
        for record in CertificateRecord.objects.filter(state__in=[S.REVOKED, S.DELETED], revoked_at__isnull=False):
            assert record.revocation_propagated_at is not None
        for record in CertificateRecord.objects.filter(state=S.ISSUED):
            assert record.confirm_by is not None
        for condition in (
            self.at_most_one_is_active_and_that_on_evidence_of_its_own,
            self.what_was_revoked_never_comes_back,
            self.every_change_of_state_is_one_event_with_author_and_reason,
            self.a_request_is_never_without_a_job_that_works_on_it,
        ):
            condition()


def test_the_invariants_of_the_lifecycle_hold_in_every_order(plane: ControlPlane, authority_directory: Path) -> None:
    Lifecycle.authority_directory = authority_directory
    run_state_machine_as_test(
        Lifecycle,
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
