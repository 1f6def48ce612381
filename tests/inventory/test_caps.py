"""Caps: never more chargers of a site away than may be, and never all of a site that has more than one."""

import random
import threading
from collections import Counter
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.db import DatabaseError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bfcerts.ocpp.canonical import Action
from bfcerts.ocpp.models import OutboxCommand, StationSession
from bfcerts.ocpp.outbox import expire_overdue
from inventory.audit import attributed
from inventory.choices import JobState
from inventory.models import CertificateJob, ManagedIdentity, PlannedAbsence, SitePolicy
from inventory.services import caps, lifecycle
from inventory.services.locking import lock_identity
from tests.support import OPERATOR, PATIENCE_SECONDS, Clock, ControlPlane, charger, in_threads, request_for

HOUR = timedelta(hours=1)


def come(identity: ManagedIdentity, at: datetime) -> None:
    """It connects."""
    StationSession.objects.create(
        station_id=identity.authoritative_identifier,
        node="test",
        listener="profile3",
        protocol="ocpp2.0.1",
        security_profile=3,
        address="127.0.0.1",
        connected_at=at,
    )


def go(identity: ManagedIdentity, at: datetime) -> None:
    """Its connection ends."""
    name = identity.authoritative_identifier
    StationSession.objects.filter(station_id=name, closed_at__isnull=True).update(closed_at=at)


def site_of(number: int, site: str, clock: Clock) -> list[ManagedIdentity]:
    """Chargers of one site, all connected."""
    made = [charger(f"{site}-{position}", site=site) for position in range(number)]
    for identity in made:
        come(identity, clock())
    return made


def policy_for(site: str, **values: int) -> SitePolicy:
    with attributed(OPERATOR, "test"):
        return SitePolicy.objects.create(site=site, **values)


def take(identity: ManagedIdentity, clock: Clock, why: str = "test:1") -> bool:
    return caps.take(identity, why, clock() + HOUR, clock())


@pytest.mark.django_db
@pytest.mark.parametrize(("chargers", "may_leave"), [(1, 1), (2, 1), (9, 1), (10, 1), (19, 1), (20, 2), (30, 3)])
def test_a_tenth_of_a_site_may_be_away_and_one_always_may(chargers: int, may_leave: int, clock: Clock) -> None:
    left = [take(identity, clock) for identity in site_of(chargers, "Depot", clock)]

    assert left.count(True) == may_leave == caps.most_away("Depot")
    assert left[:may_leave] == [True] * may_leave


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("chargers", "percent", "most", "may_leave"),
    [(4, 100, None, 3), (1, 100, None, 1), (10, 50, 2, 2), (10, 35, None, 3), (2, 100, 9, 1)],
)
def test_a_policy_of_its_own_never_empties_a_site(
    chargers: int, percent: int, most: int | None, may_leave: int, clock: Clock
) -> None:
    with attributed(OPERATOR, "test"):
        SitePolicy.objects.create(site="Depot", away_percent=percent, away_most=most)

    assert [take(identity, clock) for identity in site_of(chargers, "Depot", clock)].count(True) == may_leave
    assert caps.most_away("Depot") == may_leave


@pytest.mark.django_db
def test_a_place_that_is_given_back_is_free(clock: Clock) -> None:
    first, second = site_of(2, "Depot", clock)
    assert take(first, clock)
    assert not take(second, clock)

    assert caps.give_back(first, clock())

    assert take(second, clock)
    assert not caps.give_back(first, clock())


@pytest.mark.django_db
def test_a_place_that_nobody_gives_back_is_free_when_its_time_is_over(clock: Clock) -> None:
    first, second = site_of(2, "Depot", clock)
    assert take(first, clock)
    clock.advance(minutes=59)
    assert not take(second, clock)

    clock.advance(minutes=1)

    assert caps.away("Depot", clock()) == 0
    assert take(second, clock)


@pytest.mark.django_db
def test_the_same_work_keeps_its_place_and_other_work_waits(clock: Clock) -> None:
    (identity,) = site_of(1, "Depot", clock)
    assert take(identity, clock, "renewal:1")
    clock.advance(minutes=30)

    assert take(identity, clock, "renewal:1")
    assert not take(identity, clock, "cut_over:2")

    clock.advance(minutes=45)
    assert caps.away("Depot", clock()) == 1, "the second taking is for longer"
    assert not caps.give_back(identity, clock(), "cut_over:2")
    assert caps.give_back(identity, clock(), "renewal:1")
    assert take(identity, clock, "cut_over:2")


