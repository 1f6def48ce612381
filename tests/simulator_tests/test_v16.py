"""OCPP 1.6J with its security extension, as the simulated station speaks it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.simulator import KeyForm, Quirks, SerialStyle, SimulatedStation, Timings
from tests.simulator.events import EventKind
from tests.simulator.hash_data import hash_data
from tests.simulator_tests.authority import Authority, pem
from tests.simulator_tests.csms import SmallCsms
from tests.simulator_tests.scene import PASSWORD, STATION, enrol, scene

NEW_KEY = "a-key-of-20-letters!"
DIGITS = NEW_KEY.encode().hex()
SIGN = {"requestedMessage": "SignChargePointCertificate"}


@asynccontextmanager
async def older_scene(
    folder: Path, *, quirks: Quirks | None = None, **options: Any
) -> AsyncIterator[tuple[SmallCsms, SimulatedStation]]:
    """A connected 1.6 station on the listener that takes both profiles."""
    options = {"protocol": "ocpp1.6", "listener": "dual", **options}
    async with scene(folder, quirks=quirks, **options) as (csms, station):
        await station.connect()
        yield csms, station


async def change(csms: SmallCsms, key: str, value: str) -> str:
    answer = await csms.ask(STATION, "ChangeConfiguration", {"key": key, "value": value})
    return str(answer["status"])


async def raise_profile(csms: SmallCsms, station: SimulatedStation) -> None:
    """TC_083: the key, then a hard reset."""
    assert await change(csms, "SecurityProfile", "3") == "Accepted"
    assert station.security_profile == 2
    assert await csms.ask(STATION, "Reset", {"type": "Hard"}) == {"status": "Accepted"}


def test_it_boots_and_tells_its_state_in_the_words_of_1_6(tmp_path: Path) -> None:
    async def run() -> None:
        async with older_scene(tmp_path, serial_number="4711", firmware="3.2") as (csms, station):
            assert csms.visit(STATION).connection.subprotocol == "ocpp1.6"
            assert csms.received(STATION, "BootNotification") == [
                {
                    "chargePointVendor": "Example Charging",
                    "chargePointModel": "AC22",
                    "chargePointSerialNumber": "4711",
                    "firmwareVersion": "3.2",
                }
            ]
            await csms.until_received(STATION, "StatusNotification", 1)
            await station.heartbeat()
            assert not station.events.of(EventKind.PROTOCOL_VIOLATION)

    asyncio.run(run())


def test_a_restarted_station_still_speaks_its_version(tmp_path: Path) -> None:
    async def run() -> None:
        async with older_scene(tmp_path) as (csms, station):
            await station.disconnect()
            again = SimulatedStation.open(tmp_path, STATION, timings=Timings.quick())
            await again.connect()
            assert csms.visit(STATION).connection.subprotocol == "ocpp1.6"
            await again.disconnect()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("form", "digits", "used"),
    [
        (KeyForm.DECODED, DIGITS, NEW_KEY),
        (KeyForm.AS_SENT, DIGITS, DIGITS),
        (KeyForm.DECODED_IF_PRINTABLE, DIGITS, NEW_KEY),
        (KeyForm.DECODED_IF_PRINTABLE, "00" * 16, "00" * 16),
    ],
)
def test_tc_073_a_new_key_is_used_in_the_stations_form(tmp_path: Path, form: KeyForm, digits: str, used: str) -> None:
    async def run() -> None:
        async with older_scene(tmp_path, quirks=Quirks(key_form=form)) as (csms, station):
            csms.passwords[STATION] = used
            assert await change(csms, "AuthorizationKey", digits) == "Accepted"
            await csms.until(lambda: len(csms.visits) == 2)
            assert station.store.state.password == used

    asyncio.run(run())


@pytest.mark.parametrize(
    ("digits", "quirks"),
    [
        (DIGITS, Quirks(reject_password=True)),
        ("abcd", Quirks()),
        ("no hexadecimal digits at all!!!!", Quirks()),
        ("ff" * 16, Quirks()),
        ("00" * 21, Quirks()),
    ],
)
def test_tc_073_a_rejected_key_leaves_the_old_one(tmp_path: Path, digits: str, quirks: Quirks) -> None:
    async def run() -> None:
        async with older_scene(tmp_path, quirks=quirks) as (csms, station):
            assert await change(csms, "AuthorizationKey", digits) == "Rejected"
            await station.heartbeat()
            assert station.store.state.password == PASSWORD

    asyncio.run(run())


def test_a_key_that_needs_a_reboot_is_used_after_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with older_scene(tmp_path, quirks=Quirks(password_needs_reboot=True)) as (csms, station):
            assert await change(csms, "AuthorizationKey", DIGITS) == "RebootRequired"
            await station.heartbeat()
            assert station.store.state.password == PASSWORD
            csms.passwords[STATION] = NEW_KEY
            await csms.ask(STATION, "Reset", {"type": "Soft"})
            await station.wait_for(lambda station: len(station.events.of(EventKind.BOOTED)) == 2)
            assert station.store.state.password == NEW_KEY

    asyncio.run(run())


def test_a_second_key_slot_is_gone_back_to_when_the_new_key_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with older_scene(tmp_path, quirks=Quirks(second_key_slot=True)) as (csms, station):
            assert await change(csms, "AuthorizationKey", DIGITS) == "Accepted"
            await station.wait_for_event(EventKind.PASSWORD_DISCARDED)
            await csms.until(lambda: len(csms.visits) == 2)
            assert (station.store.state.password, station.store.state.previous_password) == (PASSWORD, "")

    asyncio.run(run())


def test_one_key_slot_keeps_a_refused_key(tmp_path: Path) -> None:
    async def run() -> None:
        async with older_scene(tmp_path) as (csms, station):
            assert await change(csms, "AuthorizationKey", DIGITS) == "Accepted"
            await station.wait_for(lambda station: len(station.events.of(EventKind.REFUSED)) >= 5)
            assert station.store.state.password == NEW_KEY
            csms.passwords[STATION] = NEW_KEY
            await csms.until(lambda: len(csms.visits) == 2)

    asyncio.run(run())


def test_configuration_is_read_and_the_key_only_told_by_a_station_that_does(tmp_path: Path) -> None:
    async def run() -> None:
        async with older_scene(tmp_path, quirks=Quirks(store_size=7)) as (csms, station):
            assert await change(csms, "CpoName", "Stadtwerke") == "Accepted"
            assert await change(csms, "CertificateStoreMaxLength", "1") == "Rejected"
            assert await change(csms, "NoSuchKey", "1") == "NotSupported"
            names = ["CpoName", "SecurityProfile", "CertificateStoreMaxLength", "AuthorizationKey", "Nonsense"]
            told = await csms.ask(STATION, "GetConfiguration", {"key": names})
            assert told == {
                "configurationKey": [
                    {"key": "CpoName", "readonly": False, "value": "Stadtwerke"},
                    {"key": "SecurityProfile", "readonly": False, "value": "2"},
                    {"key": "CertificateStoreMaxLength", "readonly": True, "value": "7"},
                    {"key": "AuthorizationKey", "readonly": False},
                ],
                "unknownKey": ["Nonsense"],
            }
            station.quirks = Quirks(shows_key=True)
            everything = await csms.ask(STATION, "GetConfiguration", {})
            assert {"key": "AuthorizationKey", "readonly": False, "value": PASSWORD} in everything["configurationKey"]

    asyncio.run(run())


def test_tc_074_from_the_trigger_to_profile_3_on_the_same_address(tmp_path: Path) -> None:
    async def run() -> None:
        async with older_scene(tmp_path) as (csms, station):
            assert await csms.ask(STATION, "ExtendedTriggerMessage", SIGN) == {"status": "Accepted"}
            leaf = csms.chargers.sign_csr(await csms.next_csr(STATION))
            assert await csms.deliver(STATION, csms.chargers.chain(leaf)) == {"status": "Accepted"}
            await raise_profile(csms, station)
            await station.wait_for(lambda station: station.registered and station.security_profile == 3)
            visit = csms.visit(STATION)
            assert (visit.listener, visit.fingerprint) == ("dual", station.fingerprint)
            assert [profile.security_profile for profile in station.store.state.network_profiles.values()] == [3]
            assert await change(csms, "SecurityProfile", "2") == "Rejected"
            station.quirks = Quirks(lowers_profile=True)
            assert await change(csms, "SecurityProfile", "2") == "Accepted"
            await csms.ask(STATION, "Reset", {"type": "Hard"})
            await station.wait_for(lambda station: station.connected and station.security_profile == 2)

    asyncio.run(run())


def test_a_profile_that_cannot_work_is_rejected(tmp_path: Path) -> None:
    async def run() -> None:
        async with older_scene(tmp_path) as (csms, _):
            assert [await change(csms, "SecurityProfile", value) for value in ("3", "1", "0", "4", "x")] == (
                ["Rejected"] * 5
            )
            assert await change(csms, "SecurityProfile", "2") == "Accepted"

    asyncio.run(run())


def test_who_cannot_get_in_on_profile_3_falls_back_only_with_the_quirk(tmp_path: Path) -> None:
    async def run() -> None:
        for number, falls_back in enumerate((True, False)):
            folder = tmp_path / str(number)
            folder.mkdir()
            quirks = Quirks(falls_back_to_profile_2=falls_back)
            async with older_scene(folder, quirks=quirks) as (csms, station):
                leaf = await enrol(csms, station)
                await station.wait_for(lambda station: bool(station.store.state.leaves))
                csms.refused_fingerprints.add(station.store.state.leaves[0].fingerprint)
                await raise_profile(csms, station)
                await station.wait_for(lambda station: len(station.events.of(EventKind.REFUSED)) >= 3)
                if falls_back:
                    await station.wait_for(lambda station: station.connected and station.security_profile == 2)
                else:
                    refused = station.events.last_number
                    await station.wait_for_event(EventKind.REFUSED, after=refused)
                    assert not station.connected
                assert leaf.serial_number

    asyncio.run(run())


def test_a_station_without_extended_triggers_understands_the_old_message(tmp_path: Path) -> None:
    async def run() -> None:
        async with older_scene(tmp_path, quirks=Quirks(no_extended_trigger=True)) as (csms, station):
            frame = await csms.call(STATION, "ExtendedTriggerMessage", SIGN)
            assert frame[2] == "NotImplemented"
            assert await csms.ask(STATION, "TriggerMessage", SIGN) == {"status": "Accepted"}
            await csms.next_csr(STATION)
            station.quirks = Quirks()
            assert (await csms.call(STATION, "TriggerMessage", SIGN))[2] == "PropertyConstraintViolation"

    asyncio.run(run())


def test_an_accepted_trigger_may_bring_no_request(tmp_path: Path) -> None:
    async def run() -> None:
        async with older_scene(tmp_path, quirks=Quirks(trigger_accepted_no_csr=True)) as (csms, station):
            assert await csms.ask(STATION, "ExtendedTriggerMessage", SIGN) == {"status": "Accepted"}
            await station.heartbeat()
            await station.heartbeat()
            assert csms.received(STATION, "SignCertificate") == []

    asyncio.run(run())


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA384", "SHA512"])
def test_tc_075_076_roots_are_installed_listed_and_deleted(tmp_path: Path, algorithm: str) -> None:
    async def run() -> None:
        quirks = Quirks(hash_algorithm=algorithm, serial_style=SerialStyle.PADDED)
        async with older_scene(tmp_path, quirks=quirks) as (csms, _):
            for use in ("ManufacturerRootCertificate", "CentralSystemRootCertificate"):
                root = Authority(use).root
                message = {"certificateType": use, "certificate": pem(root)}
                assert await csms.ask(STATION, "InstallCertificate", message) == {"status": "Accepted"}
                listed = await csms.ask(STATION, "GetInstalledCertificateIds", {"certificateType": use})
                expected = hash_data(root, root, algorithm=algorithm, serial_style=SerialStyle.PADDED)
                assert listed["status"] == "Accepted"
                assert expected in listed["certificateHashData"]
                for status in ("Accepted", "NotFound"):
                    deleted = await csms.ask(STATION, "DeleteCertificate", {"certificateHashData": expected})
                    assert deleted == {"status": status}
            message = {"certificateType": "ManufacturerRootCertificate"}
            assert await csms.ask(STATION, "GetInstalledCertificateIds", message) == {"status": "NotFound"}

    asyncio.run(run())


def test_a_small_store_takes_no_further_root(tmp_path: Path) -> None:
    async def run() -> None:
        async with older_scene(tmp_path, quirks=Quirks(store_size=3)) as (csms, station):
            roots = [Authority(name).root for name in ("third", "fourth")]
            statuses = []
            for root in (*roots, csms.server.root):
                message = {"certificateType": "CentralSystemRootCertificate", "certificate": pem(root)}
                statuses.append((await csms.ask(STATION, "InstallCertificate", message))["status"])
            assert statuses == ["Accepted", "Rejected", "Accepted"]
            assert len(station.store.roots()) == 3

    asyncio.run(run())


def test_tc_077_a_refused_certificate_is_told_in_the_words_of_1_6(tmp_path: Path) -> None:
    async def run() -> None:
        async with older_scene(tmp_path, quirks=Quirks(reject_install=True)) as (csms, station):
            await station.sign_certificate()
            leaf = csms.chargers.sign_csr(await csms.next_csr(STATION))
            assert await csms.deliver(STATION, csms.chargers.chain(leaf)) == {"status": "Rejected"}
            event = {"type": "InvalidChargePointCertificate", "techInfo": "this station refuses every certificate"}
            await csms.until(
                lambda: any(
                    event.items() <= sent.items() for sent in csms.received(STATION, "SecurityEventNotification")
                )
            )

    asyncio.run(run())


def test_a_wrong_clock_makes_good_certificates_look_invalid(tmp_path: Path) -> None:
    async def run() -> None:
        late = Quirks(clock_offset_seconds=400 * 86_400.0)
        async with older_scene(tmp_path, quirks=late) as (csms, station):
            await station.sign_certificate()
            leaf = csms.chargers.sign_csr(await csms.next_csr(STATION))
            assert await csms.deliver(STATION, csms.chargers.chain(leaf)) == {"status": "Rejected"}
            assert station.clock.now() > leaf.not_valid_after_utc

    asyncio.run(run())


def test_a_long_reboot_takes_as_long_as_its_quirk_says(tmp_path: Path) -> None:
    async def run() -> None:
        timings = Timings.quick(boot_delay=3_600)
        async with older_scene(tmp_path, quirks=Quirks(reboot_seconds=0.01), timings=timings) as (csms, station):
            await csms.ask(STATION, "Reset", {"type": "Hard"})
            await station.wait_for(lambda station: len(station.events.of(EventKind.BOOTED)) == 2)

    asyncio.run(run())


def test_only_the_last_root_is_trusted(tmp_path: Path) -> None:
    async def run() -> None:
        async with older_scene(tmp_path) as (csms, station):
            station.quirks = Quirks(only_last_root_trusted=True)
            assert station.enrolment.trusted_roots() == [csms.chargers.root]
            message = {"certificateType": "CentralSystemRootCertificate", "certificate": pem(csms.server.root)}
            await csms.ask(STATION, "InstallCertificate", message)
            await csms.until(lambda: len(csms.visits) == 2)
            assert station.enrolment.trusted_roots() == [csms.server.root]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("action", "payload", "code"),
    [
        ("UnlockConnector", {"connectorId": 1}, "NotSupported"),
        ("NoSuchThing", {}, "NotImplemented"),
        ("ResetResponse", {"status": "Accepted"}, "NotImplemented"),
        ("Reset", {"type": "OnIdle"}, "PropertyConstraintViolation"),
        ("Reset", {}, "OccurenceConstraintViolation"),
        ("Reset", {"type": "Hard", "evseId": 1}, "FormationViolation"),
    ],
)
def test_calls_that_cannot_be_served_get_a_callerror_of_1_6(
    tmp_path: Path, action: str, payload: dict[str, Any], code: str
) -> None:
    async def run() -> None:
        async with older_scene(tmp_path) as (csms, station):
            frame = await csms.call(STATION, action, payload)
            assert (frame[0], frame[2]) == (4, code)
            await station.heartbeat()

    asyncio.run(run())


def test_an_own_organization_name_is_in_the_request(tmp_path: Path) -> None:
    async def run() -> None:
        async with older_scene(tmp_path) as (csms, station):
            station.quirks = replace(station.quirks, subject_extras=True)
            await change(csms, "CpoName", "Stadtwerke")
            await station.sign_certificate()
            csr = x509.load_pem_x509_csr((await csms.next_csr(STATION)).encode())
            assert "O=Stadtwerke" in csr.subject.rfc4514_string()

    asyncio.run(run())
