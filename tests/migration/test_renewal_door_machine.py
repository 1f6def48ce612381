"""Whatever happens in whatever order, the narrow door for a renewal stays narrow, and leads to a new certificate.

Hypothesis drives the gateway's own admission, its filter for such a connection and its outbox, the services and the
duties on the real database and the real local CA: operators, stations that come with any certificate they ever had or
with another one's, lose their connection and their answers, time, and workers that die at any statement.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from bfcerts.ocpp import inbox, outbox
from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.gateway import sessions
from bfcerts.ocpp.gateway.renewal_only import ENDED, REQUESTS, OutsideRenewalError
from bfcerts.ocpp.models import StationSession
from inventory.choices import REVOCABLE_STATES, JobQueue, RecordState
from inventory.jobs import engine
from inventory.models import CertificateJob, CertificateRecord, LifecyclePolicy
from inventory.services import identities, jobs, lifecycle, sweeps
from migration.models import RecoveryDoor
from migration.services import recovery, renewal_door
from tests.dying import DiesAt, WorkerDiedError
from tests.inventory.attempts import certificate_attempt
from tests.migration.renewal_world import RenewalWorld, Wired
from tests.migration.renewing import DAY
from tests.support import OPERATOR, Clock, ControlPlane, request_for

pytestmark = pytest.mark.django_db

VALID: Final = 10 * DAY
"""Less than what an unconfirmed certificate has until it is revoked, so that some expire before their first use."""
YEARS: Final = 2 * 365 * DAY
"""How far an example goes at most: the local CA does not live for ever."""
LEASE: Final = timedelta(seconds=60)
SPANS = [timedelta(seconds=61), timedelta(minutes=20), timedelta(hours=3), timedelta(days=1), timedelta(days=6)]
DUTIES: list[Callable[[datetime], object]] = [
    recovery.close_overdue,
    sweeps.retire_expired,
    sweeps.revoke_unconfirmed,
    sweeps.expire_commands,
]
# Of a charger in operation; what stands in REQUESTS among them may pass, and nothing else.
ASKED: dict[str, dict[str, Any]] = {
    "BootNotification": {"reason": "PowerUp", "chargingStation": {"model": "Eagle", "vendorName": "Falcon"}},
    "Heartbeat": {},
    "Authorize": {"idToken": {"idToken": "04A1", "type": "ISO14443"}},
    "GetCertificateStatus": {},
    "Get15118EVCertificate": {},
    "NotifyReport": {},
    "TransactionEvent": {},
    "DataTransfer": {"vendorId": "falcon"},
    "FirmwareStatusNotification": {"status": "Installed"},
}
stages = st.sampled_from(["let in", "let in", "expired", "never used", "working"])
who = st.integers(0, 1)
pick = st.integers(0, 11)
queues = st.sampled_from([JobQueue.GENERAL, JobQueue.PKI])


class RenewalDoors(RenewalWorld):
    """Two chargers on Profile 3 that have expired, or are about to."""

    def __init__(self) -> None:
        self.example: AbstractContextManager[object] = transaction.atomic()
        self.example.__enter__()
        super().__init__(Clock(datetime.now(UTC).replace(microsecond=0)))
        self.ends = self.now + YEARS

    def teardown(self) -> None:
        try:
            self.come_to_rest()
        finally:
            transaction.set_rollback(True)
            self.example.__exit__(None, None, None)

    # -- where it begins

    @initialize(first=stages, second=stages)
    def begin(self, first: str, second: str) -> None:
        LifecyclePolicy.objects.filter(purpose="charger_identity").update(
            validity=VALID,
            renewal_threshold=4 * DAY,
            renewal_lead=DAY,
            escalation_threshold=2 * DAY,
            incident_threshold=DAY,
        )
        pairs = list(zip((first, second), self.stations, strict=True))
        for stage, station in pairs:
            if stage != "working":
                station.held.append(self.plane.enrol(station.identity).pk)
        self.plane.clock.advance(days=5)
        for stage, station in pairs:
            if stage == "never used":
                self.accept_and_go_away(station)
        self.plane.clock.advance(days=11)
        self.plane.work()
        for stage, station in pairs:
            if stage == "working":
                station.held.append(self.plane.enrol(station.identity).pk)
        for number, (stage, station) in enumerate(pairs):
            station.identity.refresh_from_db()
            if stage == "let in":
                self.an_operator_opens_a_door(number, 24)
                self.a_station_comes_through_its_door(number)

    def accept_and_go_away(self, station: Wired) -> None:
        self.allowed(lifecycle.renew, record=CertificateRecord.objects.get(pk=station.held[0]))
        self.plane.work()
        self.plane.answer(self.plane.open_command(station.identity, Action.REQUEST_CSR))
        self.plane.send_csr(station.identity, request_for(station.name))
        self.plane.work()
        self.accept(station, self.plane.open_command(station.identity, Action.DELIVER_CERTIFICATE))
        self.plane.work()

    # -- operators

    @rule(number=who, hours=st.integers(1, 48))
    def an_operator_opens_a_door(self, number: int, hours: int) -> None:
        identity = self.identity(number)
        before = self.door_of(self.stations[number])
        if self.allowed(renewal_door.open_for_renewal, identity=identity, until=self.now + timedelta(hours=hours)):
            assert before is None
            door = self.door_of(self.stations[number])
            assert door is not None
            assert door.certificate is not None
            assert door.certificate.not_after is not None
            assert door.certificate.not_after <= self.now
            assert not CertificateRecord.objects.of(identity.pk, "charger_identity").usable_at(self.now).exists()

    @rule(number=who)
    def an_operator_closes_a_door(self, number: int) -> None:
        if door := self.door_of(self.stations[number]):
            assert self.allowed(recovery.close, door=door)

    @rule(number=pick)
    def an_operator_revokes(self, number: int) -> None:
        records = CertificateRecord.objects.filter(state__in=REVOCABLE_STATES).order_by("pk")
        if record := self.one_of(list(records.select_related("identity")), number):
            self.taken_on_purpose = True
            assert self.allowed(lifecycle.revoke, record=record)

    @rule(number=pick)
    def an_operator_takes_out_of_service(self, number: int) -> None:
        records = CertificateRecord.objects.filter(state=RecordState.ACTIVE).select_related("identity").order_by("pk")
        if record := self.one_of(list(records), number):
            self.taken_on_purpose = True
            self.allowed(lifecycle.deactivate, record=record, force=True)

    @rule(number=who)
    def an_operator_disables_or_enables(self, number: int) -> None:
        identity = self.identity(number)
        self.taken_on_purpose = True
        identities.set_enabled(identity=identity, enabled=not identity.enabled, actor=OPERATOR, reason="test")

    @rule(number=who)
    def an_operator_asks_for_a_certificate(self, number: int) -> None:
        self.allowed(lifecycle.issue, identity=self.identity(number), purpose="charger_identity")

    @rule(number=pick)
    def an_operator_cancels(self, number: int) -> None:
        if job := self.one_of(list(CertificateJob.objects.open().order_by("pk")), number):
            self.allowed(jobs.cancel, job=job)

    @rule(number=who)
    def somebody_wants_something_else_of_the_station(self, number: int) -> None:
        outbox.enqueue(
            station_id=self.stations[number].name,
            action=Action.GET_VARIABLES,
            payload={"variables": []},
            dedupe_key=uuid4().hex,
            now=self.now,
            expires_after=timedelta(hours=1),
        )

    # -- stations

    @rule(number=who, which=pick, anothers=st.sampled_from([False, False, False, True]))
    def a_station_connects(self, number: int, which: int, anothers: bool) -> None:
        """With any certificate it ever had, or with another station's key in its hands."""
        held = self.stations[1 - number if anothers else number].held
        if record := self.one_of(held, which):
            self.knock(self.stations[number], record)

    @rule(number=who)
    def a_station_comes_through_its_door(self, number: int) -> None:
        door = self.door_of(self.stations[number])
        if door is not None and door.certificate_id in self.stations[number].held:
            self.knock(self.stations[number], door.certificate_id)

    @rule(number=who, late=st.booleans())
    def a_station_comes_when_its_door_closes(self, number: int, late: bool) -> None:
        """In the last moment, or in the first that is too late; whether any duty has run meanwhile or not."""
        if (door := self.door_of(self.stations[number])) and self.now < door.until:
            self.taken_on_purpose = True
            self.plane.clock.now = door.until - timedelta(microseconds=0 if late else 1)
            self.a_station_comes_through_its_door(number)

    @rule(number=who)
    def a_station_loses_its_connection(self, number: int) -> None:
        station = self.stations[number]
        if station.session is not None:
            sessions.close([sessions.Departure(station.session, station.name, "gone", 1006, self.now)])
            station.gone()

    @rule(number=who, what=st.sampled_from([*ASKED, "SignCertificate", "SignCertificate for charging"]))
    def a_station_asks(self, number: int, what: str) -> None:
        """On a connection through the door only what the renewal needs is heard."""
        station = self.stations[number]
        if station.only is None or not self.is_live(station):
            return
        if what in ASKED and what not in REQUESTS:
            with pytest.raises(OutsideRenewalError):
                self.ask(station, what, ASKED[what])
        elif what == "SignCertificate for charging":
            with pytest.raises(OutsideRenewalError):
                self.ask(
                    station,
                    "SignCertificate",
                    {"csr": request_for(station.name), "certificateType": "V2GCertificate"},
                )
        elif what == "SignCertificate":
            self.ask_to_sign(station)
        else:
            self.ask(station, what, ASKED[what])

    @rule(number=who, outcome=st.sampled_from(["accepted", "accepted", "rejected", "timed_out", "nothing"]))
    def a_station_takes_a_command(self, number: int, outcome: str) -> None:
        """It does what it is asked, refuses, or acts and is not heard; of no answer at all nothing is known."""
        self.take(self.stations[number], outcome)

    @rule(number=who)
    def a_station_obliges(self, number: int) -> None:
        """It comes with whichever certificate lets it in, does what it is asked, and comes back with its newest."""
        self.oblige(self.stations[number])

    # -- the gateway, time, workers, and their end

    @rule()
    def the_gateway_looks_after_its_connections(self) -> None:
        """As its upkeep does: whose time is over, whose session others closed, and whom the door would refuse now."""
        for station in self.stations:
            if station.session is None:
                continue
            assert station.attempt is not None
            assert station.admitted is not None
            if sessions.no_longer_open([station.session]):
                station.gone()
                continue
            attempt = certificate_attempt(
                CertificateRecord.objects.get(fingerprint=self.fingerprint_of(station)), self.now, station.name
            )
            present = sessions.Present(attempt, station.admitted.admission.options, station.only is not None)
            (refusal,) = sessions.review([present])
            over = station.only is not None and station.only.until <= self.now
            assert refusal is not None or not over
            if refusal is not None:
                sessions.close([sessions.Departure(station.session, station.name, ENDED, 1008, self.now)])
                station.gone()

    @rule(span=st.sampled_from(SPANS))
    def time_passes(self, span: timedelta) -> None:
        self.taken_on_purpose = True
        self.plane.clock.now = min(self.now + span, self.ends)

    @rule(which=st.sampled_from(DUTIES))
    def a_duty_runs(self, which: Callable[[datetime], object]) -> None:
        self.taken_on_purpose = which is sweeps.revoke_unconfirmed
        which(self.now)

    @rule(which=st.sampled_from(DUTIES), statement=st.integers(1, 40))
    def a_duty_dies(self, which: Callable[[datetime], object], statement: int) -> None:
        with suppress(WorkerDiedError), transaction.atomic(), connection.execute_wrapper(DiesAt(statement)):
            which(self.now)
        self.taken_on_purpose = which is sweeps.revoke_unconfirmed

    @rule(limit=st.integers(1, 3))
    def the_inbox_is_read(self, limit: int) -> None:
        inbox.process_due(now=self.now, limit=limit)

    @rule(statement=st.integers(1, 60))
    def a_worker_dies_while_it_reads_the_inbox(self, statement: int) -> None:
        with suppress(WorkerDiedError), transaction.atomic(), connection.execute_wrapper(DiesAt(statement)):
            inbox.process_due(now=self.now, limit=2)

    @rule(queue=queues, limit=st.integers(1, 3))
    def steps_run(self, queue: str, limit: int) -> None:
        engine.run_due(queue=queue, clock=self.plane.clock, limit=limit, lease=LEASE)

    @rule(queue=queues)
    def a_worker_dies_holding_a_lease(self, queue: str) -> None:
        engine.claim(queue=queue, now=self.now, limit=1, lease=LEASE)

    @rule()
    def work_settles(self) -> None:
        self.plane.work()

    # -- how it ends

    def come_to_rest(self) -> None:
        """Everything ends by itself; and whoever may have a door then comes through it to a new certificate."""
        for _ in range(40):
            self.plane.work()
            if not CertificateJob.objects.open().exists():
                break
            self.plane.clock.advance(days=3)
            for duty in DUTIES:
                duty(self.now)
        assert not CertificateJob.objects.open().exists(), list(CertificateJob.objects.open().values())
        self.plane.clock.now += recovery.LONGEST
        for duty in DUTIES:
            duty(self.now)
        self.the_gateway_looks_after_its_connections()
        assert not RecoveryDoor.objects.filter(closed_at__isnull=True).exists()
        assert not StationSession.objects.filter(closed_at__isnull=True, renewal_only=True).exists()
        self.what_lets_an_expired_certificate_in_is_one_open_door_for_it()
        for number, station in enumerate(self.stations):
            self.renew_through_a_door(number, station)

    def renew_through_a_door(self, number: int, station: Wired) -> None:
        for held in station.held:
            self.knock(station, held)
        self.plane.work()
        until = self.now + DAY
        if not self.allowed(renewal_door.open_for_renewal, identity=self.identity(number), until=until):
            return
        door = self.door_of(station)
        assert door is not None
        self.oblige(station)
        door.refresh_from_db()
        assert door.closing == "The charger is back on Profile 3"
        assert self.way_in(station)


def test_a_door_for_a_renewal_stays_narrow_in_every_order(plane: ControlPlane) -> None:
    RenewalDoors.plane = plane
    run_state_machine_as_test(
        RenewalDoors,
        settings=settings(
            max_examples=20,
            stateful_step_count=25,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