@pytest.mark.django_db
def test_sites_do_not_wait_for_each_other_and_disabled_chargers_do_not_count(clock: Clock) -> None:
    (first, second), (other, _) = site_of(2, "Depot", clock), site_of(2, "Harbour", clock)
    assert take(first, clock)
    assert take(other, clock)
    ManagedIdentity.objects.filter(pk=second.pk).update(enabled=False)

    assert caps.most_away("Depot") == 1


@pytest.mark.django_db
def test_chargers_that_name_no_site_are_capped_where_a_policy_says_so(clock: Clock) -> None:
    unsited = site_of(4, "", clock)
    assert caps.most_away("") is None
    assert all(take(identity, clock) for identity in unsited[:3])

    policy_for("", away_percent=25, away_most=3)

    assert not take(unsited[3], clock)


@pytest.mark.django_db
def test_the_database_keeps_the_last_charger_of_a_site(clock: Clock) -> None:
    first, second = site_of(2, "Depot", clock)
    assert take(first, clock)

    with pytest.raises(DatabaseError, match="never all of its chargers"), transaction.atomic():
        PlannedAbsence.objects.create(
            identity=second, site="Depot", kind="shell", started_at=clock(), until=clock() + HOUR
        )


@pytest.mark.django_db
def test_absences_are_forgotten_after_a_while(clock: Clock) -> None:
    (identity,) = site_of(1, "Depot", clock)
    take(identity, clock)
    caps.give_back(identity, clock())
    clock.advance(days=7)
    assert caps.forget(clock()) == 0

    clock.advance(seconds=1)

    assert caps.forget(clock()) == 1


# -- everybody at once -------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chargers=st.integers(1, 7),
    percent=st.sampled_from([10, 30, 50, 100]),
    most=st.sampled_from([None, 1, 2]),
    seed=st.integers(0, 2**16),
)
def test_whoever_takes_at_once_the_cap_holds(
    chargers: int, percent: int, most: int | None, seed: int, clock: Clock
) -> None:
    """Two rollouts and a renewal storm take and give back at random, each on a connection of its own."""
    site = uuid4().hex
    identities = site_of(chargers, site, clock)
    with attributed(OPERATOR, "test"):
        SitePolicy.objects.create(site=site, away_percent=percent, away_most=most)
    allowed = caps.most_away(site)
    assert allowed is not None
    start = threading.Barrier(3)
    outcomes: Counter[bool] = Counter()
    broken: list[int] = []

    def taker(who: str) -> None:
        choose = random.Random(f"{seed}:{who}")
        start.wait(PATIENCE_SECONDS)
        for _ in range(8):
            identity = choose.choice(identities)
            with transaction.atomic():
                lock_identity(identity.pk)
                taken = caps.take(identity, who, clock() + HOUR, clock())
            outcomes[taken] += 1
            present = caps.away(site, clock())
            if present > allowed or (chargers > 1 and present >= chargers):
                broken.append(present)
            if taken and choose.random() < 0.5:
                with transaction.atomic():
                    lock_identity(identity.pk)
                    caps.give_back(identity, clock(), who)

    in_threads(*(lambda who=who: taker(who) for who in ("rollout:1", "rollout:2", "renewal:3")))

    assert not broken, f"{broken} away where {allowed} of {chargers} may be"
    assert outcomes[True] > 0


# -- renewals ----------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_renewals_of_a_site_are_delivered_one_after_the_other(plane: ControlPlane) -> None:
    first, second = site_of(2, "Depot", plane.clock)
    jobs: list[CertificateJob] = []
    for identity in (first, second):
        record = plane.enrol(identity)
        jobs.append(lifecycle.renew(record=record, actor=OPERATOR, reason="test", now=plane.clock()))
    plane.work()
    for identity in (first, second):
        plane.answer(plane.open_command(identity, Action.REQUEST_CSR))
        plane.send_csr(identity, request_for(identity.authoritative_identifier))
    plane.work()

    waiting = [CertificateJob.objects.get(pk=job.pk) for job in jobs]
    assert sorted(job.step for job in waiting) == ["await_install", "deliver"]
    held = next(job for job in waiting if job.step == "deliver")
    assert "its turn: site Depot can spare no other while away are Depot-" in held.waiting_for
    delivered = next(job for job in waiting if job.pk != held.pk)
    plane.play_station(delivered.identity)
    assert CertificateJob.objects.get(pk=delivered.pk).state == JobState.SUCCEEDED

    plane.clock.advance(minutes=1)
    plane.work()
    plane.play_station(held.identity)

    assert CertificateJob.objects.get(pk=held.pk).state == JobState.SUCCEEDED
    assert caps.away("Depot", plane.clock()) == 0


