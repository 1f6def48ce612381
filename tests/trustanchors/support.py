"""Given-parts of the tests of trust anchors: CA certificates, bundles, and a station that keeps a certificate store."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from bfcerts.ocpp import outbox
from bfcerts.ocpp.canonical import Action, CommandOutcome, Evidence
from bfcerts.ocpp.models import OutboxCommand
from inventory.models import ChargerFamily, Cohort, IssuingAuthority, ManagedIdentity
from inventory.services import catalogue
from tests.simulator.hash_data import hash_data
from tests.simulator.quirks import SerialStyle
from tests.support import OPERATOR, ControlPlane
from trustanchors.models import BundleInstallation, BundleRollout, TrustAnchor, TrustAnchorBundle
from trustanchors.services import anchors, beginning, bundles, duties, membership, releasing
from trustanchors.services.releasing import Pace

CSMS_ROOT = "CSMSRootCertificate"
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass
class CertificateAuthority:
    """A CA of somebody's, root or not."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()


def authority(
    now: datetime,
    name: str = "",
    *,
    under: CertificateAuthority | None = None,
    key: PrivateKey | None = None,
    is_ca: bool = True,
    days: tuple[float, float] = (-1, 3650),
    digest: hashes.SHA256 | hashes.SHA384 | None = None,
    serial: int | None = None,
) -> CertificateAuthority:
    """A CA certificate, self-signed unless it is under another."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name or f"Root {uuid4().hex[:6]}")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(under.certificate.subject if under else subject)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    signer = under.key if under else key
    return CertificateAuthority(builder.sign(signer, digest or hashes.SHA256()), key)


def anchor(pem: str, now: datetime, purpose: str = "charger_identity", name: str = "") -> TrustAnchor:
    return anchors.add(certificate_pem=pem, purpose_key=purpose, name=name, actor=OPERATOR, reason="test", now=now)


def own_root(trust_domain: str) -> str:
    """The root of the CA that issues in a trust domain of this control plane."""
    return IssuingAuthority.objects.get(trust_domain=trust_domain, issues=True).root_pem


def bundle(anchors_of: Sequence[TrustAnchor], now: datetime) -> TrustAnchorBundle:
    return bundles.draft(
        purpose_key=anchors_of[0].purpose, anchors=list(anchors_of), actor=OPERATOR, reason="test", now=now
    )


def own_anchors(now: datetime) -> tuple[TrustAnchor, TrustAnchor]:
    """The anchors that every charger needs: charger identity, and our server chain."""
    return (
        anchor(own_root("charger_identity"), now, "charger_identity", "identity root"),
        anchor(own_root("backend_server"), now, "backend_server", "server root"),
    )


def own_bundles(now: datetime) -> list[TrustAnchorBundle]:
    return [bundle([one], now) for one in own_anchors(now)]


def family(name: str, **fields: Any) -> ChargerFamily:
    entry = ChargerFamily(name=name, vendor=name, model="M", **fields)
    return catalogue.save(entry=entry, actor=OPERATOR, reason="test")


def cohort(name: str, members: Sequence[ManagedIdentity]) -> Cohort:
    made = catalogue.save(entry=Cohort(name=name), actor=OPERATOR, reason="test")
    join(made, *members)
    return made


def join(group: Cohort, *members: ManagedIdentity) -> None:
    if members:
        identifiers = [member.authoritative_identifier for member in members]
        catalogue.add_members(cohort=group, identifiers=identifiers, actor=OPERATOR, reason="test")


@dataclass
class Station:
    """A charger that keeps what it is given, in the spellings and with the moods of real ones."""

    plane: ControlPlane
    identity: ManagedIdentity
    algorithm: str = "SHA256"
    serials: SerialStyle = SerialStyle.BARE
    deletes_padded_only: bool = False
    refuses: set[str] = field(default_factory=set)
    """Subjects of roots that it does not take."""
    size: int | None = None
    refuses_what_it_has: str = ""
    """What it answers to a root that is in its store already; empty: it takes it once more."""
    forgets: bool = False
    """Trusts only the root that it was given last, and reconnects at once: one that is not our server's loses it."""
    store: list[tuple[str, x509.Certificate, x509.Certificate]] = field(default_factory=list)
    """Use, certificate and issuer, in the order of installation."""
    silent: bool = False
    unknown_actions: set[str] = field(default_factory=set)
    took: list[str] = field(default_factory=list)
    """Every action that it was asked, in order."""

    def waiting(self) -> list[OutboxCommand]:
        queued = OutboxCommand.objects.filter(
            station_id=self.identity.authoritative_identifier, state=OutboxCommand.State.QUEUED
        )
        return list(queued.order_by("pk"))

    def serve(self, limit: int = 60) -> int:
        """Answer what is asked until nothing is."""
        count = 0
        while not self.silent and (commands := self.waiting()):
            self.answer(commands[0])
            count += 1
            if count > limit:
                raise AssertionError("there is no end to the commands")
            self.plane.read_inbox()
        return count

    def answer(self, command: OutboxCommand) -> None:
        self.took.append(command.action)
        if command.action in self.unknown_actions:
            self.end(command, CommandOutcome.ERROR, error_code="NotSupported")
            return
        status, content = getattr(self, f"_{command.action}")(command.payload)
        accepted = status in ("Accepted", "NotFound") if command.action == Action.LIST_CERTIFICATES else None
        outcome = CommandOutcome.ACCEPTED if accepted or status == "Accepted" else CommandOutcome.REJECTED
        self.end(command, outcome, status=status, content={"status": status, **content})

    def end(self, command: OutboxCommand, outcome: CommandOutcome, **values: Any) -> None:
        """How the gateway stores the end of a command."""
        outbox.finish([outbox.Ending(command_id=command.pk, outcome=outcome, **values)], now=self.plane.clock())

    def connect(self, profile: int = 2) -> None:
        self.plane.clock.advance(seconds=1)
        self.plane.observe(
            self.identity.authoritative_identifier,
            Evidence.CONNECTED,
            {"fingerprint": "", "profile": profile, "address": "127.0.0.1"},
        )
        self.plane.read_inbox()

    def holds(self, pem: str) -> bool:
        return pem in [held.public_bytes(Encoding.PEM).decode() for _, held, _ in self.store]

    def hash_data_of(self, certificate: x509.Certificate, issuer: x509.Certificate) -> dict[str, Any]:
        return hash_data(certificate, issuer, algorithm=self.algorithm, serial_style=self.serials)

    def _install_certificate(self, payload: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        certificate = x509.load_pem_x509_certificate(payload["certificate"].encode())
        if certificate.subject.rfc4514_string() in self.refuses:
            return "Rejected", {}
        if self.refuses_what_it_has and self.holds(payload["certificate"]):
            return self.refuses_what_it_has, {}
        kept = [held for held in self.store if (held[0], held[1]) != (payload["use"], certificate)]
        if self.size is not None and len(kept) >= self.size:
            return "Failed", {}
        self.store = [*kept, (payload["use"], certificate, certificate)]
        self.silent = self.silent or (self.forgets and payload["certificate"] != own_root("backend_server"))
        return "Accepted", {}

    def _list_certificates(self, payload: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        found = [
            {"use": use, "hash_data": self.hash_data_of(certificate, issuer), "children": []}
            for use, certificate, issuer in self.store
            if not payload["uses"] or use in payload["uses"]
        ]
        return ("Accepted" if found else "NotFound"), {"uses": payload["uses"], "certificates": found}

    def _delete_certificate(self, payload: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        asked = payload["hash_data"]
        if self.deletes_padded_only and len(asked["serialNumber"]) % 2:
            return "NotFound", {}
        for held in self.store:
            own = self.hash_data_of(held[1], held[2])
            same = {**own, "serialNumber": 0} == {**asked, "serialNumber": 0}
            if same and int(own["serialNumber"], 16) == int(asked["serialNumber"], 16):
                self.store.remove(held)
                return "Accepted", {}
        return "NotFound", {}

    def _reset(self, payload: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        return "Accepted", {}


@dataclass
class Fleet:
    """Stations and the duties that serve them, moved on by hand."""

    plane: ControlPlane
    stations: list[Station] = field(default_factory=list)

    def add(self, name: str, of: ChargerFamily | None = None, **moods: Any) -> Station:
        from tests.support import charger

        station = Station(self.plane, charger(name, family=of), **moods)
        self.stations.append(station)
        return station

    @property
    def identities(self) -> list[ManagedIdentity]:
        return [station.identity for station in self.stations]

    def turn(self) -> None:
        """Every duty once, then every station answers what it is asked."""
        now = self.plane.clock()
        for one in (
            membership.take_in_members,
            duties.end_withdrawn,
            beginning.begin_anew,
            beginning.begin_due,
            duties.go_on_due,
            duties.hold_deadlines,
            duties.check_due,
        ):
            one(now)
        for station in self.stations:
            station.serve()

    def settle(self, turns: int = 12, *, come_back: bool = True) -> None:
        """Go on until everybody had their turn, minute by minute; stations reconnect now and then."""
        for _ in range(turns):
            self.turn()
            if come_back:
                for station in self.stations:
                    if not station.silent:
                        station.connect()
            self.turn()
            self.plane.clock.advance(minutes=1)


def release(
    plane: ControlPlane, versions: Sequence[TrustAnchorBundle], group: Cohort, **pace: Any
) -> list[BundleRollout]:
    return releasing.release(
        bundles=list(versions),
        cohort=group,
        pace=Pace(**pace),
        actor=OPERATOR,
        reason="test",
        now=plane.clock(),
    )


def again(rollout: BundleRollout) -> BundleRollout:
    return BundleRollout.objects.select_related("bundle", "cohort").get(pk=rollout.pk)


def states(rollout: BundleRollout) -> dict[str, str]:
    """The state of each charger of a rollout, by its name."""
    rows = BundleInstallation.objects.filter(rollout=rollout)
    return dict(rows.values_list("identity__authoritative_identifier", "state"))


def installation(rollout: BundleRollout, station: Station) -> BundleInstallation:
    return BundleInstallation.objects.get(rollout=rollout, identity=station.identity)
