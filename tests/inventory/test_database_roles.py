"""Narrow database roles: each process still does its work under its own, and nothing that is another's."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection, transaction
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from bfcerts import database_roles
from bfcerts.ocpp import inbox, outbox
from bfcerts.ocpp.canonical import Action, CommandOutcome, Evidence
from bfcerts.ocpp.gateway import commands, node, sessions
from bfcerts.ocpp.gateway.sessions import Arrival, Departure, Opened
from bfcerts.ocpp.models import InboxMessage, ListenerKey, OutboxCommand, StationSession
from bfcerts.ocpp.registry import Refusal, Stay
from bfcerts.setting_kinds import Process
from inventory.choices import JobQueue, RecordState, RevocationReason
from inventory.jobs import engine, periodic, pulse
from inventory.models import CertificateJob, CertificateRecord, IssuanceIntent, ManagedIdentity
from inventory.services import issuance, lifecycle
from inventory.services.listeners import ListenerCertificates
from migration.services import authorization_keys
from migration.services.authorization_keys import PasswordDoor
from tests.inventory.attempts import certificate_attempt, password_attempt
from tests.support import OPERATOR, ControlPlane, charger, new_key, request_for

pytestmark = pytest.mark.django_db

SECRET = "a-secret-of-20-chars"
LEASE = timedelta(seconds=60)


@pytest.fixture
def prefix(db: None) -> str:
    """Roles of this test's own: roles belong to the whole server. They go away with the test's transaction."""
    name = f"test_{uuid4().hex[:12]}"
    call_command("database_roles", "--apply", prefix=name, stdout=StringIO())
    return name


@contextmanager
def as_role(prefix: str, process: Process) -> Iterator[None]:
    """As the process's role: without the rights of who runs the tests, and under row security."""
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("SET ROLE {}").format(sql.Identifier(database_roles.role_name(prefix, process))).as_string(None)
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")


def may(prefix: str, process: Process, statement: str) -> bool:
    """Whether the database lets a process run a statement, and an update reach any row; nothing of it stays."""
    with transaction.atomic():
        try:
            with as_role(prefix, process), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement)
                return not statement.startswith("UPDATE") or cursor.rowcount > 0
        except ProgrammingError as error:
            if isinstance(error.__cause__, InsufficientPrivilege):
                return False
            raise
        finally:
            transaction.set_rollback(True)


def may_read(prefix: str, process: Process, table: str) -> bool:
    return may(prefix, process, sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)).as_string(None))


def run_queue(plane: ControlPlane, prefix: str) -> None:
    """Inbox and jobs until nothing is due, each queue under the role of its worker."""
    taken = 1
    while taken:
        with as_role(prefix, Process.WORKER):
            taken = inbox.process_due(now=plane.clock(), limit=50)
            taken += engine.run_due(queue=JobQueue.GENERAL, clock=plane.clock, limit=50, lease=LEASE)
        with as_role(prefix, Process.PKI):
            taken += engine.run_due(queue=JobQueue.PKI, clock=plane.clock, limit=50, lease=LEASE)


# -- each does its work ----------------------------------------------------------------------------------------------


def test_a_charger_is_enrolled_and_revoked_with_every_part_under_its_own_role(plane: ControlPlane, prefix: str) -> None:
    identity = charger("CS-1")
    with as_role(prefix, Process.WEB):
        job = lifecycle.issue(
            identity=identity, purpose="charger_identity", actor=OPERATOR, reason="test", now=plane.clock()
        )
    run_queue(plane, prefix)
    gateway_answers(plane, prefix, Action.REQUEST_CSR)
    with as_role(prefix, Process.GATEWAY):
        plane.send_csr(identity, request_for("CS-1"))
    run_queue(plane, prefix)
    gateway_answers(plane, prefix, Action.DELIVER_CERTIFICATE)
    run_queue(plane, prefix)
    job.refresh_from_db()
    assert job.record is not None, job.outcome
    with as_role(prefix, Process.GATEWAY):
        arrival = Arrival(certificate_attempt(job.record, plane.clock()), uuid4())
        (decision,) = sessions.admit([arrival], "node-a")
    assert isinstance(decision, Opened)
    run_queue(plane, prefix)
    record = CertificateRecord.objects.get()
    assert record.state == RecordState.ACTIVE

    with as_role(prefix, Process.WEB):
        lifecycle.revoke(
            record=record,
            revocation_reason=RevocationReason.KEY_COMPROMISE,
            actor=OPERATOR,
            reason="stolen",
            now=plane.clock(),
        )
    run_queue(plane, prefix)
    record.refresh_from_db()
    assert record.revocation_propagated_at is not None


