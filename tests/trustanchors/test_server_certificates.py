"""Our own server certificate under another root: held back while somebody could not reconnect, or let go on purpose."""

from html import unescape
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from bfcerts.pki.csr import parse_csr
from inventory.actors import Actor
from inventory.errors import InvalidInputError, NotPermittedError
from inventory.models import (
    CertificateJob,
    CertificateRecord,
    IssuanceIntent,
    IssuingAuthority,
    ManagedIdentity,
    SecurityEvent,
)
from inventory.services import jobs, lifecycle
from inventory.services.listeners import ListenerCertificates
from tests.admin.given import administrator, person, speaker, view_permissions
from tests.support import OPERATOR, ControlPlane, charger, request_for
from tests.trustanchors.support import anchor, authority, own_bundles
from trustanchors.services import lock_out, server_certificates

pytestmark = pytest.mark.django_db
HOST = "gateway.example.net"


def presented(plane: ControlPlane) -> CertificateRecord:
    """The gateway presents a certificate of its own."""
    listeners = ListenerCertificates()
    listeners.ensure_requested(HOST, ["ecdsa"], plane.clock())
    plane.work()
    (wanted,) = listeners.wanted(HOST)
    csr = request_for(HOST)
    listeners.submit_request(wanted.reference, csr, plane.clock())
    plane.work()
    listeners.presented(parse_csr(csr).public_key_sha256, plane.clock())
    return CertificateRecord.objects.get(state="active")


def on_profile_2(name: str) -> ManagedIdentity:
    identity = charger(name)
    ManagedIdentity.objects.filter(pk=identity.pk).update(security_profile=2)
    return identity


def ca_moves_to_another_root(plane: ControlPlane) -> str:
    root = authority(plane.clock(), "Coming root").pem
    IssuingAuthority.objects.filter(trust_domain="backend_server", issues=True).update(root_pem=root)
    return root


def renewed(plane: ControlPlane, record: CertificateRecord) -> CertificateJob:
    job = lifecycle.renew(record=record, actor=OPERATOR, reason="soon over", now=plane.clock())
    plane.work()
    job.refresh_from_db()
    return job


def test_a_renewal_under_the_root_that_is_presented_asks_nobody(plane: ControlPlane) -> None:
    record = presented(plane)
    on_profile_2("CS-1")

    job = renewed(plane, record)

    assert job.waiting_for == "a request from our listener"
    assert not SecurityEvent.objects.filter(type="ServerCertificateHeldBack").exists()


def test_a_renewal_under_another_root_waits_while_it_would_lock_out(plane: ControlPlane) -> None:
    record = presented(plane)
    lost = on_profile_2("CS-1")
    ca_moves_to_another_root(plane)

    job = renewed(plane, record)

    assert (job.state, job.step) == ("waiting", "request_csr")
    assert job.waiting_for.startswith("the chargers that could not reconnect")
    event = SecurityEvent.objects.get(type="ServerCertificateHeldBack")
    assert event.severity == "critical"
    assert "1 charger could not reconnect: nothing shows that CS-1 trusts" in event.message
    assert event.message.endswith(job.outcome)
    record.refresh_from_db()
    assert record.state == "active"
    assert not ListenerCertificates().wanted(HOST)

    ManagedIdentity.objects.filter(pk=lost.pk).update(enabled=False)
    plane.clock.advance(hours=1)
    plane.work()

    job.refresh_from_db()
    assert job.waiting_for == "a request from our listener"


def test_a_look_ends_when_enough_are_found(plane: ControlPlane) -> None:
    record = presented(plane)
    for number in range(lock_out.SHOWN + 5):
        on_profile_2(f"CS-{number}")
    ca_moves_to_another_root(plane)

    job = renewed(plane, record)

    assert f"more than {lock_out.SHOWN} chargers could not reconnect" in job.outcome


def test_who_has_the_permission_lets_it_go_on_all_the_same(plane: ControlPlane) -> None:
    record = presented(plane)
    on_profile_2("CS-1")
    ca_moves_to_another_root(plane)
    job = renewed(plane, record)
    clerk = Actor.person(person("clerk", "inventory.retry_certificatejob"))

    with pytest.raises(NotPermittedError, match="override_lockout_forecast"):
        jobs.run_now(job=job, actor=clerk, reason="I must", override_forecast=True, now=plane.clock())
    jobs.run_now(job=job, actor=clerk, reason="look again", now=plane.clock())
    plane.work()
    job.refresh_from_db()
    assert job.waiting_for.startswith("the chargers that could not reconnect")

    jobs.run_now(job=job, actor=OPERATOR, reason="the root is lost", override_forecast=True, now=plane.clock())
    plane.work()

    job.refresh_from_db()
    assert job.waiting_for == "a request from our listener"
    assert "the root is lost" in [row.history_change_reason for row in job.history.all()]


