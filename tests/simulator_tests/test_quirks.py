"""Each quirk does what it says, and a station without quirks does not."""

import asyncio
from pathlib import Path

import pytest
from cryptography import x509

from tests.simulator import (
    EventKind,
    LinkClosedError,
    MessageIdStyle,
    Quirks,
    QuirksError,
    RefusalKind,
    RefusedError,
    SerialStyle,
    Timings,
    WrongCsr,
)
from tests.simulator.chains import fingerprint
from tests.simulator_tests.authority import Authority, pem
from tests.simulator_tests.csms import SmallCsms
from tests.simulator_tests.scene import (
    PASSWORD,
    STATION,
    enrol,
    network_profile,
    scene,
    scene_on_profile_3,
    set_variable,
    sign,
    stays_quiet,
)

NEW_PASSWORD = "another-password-of-mine"
TRIGGER = {"requestedMessage": "SignChargingStationCertificate"}


def test_quirks_are_written_and_read_as_json() -> None:
    quirks = Quirks(slow=0.5, wrong_csr=WrongCsr.BAD_SIGNATURE, drop_mid_message=("Heartbeat",))
    mapping = quirks.to_mapping()
    assert mapping == {"slow": 0.5, "wrong_csr": "bad_signature", "drop_mid_message": ["Heartbeat"]}
    assert Quirks.from_mapping(mapping) == quirks
    assert Quirks().to_mapping() == {}


@pytest.mark.parametrize(
    ("mapping", "named"), [({"no_such": True}, "no_such"), ({"serial_style": "roman"}, "serial_style")]
)
def test_a_quirk_that_does_not_exist_is_named(mapping: dict[str, object], named: str) -> None:
    with pytest.raises(QuirksError, match=named):
        Quirks.from_mapping(mapping)


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


