"""A mixed fleet of families with quirks: repeatable by its seed, and many stations in one process."""

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

from tests.simulator.__main__ import main
from tests.simulator.families import FAMILIES, MISFORTUNES, mixed_fleet
from tests.simulator.fleet import EVENTS_KEPT, Fleet
from tests.simulator.fleet_file import FleetDescription, read_fleet_file, write_fleet_file
from tests.simulator.quirks import Quirks
from tests.simulator.timings import Timings
from tests.simulator_tests.authority import pem
from tests.simulator_tests.csms import SmallCsms

COUNT = 200


def test_the_same_seed_is_the_same_fleet_and_another_is_not() -> None:
    fleet = mixed_fleet(COUNT, 7, misfortune=0.2)
    assert fleet == mixed_fleet(COUNT, 7, misfortune=0.2)
    assert fleet != mixed_fleet(COUNT, 8, misfortune=0.2)
    assert len({station.station_id for station in fleet}) == COUNT
    assert len({station.password for station in fleet}) == COUNT
    assert all(16 <= len(station.password) <= 20 and station.password.isascii() for station in fleet)


def test_every_family_and_both_versions_are_there() -> None:
    fleet = mixed_fleet(COUNT, 7)
    models = Counter((station.vendor, station.model) for station in fleet)
    assert set(models) == {(family.vendor, family.model) for family in FAMILIES}
    versions = Counter(station.protocol for station in fleet)
    assert min(versions["ocpp1.6"], versions["ocpp2.0.1"]) > COUNT / 4
    quirks = {(station.vendor, station.model): station.quirks for station in fleet}
    assert all(quirks[family.vendor, family.model] == family.quirks for family in FAMILIES)


def test_misfortune_befalls_its_share_and_leaves_the_familys_quirks() -> None:
    own = {(family.vendor, family.model): family.quirks for family in FAMILIES}
    fleet = mixed_fleet(COUNT, 7, misfortune=0.25)
    stricken = [station for station in fleet if station.quirks != own[station.vendor, station.model]]
    assert COUNT / 8 < len(stricken) < COUNT / 2
    for station in stricken:
        family = own[station.vendor, station.model].to_mapping()
        assert station.quirks in [Quirks.from_mapping({**family, **fate.to_mapping()}) for fate in MISFORTUNES]
    assert all(station.quirks == own[station.vendor, station.model] for station in mixed_fleet(COUNT, 7))


def test_two_hundred_stations_of_both_versions_run_in_one_process(tmp_path: Path) -> None:
    async def run() -> None:
        async with SmallCsms(tmp_path) as csms:
            stations = mixed_fleet(COUNT, 7)
            # A station that trusts only its last root has been given that of the server last.
            roots = tmp_path / "roots.pem"
            roots.write_text(pem(csms.chargers.root, csms.server.root))
            csms.passwords.update({station.station_id: station.password for station in stations})
            timings = Timings.quick(open_timeout=60, call_timeout=60)
            fleet = Fleet.build(FleetDescription(stations, (roots,), csms.urls, timings), tmp_path / "fleet", stagger=0)
            running = asyncio.create_task(fleet.run())
            for station in fleet.stations.values():
                await station.wait_for(lambda station: station.registered, 120)
            spoken = Counter(visit.connection.subprotocol for visit in csms.visits)
            assert spoken == Counter(station.protocol for station in stations)
            assert len(asyncio.all_tasks()) < 25 * COUNT
            assert all(len(station.events) <= EVENTS_KEPT for station in fleet.stations.values())
            fleet.stop()
            await running
            assert not any(station.connected for station in fleet.stations.values())

    asyncio.run(run())


def test_the_protocol_of_a_station_can_be_described(tmp_path: Path) -> None:
    file = tmp_path / "fleet.json"
    file.write_text(json.dumps({"stations": [{"station_id": "CS-1", "protocol": "ocpp1.6"}]}))
    assert read_fleet_file(file).stations[0].protocol == "ocpp1.6"


def test_a_version_that_nobody_speaks_is_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "fleet.json"
    file.write_text(json.dumps({"stations": [{"station_id": "CS-1", "protocol": "ocpp1.5"}]}))
    assert main(["--fleet", str(file), "--directory", str(tmp_path)]) == 2
    errors = capsys.readouterr().err
    assert "protocol" in errors
    assert errors.count("\n") == 1


def test_the_command_takes_a_mixed_fleet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without an address it says so, after it has made the stations."""
    assert main(["--mixed", "3", "--seed", "7", "--directory", str(tmp_path)]) == 2
    assert "no address for security profile 2" in capsys.readouterr().err


def test_a_mixed_fleet_can_be_written_down_and_read_again(tmp_path: Path) -> None:
    fleet = FleetDescription(
        stations=mixed_fleet(30, seed=7, misfortune=0.5), roots=(tmp_path / "root.pem",), urls={"dual": "wss://x"}
    )

    write_fleet_file(fleet, tmp_path / "fleet.json")

    assert read_fleet_file(tmp_path / "fleet.json") == fleet
    assert (tmp_path / "fleet.json").stat().st_mode & 0o077 == 0
