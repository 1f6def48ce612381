"""CSRs out, chains in, and which certificate the station presents afterwards."""

import asyncio
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.simulator import EventKind, KeyType, ManualClock, Quirks, SubjectRule, Timings, WrongCsr
from tests.simulator.chains import fingerprint
from tests.simulator_tests.authority import Authority
from tests.simulator_tests.csms import SmallCsms
from tests.simulator_tests.scene import STATION, enrol, scene, scene_on_profile_3, sign, stays_quiet

START = datetime.now(UTC)


def judged_by_openssl(csr: str) -> bool:
    """Whether openssl finds the signature of a CSR good."""
    verdict = subprocess.run(
        ["openssl", "req", "-verify", "-noout", "-in", "/dev/stdin"],  # noqa: S607  # whichever the machine has
        input=csr,
        text=True,
        capture_output=True,
        check=False,
    )
    return verdict.returncode == 0 and "verify OK" in verdict.stdout + verdict.stderr


async def csr_of(csms: SmallCsms, number: int = 1) -> x509.CertificateSigningRequest:
    return x509.load_pem_x509_csr((await csms.next_csr(STATION, number)).encode())


def test_sends_a_csr_when_triggered(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            await station.connect()
            trigger = {"requestedMessage": "SignChargingStationCertificate"}
            assert await csms.ask(STATION, "TriggerMessage", trigger) == {"status": "Accepted"}
            text = await csms.next_csr(STATION)
            assert judged_by_openssl(text)
            csr = await csr_of(csms)
            assert csr.subject.rfc4514_string() == f"CN={STATION},O=Example Operator"
            assert isinstance(csr.public_key(), ec.EllipticCurvePublicKey)
            (request,) = csms.received(STATION, "SignCertificate")
            assert request["certificateType"] == "ChargingStationCertificate"

    asyncio.run(run())


def test_leaves_the_certificate_type_out_when_asked_to(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            await station.connect()
            await station.sign_certificate(None)
            (request,) = csms.received(STATION, "SignCertificate")
            assert "certificateType" not in request

    asyncio.run(run())


def test_makes_rsa_keys_where_it_is_that_kind_of_station(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path, key_type=KeyType.RSA2048) as (csms, station):
            await station.connect()
            await enrol(csms, station)
            key = (await csr_of(csms)).public_key()
            assert isinstance(key, rsa.RSAPublicKey)
            assert key.key_size == 2048

    asyncio.run(run())


def test_reconnects_at_once_with_the_new_certificate_and_without_a_boot(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene_on_profile_3(tmp_path) as (csms, station, _):
            boots = len(csms.received(STATION, "BootNotification"))
            leaf = await enrol(csms, station)
            await station.wait_for(lambda station: station.fingerprint == fingerprint(leaf))
            assert csms.visit(STATION).fingerprint == fingerprint(leaf)
            await station.heartbeat()
            assert len(csms.received(STATION, "BootNotification")) == boots

    asyncio.run(run())


def test_goes_back_to_the_old_certificate_when_the_new_one_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene_on_profile_3(tmp_path) as (csms, station, old):
            new = await sign(csms, station)
            csms.refused_fingerprints.add(fingerprint(new))
            await csms.deliver(STATION, csms.chargers.chain(new))
            discarded = await station.wait_for_event(EventKind.CERTIFICATE_DISCARDED)
            assert discarded["fingerprint"] == fingerprint(new)
            sent = await station.wait_for_event(EventKind.SECURITY_EVENT_SENT, after=discarded.number)
            assert sent["type"] == "DiscardedRenewedClientCertificate"
            assert station.fingerprint == fingerprint(old)

    asyncio.run(run())


def test_keeps_the_certificate_before_and_nothing_older(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene_on_profile_3(tmp_path) as (csms, station, _):
            second = await enrol(csms, station)
            await station.wait_for(lambda station: station.fingerprint == fingerprint(second))
            third = await enrol(csms, station)
            await station.wait_for(lambda station: station.fingerprint == fingerprint(third))
            kept = {leaf.fingerprint for leaf in station.store.state.leaves}
            assert kept == {fingerprint(second), fingerprint(third)}
            assert len(list((station.store.folder / "keys").iterdir())) == 2
            assert len(list((station.store.folder / "leaves").iterdir())) == 2

    asyncio.run(run())


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda csms, leaf: csms.server.chain(leaf), "InvalidCertificate"),
        (lambda csms, leaf: "no certificate", "InvalidCertificate"),
        (lambda csms, leaf: csms.chargers.chain(csms.chargers.issuing), "KeyMismatch"),
    ],
    ids=["chain of another CA", "unreadable", "another key"],
)
def test_a_chain_that_does_not_fit_is_rejected_and_told(tmp_path: Path, make: object, reason: str) -> None:
    async def run() -> None:
        async with scene_on_profile_3(tmp_path) as (csms, station, old):
            leaf = await sign(csms, station)
            assert callable(make)
            answer = await csms.deliver(STATION, make(csms, leaf))
            assert answer["status"] == "Rejected"
            assert answer["statusInfo"]["reasonCode"] == reason
            await csms.until(lambda: "InvalidChargingStationCertificate" in security_events(csms))
            assert station.connected
            assert station.fingerprint == fingerprint(old)

    asyncio.run(run())


def test_a_chain_below_no_installed_csms_root_is_rejected(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            await station.connect()
            leaf = await sign(csms, station)
            station.store.state.roots = station.store.state.roots[:1]
            answer = await csms.deliver(STATION, csms.chargers.chain(leaf))
            assert answer["status"] == "Rejected"
            assert "CSMS roots" in answer["statusInfo"]["additionalInfo"]

    asyncio.run(run())


def test_a_certificate_that_is_not_valid_by_the_stations_clock_is_rejected(tmp_path: Path) -> None:
    async def run() -> None:
        clock = ManualClock(START - timedelta(days=30))
        async with scene(tmp_path, clock=clock) as (csms, station):
            await station.connect()
            leaf = await sign(csms, station)
            answer = await csms.deliver(STATION, csms.chargers.chain(leaf))
            assert answer["status"] == "Rejected"

    asyncio.run(run())


def test_of_two_requests_the_certificate_for_either_is_taken(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene_on_profile_3(tmp_path) as (csms, station, _):
            leaves = [await sign(csms, station), await sign(csms, station)]
            for leaf in leaves:
                before = station.events.last_number
                assert await csms.deliver(STATION, csms.chargers.chain(leaf)) == {"status": "Accepted"}
                proven = await station.wait_for_event(EventKind.CERTIFICATE_PROVEN, after=before)
                assert proven["fingerprint"] == fingerprint(leaf)

    asyncio.run(run())


def test_a_certificate_that_arrives_after_a_restart_is_taken(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene_on_profile_3(tmp_path) as (csms, station, _):
            leaf = await sign(csms, station)
            await csms.ask(STATION, "Reset", {"type": "Immediate"})
            await station.wait_for(lambda station: len(station.events.of(EventKind.BOOTED)) == 2)
            assert await csms.deliver(STATION, csms.chargers.chain(leaf)) == {"status": "Accepted"}

    asyncio.run(run())


def test_renews_on_its_own_under_30_days_looking_60_s_after_boot_then_every_12_h(tmp_path: Path) -> None:
    async def run() -> None:
        clock = ManualClock(START)
        async with scene_on_profile_3(tmp_path, clock=clock, days=30.25) as (csms, station, _):
            station.quirks = Quirks(renews_on_its_own=True)
            await clock.wait_for_sleeper(60)
            clock.advance(60)
            await clock.wait_for_sleeper(12 * 3600)
            assert len(csms.received(STATION, "SignCertificate")) == 1
            clock.advance(12 * 3600)
            leaf = csms.chargers.sign_csr(await csms.next_csr(STATION, 2))
            assert await csms.deliver(STATION, csms.chargers.chain(leaf)) == {"status": "Accepted"}
            await station.wait_for(lambda station: station.fingerprint == fingerprint(leaf))

    asyncio.run(run())


def test_repeats_the_request_after_60_then_120_s_until_a_certificate_comes(tmp_path: Path) -> None:
    async def run() -> None:
        clock = ManualClock(START)
        quirks = Quirks(repeats_sign_certificate=True)
        timings = Timings.quick(own_renewal_first_check=10_000_000)
        async with scene(tmp_path, clock=clock, quirks=quirks, timings=timings) as (csms, station):
            await station.connect()
            trigger = {"requestedMessage": "SignChargingStationCertificate"}
            await csms.ask(STATION, "TriggerMessage", trigger)
            await csms.next_csr(STATION, 1)
            await clock.wait_for_sleeper(60)
            clock.advance(60)
            await csms.next_csr(STATION, 2)
            await clock.wait_for_sleeper(120)
            clock.advance(119)
            await stays_quiet(station)
            assert len(csms.received(STATION, "SignCertificate")) == 2
            clock.advance(1)
            third = csms.chargers.sign_csr(await csms.next_csr(STATION, 3))
            await clock.wait_for_sleeper(240)
            await csms.deliver(STATION, csms.chargers.chain(third))
            clock.advance(240)
            await stays_quiet(station)
            assert len(csms.received(STATION, "SignCertificate")) == 3

    asyncio.run(run())


@pytest.mark.parametrize("wrong", list(WrongCsr))
def test_a_wrong_csr_is_wrong_in_that_way_only(tmp_path: Path, wrong: WrongCsr) -> None:
    async def run() -> None:
        quirks = Quirks(wrong_csr=wrong, wrong_csr_name=f"{STATION}-evil")
        async with scene(tmp_path, quirks=quirks) as (csms, station):
            await station.connect()
            await station.sign_certificate()
            text = await csms.next_csr(STATION)
            assert judged_by_openssl(text) is (wrong is not WrongCsr.BAD_SIGNATURE)
            if wrong is WrongCsr.VERSION_2:
                with pytest.raises(x509.InvalidVersion):
                    x509.load_pem_x509_csr(text.encode())
                return
            csr = x509.load_pem_x509_csr(text.encode())
            foreign = wrong is WrongCsr.FOREIGN_NAME
            assert (f"CN={STATION}-evil," in csr.subject.rfc4514_string()) is foreign
            assert bool(list(csr.extensions)) is (wrong is WrongCsr.CA_AND_FOREIGN_USES)
            key = csr.public_key()
            assert (isinstance(key, rsa.RSAPublicKey) and key.key_size == 1024) is (wrong is WrongCsr.RSA_1024)

    asyncio.run(run())


def test_writes_its_serial_number_where_it_is_that_kind_of_station(tmp_path: Path) -> None:
    async def run() -> None:
        quirks = Quirks(subject_rule=SubjectRule.SERIAL_NUMBER, subject_extras=True)
        async with scene(tmp_path, quirks=quirks, serial_number="SN 4711") as (csms, station):
            await station.connect()
            await station.sign_certificate()
            name = (await csr_of(csms)).subject.rfc4514_string()
            assert "CN=SN 4711" in name
            assert "DC=CPO,O=Example Operator,C=DE" in name
            assert "OU=Charging,L=Berlin,ST=Berlin" in name

    asyncio.run(run())


def security_events(csms: SmallCsms) -> list[str]:
    return [event["type"] for event in csms.received(STATION, "SecurityEventNotification")]


def test_the_authority_of_these_tests_satisfies_openssl(tmp_path: Path) -> None:
    authority = Authority("judged")
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = authority.sign(key.public_key(), x509.Name([]), host="localhost")
    for name, content in (
        ("root", authority.chain(authority.root)[: authority.chain(authority.root).index("-----END") + 26]),
        ("chain", authority.chain(leaf)),
    ):
        (tmp_path / f"{name}.pem").write_text(content)
    command = ["openssl", "verify", "-CAfile", "root.pem", "-untrusted", "chain.pem", "chain.pem"]
    verdict = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert verdict.returncode == 0, verdict.stderr
