"""What plays behind the narrow door for a renewal: two chargers as the gateway meets them, and what always holds.

A charger has the certificates that it was really given, and comes in by the gateway's own admission; what it asks
passes the gateway's own filter, and what it is asked comes out of the outbox.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Final, TypeVar
from uuid import UUID, uuid4

from hypothesis.stateful import RuleBasedStateMachine, invariant

from bfcerts.ocpp.adapters import Adapters
from bfcerts.ocpp.canonical import Action, Evidence
from bfcerts.ocpp.frames import Call
from bfcerts.ocpp.gateway import commands, sessions
from bfcerts.ocpp.gateway.renewal_only import COMMANDS, RenewalOnly
from bfcerts.ocpp.models import InboxMessage, OutboxCommand, StationSession
from bfcerts.ocpp.registry import ConnectionAttempt
from bfcerts.pki.certificates import parse_certificate
from inventory.choices import RecordState
from inventory.errors import InventoryError
from inventory.models import CertificateRecord, ManagedIdentity
from migration.key_choices import DoorKind
from migration.models import RecoveryDoor
from tests.inventory.attempts import certificate_attempt
from tests.support import OPERATOR, Clock, ControlPlane, charger, request_for

NODE: Final = "test"
Choice = TypeVar("Choice")


@dataclass
class Wired:
    """A charger, the certificates whose keys it holds, and its connection as the gateway's node knows it."""

    identity: ManagedIdentity
    held: list[int] = field(default_factory=list)
    session: UUID | None = None
    attempt: ConnectionAttempt | None = None
    admitted: sessions.Opened | None = None
    only: RenewalOnly | None = None

    @property
    def name(self) -> str:
        return self.identity.authoritative_identifier

    def gone(self) -> None:
        self.session = self.attempt = self.admitted = self.only = None


