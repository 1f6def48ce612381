"""Whatever dies, nothing is lost: SIGKILL at random points of many enrolments."""

import contextlib
import random
from collections import Counter
from functools import partial

import pytest

from bfcerts.ocpp.models import InboxMessage, OutboxCommand
from inventory.choices import JOB_OPEN_STATES, EventType, JobAction, RecordState
from inventory.errors import TransitionRefusedError
from inventory.models import CertificateJob, CertificateRecord, DomainEvent, IssuanceIntent, ManagedIdentity
from inventory.services import lifecycle, station_commands
from tests.end_to_end.plant import OPERATOR, Plant, StationThread, eventually

pytestmark = pytest.mark.django_db(transaction=True)

STATIONS = 10
KILLS = 9
VICTIMS = ("worker", "pki-worker", "gateway")
ONCE_FOR_EACH_RECORD = (
    EventType.CSR_VALIDATED,
    EventType.CERTIFICATE_ISSUED,
    EventType.CERTIFICATE_INSTALLED,
    EventType.CERTIFICATE_ACTIVATED,
)


def test_each_charger_ends_active_with_exactly_one_certificate_whatever_is_killed(
    plant: Plant, stations: StationThread
) -> None:
    chance = random.Random(random.randrange(2**32))
    commissioned = [stations.commission(f"CS-{number:04}") for number in range(STATIONS)]
    identities = [identity for identity, _ in commissioned]
    stations.start([station for _, station in commissioned])
    for identity in identities:
        lifecycle.issue(identity=identity, purpose="charger_identity", actor=OPERATOR, reason="first")

    for _ in range(KILLS):
        progress = DomainEvent.objects.count() + chance.randrange(2, 14)
        eventually(partial(_has_got_to, progress, identities), what=_situation)
        victim = chance.choice(VICTIMS)
        plant.kill(victim)
        plant.start(victim)
    eventually(partial(_has_got_to, None, identities), seconds=180.0, what=_situation)

    eventually(lambda: not _unfinished(identities), what=_situation)
    for identity in identities:
        records = CertificateRecord.objects.filter(identity=identity)
        assert [record.state for record in records] == [RecordState.ACTIVE]
        assert IssuanceIntent.objects.filter(record__identity=identity).count() == 1
    doubled = [
        key
        for key, count in Counter(
            DomainEvent.objects.filter(type__in=ONCE_FOR_EACH_RECORD, record__identity__in=identities).values_list(
                "record", "type"
            )
        ).items()
        if count != 1
    ]
    assert doubled == []


def _has_got_to(progress: int | None, identities: list[ManagedIdentity]) -> bool:
    """Whether so many events have happened, or everything has; meanwhile the operator does the part of a person."""
    _cut_over_what_is_installed(identities)
    return _all_active(identities) or (progress is not None and DomainEvent.objects.count() >= progress)


def _cut_over_what_is_installed(identities: list[ManagedIdentity]) -> None:
    for identity in identities:
        installed = CertificateRecord.objects.filter(
            identity=identity, state=RecordState.INSTALLED_PENDING_ACTIVATION
        ).exists()
        cutting_over = CertificateJob.objects.open().filter(identity=identity, action=JobAction.CUT_OVER).exists()
        if installed and not cutting_over:
            with contextlib.suppress(TransitionRefusedError):  # it has become active since we looked
                station_commands.cut_over(identity=identity, actor=OPERATOR, reason="to profile 3")


def _situation() -> str:
    """What an operator would look at when it does not go on."""
    jobs = list(CertificateJob.objects.open().values_list("identity__authoritative_identifier", "step", "waiting_for"))
    inbox = list(InboxMessage.objects.filter(state="pending").values_list("kind", "attempts", "error"))
    outbox = list(OutboxCommand.objects.filter(state__in=["queued", "sent"]).values_list("action", "state"))
    return f"jobs {jobs}, inbox {inbox}, outbox {outbox}"


def _all_active(identities: list[ManagedIdentity]) -> bool:
    active = CertificateRecord.objects.filter(identity__in=identities, state=RecordState.ACTIVE)
    return active.count() == len(identities)


def _unfinished(identities: list[ManagedIdentity]) -> bool:
    names = [identity.authoritative_identifier for identity in identities]
    return (
        CertificateJob.objects.filter(identity__in=identities, state__in=JOB_OPEN_STATES).exists()
        or InboxMessage.objects.filter(state=InboxMessage.State.PENDING).exists()
        or OutboxCommand.objects.filter(station_id__in=names, state__in=OutboxCommand.OPEN_STATES).exists()
    )
