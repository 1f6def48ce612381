"""Run a fleet of simulated stations: `python -m tests.simulator --help`."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import uvloop

from tests.simulator.families import mixed_fleet
from tests.simulator.fleet import Fleet
from tests.simulator.fleet_file import (
    FleetDescription,
    FleetError,
    StationDescription,
    read_fleet_file,
    read_json,
    with_passwords,
    with_quirks,
    write_fleet_file,
)
from tests.simulator.quirks import QuirksError
from tests.simulator.store import StoreError


def main(arguments: Sequence[str] | None = None) -> int:
    """:returns: 0 after an orderly stop, 2 where the description cannot be used."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=options.log_level, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout
    )
    logging.getLogger("websockets").setLevel(logging.WARNING)
    try:
        description = _description(options)
        if options.write:
            write_fleet_file(description, options.write)
            return 0
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(description, options))
    except (FleetError, QuirksError, StoreError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


async def _run(description: FleetDescription, options: argparse.Namespace) -> None:
    fleet = Fleet.build(description, options.directory, security_profile=options.profile, stagger=options.stagger)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, fleet.stop)
    await fleet.run()


def _description(options: argparse.Namespace) -> FleetDescription:
    fleet = read_fleet_file(options.fleet) if options.fleet else FleetDescription()
    if options.mixed:
        mixed = mixed_fleet(options.mixed, options.seed, misfortune=options.misfortune)
        fleet = replace(fleet, stations=fleet.stations + mixed)
    named = [name.strip() for name in options.stations.split(",") if name.strip()]
    given = {"profile2": options.url_profile2, "profile3": options.url_profile3, "dual": options.url_dual}
    fleet = replace(
        fleet,
        stations=fleet.stations + tuple(StationDescription(name) for name in named),
        roots=fleet.roots + tuple(options.root),
        urls={**fleet.urls, **{name: url for name, url in given.items() if url}},
    )
    if not fleet.stations:
        raise FleetError("there is no station to run; give --stations, --mixed or --fleet")
    if options.passwords:
        fleet = with_passwords(fleet, read_json(options.passwords))
    if options.quirks:
        fleet = with_quirks(fleet, read_json(options.quirks))
    return fleet


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description="Simulated charging stations.")
    add = parser.add_argument
    add("--fleet", type=Path, help="JSON file that describes stations, roots and addresses")
    add("--stations", default="", help="station ids, comma-separated, beside those of the fleet file")
    add("--mixed", type=int, default=0, metavar="COUNT", help="so many stations of families with quirks of their own")
    add("--seed", type=int, default=1, help="the same seed is the same mixed fleet")
    add("--misfortune", type=float, default=0.0, help="share of the mixed fleet that fails in one way, 0 to 1")
    add("--directory", type=Path, default=Path("var/simulator"), help="where each station has its folder")
    add("--url-profile2", help="wss:// address for server TLS and password")
    add("--url-profile3", help="wss:// address for client certificates; used by new stations with --profile 3")
    add("--url-dual", help="wss:// address that takes both; used where the address of the profile is not given")
    add("--profile", type=int, choices=(1, 2, 3), default=2, help="security profile that new stations begin on")
    add("--root", type=Path, action="append", default=[], help="PEM of CSMS roots; repeatable")
    add("--passwords", type=Path, help="JSON file: station id to first password")
    add("--quirks", type=Path, help="JSON file: station id (or *) to quirks")
    add("--stagger", type=float, default=0.02, help="seconds between the first connects of two stations")
    add("--write", type=Path, help="write the fleet as a description to this file, and run nothing")
    add("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
