"""A connection with an expired certificate: what it carries, what it refuses, and when it ends. Over real TLS."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import pytest
from websockets.exceptions import InvalidStatus

from bfcerts.ocpp import canonical, registry
from bfcerts.ocpp.canonical import Action, RefusalReason
from bfcerts.ocpp.gateway.renewal_only import ENDED, REQUESTS
from bfcerts.ocpp.gateway.tls import ListenerName
from bfcerts.ocpp.models import OutboxCommand, StationSession
from bfcerts.ocpp.notify import Channel, notify
from inventory.models import CertificateRecord, ManagedIdentity
from inventory.services import lifecycle
from inventory.services.door import CertificateDoor
from migration.services import renewal_door
from tests.inventory.records import bring_to, record_of
from tests.ocpp.authority import Leaf
from tests.ocpp.node import Node, Payload, Site, Station, eventually, stored
from tests.ocpp.relayed import BOOT, VERSIONS, command, ended, relayed, server_context
from tests.ocpp.test_admission import Resuming, refusal, refused
from tests.ocpp.test_revocation import break_listening
from tests.simulator.csms import UpstreamCsms
from tests.support import OPERATOR, charger

PROFILE3, DUAL = ListenerName.PROFILE3, ListenerName.DUAL
DAY = timedelta(days=1)

both = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture
def csms(site: Site) -> Iterator[UpstreamCsms]:
    with UpstreamCsms(server_context(site.servers, site.folder)) as running:
        yield running


def expired(site: Site, station_id: str = "CS-1", *, for_renewal: bool = True) -> Leaf:
    """A certificate that ended yesterday, and a door for its renewal."""
    leaf = site.issue(station_id, not_before=-30 * DAY, not_after=-DAY)
    if for_renewal:
        site.certificates.renewals[leaf.fingerprint] = datetime.now(UTC) + DAY
    return leaf


def dial(site: Site, node: Node, leaf: Leaf, version: str = "ocpp2.0.1", station_id: str = "CS-1") -> Station:
    return site.connect(node, DUAL, station_id, leaf=leaf, subprotocols=(version,))


CSR = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"
NOW = "2026-05-04T03:02:01Z"
ALLOWED: dict[str, dict[str, Payload]] = {
    "ocpp2.0.1": {
        "BootNotification": BOOT["ocpp2.0.1"],
        "Heartbeat": {},
        "SecurityEventNotification": {"type": "SettingSystemTime", "timestamp": NOW},
        "SignCertificate": {"csr": CSR, "certificateType": "ChargingStationCertificate"},
        "StatusNotification": {"timestamp": NOW, "connectorStatus": "Available", "evseId": 1, "connectorId": 1},
    },
    "ocpp1.6": {
        "BootNotification": BOOT["ocpp1.6"],
        "Heartbeat": {},
        "SecurityEventNotification": {"type": "SettingSystemTime", "timestamp": NOW},
        "SignCertificate": {"csr": CSR},
        "StatusNotification": {"connectorId": 1, "errorCode": "NoError", "status": "Available"},
    },
}
REFUSED: dict[str, dict[str, Payload]] = {
    "ocpp2.0.1": {
        "Authorize": {"idToken": {"idToken": "1", "type": "Central"}},
        "TransactionEvent": {},
        "MeterValues": {},
        "NotifyReport": {},
        "LogStatusNotification": {"status": "Idle"},
        "FirmwareStatusNotification": {"status": "Idle"},
        "DataTransfer": {"vendorId": "Vendor"},
        "Get15118EVCertificate": {},
        "Reset": {"type": "Immediate"},
        "NoSuchAction": {},
        "bootnotification": BOOT["ocpp2.0.1"],
    },
    "ocpp1.6": {
        "Authorize": {"idTag": "1"},
        "StartTransaction": {"connectorId": 1, "idTag": "1", "meterStart": 0, "timestamp": NOW},
        "StopTransaction": {"transactionId": 1, "meterStop": 1, "timestamp": NOW},
        "MeterValues": {},
        "LogStatusNotification": {"status": "Idle"},
        "DataTransfer": {"vendorId": "org.openchargealliance.iso15118pnc", "messageId": "SignCertificate"},
        "Reset": {"type": "Hard"},
        "NoSuchAction": {},
    },
}


@both
def test_what_a_renewal_needs_is_answered_and_the_boot_stays_pending(site: Site, node: Node, version: str) -> None:
    station = dial(site, node, expired(site), version)
    assert set(ALLOWED[version]) == REQUESTS

    answers = {action: station.call(action, payload) for action, payload in ALLOWED[version].items()}

    assert {answer[0] for answer in answers.values()} == {3}
    boot = answers["BootNotification"][2]
    assert (boot["status"], boot["interval"]) == ("Pending", 60)
    assert answers["SignCertificate"][2] == {"status": "Accepted"}
    assert len(stored("csr_received", "CS-1")) == len(stored("booted", "CS-1")) == 1
    session = StationSession.objects.get(closed_at__isnull=True)
    assert (session.security_profile, session.renewal_only) == (3, True)
    (connected,) = stored("connected", "CS-1")
    assert connected.payload["renewal_only"] is True


@both
def test_everything_else_is_refused_and_shown_once(site: Site, node: Node, version: str) -> None:
    station = dial(site, node, expired(site), version)

    for action, payload in [*REFUSED[version].items(), *REFUSED[version].items()]:
        kind, _, code, description, _ = station.call(action, payload)
        assert (kind, code) == (4, "SecurityError"), action
        assert description == f"{action} is refused: this connection is only for the renewal of the certificate"

    assert station.call("Heartbeat")[0] == 3
    shown = eventually(lambda: stored("protocol_violation", "CS-1"))
    details = [row.payload["detail"] for row in shown]
    assert len(details) == len(set(details))
    assert {row.payload["kind"] for row in shown} == {"outside_renewal"}


def test_a_request_for_another_kind_of_certificate_is_refused(site: Site, node: Node) -> None:
    station = dial(site, node, expired(site))
    for certificate_type in ("V2GCertificate", "CombinedCertificate"):
        payload = {"csr": CSR, "certificateType": certificate_type}
        answer = station.call("SignCertificate", payload)
        assert answer[0] == 4
    assert station.call("SignCertificate", {"csr": CSR})[2] == {"status": "Accepted"}
    (asked,) = stored("csr_received", "CS-1")
    assert asked.payload["certificate_type"] is None


def test_it_is_asked_for_nothing_but_its_renewal(site: Site, node: Node) -> None:
    log = command(action=Action.GET_LOG, payload=canonical.get_log("SecurityLog", "https://example.com/x", 1))
    evse = command(action=Action.REQUEST_CSR, payload=canonical.request_csr("V2GCertificate"))
    station = dial(site, node, expired(site))
    renewal = command(action=Action.REQUEST_CSR, payload=canonical.request_csr())
    message_id, _ = station.expect("TriggerMessage")
    station.answer(message_id, {"status": "Accepted"})
    assert ended(renewal).outcome == "accepted"
    delivery = command(action=Action.DELIVER_CERTIFICATE, payload=canonical.deliver_certificate("chain", None))
    message_id, _ = station.expect("CertificateSigned")
    station.answer(message_id, {"status": "Accepted"})
    assert ended(delivery).outcome == "accepted"
    for waits in (log, evse):
        waits.refresh_from_db()
        assert (waits.state, waits.attempts) == (OutboxCommand.State.QUEUED, 0)

    station.close()
    full = dial(site, node, site.issue("CS-1"))

    full.expect("GetLog")


def test_no_upstream_hears_of_it(site: Site, csms: UpstreamCsms) -> None:
    with relayed(site, csms) as relay:
        relay.route("CS-1")
        station = dial(site, relay.node, expired(site))
        assert station.call("BootNotification", BOOT["ocpp2.0.1"])[2]["status"] == "Pending"
        assert station.call("TransactionEvent", {})[2] == "SecurityError"
        notify(Channel.UPSTREAMS)
        relay.route("CS-2")
        other = dial(site, relay.node, site.issue("CS-2"), station_id="CS-2")
        relay.visit()
        assert station.call("Heartbeat")[0] == 3

        assert len(csms.visits) == 1
        other.close()


@both
@pytest.mark.parametrize("listener", [PROFILE3, DUAL])
def test_without_a_door_an_expired_certificate_is_refused(
    site: Site, node: Node, listener: ListenerName, version: str
) -> None:
    leaf = expired(site, for_renewal=False)
    assert refused(site, node, listener, leaf=leaf, subprotocols=(version,)) is HTTPStatus.FORBIDDEN
    assert refusal().payload["reason"] == RefusalReason.CERTIFICATE_EXPIRED
    assert not StationSession.objects.exists()


def test_a_password_beside_an_expired_certificate_does_not_help(site: Site, node: Node) -> None:
    site.passwords.passwords["CS-1"] = {b"0123456789abcdef"}
    leaf = expired(site, for_renewal=False)
    assert refused(site, node, DUAL, leaf=leaf, password=b"0123456789abcdef") is HTTPStatus.FORBIDDEN


def test_the_door_is_for_that_certificate_and_that_station_only(site: Site, node: Node) -> None:
    leaf = expired(site)
    another = expired(site, for_renewal=False)
    assert refused(site, node, PROFILE3, "CS-2", leaf=leaf) is HTTPStatus.FORBIDDEN
    assert refused(site, node, PROFILE3, leaf=another) is HTTPStatus.FORBIDDEN
    assert dial(site, node, leaf).call("Heartbeat")[0] == 3


def test_a_resumed_session_is_refused_through_the_door_too(site: Site, node: Node) -> None:
    context = site.context(expired(site))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    station = site.connect(node, PROFILE3, "CS-1", context=context)
    resumed = Resuming(context, station.connection.socket.session)  # type: ignore[attr-defined]  # a socket with TLS
    assert refused(site, node, PROFILE3, context=resumed) is HTTPStatus.FORBIDDEN
    assert resumed.reused


def test_it_ends_when_the_door_does_whether_or_not_anybody_says_so(site: Site, node: Node) -> None:
    leaf = expired(site)
    site.certificates.renewals[leaf.fingerprint] = datetime.now(UTC) + timedelta(seconds=2)
    station = dial(site, node, leaf)
    assert station.closed_with() == (1008, ENDED)
    with pytest.raises(InvalidStatus):
        dial(site, node, leaf)


def test_it_ends_when_the_door_is_closed_although_that_went_unheard(site: Site, node: Node) -> None:
    leaf = expired(site)
    station = dial(site, node, leaf)
    assert station.call("Heartbeat")[0] == 3
    del site.certificates.renewals[leaf.fingerprint]
    break_listening()
    assert station.closed_with()[0] == 1008


def test_who_was_in_when_its_certificate_expired_is_not_left_in(site: Site, node: Node) -> None:
    """Neither without a door nor with one: what comes in by a door may only renew."""
    ends = timedelta(seconds=2)
    plain, opened = site.issue("CS-1", not_after=ends), site.issue("CS-2", not_after=ends)
    stations = [dial(site, node, plain), dial(site, node, opened, station_id="CS-2")]
    site.certificates.renewals[opened.fingerprint] = datetime.now(UTC) + DAY
    over = opened.certificate.not_valid_after_utc + timedelta(seconds=1)
    eventually(lambda: datetime.now(UTC) > over, "the end of the certificates")

    break_listening()

    assert [station.closed_with()[0] for station in stations] == [1008, 1008]
    again = dial(site, node, opened, station_id="CS-2")
    assert again.call("MeterValues", {})[2] == "SecurityError"
    with pytest.raises(InvalidStatus):
        dial(site, node, plain)


@pytest.fixture
def inventory_door() -> Iterator[None]:
    """The inventory's own door, in place of the site's book."""
    before = registry.certificate_door()
    registry.register_doors(certificate=CertificateDoor())
    try:
        yield
    finally:
        registry.register_doors(certificate=before)


def test_the_inventory_lets_in_what_expired_only_by_a_narrow_door(site: Site, inventory_door: None, node: Node) -> None:
    """With a certificate whose dates really are over, which TLS itself lets pass."""
    leaf = expired(site, for_renewal=False)
    identity = charger("CS-1")
    ends = leaf.certificate.not_valid_after_utc
    record = record_of(identity, not_before=ends - 30 * DAY, not_after=ends, activated_at=ends - 29 * DAY)
    bring_to(record, "retired", fingerprint=leaf.fingerprint)
    ManagedIdentity.objects.filter(pk=identity.pk).update(security_profile=3)
    assert refused(site, node, PROFILE3, leaf=leaf) is HTTPStatus.FORBIDDEN
    assert refusal().payload["reason"] == RefusalReason.CERTIFICATE_EXPIRED
    identity.refresh_from_db()

    renewal_door.open_for_renewal(
        identity=identity, until=datetime.now(UTC) + DAY, actor=OPERATOR, reason="forgotten over the winter"
    )
    station = dial(site, node, leaf)
    assert station.call("BootNotification", BOOT["ocpp2.0.1"])[2]["status"] == "Pending"
    assert station.call("MeterValues", {})[2] == "SecurityError"
    again = expired(site, for_renewal=False)
    assert refused(site, node, PROFILE3, leaf=again) is HTTPStatus.FORBIDDEN

    lifecycle.revoke(record=CertificateRecord.objects.get(pk=record.pk), actor=OPERATOR, reason="stolen")

    assert station.closed_with()[0] == 1008
    assert refused(site, node, PROFILE3, leaf=leaf) is HTTPStatus.FORBIDDEN
    assert not StationSession.objects.filter(closed_at__isnull=True).exists()
