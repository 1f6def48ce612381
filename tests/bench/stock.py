"""Filling an inventory: chargers with an active certificate each, as they would stand there after their enrolment.

The rows go in by SQL, so that a million of them take minutes and not hours; triggers are off meanwhile, constraints are
not. Each charger has its identity, its record with the evidence, the ownership of its key, and the job that is done.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from django.db import connection as django_connection
from django.db.models import DateTimeField, Field, Model
from psycopg import sql

from bfcerts.pki.certificates import ParsedCertificate, parse_certificate
from inventory.models import CertificateJob, CertificateRecord, Evidence, ManagedIdentity, PublicKeyOwner
from inventory.purposes import CHARGER_IDENTITY
from tests.bench.stations import Station

Expressions = Mapping[str, sql.Composable]
NUMBERED = (ManagedIdentity, CertificateRecord, Evidence, CertificateJob)

_COLUMNS: LiteralString = (
    "n, station_id, serial_number, certificate_serial, fingerprint, public_key, csr_sha256, subject, not_after, csr, "
    "certificate"
)
_STAGE: LiteralString = """
CREATE TEMPORARY TABLE stage (
    n bigint, station_id text, serial_number text, certificate_serial text, fingerprint text, public_key text,
    csr_sha256 text, subject text, not_after timestamptz, csr text, certificate text)
