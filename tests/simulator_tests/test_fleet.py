"""Many stations in one process, and the command line that runs them."""

import asyncio
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.simulator import Quirks
from tests.simulator.__main__ import main
from tests.simulator.fleet import Fleet
from tests.simulator.fleet_file import FleetDescription, StationDescription, read_fleet_file
from tests.simulator.timings import Timings
from tests.simulator_tests.authority import pem
from tests.simulator_tests.csms import SmallCsms

PASSWORD = "password-of-the-fleet"
REPOSITORY = Path(__file__).resolve().parents[2]


def fleet_of(csms: SmallCsms, count: int, **changes: Any) -> FleetDescription:
    names = [f"CS-{number:04}" for number in range(1, count + 1)]
    csms.passwords.update(dict.fromkeys(names, PASSWORD))
    stations = tuple(StationDescription(name, password=PASSWORD, **changes) for name in names)
    root = csms.folder / "roots.pem"
    root.write_text(pem(csms.server.root, csms.chargers.root))
    return FleetDescription(stations, (root,), csms.urls, Timings.quick())


def test_fifty_stations_run_side_by_side(tmp_path: Path) -> None:
    async def run() -> None:
        async with SmallCsms(tmp_path) as csms:
            fleet = Fleet.build(fleet_of(csms, 50), tmp_path / "stations", stagger=0)
            running = asyncio.create_task(fleet.run())
            for station in fleet.stations.values():
                await station.wait_for(lambda station: station.registered, 30)
            assert {visit.station_id for visit in csms.visits} == set(fleet.stations)
            fleet.stop()
            await running
            assert not any(station.connected for station in fleet.stations.values())

    asyncio.run(run())


def test_a_station_with_a_folder_keeps_what_it_says(tmp_path: Path) -> None:
    async def run() -> None:
        async with SmallCsms(tmp_path) as csms:
            folder = tmp_path / "CS-0001"
            folder.mkdir()
            given = {"station_id": "CS-0001", "serial_number": "4711", "password": "from-its-own-folder"}
            (folder / "station.json").write_text(json.dumps(given))
            description = fleet_of(csms, 1, serial_number="ignored")
            csms.passwords["CS-0001"] = "from-its-own-folder"
            (station,) = Fleet.build(description, tmp_path).stations.values()
            await station.connect()
            (boot,) = csms.received("CS-0001", "BootNotification")
            assert boot["chargingStation"]["serialNumber"] == "4711"
            await station.disconnect()
            elsewhere = replace(description, urls={"profile2": "wss://localhost:1"}, roots=())
            (again,) = Fleet.build(elsewhere, tmp_path).stations.values()
            assert again.store.state == station.store.state

    asyncio.run(run())


def test_the_command_runs_a_fleet_until_it_is_told_to_stop(tmp_path: Path) -> None:
    async def run() -> None:
        async with SmallCsms(tmp_path) as csms:
            fleet_of(csms, 3)
            (tmp_path / "passwords.json").write_text(json.dumps(csms.passwords))
            (tmp_path / "quirks.json").write_text('{"*": {"requests_missing_certificate": true}}')
            command = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.simulator", "--stations", "CS-0001,CS-0002,CS-0003"),
                *("--url-profile2", csms.urls["profile2"], "--root", str(tmp_path / "roots.pem")),
                *("--directory", str(tmp_path / "stations"), "--passwords", str(tmp_path / "passwords.json")),
                *("--quirks", str(tmp_path / "quirks.json")),
                cwd=REPOSITORY,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                for name in ("CS-0001", "CS-0002", "CS-0003"):
                    await csms.until_received(name, "SignCertificate", 1)
            finally:
                command.send_signal(signal.SIGTERM)
                output, errors = await command.communicate()
            assert command.returncode == 0, errors
            lines = output.decode()
            for name in ("CS-0001", "CS-0002", "CS-0003"):
                assert f"{name} connected to {csms.urls['profile2']} on profile 2 with no certificate" in lines
                assert f"{name} SignCertificate Accepted" in lines
                assert f"{name} disconnected (stopped" in lines
            assert PASSWORD not in lines + errors.decode()
            assert not errors

    asyncio.run(run())


def test_a_fleet_file_describes_stations_roots_and_addresses(tmp_path: Path) -> None:
    file = tmp_path / "fleet.json"
    station = {"station_id": "CS-0001", "key_type": "RSA-2048", "quirks": {"slow": 1}}
    content = {"stations": [station], "roots": ["root.pem"], "urls": {"dual": "wss://localhost:1"}}
    file.write_text(json.dumps(content))
    fleet = read_fleet_file(file)
    assert fleet.stations[0].quirks == Quirks(slow=1)
    assert fleet.roots == (tmp_path / "root.pem",)
    assert fleet.url(3) == "wss://localhost:1"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no json", "cannot be read"),
        ("[]", "must hold a JSON object"),
        ('{"stations": [{"serial_number": "1"}]}', "station_id"),
        ('{"stations": [{"station_id": "1", "quirks": {"evil": true}}]}', "evil"),
        ('{"stations": []}', "no station to run"),
        ('{"stations": [{"station_id": "1"}]}', "no address for security profile 2"),
        (
            '{"stations": [{"station_id": "1"}], "urls": {"dual": "wss://localhost"}, "roots": ["none.pem"]}',
            "none.pem cannot be used",
        ),
    ],
)
def test_a_description_that_cannot_be_used_is_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    file = tmp_path / "fleet.json"
    file.write_text(content)
    assert main(["--fleet", str(file), "--directory", str(tmp_path / "stations")]) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1


def test_a_folder_that_cannot_be_used_is_named_without_its_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "CS-0001"
    folder.mkdir()
    (folder / "station.json").write_text('{"station_id": "CS-0001", "password": ["a-secret-password"]}')
    assert main(["--stations", "CS-0001", "--directory", str(tmp_path), "--url-dual", "wss://localhost:1"]) == 2
    errors = capsys.readouterr().err
    assert f"{folder}/station.json cannot be used: serial_number" in errors
    assert "a-secret-password" not in errors