def test_a_root_that_changes_before_the_ca_is_asked_is_seen_then(plane: ControlPlane) -> None:
    record = presented(plane)
    lost = on_profile_2("CS-1")
    job = renewed(plane, record)
    ca_moves_to_another_root(plane)
    listeners = ListenerCertificates()
    (wanted,) = listeners.wanted(HOST)

    listeners.submit_request(wanted.reference, request_for(HOST), plane.clock())
    plane.work()

    job.refresh_from_db()
    assert (job.state, job.step) == ("waiting", "issue")
    assert job.waiting_for.startswith("the chargers that could not reconnect")
    assert SecurityEvent.objects.get(type="ServerCertificateHeldBack").message.endswith(job.outcome)
    assert not IssuanceIntent.objects.filter(record=job.record).exists(), "the CA was not asked"

    ManagedIdentity.objects.filter(pk=lost.pk).update(enabled=False)
    jobs.run_now(job=job, actor=OPERATOR, reason="it is gone", now=plane.clock())
    plane.work()

    assert IssuanceIntent.objects.filter(record=job.record).exists()


def test_the_first_certificate_of_a_gateway_is_held_back_by_nobody(plane: ControlPlane) -> None:
    on_profile_2("CS-1")
    ca_moves_to_another_root(plane)

    ListenerCertificates().ensure_requested(HOST, ["ecdsa"], plane.clock())
    plane.work()

    assert len(ListenerCertificates().wanted(HOST)) == 1


def test_a_chain_is_known_by_its_root_also_where_that_is_left_out(plane: ControlPlane) -> None:
    root = authority(plane.clock(), "Coming root")
    issuing = authority(plane.clock(), "Issuing", under=root)
    leaf = authority(plane.clock(), "gateway", under=issuing, is_ca=False)
    with pytest.raises(InvalidInputError, match=r"issuer, .*Coming root, is neither in it nor among the anchors"):
        server_certificates.change_to(leaf.pem + issuing.pem)
    with pytest.raises(InvalidInputError, match="no chain that our listeners could present"):
        server_certificates.change_to("nothing")

    added = anchor(root.pem, plane.clock(), "backend_server")

    expected = frozenset({added.fingerprint})
    assert server_certificates.change_to(leaf.pem + issuing.pem).root_fingerprints == expected
    assert server_certificates.change_to(leaf.pem + issuing.pem + root.pem).root_fingerprints == expected
    assert server_certificates.change_to(root.pem).root_fingerprints == expected


def test_the_command_lists_who_could_not_reconnect(
    plane: ControlPlane, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on_profile_2("CS-1")
    person("maria", *view_permissions())
    file = tmp_path / "chain.pem"
    file.write_text(authority(plane.clock(), "Coming root").pem)

    call_command("forecast", "server-certificate", str(file), "--as", "maria")

    told = capsys.readouterr().out
    assert told.startswith("1 charger could not reconnect.")
    assert "nothing shows that CS-1 trusts" in told
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("forecast", "server-certificate", str(tmp_path / "none"), "--as", "maria")
    with pytest.raises(CommandError, match="There is no bundle"):
        call_command("forecast", "withdrawal", "7", "--as", "maria")
    bundle = own_bundles(plane.clock())[0]
    for name in (str(bundle.pk), str(bundle), str(bundle).upper(), f"{bundle.purpose} {bundle.version}"):
        call_command("forecast", "withdrawal", name, "--as", "maria")
        assert "could not reconnect." in capsys.readouterr().out
    with pytest.raises(CommandError, match=r"There is no bundle .*give its number, or its name as"):
        call_command("forecast", "withdrawal", f"{bundle}0", "--as", "maria")
    with pytest.raises(CommandError, match="There is no cohort"):
        call_command("forecast", "cut-over", "North", "--as", "maria")
    person("nobody")
    with pytest.raises(CommandError, match="view_migrationcase"):
        call_command("forecast", "server-certificate", str(file), "--as", "nobody")


def test_the_page_and_the_api_list_who_could_not_reconnect(plane: ControlPlane) -> None:
    lost = on_profile_2("CS-1")
    chain = authority(plane.clock(), "Coming root").pem
    client, maria = Client(), administrator()
    client.force_login(maria)
    url = reverse("admin:migration_migrationcase_forecast")
    assert b"Who could not reconnect?" in client.get(url).content

    page = unescape(client.post(url, {"chain": chain}).content.decode())

    assert "1 charger could not reconnect" in page
    assert "nothing shows that CS-1 trusts" in page
    assert reverse("admin:inventory_managedidentity_change", args=[lost.pk]) in page
    assert client.post(url, {}).status_code == 422
    assert "Name exactly one change" in client.post(url, {}).content.decode()
    assert "Lock-out forecast" in client.get(reverse("admin:migration_migrationcase_changelist")).content.decode()
    (row,) = (
        speaker(maria).get("/api/v1/migration-cases/forecast", {"change": "server_certificate", "chain": chain}).json()
    )
    assert "nothing shows that CS-1 trusts" in str(row)

    stranger = Client()
    stranger.force_login(person("nobody"))
    assert stranger.get(url).status_code == 403
