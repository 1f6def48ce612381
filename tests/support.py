"""Given-parts of tests: identities, device keys and requests, and the control plane's workers run by hand."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from django.db import connection, connections, transaction
from django.db.models import F
from django.db.models.functions import Greatest

from bfcerts.ocpp import inbox
from bfcerts.ocpp.canonical import Action, Evidence
from bfcerts.ocpp.inbox import Observation
from bfcerts.ocpp.models import OutboxCommand, StationSession
from bfcerts.pki.certificates import parse_certificate
from inventory.actors import Actor
from inventory.audit import attributed
from inventory.choices import JobAction, JobQueue
from inventory.jobs import engine, periodic
from inventory.models import CertificateJob, CertificateRecord, LifecyclePolicy, ManagedIdentity
from inventory.services import identities, issuance, jobs, lifecycle

OPERATOR = Actor.system("test-operator")
NAMES = {
    "CN": NameOID.COMMON_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "C": NameOID.COUNTRY_NAME,
    "DC": NameOID.DOMAIN_COMPONENT,
    "UID": NameOID.USER_ID,
    "serialNumber": NameOID.SERIAL_NUMBER,
}
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Answer = TypeVar("Answer")
PATIENCE_SECONDS = 30.0


@dataclass
class Clock:
    """A clock that moves only when told to, so that a year passes in a moment."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> datetime:
        self.now += timedelta(**by)
        return self.now


def wait_until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for a condition; a test that waits in vain fails with what it waited for."""
    ends = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > ends:
            raise AssertionError(f"in vain for {seconds:g} seconds: {what}")
        pause.wait(0.01)


def somebody_waits_for_a_lock() -> bool:
    """Whether a session of this database is blocked by another one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # or one transaction sees the same answer for ever
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(cursor.fetchone()[0])