def test_never_reconnect(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene_on_profile_3(tmp_path, quirks=Quirks(never_reconnect=True)) as (csms, station, _):
            visits = len(csms.visits)
            await enrol(csms, station)
            event = await station.wait_for_event(EventKind.STAYED_AWAY)
            assert event["departure"] == "certificate"
            assert not station.connected
            station.quirks = Quirks()
            await station.connect()
            assert len(csms.visits) == visits + 1

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


def test_boot_notification_after_reconnect(tmp_path: Path) -> None:
    async def run() -> None:
        quirks = Quirks(no_boot_notification_after_reconnect=False)
        async with scene_on_profile_3(tmp_path, quirks=quirks) as (csms, station, _):
            boots = len(csms.received(STATION, "BootNotification"))
            await enrol(csms, station)
            await csms.until_received(STATION, "BootNotification", boots + 1)
            assert csms.received(STATION, "BootNotification")[-1]["reason"] == "ApplicationReset"

    asyncio.run(run())


def test_close_before_answering(tmp_path: Path) -> None:
    async def run() -> None:
        quirks = Quirks(close_before_answering=True)
        async with scene_on_profile_3(tmp_path, quirks=quirks) as (csms, station, _):
            leaf = await sign(csms, station)
            delivery = asyncio.create_task(csms.deliver(STATION, csms.chargers.chain(leaf)))
            await station.wait_for(lambda station: station.fingerprint == fingerprint(leaf))
            assert not delivery.done()
            delivery.cancel()
            assert csms.visits[-2].connection.close_code == 1006

    asyncio.run(run())


@pytest.mark.parametrize("action", ["CertificateSigned", "SignCertificate"])
def test_drop_mid_message(tmp_path: Path, action: str) -> None:
    async def run() -> None:
        async with scene_on_profile_3(tmp_path) as (csms, station, _):
            visits = len(csms.visits)
            leaf = await sign(csms, station)
            station.quirks = Quirks(drop_mid_message=(action,))
            if action == "SignCertificate":
                with pytest.raises(LinkClosedError):
                    await station.sign_certificate()
            else:
                delivery = asyncio.create_task(csms.deliver(STATION, csms.chargers.chain(leaf)))
                await station.wait_for(lambda station: station.fingerprint == fingerprint(leaf))
                delivery.cancel()
            await csms.until(lambda: len(csms.visits) == visits + 1)
            await station.wait_for(lambda station: station.connected)
            assert len(csms.received(STATION, "SignCertificate")) == 2
            await station.sign_certificate()

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


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("resume", [True, False])
def test_resume_tls_session(tmp_path: Path, version: str, resume: bool) -> None:
    async def run() -> None:
        quirks = Quirks(resume_tls_session=resume, tls_version=version)
        async with scene_on_profile_3(tmp_path, quirks=quirks) as (csms, station, _):
            for _ in range(2):
                station.drop()
                visits = len(csms.visits)
                await csms.until(lambda: len(csms.visits) == visits + 1)  # noqa: B023
                await station.wait_for(lambda station: station.connected)
                await station.heartbeat()
            connected = station.events.of(EventKind.CONNECTED)[-1]
            assert connected["session_resumed"] is resume
            assert connected["tls_version"] == f"TLSv{version}"

    asyncio.run(run())


def test_duplicate_message_ids(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path, quirks=Quirks(duplicate_message_ids=True)) as (csms, station):
            await station.connect()
            await station.heartbeat()
            await station.heartbeat()
            assert len({frame[1] for _, frame in csms.frames}) == 1

    asyncio.run(run())


@pytest.mark.parametrize("style", list(MessageIdStyle))
def test_message_id_style(tmp_path: Path, style: MessageIdStyle) -> None:
    async def run() -> None:
        async with scene(tmp_path, quirks=Quirks(message_id_style=style)) as (csms, station):
            await station.connect()
            await station.heartbeat()
            ids = [frame[1] for _, frame in csms.frames]
            assert len(set(ids)) == len(ids)
            assert all(len(each) <= 36 for each in ids)
            assert ("-" in ids[0]) is (style is MessageIdStyle.UUID)
            assert (ids[0] == "1") is (style is MessageIdStyle.COUNTER)

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


def test_stays_after_password_change(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path, quirks=Quirks(stays_after_password_change=True)) as (csms, station):
            await station.connect()
            password = set_variable("SecurityCtrlr", "BasicAuthPassword", "another-password")
            await csms.ask(STATION, "SetVariables", password)
            await stays_quiet(station)
            assert len(csms.visits) == 1

    asyncio.run(run())


def test_log_status_before_answer(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path, quirks=Quirks(log_status_before_answer=True)) as (csms, station):
            await station.connect()
            request = {"logType": "SecurityLog", "requestId": 3, "log": {"remoteLocation": "ftp://localhost"}}
            assert (await csms.ask(STATION, "GetLog", request))["status"] == "Accepted"
            assert csms.received(STATION, "LogStatusNotification")

    asyncio.run(run())


@pytest.mark.parametrize(
    ("quirks", "kind"),
    [
        (Quirks(basic_user_name="CS-0002"), RefusalKind.HTTP),
        (Quirks(url_identity="CS-0002"), RefusalKind.HTTP),
    ],
    ids=["TC_A_02", "TC_A_08"],
)
def test_a_station_under_false_flag_is_refused(tmp_path: Path, quirks: Quirks, kind: RefusalKind) -> None:
    async def run() -> None:
        async with scene(tmp_path, quirks=quirks) as (csms, station):
            csms.passwords["CS-0002"] = "the-password-of-CS-0002"
            with pytest.raises(RefusedError) as refusal:
                await station.connect()
            assert refusal.value.kind is kind

    asyncio.run(run())


@pytest.mark.parametrize(("lenient", "kind"), [(False, RefusalKind.HTTP), (True, RefusalKind.SUBPROTOCOL)])
def test_tc_b_58_no_common_subprotocol(tmp_path: Path, lenient: bool, kind: RefusalKind) -> None:
    async def run() -> None:
        async with scene(tmp_path, quirks=Quirks(subprotocols=("ocpp0.1",))) as (csms, station):
            csms.takes_any_subprotocol = lenient
            with pytest.raises(RefusedError) as refusal:
                await station.connect()
            assert refusal.value.kind is kind
            assert not station.connected
            station.quirks = Quirks(subprotocols=("ocpp0.1", "ocpp2.0.1"))
            await station.connect()

    asyncio.run(run())


def test_slow(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path, quirks=Quirks(slow=3600)) as (csms, station):
            await station.connect()
            question = asyncio.create_task(csms.ask(STATION, "GetInstalledCertificateIds", {}))
            await station.wait_for_event(EventKind.CALL_RECEIVED)
            await station.heartbeat()
            assert not question.done()
            question.cancel()
            assert await _answers_without_delay(csms, tmp_path)

    asyncio.run(run())


async def _answers_without_delay(csms: SmallCsms, folder: Path) -> bool:
    from tests.simulator import SimulatedStation

    csms.passwords["CS-0002"] = PASSWORD
    quick = SimulatedStation.commission(
        folder, "CS-0002", url=csms.urls["profile2"], roots=[csms.server.root], password=PASSWORD
    )
    await quick.connect()
    answer = await csms.ask("CS-0002", "GetInstalledCertificateIds", {})
    await quick.disconnect()
    return bool(answer["status"] == "Accepted")


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


def test_password_needs_reboot(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path, quirks=Quirks(password_needs_reboot=True)) as (csms, station):
            await station.connect()
            payload = set_variable("SecurityCtrlr", "BasicAuthPassword", NEW_PASSWORD)
            result = await csms.ask(STATION, "SetVariables", payload)
            assert result["setVariableResult"][0]["attributeStatus"] == "RebootRequired"
            assert station.store.state.password == PASSWORD
            csms.passwords[STATION] = NEW_PASSWORD
            await csms.ask(STATION, "Reset", {"type": "Immediate"})
            await station.wait_for(lambda station: len(station.events.of(EventKind.BOOTED)) == 2)
            assert station.store.state.password == NEW_PASSWORD

    asyncio.run(run())


@pytest.mark.parametrize("kept", [True, False])
def test_second_key_slot(tmp_path: Path, kept: bool) -> None:
    async def run() -> None:
        async with scene(tmp_path, quirks=Quirks(second_key_slot=kept)) as (csms, station):
            await station.connect()
            await csms.ask(STATION, "SetVariables", set_variable("SecurityCtrlr", "BasicAuthPassword", NEW_PASSWORD))
            await station.wait_for(lambda station: len(station.events.of(EventKind.REFUSED)) >= 2)
            csms.passwords[STATION] = PASSWORD if kept else NEW_PASSWORD
            await csms.until(lambda: len(csms.visits) == 2)
            assert station.store.state.password == (PASSWORD if kept else NEW_PASSWORD)

    asyncio.run(run())


def test_lowers_profile(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene_on_profile_3(tmp_path) as (csms, station, _):
            lower = network_profile(2, 2, csms.urls["dual"])
            assert (await csms.ask(STATION, "SetNetworkProfile", lower))["status"] == "Rejected"
            station.quirks = Quirks(lowers_profile=True)
            assert (await csms.ask(STATION, "SetNetworkProfile", lower))["status"] == "Accepted"

    asyncio.run(run())


def test_reboot_seconds(tmp_path: Path) -> None:
    async def run() -> None:
        timings = Timings.quick(boot_delay=3_600)
        async with scene(tmp_path, quirks=Quirks(reboot_seconds=0.01), timings=timings) as (csms, station):
            await station.connect()
            await csms.ask(STATION, "Reset", {"type": "Immediate"})
            await station.wait_for(lambda station: len(station.events.of(EventKind.BOOTED)) == 2)

    asyncio.run(run())


def test_clock_offset(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path, quirks=Quirks(clock_offset_seconds=400 * 86_400.0)) as (csms, station):
            await station.connect()
            leaf = await sign(csms, station)
            assert (await csms.deliver(STATION, csms.chargers.chain(leaf)))["status"] == "Rejected"

    asyncio.run(run())
