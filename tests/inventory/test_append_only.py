"""Logs, evidence and history: the database lets them be added to and nothing else."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.apps import apps
from django.db import connection, transaction

from inventory.models import (
    DomainEvent,
)
from tests.inventory.guards import refused
from tests.inventory.records import NOW, sql
from tests.provisioning.support import decide, says, start
from tests.support import ControlPlane, charger

pytestmark = pytest.mark.django_db


OUR_APPS = ("inventory", "migration", "trustanchors", "provisioning")
APPEND_ONLY = [
    *(
        model._meta.db_table
        for model in apps.get_models()
        if model._meta.app_label in OUR_APPS and model.__name__.startswith("Historical")
    ),
    "inventory_domainevent",
    "inventory_securityevent",
    "inventory_evidence",
    "provisioning_provisioningevidence",
    "provisioning_externalreference",
    "provisioning_poolchange",
]


SOME_VALUE: dict[str, Any] = {
    "boolean": True,
    "bigint": 1,
    "integer": 1,
    "smallint": 1,
    "interval": timedelta(0),
    "jsonb": "{}",
    "ARRAY": "{}",
    "timestamp with time zone": NOW,
    "date": NOW.date(),
    "time without time zone": NOW.time(),
    "uuid": UUID(int=1),
    "bytea": b"x",
    "double precision": 1.0,
    "inet": "127.0.0.1",
}


def add_some_row(table: str) -> None:
    """A row that says nothing in particular; what is asked here is only whether it stays."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s"
            " AND is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO'",
            [table],
        )
        columns = cursor.fetchall()
    names = ", ".join(f'"{name}"' for name, _ in columns)
    places = ", ".join(["%s"] * len(columns))
    sql(
        f"INSERT INTO {table} ({names}) VALUES ({places})",  # noqa: S608  # our own names
        *(SOME_VALUE.get(kind, "x") for _, kind in columns),
    )


@pytest.fixture
def filled(plane: ControlPlane) -> None:
    """At least one row in every append-only table."""
    identity = charger("CS-1")
    plane.enrol(identity)
    plane.send_csr(identity, "no request")
    plane.work()
    decide()
    says(plane.clock, start(plane.clock), "request", reference="C-1", reference_kind="contract")
    for table in APPEND_ONLY:
        if not sql(f"SELECT 1 FROM {table}"):  # noqa: S608  # our own names
            add_some_row(table)


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_logs_evidence_and_history_are_append_only(filled: None, table: str) -> None:
    key = "history_id" if "historical" in table else "id"
    assert sql(f"SELECT 1 FROM {table}") > 0  # noqa: S608  # our own names

    with refused(f"table {table} is append-only"):
        sql(f"UPDATE {table} SET {key} = {key}")  # noqa: S608  # our own names
    with refused(f"table {table} is append-only"):
        sql(f"DELETE FROM {table}")  # noqa: S608  # our own names


@pytest.fixture
def settled(filled: None) -> None:
    """PostgreSQL empties no table that has checks outstanding; here none is left for the end of the transaction."""
    sql("SET CONSTRAINTS ALL IMMEDIATE")


@pytest.mark.parametrize("table", [*APPEND_ONLY, "inventory_certificaterecord"])
def test_what_is_append_only_is_not_emptied_at_once_either(settled: None, table: str) -> None:
    with refused(f"table {table} is append-only; it is not emptied"):
        sql(f"TRUNCATE {table} CASCADE")


def test_emptying_what_they_refer_to_does_not_empty_them(settled: None) -> None:
    with refused("is append-only; it is not emptied"):
        sql("TRUNCATE inventory_managedidentity CASCADE")
    assert DomainEvent.objects.exists()


def test_only_a_transaction_that_says_so_empties_them(settled: None) -> None:
    with transaction.atomic():
        sql("SET LOCAL bfcerts.truncation = 'allowed'")
        sql("TRUNCATE inventory_securityevent")
        transaction.set_rollback(True)
    with refused("table inventory_securityevent is append-only"):
        sql("TRUNCATE inventory_securityevent")