def gateway_answers(plane: ControlPlane, prefix: str, action: Action) -> None:
    """The gateway takes the next command out on a session of its own and stores its answer."""
    station, session = "CS-1", uuid4()
    StationSession.objects.update(closed_at=plane.clock())
    StationSession.objects.create(
        id=session,
        station_id=station,
        node="node-a",
        listener="dual",
        protocol="ocpp2.0.1",
        security_profile=2,
        address="192.0.2.1",
        connected_at=plane.clock(),
    )
    with as_role(prefix, Process.GATEWAY):
        (taken,) = commands.claim([commands.Wish(station, session, plane.clock())])
        assert taken is not None
        assert taken.action == action
        ending = outbox.Ending(taken.id, CommandOutcome.ACCEPTED, "Accepted", answer={"status": "Accepted"})
        commands.record([commands.Result(taken.id, session, ending, plane.clock())])
        sessions.close([Departure(session, station, "gone", 1006, plane.clock(), evidence=True)])


def test_the_gateway_lets_stations_in_and_stores_what_they_say(plane: ControlPlane, prefix: str) -> None:
    authorization_keys.set_initial(identity=charger("CS-1"), secret=SECRET, actor=OPERATOR, reason="test")
    run = uuid4()
    with as_role(prefix, Process.GATEWAY):
        node.start("node-a", run, plane.clock())
        node.beat("node-a", run, plane.clock())
        arrivals = [
            Arrival(password_attempt("CS-1", password, plane.clock()), uuid4())
            for password in (SECRET.encode(), b"not-the-password")
        ]
        opened, refused = sessions.admit(arrivals, "node-a")
        assert isinstance(opened, Opened)
        assert isinstance(refused, Refusal)
        stay = Stay("CS-1", opened.admission.options, plane.clock())
        assert PasswordDoor().review([stay]) == [None]
        inbox.store([inbox.Observation("CS-1", arrivals[0].session_id, Evidence.BOOTED, {}, plane.clock(), "m")] * 2)
        node.reap(plane.clock() + node.SILENCE * 2)
        node.stop("node-a", run)

    assert InboxMessage.objects.filter(kind=Evidence.BOOTED).count() == 1
    assert not StationSession.objects.filter(closed_at__isnull=True).exists()


def test_the_gateway_gets_its_own_server_certificate(plane: ControlPlane, prefix: str) -> None:
    listeners, key = ListenerCertificates(), new_key()
    with as_role(prefix, Process.GATEWAY):
        listeners.ensure_requested("gateway.example", ["ecdsa"], plane.clock())
    run_queue(plane, prefix)
    with as_role(prefix, Process.GATEWAY):
        (wanted,) = listeners.wanted("gateway.example")
        listeners.submit_request(wanted.reference, request_for("gateway.example", key), plane.clock())
    run_queue(plane, prefix)
    record = CertificateRecord.objects.get()
    with as_role(prefix, Process.GATEWAY):
        ListenerKey.objects.create(
            host="gateway.example",
            key_type="ecdsa",
            public_key_sha256=record.public_key_sha256,
            encrypted_private_key=b"sealed",
            csr_pem="",
            request_reference=wanted.reference,
            created_at=plane.clock(),
        )
        assert listeners.chain_for(record.public_key_sha256)
        assert listeners.client_trust_anchors()
        listeners.presented(record.public_key_sha256, plane.clock())

    record.refresh_from_db()
    assert record.state == RecordState.ACTIVE


def test_the_worker_does_every_duty(plane: ControlPlane, prefix: str) -> None:
    plane.enrol(charger("CS-1"))
    InboxMessage.objects.update(state="done", finished_at=plane.clock())
    OutboxCommand.objects.update(state="answered", finished_at=plane.clock())
    plane.clock.advance(days=100)
    with as_role(prefix, Process.WORKER):
        periodic.ensure_rows(plane.clock())
        pulse.beat(JobQueue.GENERAL, plane.clock())
        for item in periodic.known_duties():
            item.run(plane.clock())

    assert not InboxMessage.objects.exists()
    assert not OutboxCommand.objects.exclude(state="queued").exists()


def test_the_pki_worker_publishes_its_authorities(plane: ControlPlane, prefix: str) -> None:
    with as_role(prefix, Process.PKI):
        issuance.publish_authorities(plane.clock())
        pulse.beat(JobQueue.PKI, plane.clock())


# -- and nothing else ------------------------------------------------------------------------------------------------


