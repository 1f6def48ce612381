"""Quirks of stations with their AuthorizationKey and their security profile."""

import asyncio
from pathlib import Path

import pytest

from tests.simulator import (
    EventKind,
    Quirks,
)
from tests.simulator_tests.scene import (
    PASSWORD,
    STATION,
    network_profile,
    scene,
    scene_on_profile_3,
    set_variable,
    stays_quiet,
)

NEW_PASSWORD = "another-password-of-mine"


def test_stays_after_password_change(tmp_path: Path) -> None:
    async def run() -> None:
        async with scene(tmp_path, quirks=Quirks(stays_after_password_change=True)) as (csms, station):
            await station.connect()
            password = set_variable("SecurityCtrlr", "BasicAuthPassword", "another-password")
            await csms.ask(STATION, "SetVariables", password)
            await stays_quiet(station)
            assert len(csms.visits) == 1

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
