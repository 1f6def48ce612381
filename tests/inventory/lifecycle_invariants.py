"""What of the lifecycle holds whatever happens in whatever order (domain.md)."""

from collections import Counter
from collections.abc import Sequence

from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
)

from inventory.choices import EventType, JobState, RecordState
from inventory.models import CertificateJob, CertificateRecord, DomainEvent, ManagedIdentity
from tests.support import Clock

S = RecordState
# What each change of state is called in the event log; a change to installed has two names, by where it comes from.
EVENT_OF = {
    (S.REQUESTED, S.ISSUED): EventType.CERTIFICATE_ISSUED,
    (S.ISSUED, S.INSTALLED_PENDING_ACTIVATION): EventType.CERTIFICATE_INSTALLED,
    (S.INACTIVE, S.INSTALLED_PENDING_ACTIVATION): EventType.CERTIFICATE_REACTIVATED,
    **{(source, S.ACTIVE): EventType.CERTIFICATE_ACTIVATED for source in S.values},
    **{(source, S.INACTIVE): EventType.CERTIFICATE_DEACTIVATED for source in S.values},
    **{(source, S.RETIRED): EventType.CERTIFICATE_RETIRED for source in S.values},
    **{(source, S.REVOKED): EventType.CERTIFICATE_REVOKED for source in S.values},
    **{(source, S.DELETED): EventType.CERTIFICATE_DELETED for source in S.values},
}


class LifecycleInvariants(RuleBasedStateMachine):
    """Checked after each thing that happens; what happens is stated by the machine that inherits this."""

    def __init__(self, clock: Clock, chargers: Sequence[ManagedIdentity]) -> None:
        super().__init__()
        self.clock = clock
        self.chargers = chargers
        self.revoked: set[int] = set()
        self.working: dict[int, bool] = {}
        self.taken_on_purpose = True

    @invariant()
    def at_most_one_is_active_and_that_on_evidence_of_its_own(self) -> None:
        active = CertificateRecord.objects.filter(state=S.ACTIVE).select_related("activation_evidence")
        slots = Counter((record.identity_id, record.purpose, record.slot) for record in active)
        assert all(count == 1 for count in slots.values())
        for record in active:
            evidence = record.activation_evidence
            assert evidence is not None
            assert evidence.record_id == record.pk
            assert evidence.kind in record.purpose_entry.activating_evidence
            assert record.deactivated_at is None or evidence.observed_at > record.deactivated_at

    @invariant()
    def nobody_is_left_without_a_way_in_but_on_purpose_or_by_time(self) -> None:
        working = {
            identity.pk: CertificateRecord.objects.of(identity.pk, "charger_identity").usable_at(self.clock()).exists()
            for identity in self.chargers
        }
        if not self.taken_on_purpose:
            for identity, worked in self.working.items():
                assert working[identity] or not worked
        self.working, self.taken_on_purpose = working, False

    @invariant()
    def what_was_revoked_never_comes_back(self) -> None:
        states = dict(CertificateRecord.objects.values_list("pk", "state"))
        assert all(states[number] in (S.REVOKED, S.DELETED) for number in self.revoked)
        self.revoked |= {number for number, state in states.items() if state == S.REVOKED}

    @invariant()
    def every_change_of_state_is_one_event_with_author_and_reason(self) -> None:
        expected: Counter[tuple[int, str]] = Counter()
        states: dict[int, str] = {}
        for row in CertificateRecord.history.order_by("history_id"):
            assert row.actor
            assert row.history_change_reason
            before = states.get(row.id)
            if before is not None and before != row.state:
                expected[row.id, EVENT_OF[S(before), S(row.state)]] += 1
            states[row.id] = row.state
        counted = Counter(
            DomainEvent.objects.filter(record__isnull=False, type__in=set(EVENT_OF.values())).values_list(
                "record", "type"
            )
        )
        assert counted == expected
        assert states == dict(CertificateRecord.objects.values_list("pk", "state"))

    @invariant()
    def each_job_is_asked_for_once_and_is_due_leased_or_waiting_with_an_end(self) -> None:
        requested = Counter(DomainEvent.objects.filter(type=EventType.CERTIFICATE_REQUESTED).values_list("job"))
        assert all(count == 1 for count in requested.values())
        for job in CertificateJob.objects.all():
            assert job.actor
            assert job.reason
            match job.state:
                case JobState.QUEUED:
                    assert job.next_run_at <= self.clock()
                case JobState.RUNNING:
                    assert job.lease_owner
                    assert job.lease_until is not None
                case JobState.WAITING:
                    assert job.waiting_for
                    assert job.waiting_until is not None
                    assert job.next_run_at <= job.waiting_until
                case _:
                    assert job.outcome
                    assert job.finished_at is not None

    @invariant()
    def a_request_is_never_without_a_job_that_works_on_it(self) -> None:
        for record in CertificateRecord.objects.filter(state=S.REQUESTED):
            assert CertificateJob.objects.open().filter(record=record).exists()