ON COMMIT DROP
"""

# An invented charger's keys and names follow from its number; its texts are copies of real ones, so as long as those.
# Its certificate ends within half a year and is not due for renewal while anything is measured.
_INVENTED: LiteralString = """
INSERT INTO stage ({columns})
SELECT n, 'CP-' || lpad(n::text, 8, '0'), 'SP-' || lpad(n::text, 8, '0'), '5' || substr(md5('serial ' || n), 2),
    encode(sha256(('certificate ' || n)::bytea), 'hex'), encode(sha256(('key ' || n)::bytea), 'hex'),
    encode(sha256(('request ' || n)::bytea), 'hex'), 'CN=CP-' || lpad(n::text, 8, '0') || ',O=Bench',
    %(not_after)s - n %% 100 * interval '1 day', %(csr)s, %(certificate)s
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
"""


def fill(
    connection: psycopg.Connection[tuple[object, ...]], stations: list[Station], *, invented: int, now: datetime
) -> None:
    """Put these stations into an inventory that has no chargers yet, and invented ones that never connect.

    :param connection: in autocommit mode, of a superuser.
    :param stations: at least one.
    """
    with connection.transaction(), psycopg.ClientCursor(connection) as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("SET LOCAL maintenance_work_mem = '256MB'")
        cursor.execute(_STAGE)
        _number(cursor)
        example = parse_certificate(stations[0].certificate)
        _stage(cursor, stations)
        cursor.execute(
            sql.SQL(_INVENTED).format(columns=sql.SQL(_COLUMNS)),
            {
                "csr": stations[0].csr,
                "certificate": stations[0].certificate,
                "not_after": example.not_after,
                "first": len(stations) + 1,
                "last": len(stations) + invented,
            },
        )
        _insert_all(cursor, example, stations[0].chain, now)
    for model in (*NUMBERED, PublicKeyOwner):
        connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(model._meta.db_table)))
    connection.execute("CHECKPOINT")


def _number(cursor: psycopg.ClientCursor[Any]) -> None:
    """Give each row of the stage its ids, from the sequences: the processes of the installation take theirs meanwhile.

    An id that is counted up from the largest one that is seen may belong to a row that is not committed yet.
    """
    for model in NUMBERED:
        row = cursor.execute("SELECT pg_get_serial_sequence(%s, 'id')", [model._meta.db_table]).fetchone()
        if row is None or row[0] is None:
            raise LookupError(f"{model._meta.db_table} has no sequence for its ids")
        cursor.execute(
            sql.SQL("ALTER TABLE stage ADD COLUMN {} bigint DEFAULT nextval({})").format(
                _id(model), sql.Literal(row[0])
            )
        )


def _id(model: type[Model]) -> sql.Identifier:
    """The column of the stage that has the id of its row in the table of a model."""
    return sql.Identifier(f"{model._meta.model_name}_id")


def _stage(cursor: psycopg.ClientCursor[Any], stations: list[Station]) -> None:
    with cursor.copy(sql.SQL("COPY stage ({}) FROM STDIN").format(sql.SQL(_COLUMNS))) as copy:
        for number, station in enumerate(stations, 1):
            leaf = parse_certificate(station.certificate)
            row = (
                number,
                station.station_id,
                station.serial_number,
                leaf.serial_hex,
                leaf.fingerprint_sha256,
                leaf.public_key_sha256,
                station.csr_sha256,
                leaf.subject_text,
                leaf.not_after,
                station.csr,
                leaf.pem,
            )
            copy.write_row(row)


def _insert_all(cursor: psycopg.ClientCursor[Any], example: ParsedCertificate, chain: str, now: datetime) -> None:
    ids = {model: _id(model) for model in NUMBERED}
    purpose, moment = sql.Literal(CHARGER_IDENTITY.key), sql.Literal(now)
    identity: Expressions = {
        "id": ids[ManagedIdentity],
        "kind": sql.SQL("'charger'"),
        "authoritative_identifier": sql.SQL("station_id"),
        "serial_number": sql.SQL("serial_number"),
        "site": sql.SQL("'Depot ' || n"),
        "region": sql.SQL("'Region ' || n % 10"),
        "owner": sql.SQL("'Operator'"),
        "security_profile": sql.SQL("3"),
    }
    record: Expressions = {
        "id": ids[CertificateRecord],
        "identity_id": ids[ManagedIdentity],
        "purpose": purpose,
        "trust_domain": purpose,
        "mode": sql.Literal(str(CHARGER_IDENTITY.default_mode)),
        "state": sql.SQL("'active'"),
        "authority_id": _authority(cursor),
        "csr_pem": sql.SQL("csr"),
        "csr_sha256": sql.SQL("csr_sha256"),
        "public_key_sha256": sql.SQL("public_key"),
        "key_algorithm": sql.Literal(example.key_algorithm),
        "serial_number": sql.SQL("certificate_serial"),
        "issuer": sql.Literal(example.issuer_text),
        "issuer_sha256": sql.Literal(example.issuer_sha256),
        "subject": sql.SQL("subject"),
        "fingerprint": sql.SQL("fingerprint"),
        "certificate_pem": sql.SQL("certificate"),
        "chain_pem": sql.Literal(chain),
        "not_before": sql.Literal(example.not_before),
        "not_after": sql.SQL("not_after"),
        "activation_evidence_id": ids[Evidence],
        **dict.fromkeys(("requested_at", "issued_at", "installed_at", "activated_at"), moment),
    }
    evidence: Expressions = {
        "id": ids[Evidence],
        "record_id": ids[CertificateRecord],
        "kind": sql.SQL("'mtls_connection'"),
        "observed_at": moment,
        "source": sql.SQL("'gateway session'"),
        "dedupe_key": sql.SQL("'stock:' || n"),
    }
    job: Expressions = {
        "id": ids[CertificateJob],
        "action": sql.SQL("'issue'"),
        "identity_id": ids[ManagedIdentity],
        "purpose": purpose,
        "record_id": ids[CertificateRecord],
        "state": sql.SQL("'succeeded'"),
        "step": sql.SQL("'await_activation'"),
        "actor": sql.SQL("'station:' || station_id"),
        "reason": sql.SQL("'The station asked for a certificate'"),
        "correlation_id": sql.SQL("md5('job ' || n)"),
        "idempotency_key": sql.SQL("'stock:' || n"),
        **dict.fromkeys(("next_run_at", "created_at", "started_at", "finished_at"), moment),
    }
    owner: Expressions = {"public_key_sha256": sql.SQL("public_key"), "identity_id": ids[ManagedIdentity]}
    _insert(cursor, ManagedIdentity, identity, now)
    _insert(cursor, CertificateRecord, record, now)
    _insert(cursor, Evidence, evidence, now)
    _insert(cursor, CertificateJob, job, now)
    _insert(cursor, PublicKeyOwner, owner, now)


def _authority(cursor: psycopg.ClientCursor[Any]) -> sql.Literal:
    row = cursor.execute(
        "SELECT id FROM inventory_issuingauthority WHERE trust_domain = %s AND issues", [CHARGER_IDENTITY.trust_domain]
    ).fetchone()
    if row is None:
        raise LookupError("the PKI worker has not published its authorities yet")
    return sql.Literal(row[0])


def _insert(cursor: psycopg.ClientCursor[Any], model: type[Model], expressions: Expressions, now: datetime) -> None:
    """INSERT … SELECT from the stage; a column that is not named gets its field's default."""
    values: dict[str, sql.Composable] = {
        field.column: sql.Literal(_default(field, now)) for field in model._meta.concrete_fields if field.column
    }
    values.update(expressions)
    cursor.execute(
        sql.SQL("INSERT INTO {} ({}) SELECT {} FROM stage ORDER BY n").format(
            sql.Identifier(model._meta.db_table),
            sql.SQL(", ").join([sql.Identifier(name) for name in values]),
            sql.SQL(", ").join(list(values.values())),
        )
    )


def _default(field: "Field[Any, Any]", now: datetime) -> object:
    if isinstance(field, DateTimeField) and (field.auto_now or field.auto_now_add):
        return now
    return field.get_db_prep_save(field.get_default(), django_connection)
