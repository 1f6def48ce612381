"""The first look prepares its chargers once; what the operator changes afterwards stays over a restart."""

import json
from pathlib import Path

import pytest
from django.conf import settings

from bfcerts.first_look import Onboarding, demo_fleet, prepare_fleet
from inventory.models import CertificateJob, ManagedIdentity
from migration.models import AuthorizationKey
from migration.services import authorization_keys
from migration.services.secrets_of_keys import digest
from tests.admin import given
from tests.support import OPERATOR

pytestmark = pytest.mark.django_db


def test_a_key_that_the_operator_changed_stays_over_a_restart(tmp_path: Path) -> None:
    configuration = settings.CONFIGURATION.model_copy(update={"var_directory": tmp_path})
    first = json.loads(prepare_fleet(configuration, demo_fleet(2)).read_text())
    changed, kept = (ManagedIdentity.objects.get(authoritative_identifier=name) for name in ("CS-0001", "CS-0002"))
    secret = "what-the-operator-set"
    authorization_keys.set_initial(identity=changed, secret=secret, actor=OPERATOR, reason="x", force=True)

    again = json.loads(prepare_fleet(configuration, demo_fleet(2)).read_text())

    active = AuthorizationKey.objects.filter(state="active")
    assert active.get(identity=changed).digest == digest(secret.encode())
    assert active.get(identity=kept).digest == digest(first["stations"][1]["password"].encode())
    assert again == first
    assert AuthorizationKey.objects.filter(identity=kept).count() == 1


def test_a_simulated_charger_without_its_file_is_given_a_new_key(tmp_path: Path) -> None:
    configuration = settings.CONFIGURATION.model_copy(update={"var_directory": tmp_path})
    prepare_fleet(configuration, demo_fleet(1)).unlink()

    fleet = json.loads(prepare_fleet(configuration, demo_fleet(1)).read_text())

    for station in fleet["stations"]:
        key = AuthorizationKey.objects.get(identity__authoritative_identifier=station["station_id"], state="active")
        assert key.digest == digest(station["password"].encode())


def test_the_refusal_that_the_first_look_wants_is_said_to_be_intended(tmp_path: Path) -> None:
    fleet = demo_fleet(1)
    prepare_fleet(settings.CONFIGURATION.model_copy(update={"var_directory": tmp_path}), [*fleet, *demo_fleet(2)[2:]])
    for name in ("CS-0001", "CS-0003"):
        failed = given.job(ManagedIdentity.objects.get(authoritative_identifier=name))
        CertificateJob.objects.filter(pk=failed.pk).update(state="failed", finished_at=failed.created_at, outcome="No.")

    said = list(Onboarding([*fleet, *demo_fleet(2)[2:]]).round())

    assert said[0] == "CS-0001: No."
    assert said[1].startswith("CS-0003: No. This is intended: it asks for a certificate in the name of CS-0001")
