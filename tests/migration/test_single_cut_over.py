"""The cut-over of one charger at every door: the forecast is shown, refuses, and is overridden by who may."""

from html import unescape
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client

from bfcerts.ocpp.canonical import Action
from inventory.models import CertificateJob, DomainEvent, ManagedIdentity
from tests.admin import given
from tests.admin.acting import REASON, address, do
from tests.migration.fleet import Fleet, capable_family
from tests.support import ControlPlane, request_for
from trustanchors.models import BundleInstallation

pytestmark = pytest.mark.django_db

SENTENCE = "1 charger could not reconnect: CS-0000 listed its anchors on"


@pytest.fixture
def identity(plane: ControlPlane) -> ManagedIdentity:
    """A charger that has its certificate, and has listed none of our anchors."""
    fleet = Fleet(plane)
    (station,) = fleet.add(1, family=capable_family())
    fleet.confirm_anchors()
    plane.send_csr(station.identity, request_for(station.identity.authoritative_identifier))
    plane.work()
    plane.answer(plane.open_command(station.identity, Action.DELIVER_CERTIFICATE))
    plane.work()
    BundleInstallation.objects.update(listed=[], checked_at=plane.clock())
    return station.identity


@pytest.fixture
def maria() -> User:
    return given.administrator("maria")


@pytest.fixture
def jan() -> User:
    """May cut over, and not override."""
    return given.person("jan", *given.view_permissions(), "inventory.cutover_managedidentity")


def told() -> list[tuple[str, str]]:
    return list(DomainEvent.objects.filter(type="LockOutForecastOverridden").values_list("actor", "reason"))


def cut_over(user: User, identity: ManagedIdentity, **body: Any) -> Any:
    url = f"/api/v1/identities/{identity.pk}/cut-over"
    return given.speaker(user).post(url, {"reason": "Seen on site", **body}, format="json")


def test_over_the_api(identity: ManagedIdentity, maria: User, jan: User) -> None:
    api = given.speaker(maria)
    forecast = api.get(f"/api/v1/migration-cases/forecast?change=cut_over&identity={identity.pk}").json()
    assert [item["identity"] for item in forecast] == [identity.pk]
    offered = {item["verb"]: item for item in api.get(f"/api/v1/identities/{identity.pk}/actions").json()}
    assert f"Forecast: {forecast[0]['evidence']}. So it is refused" in offered["cut_over"]["explanation"]

    refused = cut_over(maria, identity)
    assert (refused.status_code, refused.json()["code"]) == (409, "would_lock_out")
    assert refused.json()["detail"].startswith(SENTENCE)
    not_theirs = cut_over(jan, identity, override_forecast=True)
    assert (not_theirs.status_code, not_theirs.json()["code"]) == (403, "not_permitted")
    assert not told()
    assert not CertificateJob.objects.filter(action="cut_over").exists()

    assert cut_over(maria, identity, override_forecast=True).status_code == 202
    assert told() == [("person:maria", "Seen on site")]
    assert "was not among them" in CertificateJob.objects.get(action="cut_over").parameters["forecast_overridden"]


def test_on_its_page(identity: ManagedIdentity, maria: User, client: Client) -> None:
    client.force_login(maria)
    asked = unescape(client.get(address(identity, "cut_over")).content.decode())
    assert "Although it could not come back" in asked
    assert "The forecast: CS-0000 listed its anchors on" in asked

    refused = do(client, identity, "cut_over")
    assert SENTENCE in unescape(refused.content.decode())
    assert not told()
    assert do(client, identity, "cut_over", override_forecast="on").status_code == 302
    assert told() == [("person:maria", REASON)]


def test_on_the_page_of_one_that_can_come_back_nothing_is_asked(
    identity: ManagedIdentity, maria: User, client: Client
) -> None:
    BundleInstallation.objects.update(listed=None)
    client.force_login(maria)
    asked = client.get(address(identity, "cut_over")).content.decode()
    assert "Although it could not come back" not in asked
    assert "nothing speaks against that it comes back" in asked


def test_in_a_shell(identity: ManagedIdentity, maria: User) -> None:
    def run(**more: Any) -> str:
        said = StringIO()
        call_command("certificate", "cut-over", "CS-0000", user="maria", reason="Seen on site", stdout=said, **more)
        return said.getvalue()

    with pytest.raises(CommandError, match=SENTENCE):
        run()
    assert "Job " in run(override_forecast=True)
    assert told() == [("person:maria", "Seen on site")]
