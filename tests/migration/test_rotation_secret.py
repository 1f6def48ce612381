"""A generated key is read alike by every station, and stored nowhere in plain text."""

import string

import pytest
from django.apps import apps
from django.db import connection

from bfcerts.ocpp.models import OutboxCommand
from migration.models import KeyRotation
from migration.services.secrets_of_keys import digest
from tests.migration.rotating import command_of, family, rotate, station
from tests.support import ControlPlane

pytestmark = pytest.mark.django_db


def test_a_generated_key_is_read_alike_by_every_station(plane: ControlPlane) -> None:
    made = station(plane)
    key = rotate(made)
    made.take(command_of(made))

    secret = made.password
    assert len(secret) == 20
    assert set(secret) <= set(string.ascii_letters + string.digits)
    assert not set(secret) <= set(string.hexdigits)
    assert key.digest == digest(secret.encode())
    for form in (secret, secret.encode().hex(), secret.encode().hex().upper()):
        assert made.works(form)


@pytest.mark.parametrize(("protocol", "length"), [("ocpp1.6", 20), ("ocpp2.0.1", 40)])
def test_a_family_that_wants_hexadecimal_gets_it_where_the_protocol_does_not_do_it(
    plane: ControlPlane, protocol: str, length: int
) -> None:
    made = station(plane, of=family(key_form="hex"))
    made.protocol = protocol
    plane.clock.advance(seconds=1)
    assert made.connect()
    rotate(made)
    made.take(command_of(made))

    assert len(made.password) == length
    assert made.works(made.password)


def test_the_secret_is_nowhere_but_encrypted_and_only_until_it_is_acknowledged(plane: ControlPlane) -> None:
    made = station(plane)
    rotate(made)
    command = command_of(made)
    made.take(command)
    assert found_anywhere(made.password) == set()
    made.answer(command)
    plane.work()

    assert found_anywhere(made.password) == set()
    assert OutboxCommand.objects.exclude(secret_payload=None).count() == 0
    assert KeyRotation.objects.exclude(sealed_secret=None).count() == 0


def found_anywhere(secret: str) -> set[str]:
    needles = (secret, secret.encode().hex(), secret.encode().hex().upper(), secret.encode().hex().encode().hex())
    tables = set()
    with connection.cursor() as cursor:
        for model in apps.get_models(include_auto_created=True):
            cursor.execute(f'SELECT row_to_json(t)::text FROM "{model._meta.db_table}" t')  # noqa: S608  # our own names
            if any(needle in row for (row,) in cursor.fetchall() for needle in needles):
                tables.add(model._meta.db_table)
    return tables
