"""A benchmark's stock stands beside what the processes of an installation store meanwhile."""

from pathlib import Path

import psycopg
import pytest
from django.db import connection

from inventory.models import CertificateJob, CertificateRecord, Evidence, ManagedIdentity
from tests.admin import given
from tests.bench import stock
from tests.bench.stations import Station
from tests.support import ControlPlane, charger, request_for

pytestmark = pytest.mark.django_db(transaction=True)


def connect() -> psycopg.Connection[tuple[object, ...]]:
    known = connection.get_connection_params()
    names = ("dbname", "user", "password", "host", "port")
    return psycopg.connect(autocommit=True, **{name: known[name] for name in names if known.get(name)})


def test_it_takes_no_id_that_another_process_has_taken_and_not_yet_stored(plane: ControlPlane) -> None:
    record = plane.enrol(charger("CS-1"))
    pem = given.certificate_for("CS-2")
    station = Station("CS-2", "SN-2", Path("none"), "", request_for("CS-2"), "c" * 64, pem, record.chain_pem)
    taken: dict[type, int] = {}
    with connect() as other, connect() as filling, other.transaction():
        for model in stock.NUMBERED:
            row = other.execute("SELECT nextval(pg_get_serial_sequence(%s, 'id'))", [model._meta.db_table]).fetchone()
            assert row is not None
            taken[model] = int(str(row[0]))
        stock.fill(filling, [station], invented=3, now=plane.clock())

    for model in (ManagedIdentity, CertificateRecord, Evidence, CertificateJob):
        ids = list(model._default_manager.order_by("pk").values_list("pk", flat=True))
        assert taken[model] not in ids
        assert ids[-1] > taken[model]
    assert ManagedIdentity.objects.filter(authoritative_identifier__startswith="CP-").count() == 3
    for filled in CertificateRecord.objects.exclude(pk=record.pk).select_related("activation_evidence"):
        assert filled.activation_evidence is not None
        assert filled.activation_evidence.record_id == filled.pk
    assert charger("CS-3").pk > taken[ManagedIdentity]
