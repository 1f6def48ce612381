"""A station connects, boots, is cut over, loses its connection and comes back."""

import asyncio
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tests.simulator import (
    CallRefusedError,
    EventKind,
    LinkClosedError,
    RefusalKind,
    RefusedError,
    SimulatedStation,
    Timings,
    UnreachableError,
)
from tests.simulator.chains import fingerprint
from tests.simulator_tests.authority import Authority, common_name
from tests.simulator_tests.csms import TIME
from tests.simulator_tests.scene import (
    PASSWORD,
    STATION,
    enrol,
    network_profile,
    scene,
    scene_on_profile_3,
    set_variable,
    stays_quiet,
)


def test_boots_and_beats(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            await station.connect()
            assert await station.heartbeat() == datetime.fromisoformat(TIME)
            (boot,) = csms.received(STATION, "BootNotification")
            assert boot["reason"] == "PowerUp"
            assert boot["chargingStation"]["serialNumber"] == f"SN-{STATION}"
            await csms.until(lambda: bool(csms.received(STATION, "StatusNotification")))
            event = await station.wait_for_event(EventKind.SECURITY_EVENT_SENT)
            assert event["type"] == "StartupOfTheDevice"

    asyncio.run(run())


def test_is_cut_over_to_profile_3_and_drops_the_lower_one(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            await station.connect()
            leaf = await enrol(csms, station)
            assert station.security_profile == 2
            to_profile_3 = network_profile(2, 3, csms.urls["profile3"])
            assert await csms.ask(STATION, "SetNetworkProfile", to_profile_3) == {"status": "Accepted"}
            order = set_variable("OCPPCommCtrlr", "NetworkConfigurationPriority", "2,1")
            result = await csms.ask(STATION, "SetVariables", order)
            assert result["setVariableResult"][0]["attributeStatus"] == "Accepted"
            assert await csms.ask(STATION, "Reset", {"type": "Immediate"}) == {"status": "Accepted"}
            await station.wait_for(lambda station: station.registered and station.security_profile == 3)
            assert csms.visit(STATION).listener == "profile3"
            assert csms.visit(STATION).fingerprint == fingerprint(leaf) == station.fingerprint
            assert csms.received(STATION, "BootNotification")[-1]["reason"] == "RemoteReset"
            assert list(station.store.state.network_profiles) == [2]
            lower = network_profile(1, 2, csms.urls["profile2"])
            answer = await csms.ask(STATION, "SetNetworkProfile", lower)
            assert answer["status"] == "Rejected"

    asyncio.run(run())


def test_profile_3_is_refused_in_the_priority_without_a_certificate(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            await station.connect()
            await csms.ask(STATION, "SetNetworkProfile", network_profile(2, 3, csms.urls["profile3"]))
            order = set_variable("OCPPCommCtrlr", "NetworkConfigurationPriority", "2,1")
            result = await csms.ask(STATION, "SetVariables", order)
            assert result["setVariableResult"][0]["attributeStatus"] == "Rejected"
            assert station.store.state.network_priority == [1]

    asyncio.run(run())


def test_returns_to_profile_2_when_profile_3_does_not_work(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path, timings=Timings.quick(attempts_per_profile=2)) as (csms, station):
            await station.connect()
            leaf = await enrol(csms, station)
            csms.refused_fingerprints.add(fingerprint(leaf))
            await csms.ask(STATION, "SetNetworkProfile", network_profile(2, 3, csms.urls["profile3"]))
            await csms.ask(
                STATION, "SetVariables", set_variable("OCPPCommCtrlr", "NetworkConfigurationPriority", "2,1")
            )
            await csms.ask(STATION, "Reset", {"type": "OnIdle"})
            await station.wait_for(lambda station: len(station.events.of(EventKind.BOOTED)) == 2)
            assert station.security_profile == 2
            assert [event["status"] for event in station.events.of(EventKind.REFUSED)] == [401, 401]
            assert csms.received(STATION, "BootNotification")[-1]["reason"] == "ScheduledReset"

    asyncio.run(run())


def test_is_the_same_station_after_a_restart(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene_on_profile_3(tmp_path) as (csms, station, leaf):
            await station.disconnect()
            again = SimulatedStation.open(tmp_path, STATION, timings=Timings.quick())
            await again.connect()
            assert again.fingerprint == fingerprint(leaf)
            assert csms.received(STATION, "BootNotification")[-1]["reason"] == "PowerUp"
            await again.disconnect()

    asyncio.run(run())


def test_a_wrong_password_is_refused_with_the_status(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            csms.passwords[STATION] = "another-password-1"
            with pytest.raises(RefusedError) as refusal:
                await station.connect()
            assert (refusal.value.kind, refusal.value.status) == (RefusalKind.HTTP, 401)
            assert not station.connected
            with pytest.raises(LinkClosedError):
                await station.heartbeat()
            csms.passwords[STATION] = PASSWORD
            await station.connect()

    asyncio.run(run())


def test_an_untrusted_csms_is_refused_and_told_about_later(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (_, station):
            trusted = station.store.state.roots
            station.store.state.roots = trusted[1:]
            with pytest.raises(RefusedError) as refusal:
                await station.connect()
            assert refusal.value.kind is RefusalKind.SERVER_CERTIFICATE
            station.store.state.roots = trusted
            await station.connect()
            event = await station.wait_for_event(EventKind.SECURITY_EVENT_SENT)
            assert event["type"] == "InvalidCsmsCertificate"

    asyncio.run(run())


def test_a_csms_under_another_name_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            profile = station.store.state.network_profiles
            by_address = csms.urls["profile2"].replace("localhost", "127.0.0.1")
            profile[1] = type(profile[1])(2, by_address)
            with pytest.raises(RefusedError) as refusal:
                await station.connect()
            assert refusal.value.kind is RefusalKind.SERVER_CERTIFICATE

    asyncio.run(run())


def test_a_foreign_client_certificate_is_refused_by_tls(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene_on_profile_3(tmp_path) as (csms, station, _):
            await station.disconnect()
            station.store.import_leaf(*_foreign_leaf(csms.server))
            with pytest.raises(RefusedError) as refusal:
                await station.connect()
            assert refusal.value.kind is RefusalKind.TLS
            assert not station.connected

    asyncio.run(run())


def test_nobody_there(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            await csms.__aexit__()
            with pytest.raises(UnreachableError):
                await station.connect()

    asyncio.run(run())


def test_comes_back_without_a_boot_after_the_csms_closed(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            await station.connect()
            await csms.visit(STATION).connection.close(1008, "revoked")
            event = await station.wait_for_event(EventKind.DISCONNECTED)
            assert (event["code"], event["reason"], event["departure"]) == (1008, "revoked", "lost")
            await station.wait_for(lambda station: station.connected)
            await station.heartbeat()
            assert len(csms.visits) == 2
            assert len(csms.received(STATION, "BootNotification")) == 1

    asyncio.run(run())


def test_waits_before_it_comes_back_to_a_csms_that_closed(tmp_path: Path) -> None:
    async def run() -> None:
        patient = Timings.quick(back_off_minimum=3600)
        async with scene(tmp_path, timings=patient) as (csms, station):
            csms.passwords["CS-0002"] = PASSWORD
            roots = [csms.server.root]
            other = SimulatedStation.commission(
                tmp_path, "CS-0002", url=csms.urls["profile2"], roots=roots, password=PASSWORD
            )
            await other.connect()
            await station.connect()
            await csms.visit(STATION).connection.close(1008, "revoked")
            await station.wait_for_event(EventKind.DISCONNECTED)
            await stays_quiet(other)
            assert [visit.station_id for visit in csms.visits] == ["CS-0002", STATION]
            await other.disconnect()

    asyncio.run(run())


def test_comes_back_after_it_hung_up(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            await station.connect()
            station.drop()
            await station.wait_for_event(EventKind.DISCONNECTED)
            await station.wait_for(lambda station: station.connected)
            await csms.until(lambda: len(csms.visits) == 2)

    asyncio.run(run())


def test_run_tries_until_somebody_is_there_and_stops_when_told(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            csms.passwords.clear()
            running = asyncio.create_task(station.run())
            await station.wait_for(lambda station: len(station.events.of(EventKind.REFUSED)) == 3)
            csms.passwords[STATION] = PASSWORD
            await station.wait_for(lambda station: station.registered)
            await station.disconnect()
            await running
            assert station.events.of(EventKind.DISCONNECTED)[-1]["departure"] == "stopped"

    asyncio.run(run())


def test_nothing_is_answered_before_the_boot_is(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            csms.silent_actions.add("BootNotification")
            await station.connect(until_registered=False)
            await csms.until(lambda: bool(csms.received(STATION, "BootNotification")))
            frame = await csms.call(STATION, "GetInstalledCertificateIds", {})
            assert frame[0] == 4
            assert frame[2] == "SecurityError"

    asyncio.run(run())


def test_a_pending_boot_is_repeated(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            csms.answers["BootNotification"] = {"currentTime": TIME, "interval": 0, "status": "Pending"}
            await station.connect()
            await csms.until(lambda: len(csms.received(STATION, "BootNotification")) == 2)
            csms.answers["BootNotification"] = {"currentTime": TIME, "interval": 60, "status": "Accepted"}
            await station.wait_for(lambda station: station.events.of(EventKind.BOOTED)[-1]["status"] == "Accepted")

    asyncio.run(run())


def test_a_call_that_the_csms_refuses_raises(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            await station.connect()
            csms.silent_actions.add("Heartbeat")
            beat = asyncio.create_task(station.heartbeat())
            await csms.until(lambda: bool(csms.received(STATION, "Heartbeat")))
            message_id = next(frame[1] for _, frame in csms.frames if frame[2] == "Heartbeat")
            refusal = f'[4,"{message_id}","GenericError","not now",{{}}]'
            await csms.visit(STATION).connection.send(refusal)
            with pytest.raises(CallRefusedError, match="GenericError: not now"):
                await beat

    asyncio.run(run())


def test_a_call_without_an_answer_ends_with_the_connection(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            await station.connect()
            csms.silent_actions.add("Heartbeat")
            beat = asyncio.create_task(station.heartbeat())
            await csms.until_received(STATION, "Heartbeat", 1)
            await csms.visit(STATION).connection.close()
            with pytest.raises(LinkClosedError):
                await beat

    asyncio.run(run())


def test_security_events_wait_in_order_for_a_connection(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path) as (csms, station):
            for name in ("MaintenanceLoginFailed", "MaintenanceLoginFailed", "MaintenanceLoginAccepted"):
                station.security_log.note(name)
            await station.connect()
            await csms.until_received(STATION, "SecurityEventNotification", 3)
            sent = [event["type"] for event in csms.received(STATION, "SecurityEventNotification")]
            assert sent == ["MaintenanceLoginFailed", "MaintenanceLoginAccepted", "StartupOfTheDevice"]

    asyncio.run(run())


def _foreign_leaf(authority: Authority) -> tuple[list[x509.Certificate], ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = authority.sign(key.public_key(), common_name(STATION))
    return [leaf, authority.issuing], key
