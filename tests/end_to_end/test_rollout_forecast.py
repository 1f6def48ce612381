"""The lock-out forecast against the stations themselves: whom it names cannot connect, and everybody else can."""

import contextlib
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.utils import timezone

from inventory.choices import RecordState
from inventory.errors import InventoryError
from inventory.models import CertificateRecord
from inventory.services import lifecycle, station_commands
from migration.services import forecast
from migration.services.forecast import CutOver, ServerCertificateChange
from tests.end_to_end.mixed_fleet import Charger, MixedFleet, bring_forward
from tests.end_to_end.plant import OPERATOR, Plant, StationThread
from tests.simulator.families import mixed_fleet
from tests.simulator.tls import client_context
from tests.trustanchors.support import CertificateAuthority, anchor, authority
from trustanchors.models import BundleInstallation, TrustAnchor
from trustanchors.services import bundles, releasing

pytestmark = pytest.mark.django_db(transaction=True)

SEED = 10
SIZE = 9


def test_a_change_of_the_server_certificate_locks_out_exactly_whom_it_names(
    plant: Plant, stations: StationThread, tmp_path: Path
) -> None:
    fleet = MixedFleet(plant, stations)
    fleet.commission(mixed_fleet(SIZE, SEED))
    fleet.prepare(threshold_percent=100)
    now = timezone.now()
    coming = authority(now, "Root to come")
    added = anchor(coming.pem, now, "backend_server")
    present = TrustAnchor.objects.filter(purpose="backend_server").exclude(pk=added.pk).get()
    # One of each family, because the others of a family would wait until its canary has come back.
    informed = [fleet.of(model)[0] for model in ("AC22", "Pole-2", "HS-50", "Wallbox")]
    stubborn = informed[-1]
    stubborn.suffers(reject_root_install=True)
    _release_both(fleet, [present, added], informed)

    server = _server(coming, tmp_path)
    everybody = list(fleet.chargers.values())
    predicted = _names(forecast.predict(ServerCertificateChange(frozenset({added.fingerprint})), timezone.now()))
    assert predicted == {charger.name for charger in everybody if not _accepts(charger, server)}
    assert predicted == {charger.name for charger in everybody if charger not in informed or charger is stubborn}
    for roots in ({present.fingerprint}, {present.fingerprint, added.fingerprint}):
        assert forecast.predict(ServerCertificateChange(frozenset(roots)), timezone.now()) == []
    assert {charger.profile for charger in everybody} == {2}


def test_a_cut_over_locks_out_exactly_whom_it_names(plant: Plant, stations: StationThread) -> None:
    fleet = MixedFleet(plant, stations)
    fleet.commission([one for one in mixed_fleet(SIZE, SEED) if one.protocol == "ocpp2.0.1"])
    chargers = list(fleet.chargers.values())
    robbed, without, *fine = chargers
    for charger in (robbed, *fine):
        lifecycle.issue(identity=charger.identity, purpose="charger_identity", actor=OPERATOR, reason="first")
    installed = CertificateRecord.objects.filter(state=RecordState.INSTALLED_PENDING_ACTIVATION)
    fleet.wait_until(lambda: installed.filter(purpose="charger_identity").count() == len(fine) + 1)
    record = installed.get(identity=robbed.identity)
    lifecycle.revoke(record=record, actor=OPERATOR, reason="stolen", revocation_reason="keyCompromise")

    change = CutOver([charger.identity for charger in chargers])
    predicted = _names(forecast.predict(change, timezone.now()))
    with pytest.raises(forecast.LockOutError):
        forecast.require_safe(change, actor=OPERATOR, override=False, reason="", now=timezone.now())
    for charger in chargers:
        with contextlib.suppress(InventoryError):  # who has nothing to come with is not even asked
            station_commands.cut_over(
                identity=charger.identity, actor=OPERATOR, reason="all of them", override_forecast=True
            )

    fleet.wait_until(lambda: all(charger.profile == 3 for charger in fine))
    assert predicted == {charger.name for charger in chargers if charger.profile != 3} == {robbed.name, without.name}


def _names(locked_out: list[forecast.LockedOut]) -> set[str]:
    return {item.identity.authoritative_identifier for item in locked_out}


def _release_both(fleet: MixedFleet, anchors: list[TrustAnchor], informed: list[Charger]) -> None:
    """A → A+B for some of the fleet."""
    now = timezone.now()
    both = bundles.draft(purpose_key="backend_server", anchors=anchors, actor=OPERATOR, reason="test", now=now)
    pace = releasing.Pace(threshold_percent=1, concurrency=100, rate_per_minute=6_000, failure_limit=10)
    (rollout,) = releasing.release(
        bundles=[both], cohort=fleet.cohort("Informed", informed), pace=pace, actor=OPERATOR, reason="test", now=now
    )
    bring_forward("anchors-members", "anchors-begin")
    asked = BundleInstallation.objects.filter(rollout=rollout).exclude(checked_at=None)
    fleet.wait_until(lambda: asked.count() == len(informed))


def _server(root: CertificateAuthority, folder: Path) -> ssl.SSLContext:
    """A listener of ours as it would be under another root."""
    key, now = ec.generate_private_key(ec.SECP256R1()), timezone.now()
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]))
        .issuer_name(root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(root.key, hashes.SHA256())
    )
    file = folder / "server.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + leaf.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def _accepts(charger: Charger, server: ssl.SSLContext) -> bool:
    """Whether the station, with the roots that it really has, goes through a handshake with this server."""
    ours, theirs = socket.socketpair()
    with ours, theirs, ThreadPoolExecutor(1) as pool:
        serving = pool.submit(_serve, ours, server)
        context = client_context(charger.station.enrolment.trusted_roots())
        try:
            context.wrap_socket(theirs, server_hostname="localhost").close()
        except ssl.SSLCertVerificationError:
            theirs.close()
            serving.result(10)
            return False
        return serving.result(10)


def _serve(connection: socket.socket, context: ssl.SSLContext) -> bool:
    try:
        context.wrap_socket(connection, server_side=True).close()
    except (ssl.SSLError, OSError):
        return False
    return True
