"""Given-parts of the tests of migrations: chargers that are ready to move, and stations with moods of their own."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from bfcerts.ocpp import inbox
from bfcerts.ocpp.canonical import Action, Evidence
from bfcerts.ocpp.inbox import Observation
from bfcerts.ocpp.models import OutboxCommand, StationSession
from bfcerts.pki.certificates import parse_certificate
from inventory.choices import MANDATORY_FOR_PROFILE_3, CapabilityBasis
from inventory.models import CertificateRecord, ChargerFamily, Cohort, FamilyCapability, ManagedIdentity, Plan
from inventory.services import catalogue, plans
from migration.models import AuthorizationKey, MigrationCase, MigrationRollout
from migration.services import driving
from migration.services.secrets_of_keys import digest
from tests.support import OPERATOR, ControlPlane, charger, request_for
from tests.trustanchors.support import own_bundles, release
from trustanchors.models import BundleInstallation
from trustanchors.services import membership


def capable_family(name: str = "Eagle", **fields: Any) -> ChargerFamily:
    """A family that has everything that Profile 3 asks for."""
    entry = ChargerFamily(name=name, vendor=name, model="M", **fields)
    made = catalogue.save(entry=entry, actor=OPERATOR, reason="test")
    FamilyCapability.objects.bulk_create(
        FamilyCapability(
            family=made,
            capability=capability,
            supported=True,
            basis=CapabilityBasis.DECLARED,
            source="test",
            as_of=entry_time(),
        )
        for capability in MANDATORY_FOR_PROFILE_3
    )
    ChargerFamily.objects.filter(pk=made.pk).update(
        key_path="two_slots_at_our_door", key_path_approved_at=entry_time(), key_path_approved_by="test"
    )
    made.refresh_from_db()
    return made


def entry_time() -> Any:
    from datetime import UTC, datetime

    return datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Station:
    """A charger as the gateway sees it: it takes what it is told, or not, by its mood."""

    plane: ControlPlane
    identity: ManagedIdentity
    refuses: set[str] = field(default_factory=set)
    """Actions that it rejects."""
    silent: bool = False
    """It answers nothing."""
    returns: str = "3"
    """Where it is after a restart: on Profile 3, back on 2, or nowhere ('')."""
    certificate: str = ""
    """Fingerprint of the newest that it was given."""
    key_id: int | None = None

    @property
    def case(self) -> MigrationCase:
        return MigrationCase.objects.get(identity=self.identity)

    def serve(self) -> int:
        """Answer what is asked until nothing is."""
        answered = 0
        while not self.silent and (commands := self._waiting()):
            for command in commands:
                self._answer(command)
                answered += 1
        return answered

    def _waiting(self) -> list[OutboxCommand]:
        queued = OutboxCommand.objects.filter(
            station_id=self.identity.authoritative_identifier, state=OutboxCommand.State.QUEUED
        )
        return list(queued.order_by("pk"))

    def _answer(self, command: OutboxCommand) -> None:
        if command.action in self.refuses:
            self.plane.answer(command, "rejected", status="Rejected")
            self.plane.work()
            return
        self.plane.answer(command)
        if command.action == Action.REQUEST_CSR:
            self.plane.send_csr(self.identity, request_for(self.identity.authoritative_identifier))
        if command.action == Action.DELIVER_CERTIFICATE:
            self.certificate = parse_certificate(command.payload["chain"]).fingerprint_sha256
        self.plane.work()
        if command.action == Action.RESET:
            self.close()
            if self.returns:
                self.connect(int(self.returns))

    def close(self) -> None:
        StationSession.objects.filter(station_id=self.identity.authoritative_identifier, closed_at__isnull=True).update(
            closed_at=self.plane.clock()
        )

    def connect(self, profile: int) -> None:
        """Come in, as the gateway stores it, with what opens that door."""
        self.close()
        fingerprint = self.certificate if profile == 3 else ""
        session = StationSession.objects.create(
            id=uuid4(),
            station_id=self.identity.authoritative_identifier,
            node="test",
            listener=f"profile{profile}",
            protocol="ocpp2.0.1",
            security_profile=profile,
            certificate_fingerprint=fingerprint,
            address="127.0.0.1",
            connected_at=self.plane.clock.advance(seconds=1),
        )
        payload = {
            "fingerprint": fingerprint,
            "profile": profile,
            "address": "127.0.0.1",
            "authorization_key": self.key_id if profile == 2 else None,
        }
        name = self.identity.authoritative_identifier
        inbox.store([Observation(name, session.pk, Evidence.CONNECTED, payload, self.plane.clock())])
        self.plane.work()


@dataclass
class Fleet:
    """Chargers that are ready to move to Profile 3."""

    plane: ControlPlane
    stations: list[Station] = field(default_factory=list)

    def add(self, number: int = 1, *, family: ChargerFamily, site: str = "", **moods: Any) -> list[Station]:
        """Chargers on Profile 2 with a key that was rotated, connected now."""
        made = []
        for _ in range(number):
            identity = charger(f"CS-{len(self.stations):04}", family=family, site=site)
            ManagedIdentity.objects.filter(pk=identity.pk).update(security_profile=2)
            identity.refresh_from_db()
            key = AuthorizationKey(
                identity=identity,
                version=1,
                state="pending",
                digest=digest(identity.authoritative_identifier.encode()),
                source="generated",
                created_at=self.plane.clock(),
            )
            AuthorizationKey.objects.bulk_create([key])
            AuthorizationKey.objects.filter(pk=key.pk).update(state="active", activated_at=self.plane.clock())
            station = Station(self.plane, identity, key_id=key.pk, **moods)
            self.stations.append(station)
            made.append(station)
            station.connect(2)
        return made

    def confirm_anchors(self) -> None:
        """Release our own anchors to everybody, and let everybody have confirmed them."""
        now = self.plane.clock()
        everybody = cohort("Everybody", [station.identity for station in self.stations])
        release(self.plane, own_bundles(now), everybody)
        membership.take_in_members(now)
        installations = BundleInstallation.objects.all()
        installations.update(state="delivered", delivered_at=now)
        installations.update(state="installed", installed_at=now, checked_at=now, deadline=None, next_run_at=None)

    def turn(self, seconds: float = 3.0) -> None:
        """One round of the duty, then every station answers what it is asked."""
        driving.drive(self.plane.clock())
        self.plane.work()
        for station in self.stations:
            station.serve()
        self.plane.clock.advance(seconds=seconds)

    def settle(self, turns: int = 8, seconds: float = 30.0) -> None:
        for _ in range(turns):
            self.turn(seconds)

    def states(self) -> dict[str, str]:
        rows = MigrationCase.objects.values_list("identity__authoritative_identifier", "state")
        return dict(rows.order_by("pk"))


def cohort(name: str, members: Sequence[ManagedIdentity]) -> Cohort:
    made = catalogue.save(entry=Cohort(name=name), actor=OPERATOR, reason="test")
    if members:
        catalogue.add_members(
            cohort=made,
            identifiers=[member.authoritative_identifier for member in members],
            actor=OPERATOR,
            reason="test",
        )
    return made


def plan_of(plane: ControlPlane, *cohorts: Cohort, **parameters: Any) -> Plan:
    return plans.make(
        kind="migration",
        parameters={"cohorts": [item.name for item in cohorts], **parameters},
        actor=OPERATOR,
        reason="test",
        now=plane.clock(),
    )


def roll_out(plane: ControlPlane, *cohorts: Cohort, **parameters: Any) -> MigrationRollout:
    """Plan and apply a migration."""
    plan = plan_of(plane, *cohorts, **parameters)
    plans.apply(plan=plan, digest=plan.digest, actor=OPERATOR, reason="test", now=plane.clock())
    return MigrationRollout.objects.get(plan=plan)


def records_of(identity: ManagedIdentity) -> list[CertificateRecord]:
    return list(CertificateRecord.objects.filter(identity=identity).order_by("pk"))
