"""What each process may do in the database: roles for it, by table, with the least that it needs.

A role is a group without a login: grant it to the user that the process signs in as. The tables belong to another user,
who runs the migrations; so no process can switch off a trigger or change a table. What is append-only is found by its
trigger, and of a table that is new here everybody gets nothing but web, worker and PKI worker, which run the lifecycle.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, LiteralString

from django.apps import apps
from django.db import connection, transaction
from psycopg import sql

from bfcerts.setting_kinds import Process

READ: Final = "SELECT"
APPEND: Final = "SELECT, INSERT"
WRITE: Final = "SELECT, INSERT, UPDATE"
ALL: Final = "SELECT, INSERT, UPDATE, DELETE"

OURS: Final = ("ocpp", "inventory", "trustanchors", "migration", "provisioning")
ACCOUNTS: Final = ("auth", "admin", "contenttypes", "sessions", "knox")
PERMISSIONS: Final = ("auth", "contenttypes")
"""What the worker reads: it goes on with what a person began only as long as that person may do it."""

_ISSUING: Final = ("inventory_issuanceintent", "inventory_auditreport")
"""What only the PKI worker writes, and only people and the worker read besides."""

_GATEWAY: Final[Mapping[str, str]] = {
    "ocpp_gatewaynode": ALL,
    "ocpp_stationsession": WRITE,
    "ocpp_inboxmessage": "INSERT",
    "ocpp_outboxcommand": "SELECT, UPDATE",
    "ocpp_stationquestion": WRITE,
    "ocpp_listenerkey": WRITE,
    # Locking a row takes the right to change something of it: here what nobody decides by.
    "inventory_managedidentity": "SELECT, INSERT, UPDATE (connections_watched_until)",
    "migration_authorizationkey": "SELECT, UPDATE (last_success_at)",
    # The life of its own server certificates; `_CONFINED` keeps it to these.
    "inventory_certificaterecord": WRITE,
    "inventory_certificatejob": WRITE,
    "inventory_evidence": APPEND,
    "inventory_domainevent": APPEND,
    "inventory_securityevent": APPEND,
    "inventory_historicalmanagedidentity": APPEND,
    "inventory_historicalcertificaterecord": APPEND,
    "inventory_historicalcertificatejob": APPEND,
    "inventory_publickeyowner": WRITE,
    "inventory_untoldjobend": APPEND,
    "inventory_plantarget": "SELECT (id, job_id, outcome), UPDATE (outcome, detail)",
    "inventory_lifecyclepolicy": READ,
    "inventory_cohort": READ,
    "inventory_cohort_members": READ,
    "inventory_chargerfamily": READ,
    "inventory_upstream": READ,
    "inventory_issuingauthority": READ,
}


_OF_OWN_JOB: Final = (
    "EXISTS (SELECT FROM inventory_certificatejob job WHERE job.id = job_id AND job.purpose = 'backend_server')"
)


@dataclass(frozen=True, slots=True)
class Confined:
    """Of which rows the gateway may add and change: those that are `own` before and after.

    Where the doors lock rows of chargers too, `before` lets them: a row that the gateway may not change is one that it
    may not lock. What makes a row its own cannot be changed there: a trigger, or the rights on columns, see to that.
    """

    own: LiteralString
    before: LiteralString


_CONFINED: Final[Mapping[str, Confined]] = {
    "inventory_managedidentity": Confined("kind = 'service_endpoint'", before="true"),
    "inventory_certificaterecord": Confined("purpose = 'backend_server'", before="true"),
    "inventory_certificatejob": Confined("purpose = 'backend_server'", before="purpose = 'backend_server'"),
    "inventory_plantarget": Confined(_OF_OWN_JOB, before=_OF_OWN_JOB),
}

_WITHHELD: Final[Mapping[Process, Mapping[str, str]]] = {
    Process.WEB: {
        "ocpp_listenerkey": "",
        "ocpp_gatewaynode": READ,
        "ocpp_inboxmessage": APPEND,
        "ocpp_stationquestion": READ,
        "inventory_queuebeat": READ,
        "inventory_periodictask": READ,
        "migration_knowndefaultkey": ALL,
        **dict.fromkeys(_ISSUING, READ),
    },
    Process.WORKER: {
        "ocpp_listenerkey": "",
        "ocpp_gatewaynode": READ,
        **dict.fromkeys(_ISSUING, READ),
        # What expired is deleted, unread but for its key and its end.
        "django_session": "SELECT (session_key, expire_date), UPDATE (expire_date), DELETE",
        "knox_authtoken": "SELECT (digest, expiry), UPDATE (expiry), DELETE",
        "django_q_ormq": ALL,
        "django_q_task": ALL,
    },
    Process.PKI: {
        "ocpp_listenerkey": "",
        "ocpp_gatewaynode": "",
        "ocpp_stationquestion": "",
        "ocpp_stationsession": READ,
        "inventory_periodictask": "",
        "inventory_idempotencykey": "",
        "migration_authorizationkey": "",
        "migration_historicalauthorizationkey": "",
        "migration_keyrotation": "",
        "migration_knowndefaultkey": "",
        # It reads whose certificates are whose, and its triggers ask what is blocked; it decides neither.
        "provisioning_ownershipdecision": READ,
        "provisioning_externalreference": READ,
        "django_q_ormq": ALL,
        "django_q_task": ALL,
    },
}
"""Where web, worker and PKI worker get something else than their table's kind would give them."""