def in_threads(*functions: Callable[[], Answer]) -> list[Answer]:
    """Run functions at the same time, each on a thread and a database connection of its own.

    :returns: their answers, in order.
    """

    def run(function: Callable[[], Answer]) -> Answer:
        try:
            return function()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(functions)) as pool:
        return [future.result(PATIENCE_SECONDS) for future in [pool.submit(run, one) for one in functions]]


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def request_for(
    name: str,
    key: PrivateKey | None = None,
    *,
    subject: Sequence[tuple[str, str]] | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> str:
    """A PEM certificate signing request for a common name (or a whole subject), as a station would make it."""
    pairs = subject if subject is not None else [("CN", name), ("O", "Charge point operator"), ("C", "DE")]
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NAMES[short], value) for short, value in pairs])
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    signed = builder.sign(key or new_key(), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def charger(name: str = "", **fields: Any) -> ManagedIdentity:
    """A charger in the inventory."""
    return identities.create(
        kind="charger",
        authoritative_identifier=name or f"CS-{uuid4().hex[:8]}",
        actor=OPERATOR,
        reason="test",
        **fields,
    )


def undeliverable_charger(serial_number: str) -> ManagedIdentity:
    """A charger whose certificate is issued, for its serial number, but not delivered: the outbox takes no such id."""
    identity = charger("CS-1", serial_number=serial_number)
    ManagedIdentity.objects.filter(pk=identity.pk).update(authoritative_identifier="C" * 65)
    identity.refresh_from_db()
    return identity


def job_for(
    identity: ManagedIdentity, step: str, *, now: datetime, queue: str = JobQueue.GENERAL, **fields: Any
) -> CertificateJob:
    """An open job at a step of its own, for tests of the engine."""
    with attributed(OPERATOR, "test"), transaction.atomic():
        job, _ = jobs.open_job(
            action=fields.pop("action", JobAction.COMMAND),
            identity=identity,
            purpose="charger_identity",
            step=step,
            queue=queue,
            target=fields.pop("target", uuid4().hex),
            now=now,
            **fields,
        )
    return job


@dataclass
class ControlPlane:
    """Runs the workers' work by hand, so that a test decides when and in which order things happen."""

    clock: Clock
    sessions: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """What a worker does when it starts; the flush between tests took the policies along."""
        restore_default_policies()
        issuance.publish_authorities(self.clock())

    def work(self, rounds: int = 20) -> None:
        """Run the inbox and all due jobs of both queues until nothing is due."""
        lease = timedelta(seconds=60)
        for _ in range(rounds):
            taken = inbox.process_due(now=self.clock(), limit=50)
            for queue in JobQueue:
                taken += engine.run_due(queue=queue, clock=self.clock, limit=50, lease=lease)
            if not taken:
                return
        raise AssertionError(
            f"work did not settle: {list(CertificateJob.objects.open().values('pk', 'step', 'state'))}"
        )

    def read_inbox(self) -> int:
        """Handle the evidence that is due, and nothing else."""
        return inbox.process_due(now=self.clock(), limit=50)

    def sweep(self) -> None:
        """Run every recurring duty once, then what they started."""
        for item in periodic.known_duties():
            item.run(self.clock())
        self.work()

    def observe(self, station: str, kind: Evidence, payload: dict[str, Any], message_id: str = "") -> None:
        """Evidence from the wire, as the gateway stores it."""
        inbox.store(
            [
                Observation(
                    station_id=station,
                    session_id=None,
                    kind=kind,
                    payload=payload,
                    received_at=self.clock(),
                    message_id=message_id,
                )
            ]
        )

    def send_csr(self, identity: ManagedIdentity, csr_pem: str, certificate_type: str | None = None) -> None:
        self.observe(
            identity.authoritative_identifier,
            Evidence.CSR_RECEIVED,
            {"csr": csr_pem, "certificate_type": certificate_type},
        )

    def answer(self, command: OutboxCommand, outcome: str = "accepted", **payload: Any) -> None:
        """A station's answer to a command of the outbox, which was sent once at least unless it expired."""
        sent = 0 if outcome == "expired" else 1
        OutboxCommand.objects.filter(pk=command.pk).update(
            state=OutboxCommand.State.ANSWERED, outcome=outcome, attempts=Greatest(F("attempts"), sent)
        )
        self.observe(
            command.station_id,
            Evidence.COMMAND_ANSWERED,
            {"command_id": str(command.pk), "action": command.action, "outcome": outcome, **payload},
        )

    def open_command(self, identity: ManagedIdentity, action: Action) -> OutboxCommand:
        return OutboxCommand.objects.filter(
            station_id=identity.authoritative_identifier, action=action, state=OutboxCommand.State.QUEUED
        ).latest("id")

    def commands(self, identity: ManagedIdentity, action: Action) -> list[OutboxCommand]:
        """Every command of a kind that was ever put out for a station."""
        found = OutboxCommand.objects.filter(station_id=identity.authoritative_identifier, action=action)
        return list(found.order_by("pk"))

    def connect(self, identity: ManagedIdentity, record: CertificateRecord) -> None:
        """A mutual-TLS connection that the door admitted and that was news."""
        inbox.store(
            [
                Observation(
                    station_id=identity.authoritative_identifier,
                    session_id=uuid4(),
                    kind=Evidence.CONNECTED,
                    payload={"fingerprint": record.fingerprint, "profile": 3, "address": "127.0.0.1"},
                    received_at=self.clock(),
                )
            ]
        )

    def seen(self, identity: ManagedIdentity, profile: int = 2) -> StationSession:
        """A session that was: the station trusts the chain that our listeners present."""
        return StationSession.objects.create(
            station_id=identity.authoritative_identifier,
            node="test",
            listener=f"profile{profile}",
            protocol="ocpp2.0.1",
            security_profile=profile,
            address="127.0.0.1",
            connected_at=self.clock(),
            closed_at=self.clock(),
        )

    def play_station(self, identity: ManagedIdentity) -> int:
        """An obliging station: it takes what is asked of it, sends requests, installs, and comes back with the newest.

        :returns: how many commands it answered.
        """
        answered = 0
        for command in OutboxCommand.objects.filter(
            station_id=identity.authoritative_identifier, state=OutboxCommand.State.QUEUED
        ).order_by("id"):
            self.answer(command)
            answered += 1
            if command.action == Action.REQUEST_CSR:
                self.send_csr(identity, request_for(identity.authoritative_identifier))
            if command.action == Action.DELIVER_CERTIFICATE:
                self.work()
                fingerprint = parse_certificate(command.payload["chain"]).fingerprint_sha256
                self.connect(identity, CertificateRecord.objects.get(fingerprint=fingerprint))
            self.work()
        return answered

    def enrol(self, identity: ManagedIdentity, key: PrivateKey | None = None) -> CertificateRecord:
        """Take a charger from no certificate to an active one."""
        job = lifecycle.issue(
            identity=identity, purpose="charger_identity", actor=OPERATOR, reason="test", now=self.clock()
        )
        return self.complete(job, key)

    def complete(self, job: CertificateJob, key: PrivateKey | None = None) -> CertificateRecord:
        """Play the station's part of an issuing job to its end."""
        identity = job.identity
        self.work()
        self.answer(self.open_command(identity, Action.REQUEST_CSR))
        self.send_csr(identity, request_for(identity.authoritative_identifier, key))
        self.work()
        self.answer(self.open_command(identity, Action.DELIVER_CERTIFICATE))
        self.work()
        job.refresh_from_db()
        assert job.record is not None, job.outcome
        self.connect(identity, job.record)
        self.work()
        return CertificateRecord.objects.get(pk=job.record.pk)


def restore_default_policies() -> None:
    """Put the default policies back: flushing a database between tests takes the rows of migrations along."""
    from importlib import import_module

    defaults = import_module("inventory.migrations.0003_default_policies").DEFAULTS
    LifecyclePolicy.objects.bulk_create([LifecyclePolicy(**values) for values in defaults], ignore_conflicts=True)
