"""Quirks of stations with certificates, roots, keys and requests."""

import asyncio
from pathlib import Path

import pytest
from cryptography import x509

from tests.simulator import (
    EventKind,
    Quirks,
    RefusalKind,
    SerialStyle,
)
from tests.simulator.chains import fingerprint
from tests.simulator_tests.authority import Authority, pem
from tests.simulator_tests.scene import (
    STATION,
    enrol,
    scene,
    scene_on_profile_3,
    sign,
    stays_quiet,
)

TRIGGER = {"requestedMessage": "SignChargingStationCertificate"}


def test_tc_a_14_reject_install(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene_on_profile_3(tmp_path, quirks=Quirks(reject_install=True)) as (csms, station, old):
            leaf = await sign(csms, station)
            assert (await csms.deliver(STATION, csms.chargers.chain(leaf)))["status"] == "Rejected"
            await csms.until_received(STATION, "SecurityEventNotification", 2)
            event = csms.received(STATION, "SecurityEventNotification")[-1]
            assert event["type"] == "InvalidChargingStationCertificate"
            assert station.fingerprint == fingerprint(old)

    asyncio.run(run())


def test_tc_m_05_reject_root_install(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path, quirks=Quirks(reject_root_install=True)) as (csms, station):
            await station.connect()
            payload = {"certificateType": "CSMSRootCertificate", "certificate": pem(csms.chargers.root)}
            assert (await csms.ask(STATION, "InstallCertificate", payload))["status"] == "Failed"

    asyncio.run(run())


def test_reconnect_with_old_certificate(tmp_path: Path) -> None:
    async def run() -> None:
        quirks = Quirks(reconnect_with_old_certificate=True)
        async with scene_on_profile_3(tmp_path, quirks=quirks) as (csms, station, old):
            visits = len(csms.visits)
            new = await enrol(csms, station)
            await csms.until(lambda: len(csms.visits) == visits + 1)
            assert csms.visit(STATION).fingerprint == fingerprint(old)
            await station.wait_for(lambda station: station.connected)
            station.quirks = Quirks()
            station.drop()
            await station.wait_for(lambda station: station.fingerprint == fingerprint(new))
            station.quirks = quirks
            station.drop()
            await station.wait_for(lambda station: station.fingerprint == fingerprint(old))

    asyncio.run(run())


def test_present_latest_not_after(tmp_path: Path) -> None:
    async def run() -> None:
        quirks = Quirks(present_latest_not_after=True)
        async with scene_on_profile_3(tmp_path, quirks=quirks, days=365) as (csms, station, long):
            visits = len(csms.visits)
            await enrol(csms, station, days=180)
            await csms.until(lambda: len(csms.visits) == visits + 1)
            await station.wait_for(lambda station: station.connected)
            assert csms.visit(STATION).fingerprint == fingerprint(long)
            longer = await enrol(csms, station, days=366)
            await station.wait_for(lambda station: station.fingerprint == fingerprint(longer))

    asyncio.run(run())


@pytest.mark.parametrize(
    ("quirks", "with_root", "status"),
    [
        (Quirks(), True, "Accepted"),
        (Quirks(needs_root_in_chain=True), False, "Rejected"),
        (Quirks(needs_root_in_chain=True), True, "Accepted"),
        (Quirks(rejects_root_in_chain=True), True, "Rejected"),
        (Quirks(rejects_root_in_chain=True), False, "Accepted"),
    ],
)
def test_root_in_chain(tmp_path: Path, quirks: Quirks, with_root: bool, status: str) -> None:
    async def run() -> None:
        async with scene_on_profile_3(tmp_path, quirks=quirks) as (csms, station, _):
            leaf = await sign(csms, station)
            answer = await csms.deliver(STATION, csms.chargers.chain(leaf, with_root=with_root))
            assert answer["status"] == status
            if status == "Accepted":
                await station.wait_for(lambda station: station.fingerprint == fingerprint(leaf))

    asyncio.run(run())


def test_only_last_root_trusted(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            await station.connect()
            station.quirks = Quirks(only_last_root_trusted=True)
            again = {"certificateType": "CSMSRootCertificate", "certificate": pem(csms.server.root)}
            assert await csms.ask(STATION, "InstallCertificate", again) == {"status": "Accepted"}
            await csms.until(lambda: len(csms.visits) == 2)
            await station.wait_for(lambda station: station.connected)
            other = {"certificateType": "CSMSRootCertificate", "certificate": pem(csms.chargers.root)}
            assert await csms.ask(STATION, "InstallCertificate", other) == {"status": "Accepted"}
            refused = await station.wait_for_event(EventKind.REFUSED)
            assert refused["reason"] == RefusalKind.SERVER_CERTIFICATE

    asyncio.run(run())


def test_padded_serials_in_hash_data(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path, quirks=Quirks(serial_style=SerialStyle.PADDED)) as (csms, station):
            await station.connect()
            answer = await csms.ask(STATION, "GetInstalledCertificateIds", {})
            serials = [each["certificateHashData"]["serialNumber"] for each in answer["certificateHashDataChain"]]
            roots = (csms.server.root, csms.chargers.root)
            assert [int(serial, 16) for serial in serials] == [root.serial_number for root in roots]
            assert all(len(serial) % 2 == 0 for serial in serials)

    asyncio.run(run())


def test_trigger_accepted_no_csr(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path, quirks=Quirks(trigger_accepted_no_csr=True)) as (csms, station):
            await station.connect()
            assert await csms.ask(STATION, "TriggerMessage", TRIGGER) == {"status": "Accepted"}
            await stays_quiet(station)
            assert not csms.received(STATION, "SignCertificate")

    asyncio.run(run())


def test_second_csr_refused_while_pending(tmp_path: Path) -> None:
    async def run() -> None:
        quirks = Quirks(second_csr_refused_while_pending=True)
        async with scene(tmp_path, quirks=quirks) as (csms, station):
            await station.connect()
            assert await csms.ask(STATION, "TriggerMessage", TRIGGER) == {"status": "Accepted"}
            leaf = csms.chargers.sign_csr(await csms.next_csr(STATION))
            assert await csms.ask(STATION, "TriggerMessage", TRIGGER) == {"status": "Rejected"}
            await csms.deliver(STATION, csms.chargers.chain(leaf))
            assert await csms.ask(STATION, "TriggerMessage", TRIGGER) == {"status": "Accepted"}

    asyncio.run(run())


@pytest.mark.parametrize("reuse", [True, False])
def test_reuse_key(tmp_path: Path, reuse: bool) -> None:
    async def run() -> None:
        async with scene_on_profile_3(tmp_path, quirks=Quirks(reuse_key=reuse)) as (csms, station, old):
            await enrol(csms, station)
            csr = x509.load_pem_x509_csr((await csms.next_csr(STATION, 2)).encode())
            assert (csr.public_key() == old.public_key()) is reuse

    asyncio.run(run())


def test_requests_missing_certificate_and_upgrades_in_place(tmp_path: Path) -> None:
    async def run() -> None:
        quirks = Quirks(requests_missing_certificate=True, upgrades_in_place=True)
        async with scene(tmp_path, listener="dual", quirks=quirks) as (csms, station):
            await station.connect()
            leaf = csms.chargers.sign_csr(await csms.next_csr(STATION))
            await csms.deliver(STATION, csms.chargers.chain(leaf))
            await station.wait_for(lambda station: station.fingerprint == fingerprint(leaf))
            assert station.security_profile == 3
            assert station.store.state.network_profiles[1].url == csms.urls["dual"]

    asyncio.run(run())


def test_store_size(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path, quirks=Quirks(store_size=2)) as (csms, station):
            await station.connect()
            statuses = []
            for root in (Authority("third").root, csms.server.root):
                message = {"certificateType": "CSMSRootCertificate", "certificate": pem(root)}
                statuses.append((await csms.ask(STATION, "InstallCertificate", message))["status"])
            assert statuses == ["Rejected", "Accepted"]
            entries = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "CertificateEntries"}}
            asked = {"getVariableData": [{**entries, "attributeType": kind} for kind in ("Actual", "MaxSet")]}
            told = await csms.ask(STATION, "GetVariables", asked)
            assert [one["attributeValue"] for one in told["getVariableResult"]] == ["2", "2"]

    asyncio.run(run())