PROCESSES: Final = (Process.WEB, Process.WORKER, Process.PKI, Process.GATEWAY)


@dataclass(frozen=True, slots=True)
class Table:
    """A table as the rights on it see it."""

    name: str
    app: str
    append_only: bool
    has_history: bool
    """What has a history is changed, and never deleted."""


def role_name(prefix: str, process: Process) -> str:
    """The name of a process's role."""
    return f"{prefix}_{process.value}"


def tables() -> list[Table]:
    """The tables of every app, with those that a trigger keeps append-only marked."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid "
            "JOIN pg_class c ON c.oid = t.tgrelid WHERE p.proname = 'inventory_append_only'"
        )
        append_only = {name for (name,) in cursor.fetchall()}
    models = apps.get_models(include_auto_created=True)
    found = [
        Table(
            name=model._meta.db_table,
            app=model._meta.app_label,
            append_only=model._meta.db_table in append_only,
            has_history=hasattr(model._meta, "simple_history_manager_attribute"),
        )
        for model in models
        if model._meta.managed
    ]
    return sorted(found, key=lambda table: table.name)


def rights(process: Process, table: Table) -> str:
    """What a process may do with a table, as GRANT says it; empty for nothing."""
    if process is Process.GATEWAY:
        return _GATEWAY.get(table.name, "")
    if table.name in _WITHHELD[process]:
        return _WITHHELD[process][table.name]
    if table.app in ACCOUNTS:
        if process is Process.WEB:
            return ALL
        return READ if process is Process.WORKER and table.app in PERMISSIONS else ""
    if table.app not in OURS:
        return ""
    if table.append_only:
        return APPEND
    return WRITE if table.has_history or process is Process.PKI else ALL


def statements(prefix: str) -> list[str]:
    """The SQL that makes the roles, or brings them up to date: they end up with these rights and no others."""
    return [statement.as_string(None) for statement in _statements(prefix)]


def apply(prefix: str) -> None:
    """Run that SQL, all of it or none; by the owner of the tables, who may make roles."""
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in statements(prefix):
            cursor.execute(statement)


def _statements(prefix: str) -> Iterator[sql.Composed]:
    known = tables()
    for process in PROCESSES:
        name = role_name(prefix, process)
        role = sql.Identifier(name)
        yield sql.SQL(
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {name}) "
            "THEN CREATE ROLE {role} NOLOGIN; END IF; END $$"
        ).format(name=sql.Literal(name), role=role)
        yield sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(role)
        yield sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}").format(role)
        for table in known:
            if given := rights(process, table):
                yield _grant(given, table.name, role)
    gateway = sql.Identifier(role_name(prefix, Process.GATEWAY))
    for name, rows in _CONFINED.items():
        yield from _confine(sql.Identifier(name), rows, prefix, gateway)


def _grant(given: str, table: str, role: sql.Identifier) -> sql.Composed:
    # The rights are constants of this module, not input.
    return sql.SQL("GRANT {} ON {} TO {}").format(
        sql.SQL(given),
        sql.Identifier(table),
        role,
    )


def _confine(table: sql.Identifier, rows: Confined, prefix: str, gateway: sql.Identifier) -> Iterator[sql.Composed]:
    """Row security that is in nobody's way but the gateway's."""
    given = {"gateway": gateway, "before": sql.SQL(rows.before), "own": sql.SQL(rows.own)}
    policies = {
        "everybody": sql.SQL("AS PERMISSIVE FOR ALL TO PUBLIC USING (true) WITH CHECK (true)").format(),
        f"{prefix}_gateway_adds": sql.SQL("AS RESTRICTIVE FOR INSERT TO {gateway} WITH CHECK ({own})").format(**given),
        f"{prefix}_gateway_changes": sql.SQL(
            "AS RESTRICTIVE FOR UPDATE TO {gateway} USING ({before}) WITH CHECK ({own})"
        ).format(**given),
    }
    yield sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(table)
    for name, policy in policies.items():
        yield sql.SQL("DROP POLICY IF EXISTS {} ON {}").format(sql.Identifier(name), table)
        yield sql.SQL("CREATE POLICY {} ON {} {}").format(sql.Identifier(name), table, policy)
