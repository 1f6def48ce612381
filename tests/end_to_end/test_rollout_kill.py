"""SIGKILL in the middle of a wave: every case has its outcome, nothing happened twice, and everybody has a way in."""

from collections import Counter
from functools import partial

import pytest

from bfcerts.ocpp.models import InboxMessage
from inventory.choices import EventType, RecordState
from inventory.models import CertificateJob, CertificateRecord, DomainEvent, IssuanceIntent
from inventory.services import lifecycle
from migration.models import MigrationCase, MigrationRollout
from migration.states import CaseState, RolloutState, WaveState
from tests.end_to_end.mixed_fleet import FLEET, Charger, MixedFleet, leases_run_out
from tests.end_to_end.plant import OPERATOR, Plant, StationThread
from tests.simulator.families import mixed_fleet

pytestmark = pytest.mark.django_db(transaction=True)

SEED = 10
SIZE = 11
MOVING = ("AC22", "DC150", "Pole-2", "Wallbox", "HS-50")
VICTIMS = ("gateway", "worker", "gateway", "worker", "gateway", "worker")
ONCE_FOR_EACH_RECORD = (
    EventType.CSR_VALIDATED,
    EventType.CERTIFICATE_ISSUED,
    EventType.CERTIFICATE_INSTALLED,
    EventType.CERTIFICATE_ACTIVATED,
)


def test_a_wave_survives_the_death_of_its_worker_and_its_gateway(plant: Plant, stations: StationThread) -> None:
    fleet = MixedFleet(plant, stations)
    fleet.commission([one for one in mixed_fleet(SIZE, SEED) if one.model in MOVING])
    fleet.prepare(threshold_percent=100)
    chargers = list(fleet.chargers.values())
    refusing = fleet.of("AC22")[0]
    refusing.suffers(reject_install=True)
    rollout = fleet.roll_out(FLEET, retry_budget=0, success_threshold_percent=50, failure_threshold_percent=40)

    for number, victim in enumerate(VICTIMS, start=1):
        steps = number * 2 * len(chargers) // len(VICTIMS)
        fleet.wait_until(partial(_has_taken, steps))
        plant.kill(victim)
        leases_run_out()
        plant.start(victim)

    expected = {charger.name: "active" for charger in chargers} | {refusing.name: "issue_failed"}
    fleet.wait_until(lambda: fleet.standing() == expected, 180.0)
    fleet.wait_until(lambda: not _work_is_left())
    fleet.wait_until(lambda: all(charger.profile is not None for charger in chargers))
    assert {charger.name: charger.profile for charger in chargers} == {
        charger.name: 2 if charger is refusing else 3 for charger in chargers
    }
    fleet.wait_until(lambda: MigrationRollout.objects.filter(pk=rollout.pk, state=RolloutState.COMPLETE).exists())
    assert [wave.state for wave in rollout.waves.all()] == [WaveState.PASSED]
    for charger in chargers:
        _moved_in_one_line(charger)
    _nothing_was_doubled(chargers, refusing)
    _a_revocation_outlives_the_pki_worker(fleet, plant, chargers[-1])


def _has_taken(steps: int) -> bool:
    """Whether the cases have made so many moves, or all have their outcome."""
    moved = DomainEvent.objects.filter(type=EventType.MIGRATION_STATE_CHANGED).exclude(payload__previousState="")
    undecided = MigrationCase.objects.exclude(state__in=[CaseState.ACTIVE, CaseState.QUARANTINE])
    return moved.count() >= steps or not undecided.exists()


def _work_is_left() -> bool:
    return (
        CertificateJob.objects.open().filter(purpose="charger_identity").exists()
        or InboxMessage.objects.filter(state=InboxMessage.State.PENDING).exists()
    )


def _moved_in_one_line(charger: Charger) -> None:
    """Each move of a case begins where the one before ended, so none is missing and none is there twice."""
    events = DomainEvent.objects.filter(type=EventType.MIGRATION_STATE_CHANGED, identity=charger.identity)
    moves = [(event.payload["previousState"], event.resulting_state) for event in events.order_by("pk")]
    assert moves[0] == ("", CaseState.PENDING)
    assert [former for former, _ in moves[1:]] == [state for _, state in moves[:-1]]
    assert moves[-1][1] == charger.case.state


def _nothing_was_doubled(chargers: list[Charger], refusing: Charger) -> None:
    identities = [charger.identity for charger in chargers]
    once = DomainEvent.objects.filter(type__in=ONCE_FOR_EACH_RECORD, record__identity__in=identities)
    counted = Counter(once.values_list("record", "type"))
    assert [key for key, count in counted.items() if count != 1] == []
    for charger in chargers:
        records = CertificateRecord.objects.filter(identity=charger.identity)
        assert IssuanceIntent.objects.filter(record__identity=charger.identity).count() == records.count()
        if charger is not refusing:
            assert [record.state for record in records] == [RecordState.ACTIVE]


def _a_revocation_outlives_the_pki_worker(fleet: MixedFleet, plant: Plant, charger: Charger) -> None:
    """The CA cannot be told now: the door is closed at once all the same, and the CA is told later."""
    plant.kill("pki-worker")
    record = CertificateRecord.objects.get(identity=charger.identity, state=RecordState.ACTIVE)
    lifecycle.revoke(record=record, actor=OPERATOR, reason="stolen", revocation_reason="keyCompromise")
    fleet.wait_until(lambda: charger.profile != 3)
    record.refresh_from_db()
    assert (record.state, record.revocation_propagated_at) == (RecordState.REVOKED, None)
    plant.start("pki-worker")
    fleet.wait_until(
        lambda: CertificateRecord.objects.filter(pk=record.pk, revocation_propagated_at__isnull=False).exists()
    )