class RenewalWorld(RuleBasedStateMachine):
    """Two chargers behind their doors; what happens to them is stated by the machine that inherits this."""

    plane: ClassVar[ControlPlane]

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.plane.clock = clock
        self.adapter = Adapters().of("ocpp2.0.1")
        self.stations = [Wired(charger("CS-1")), Wired(charger("CS-10"))]
        self.ways_in: dict[int, bool] = {}
        self.taken_on_purpose = True
        self.closed: set[int] = set()

    @property
    def now(self) -> datetime:
        return self.plane.clock()

    def one_of(self, choices: Sequence[Choice], number: int) -> Choice | None:
        return choices[number % len(choices)] if choices else None

    def allowed(self, act: Callable[..., object], **arguments: Any) -> bool:
        """A command by an operator: done, or refused by the domain; any other error is a defect."""
        with suppress(InventoryError):
            act(actor=OPERATOR, reason="test", now=self.now, **arguments)
            return True
        return False

    def identity(self, number: int) -> ManagedIdentity:
        return ManagedIdentity.objects.get(pk=self.stations[number].identity.pk)

    def door_of(self, station: Wired) -> RecoveryDoor | None:
        return RecoveryDoor.objects.filter(identity=station.identity, closed_at__isnull=True).first()

    # -- what a charger does

    def accept(self, station: Wired, command: OutboxCommand) -> None:
        self.plane.answer(command)
        fingerprint = parse_certificate(command.payload["chain"]).fingerprint_sha256
        delivered = CertificateRecord.objects.get(fingerprint=fingerprint)
        assert delivered.identity_id == station.identity.pk
        station.held.append(delivered.pk)

    def knock(self, station: Wired, number: int) -> bool:
        record = CertificateRecord.objects.select_related("identity").get(pk=number)
        enabled = ManagedIdentity.objects.get(pk=station.identity.pk).enabled
        door = self.door_of(station)
        attempt = certificate_attempt(record, self.now, station.name)
        session = uuid4()
        (answer,) = sessions.admit([sessions.Arrival(attempt, session)], NODE)

        assert record.not_after is not None
        expired = record.not_after <= self.now
        for_it = door is not None and door.certificate_id == record.pk and self.now < door.until and enabled
        if not isinstance(answer, sessions.Opened):
            assert not (expired and for_it), answer.detail
            self.plane.observe(
                station.name,
                Evidence.CONNECTION_REFUSED,
                {"reason": answer.reason, "fingerprint": record.fingerprint, "listener": "profile3", "profile": 3},
            )
            return False
        until = answer.admission.renewal_only_until
        assert enabled
        assert record.identity_id == station.identity.pk
        assert (until is not None) == expired
        if until is not None:
            assert for_it
            assert door is not None
            assert until == door.until
        station.session, station.attempt, station.admitted = session, attempt, answer
        station.only = RenewalOnly(until) if until is not None else None
        return True

    def ask(self, station: Wired, action: str, payload: dict[str, Any]) -> None:
        assert self.adapter is not None
        assert station.only is not None
        reaction = station.only.react(self.adapter, Call("1", action, payload), self.now)
        if action == "BootNotification":
            assert reaction.answer["status"] == "Pending"
        if reaction.evidence is not None:
            self.plane.observe(station.name, reaction.evidence, reaction.payload)

    def ask_to_sign(self, station: Wired) -> None:
        if station.only is not None:
            self.ask(station, "SignCertificate", {"csr": request_for(station.name)})
        else:
            self.plane.send_csr(station.identity, request_for(station.name))

    def take(self, station: Wired, outcome: str) -> bool:
        if station.session is None:
            return False
        (claimed,) = commands.claim([commands.Wish(station.name, station.session, self.now)])
        if claimed is None:
            return False
        if station.only is not None:
            assert claimed.action in COMMANDS
        command = OutboxCommand.objects.get(pk=claimed.id)
        if outcome == "accepted" and command.action == Action.DELIVER_CERTIFICATE:
            self.accept(station, command)
        elif outcome != "nothing":
            self.plane.answer(command, outcome, status=outcome)
        if outcome == "accepted" and command.action == Action.REQUEST_CSR:
            self.ask_to_sign(station)
        return outcome != "nothing"

    def oblige(self, station: Wired) -> None:
        if not self.is_live(station) and not any(self.knock(station, number) for number in reversed(station.held)):
            return
        known = len(station.held)
        self.plane.work()
        while self.take(station, "accepted"):
            self.plane.work()
        if len(station.held) > known:
            self.knock(station, station.held[-1])
            self.plane.work()

    def is_live(self, station: Wired) -> bool:
        return (
            station.session is not None
            and StationSession.objects.filter(pk=station.session, closed_at__isnull=True).exists()
        )

    def fingerprint_of(self, station: Wired) -> str:
        assert station.attempt is not None
        assert station.attempt.certificate is not None
        return station.attempt.certificate.fingerprint

    # -- what must hold after each of these

    @invariant()
    def what_lets_an_expired_certificate_in_is_one_open_door_for_it(self) -> None:
        doors = RecoveryDoor.objects.filter(closed_at__isnull=True).select_related("certificate")
        assert all(count == 1 for count in Counter(door.identity_id for door in doors).values())
        lets_in = {}
        for door in doors:
            assert door.kind == DoorKind.EXPIRED_CERTIFICATE
            assert door.certificate is not None
            assert door.certificate.identity_id == door.identity_id
            assert door.certificate.state in (RecordState.ACTIVE, RecordState.RETIRED)
            lets_in[door.certificate.pk] = door.until
        open_for = CertificateRecord.objects.filter(renewal_only_until__isnull=False)
        assert dict(open_for.values_list("pk", "renewal_only_until")) == lets_in

    @invariant()
    def nobody_stays_in_by_a_door_that_is_closed(self) -> None:
        for live in StationSession.objects.filter(closed_at__isnull=True, renewal_only=True):
            assert RecoveryDoor.objects.filter(
                identity__authoritative_identifier=live.station_id,
                closed_at__isnull=True,
                certificate__fingerprint=live.certificate_fingerprint,
                opened_at__lte=live.connected_at,
                until__gt=live.connected_at,
            ).exists()

    @invariant()
    def whose_renewal_succeeded_needs_no_door_any_more(self) -> None:
        """As soon as it was heard that the charger is back, and not before it can be."""
        if not InboxMessage.objects.filter(state=InboxMessage.State.PENDING).exists():
            for live in StationSession.objects.filter(closed_at__isnull=True, renewal_only=False):
                assert not RecoveryDoor.objects.filter(
                    identity__authoritative_identifier=live.station_id,
                    closed_at__isnull=True,
                    opened_at__lte=live.connected_at,
                ).exists()
        closed = RecoveryDoor.objects.filter(closed_at__isnull=False).exclude(pk__in=self.closed)
        for door in closed:
            if door.closing == "The charger is back on Profile 3" and not self.taken_on_purpose:
                assert self.way_in(self.stations[[one.identity.pk for one in self.stations].index(door.identity_id)])
            self.closed.add(door.pk)

    @invariant()
    def at_most_one_is_active(self) -> None:
        active = CertificateRecord.objects.filter(state=RecordState.ACTIVE).values_list("identity_id", flat=True)
        assert all(count == 1 for count in Counter(active).values())

    @invariant()
    def nobody_is_left_without_a_way_in_but_on_purpose_or_by_time(self) -> None:
        found = {station.identity.pk: self.way_in(station) for station in self.stations}
        if not self.taken_on_purpose:
            for identity, had in self.ways_in.items():
                assert found[identity] or not had
        self.ways_in, self.taken_on_purpose = found, False

    def way_in(self, station: Wired) -> bool:
        """Whether a certificate whose key the charger really has works."""
        theirs = CertificateRecord.objects.of(station.identity.pk, "charger_identity").usable_at(self.now)
        return theirs.filter(pk__in=station.held).exists()
