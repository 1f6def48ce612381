"""Quirks of stations with connections, messages and time; and how quirks are written."""

import asyncio
from pathlib import Path

import pytest

from tests.simulator import (
    EventKind,
    LinkClosedError,
    MessageIdStyle,
    Quirks,
    QuirksError,
    RefusalKind,
    RefusedError,
    Timings,
    WrongCsr,
)
from tests.simulator.chains import fingerprint
from tests.simulator_tests.csms import SmallCsms
from tests.simulator_tests.scene import (
    PASSWORD,
    STATION,
    enrol,
    scene,
    scene_on_profile_3,
    sign,
)


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


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("resume", [True, False])
def test_resume_tls_session(tmp_path: Path, version: str, resume: bool) -> None:
    async def run() -> None:
        quirks = Quirks(resume_tls_session=resume, tls_version=version)
        async with scene_on_profile_3(tmp_path, quirks=quirks) as (csms, station, _):
            for _ in range(2):
                station.drop()
                visits = len(csms.visits)
                await csms.until(lambda: len(csms.visits) == visits + 1)  # noqa: B023  # over before the next round
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