def test_the_gateway_cannot_change_what_it_decides_by(plane: ControlPlane, prefix: str) -> None:
    plane.enrol(charger("CS-1"))
    assert IssuanceIntent.objects.exists()
    gateway = Process.GATEWAY

    assert may(prefix, gateway, "SELECT state FROM inventory_certificaterecord")
    for statement in (
        "UPDATE inventory_certificaterecord SET state = 'revoked', revoked_at = now()",
        "INSERT INTO inventory_certificaterecord SELECT (jsonb_populate_record(r, '"
        '{"id": 999999, "state": "requested", "fingerprint": "", "serial_number": "", "activation_evidence_id": null}'
        "')).* FROM inventory_certificaterecord r",
        "UPDATE inventory_certificatejob SET state = 'queued', step = 'submit', queue = 'pki'",
        "UPDATE inventory_certificatejob SET purpose = 'backend_server'",
        "UPDATE inventory_managedidentity SET enabled = true",
        "UPDATE inventory_managedidentity SET connections_watched_until = now()",
        "UPDATE migration_authorizationkey SET digest = 'mine'",
        "UPDATE inventory_issuingauthority SET trusted = true",
        "SELECT * FROM inventory_issuanceintent",
        "SELECT * FROM inventory_auditreport",
        "SELECT payload FROM ocpp_inboxmessage",
        "INSERT INTO ocpp_outboxcommand DEFAULT VALUES",
        "SELECT * FROM auth_user",
        "SELECT * FROM knox_authtoken",
        "SELECT * FROM django_session",
        "INSERT INTO django_q_ormq (key, payload) VALUES ('worker', 'x')",
        "UPDATE inventory_lifecyclepolicy SET enabled = false",
    ):
        assert not may(prefix, gateway, statement), statement


@pytest.mark.parametrize("process", database_roles.PROCESSES)
def test_no_process_can_change_or_empty_the_audit_or_take_a_trigger_away(prefix: str, process: Process) -> None:
    audited = [table.name for table in database_roles.tables() if table.append_only]
    assert {"inventory_domainevent", "inventory_evidence", "inventory_historicalcertificaterecord"} <= set(audited)

    role = database_roles.role_name(prefix, process)
    with connection.cursor() as cursor:
        for table in audited:
            cursor.execute("SELECT has_table_privilege(%s, %s, 'UPDATE, DELETE, TRUNCATE, TRIGGER')", [role, table])
            assert cursor.fetchone() == (False,), table
        for table in ("certificaterecord", "certificatejob", "managedidentity", "lifecyclepolicy"):
            name = f"inventory_{table}"
            cursor.execute("SELECT has_table_privilege(%s, %s, 'DELETE, TRUNCATE, TRIGGER')", [role, name])
            assert cursor.fetchone() == (False,), name


def test_secrets_are_for_those_who_need_them(prefix: str) -> None:
    readers = {
        "ocpp_listenerkey": {Process.GATEWAY},
        "migration_authorizationkey": {Process.GATEWAY, Process.WEB, Process.WORKER},
        "auth_user": {Process.WEB, Process.WORKER},
        "knox_authtoken": {Process.WEB},
        "django_q_ormq": {Process.WORKER, Process.PKI},
        "django_q_schedule": set(),
    }
    for table, expected in readers.items():
        found = {process for process in database_roles.PROCESSES if may_read(prefix, process, table)}
        assert found == expected, table
    assert not may(prefix, Process.WORKER, "SELECT session_data FROM django_session")
    assert not may(prefix, Process.WEB, "INSERT INTO inventory_issuanceintent DEFAULT VALUES")


def test_what_is_taken_from_a_role_is_gone_when_the_roles_are_made_anew(prefix: str) -> None:
    role = database_roles.role_name(prefix, Process.GATEWAY)
    with connection.cursor() as cursor:
        cursor.execute(f"GRANT SELECT ON auth_user TO {role}")
    assert may(prefix, Process.GATEWAY, "SELECT * FROM auth_user")

    database_roles.apply(prefix)

    assert not may(prefix, Process.GATEWAY, "SELECT * FROM auth_user")


def test_the_command_prints_what_it_would_do_and_changes_nothing(db: None) -> None:
    printed = StringIO()
    call_command("database_roles", prefix="printed_only", stdout=printed)

    assert 'GRANT SELECT, UPDATE ON "ocpp_outboxcommand" TO "printed_only_gateway";' in printed.getvalue()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'printed_only%'")
        assert cursor.fetchone() == (0,)


def test_a_prefix_that_is_no_name_is_refused(db: None) -> None:
    with pytest.raises(CommandError, match="letters, digits and underscores"):
        call_command("database_roles", prefix='x"; DROP', stdout=StringIO())


def test_row_security_is_in_nobody_elses_way(plane: ControlPlane, prefix: str) -> None:
    charger("CS-1")
    with as_role(prefix, Process.WEB):
        ManagedIdentity.objects.update(name="renamed")
        CertificateJob.objects.update(waiting_for="")

    assert set(ManagedIdentity.objects.values_list("name", flat=True)) == {"renamed"}