@pytest.mark.django_db
def test_a_renewal_is_not_delivered_when_the_place_of_its_charger_has_gone_to_another(plane: ControlPlane) -> None:
    """It was away when it had its place; back days later, it would leave together with whoever has the place then."""
    first, _ = site_of(2, "Depot", plane.clock)
    record = plane.enrol(first)
    job = lifecycle.renew(record=record, actor=OPERATOR, reason="test", now=plane.clock())
    plane.work()
    plane.answer(plane.open_command(first, Action.REQUEST_CSR))
    plane.send_csr(first, request_for(first.authoritative_identifier))
    plane.work()
    assert plane.open_command(first, Action.DELIVER_CERTIFICATE).action == Action.DELIVER_CERTIFICATE

    plane.clock.advance(hours=4, seconds=1)
    expire_overdue(plane.clock())
    plane.work()
    assert not OutboxCommand.objects.filter(action=Action.DELIVER_CERTIFICATE, state="queued").exists()
    waiting = CertificateJob.objects.get(pk=job.pk)
    assert (waiting.step, waiting.waiting_for) == ("deliver", "its turn: it was away when it had one")
    assert caps.away("Depot", plane.clock()) == 0

    plane.clock.advance(minutes=1)
    plane.work()
    assert caps.away("Depot", plane.clock()) == 1
    plane.play_station(first)
    assert CertificateJob.objects.get(pk=job.pk).state == JobState.SUCCEEDED


@pytest.mark.django_db
def test_a_renewal_whose_charger_stays_away_ends_with_its_delivery_deadline(plane: ControlPlane) -> None:
    first, _ = site_of(2, "Depot", plane.clock)
    job = lifecycle.renew(record=plane.enrol(first), actor=OPERATOR, reason="test", now=plane.clock())
    plane.work()
    plane.answer(plane.open_command(first, Action.REQUEST_CSR))
    plane.send_csr(first, request_for(first.authoritative_identifier))
    for _ in range(20):
        plane.work()
        plane.clock.advance(hours=4)
        expire_overdue(plane.clock())

    ended = CertificateJob.objects.get(pk=job.pk)
    assert ended.state == JobState.FAILED
    assert ended.outcome.startswith("The certificate could not be delivered in time")
    assert caps.away("Depot", plane.clock()) == 0


@pytest.mark.django_db
def test_a_renewal_that_is_taken_after_its_place_has_gone_is_counted_all_the_same(plane: ControlPlane) -> None:
    first, second, third, _ = site_of(4, "Depot", plane.clock)
    job = lifecycle.renew(record=plane.enrol(first), actor=OPERATOR, reason="test", now=plane.clock())
    plane.work()
    plane.answer(plane.open_command(first, Action.REQUEST_CSR))
    plane.send_csr(first, request_for(first.authoritative_identifier))
    plane.work()
    delivery = plane.open_command(first, Action.DELIVER_CERTIFICATE)
    until = PlannedAbsence.objects.get().until
    plane.clock.now = until + timedelta(seconds=1)
    assert caps.take(lock_identity(second.pk), "renewal:4711", plane.clock() + timedelta(hours=1), plane.clock())
    assert PlannedAbsence.objects.get(identity=first).ended_at is not None

    plane.answer(delivery)
    plane.read_inbox()

    assert CertificateJob.objects.get(pk=job.pk).step == "await_activation"
    assert caps.away("Depot", plane.clock()) == 2
    caps.give_back(second, plane.clock())
    assert not caps.take(lock_identity(third.pk), "renewal:4712", plane.clock() + timedelta(hours=1), plane.clock())
